"""How fast the kernels are in a process that has already started: `python bench/inside.py CAPTURE` prints JSON.

The file is read chunk by chunk as `identify` does; only the time inside `Tracker.feed` and `finish` counts as
tracking, that of the reader as reading, that of `Gatherer` as gathering. The second of two passes is measured.
"""

from __future__ import annotations

import json
import sys
from time import perf_counter

from nfsleuth.capture import open_trace
from nfsleuth.clients.gather import Gatherer
from nfsleuth.trace.tracker import Tracker


def main() -> None:
    """Two passes over the file."""
    one_pass(sys.argv[1])
    print(json.dumps(one_pass(sys.argv[1])))


def one_pass(path: str) -> dict[str, float]:
    """Seconds per part, frames and calls."""
    tracker, gatherer = Tracker(), Gatherer()
    reading = tracking = gathering = 0.0
    calls = 0
    with open_trace([path]) as trace:
        chunks = iter(trace)
        while True:
            begin = perf_counter()
            chunk = next(chunks, None)
            read = perf_counter()
            finished = tracker.feed(chunk) if chunk is not None else tracker.finish()
            tracked = perf_counter()
            for rows in finished:
                calls += int(rows.connections["calls"].sum())
                gatherer.add(rows)
            reading += read - begin
            tracking += tracked - read
            gathering += perf_counter() - tracked
            if chunk is None:
                break
        begin = perf_counter()
        gatherer.facts()
        gathering += perf_counter() - begin
        frames = trace.sources[0].frames
    return {"reading": reading, "tracking": tracking, "gathering": gathering, "frames": frames, "calls": calls}


if __name__ == "__main__":
    main()

"""What the parts of `identify` cost once a process has started: `python bench/inside.py CAPTURE` prints JSON.

Seconds of CPU. reading: of the file, with the index of its records. tracking: `Tracker.feed` and `finish`, the kernels.
gathering: `Gatherer`. verdicts: evidence and conclusions. printing: the JSON. The second of two passes is measured.
"""

from __future__ import annotations

import json
import sys
from time import process_time

import nfsleuth
from nfsleuth.capture import open_trace
from nfsleuth.clients.gather import Gatherer
from nfsleuth.report import json_report
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
            begin = process_time()
            chunk = next(chunks, None)
            read = process_time()
            finished = tracker.feed(chunk) if chunk is not None else tracker.finish()
            tracked = process_time()
            for rows in finished:
                calls += int(rows.connections["calls"].sum())
                gatherer.add(rows)
            reading += read - begin
            tracking += tracked - read
            gathering += process_time() - tracked
            if chunk is None:
                break
        begin = process_time()
        known = gatherer.facts()
        gathering += process_time() - begin
        frames = trace.sources[0].frames
    begin = process_time()
    report = nfsleuth.conclude(known)
    concluded = process_time()
    json.dumps(json_report.identified(report))
    return {
        "reading": reading,
        "tracking": tracking,
        "gathering": gathering,
        "verdicts": concluded - begin,
        "printing": process_time() - concluded,
        "frames": frames,
        "calls": calls,
    }


if __name__ == "__main__":
    main()

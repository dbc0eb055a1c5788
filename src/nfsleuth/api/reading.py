"""Captures come in, the rows of their trace go out, once; what was read, and what was odd, is known afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from nfsleuth.errors import NfsleuthError
from nfsleuth.verdict.model import Capture

if TYPE_CHECKING:
    import numpy as np

    from nfsleuth.capture import Source
    from nfsleuth.capture.frames import Chunk
    from nfsleuth.clients.trace_facts import TraceFacts
    from nfsleuth.trace.rows import Rows
    from nfsleuth.trace.tracker import Tracker

PathLike = str | os.PathLike[str]
Progress = Callable[[int, int | None], None]


class Reading:
    """The rows of a trace while it is read; afterwards what was read, and what was odd. Iterable once."""

    def __init__(
        self, paths: Sequence[PathLike], *, keep_calls: bool = False, progress: Progress | None = None
    ) -> None:
        self._paths, self._keep_calls, self._progress = paths, keep_calls, progress
        self._sources: list[Source] = []
        self._tracker: Tracker | None = None
        self._odd: list[dict[str, tuple[int, int]]] = []  # of the traffic, per source

    def __iter__(self) -> Iterator[Rows]:
        from nfsleuth.capture import open_trace
        from nfsleuth.trace.tracker import Tracker

        tracker = self._tracker = Tracker(keep_calls=self._keep_calls)
        with open_trace([os.fspath(p) for p in self._paths], progress=self._progress) as trace:
            self._sources = trace.sources
            self._odd = [{} for _ in trace.sources]
            source = 0
            chunk: Chunk
            for chunk in trace:
                source = chunk.source
                yield from tracker.feed(chunk)
                self._blame(source)
            yield from tracker.finish()
            self._blame(source)

    def open_connections(self) -> np.ndarray:
        """CONNECTION[n] of the connections that are open now."""
        assert self._tracker is not None, "read first"
        return self._tracker.snapshot().connections

    @property
    def oddities(self) -> dict[str, tuple[int, int]]:
        """Name -> (count, first frame) of the traffic and of the files."""
        found = dict(self._tracker.oddities) if self._tracker else {}
        for source in self._sources:
            for name, count in source.oddities.items():
                found[name] = (found.get(name, (0, 0))[0] + count, source.oddity_frames.get(name, 0))
        return found

    @property
    def captures(self) -> tuple[Capture, ...]:
        """What has been read so far."""
        return tuple(_capture(s, odd) for s, odd in zip(self._sources, self._odd, strict=True))

    def _blame(self, source: int) -> None:
        """Put down what has become odd since the last chunk to the file that most of this chunk's frames came from.

        That is exact where files do not overlap in time; where they do, the sum is.
        """
        assert self._tracker is not None
        mine = self._odd[source]
        for name, (count, frame) in self._tracker.oddities.items():
            before = sum(odd.get(name, (0, 0))[0] for odd in self._odd)
            if count > before:
                had, first = mine.get(name, (0, frame if before == 0 else 0))
                mine[name] = (had + count - before, first)


def _capture(source: Source, odd: dict[str, tuple[int, int]]) -> Capture:
    counts = dict(source.oddities)
    frames = dict(source.oddity_frames)
    for name, (count, frame) in odd.items():
        counts[name] = counts.get(name, 0) + count
        frames.setdefault(name, frame)
    return Capture(
        source.path,
        source.format,
        source.frames,
        source.bytes,
        source.first,
        source.last,
        counts,
        {name: frame for name, frame in frames.items() if frame},
    )


def gathered(reading: Reading) -> TraceFacts:
    """Read to the end; what the trace tells of its clients."""
    from nfsleuth.clients.gather import Gatherer

    gatherer = Gatherer()
    for rows in reading:
        gatherer.add(rows)
    return gatherer.facts()


def twice(paths: Sequence[PathLike], progress: Progress | None) -> list[Progress | None]:
    """Progress for two readings of a trace, half of it for each. Raises NfsleuthError for what cannot be read twice."""
    from pathlib import Path

    for path in paths:
        if os.fspath(path) == "-" or (Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir())):
            raise NfsleuthError(f"{path}: is read twice here, which a pipe cannot be; save it to a file first")
    return in_turn(progress, [sum(map(stored_bytes, paths)) / 2] * 2)


def stored_bytes(path: PathLike) -> int:
    """Stored bytes of a capture, 0 if that is not known."""
    from pathlib import Path

    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def in_turn(progress: Progress | None, shares: Sequence[float]) -> list[Progress | None]:
    """A `Progress` for each of several readings, one after the other, of which each takes its share of the whole."""
    if progress is None:
        return [None] * len(shares)

    def told(number: int) -> Progress:
        def tell(done: int, total: int | None) -> None:
            progress(int(sum(shares[:number]) + shares[number] * done / (total or max(done, 1))), int(sum(shares)))

        return tell

    return [told(number) for number in range(len(shares))]

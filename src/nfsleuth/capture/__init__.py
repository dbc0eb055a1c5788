"""Captures come in: pcap, pcapng and snoop, compressed or not, several as one trace, pipes while they are written.

Chunks of frames go out (`frames.Chunk`), and what was odd about each file (`source.Source`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import TracebackType

from nfsleuth.capture.ahead import ahead, processors
from nfsleuth.capture.frames import FRAME, Chunk
from nfsleuth.capture.merge import Feed, in_time_order
from nfsleuth.capture.reader import Reader
from nfsleuth.capture.source import Source
from nfsleuth.errors import Exit, NfsleuthError

__all__ = ["BLOCK", "FRAME", "Chunk", "Source", "Trace", "open_trace"]

BLOCK = 1 << 22  # bytes read at a time: many frames for what a call of the kernels costs
Progress = Callable[[int, int | None], None]


def open_trace(
    paths: Sequence[str | os.PathLike[str]],
    *,
    block: int = BLOCK,
    progress: Progress | None = None,
    read_ahead: bool | None = None,
) -> Trace:
    """Open captures as one trace, in time order.

    paths: files, named pipes, ``-`` for standard input. block: bytes that are read at a time. progress: called after
    each chunk with the stored bytes read so far and the stored bytes of all files (None if one is a pipe). read_ahead:
    make a chunk while the one before it is used; by default if there are two processors. Pipes are never read ahead.
    Raises NfsleuthError: UNREADABLE if nothing can be read from one of them, WRONG_USE without paths. Waits for the
    header of a pipe.
    """
    if not paths:
        raise NfsleuthError("no captures given; name at least one file, or - for standard input", Exit.WRONG_USE)
    if read_ahead is None:
        read_ahead = processors() > 1
    return Trace([os.fspath(path) for path in paths], block, progress, read_ahead=read_ahead)


class Trace:
    """The frames of one or several captures; a context manager, and iterable once.

    Yields `Chunk`s, each good until the next one is asked for. Frames of several files are merged by time
    (ties in the order of the paths) and numbered through, as mergecap would write them.
    sources: one per path, in their order, filled while the trace is read.
    """

    def __init__(
        self, paths: Sequence[str], block: int, progress: Progress | None = None, *, read_ahead: bool = False
    ) -> None:
        self._paths = paths
        self._read_ahead = read_ahead
        self._readers: list[Reader | None] = [None] * len(paths)
        self._progress = progress
        self._sizes: list[int | None] = [None] * len(paths)
        self.sources: list[Source] = [Source(path) for path in paths]
        try:
            self._chunks = self._open(block)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Chunk]:
        chunks = ahead(self._chunks) if self._read_ahead and None not in self._sizes else self._chunks
        for chunk in chunks:
            yield chunk
            self._tell()
        self._tell()

    def __enter__(self) -> Trace:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all files."""
        for reader in self._readers:
            if reader is not None:
                reader.close()

    def _open(self, block: int) -> Iterator[Chunk]:
        if len(self._paths) == 1:
            return self._reader(0, block).chunks()
        feeds = [Feed(index, partial(self._reader, index)) for index in range(len(self._paths))]
        for feed in feeds:
            feed.look()
        return in_time_order(feeds, block)

    def _reader(self, index: int, block: int) -> Reader:
        reader = Reader(self._paths[index], block, index=index, in_turn=self._read_ahead)
        self._readers[index] = reader
        self._sizes[index] = reader.size
        self.sources[index] = reader.source
        return reader

    def _tell(self) -> None:
        if self._progress is not None:
            done = sum(reader.stored for reader in self._readers if reader is not None)
            sizes = [size for size in self._sizes if size is not None]
            self._progress(done, sum(sizes) if len(sizes) == len(self._sizes) else None)

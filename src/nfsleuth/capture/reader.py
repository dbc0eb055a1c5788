"""One capture file comes in, Chunks come out: blocks of bytes, read into a buffer that is used again, and indexed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from nfsleuth.capture.frames import FRAME, Chunk
from nfsleuth.capture.pcap import HEADER_BYTES as PCAP_HEADER
from nfsleuth.capture.pcap import Pcap, recognise
from nfsleuth.capture.pcapng import MAGIC as PCAPNG_MAGIC
from nfsleuth.capture.pcapng import SECTION_LEAST, Pcapng
from nfsleuth.capture.snoop import HEADER_BYTES as SNOOP_HEADER
from nfsleuth.capture.snoop import MAGIC as SNOOP_MAGIC
from nfsleuth.capture.snoop import Snoop
from nfsleuth.capture.source import Odd, Source
from nfsleuth.capture.streams import open_stream, unreadable
from nfsleuth.capture.walk import DAMAGED, FULL, Step
from nfsleuth.errors import Exit, NfsleuthError

BLOCK_LEAST = 64  # bytes: small enough to try every way to cut a file; the buffer grows where a record needs it
BYTES_PER_ROW = 64  # of the buffer, per row of the table: no Ethernet frame is shorter
NEVER = (2**63 - 1, -(2**63))  # span of no frames


class Walker(Protocol):
    """A file format: fills FRAME rows from ``buf[at:end]``, see `walk.Step`."""

    def index(self, buf: np.ndarray, at: int, end: int, frames: np.ndarray, number: int, base: int) -> Step:
        """number: of the last frame before. base: byte of the file at which `buf` begins."""
        ...


class Reader:
    """The frames of one file, numbered from 1.

    block: bytes of the buffer. index: the file's place among the paths of its trace. in_turn: use two buffers, so that
    a chunk stays good while the next one is made.
    Raises NfsleuthError (UNREADABLE) at once if nothing in the file can be read; a file that is cut or damaged later
    on ends there, and `source` says so.
    """

    def __init__(self, path: str, block: int, *, index: int = 0, in_turn: bool = False) -> None:
        self.source = Source(path)
        self.number = 0  # of the last frame
        self._index = index
        self._in_turn = in_turn
        self._span = np.array(NEVER, np.int64)
        self._buffer, self._resting = (np.empty(max(block, BLOCK_LEAST), np.uint8) for _ in range(2))
        self._table, self._resting_table = (np.empty(max(block // BYTES_PER_ROW, 1), FRAME) for _ in range(2))
        self._lent = False  # a chunk that is being used lies in the buffer
        self._at = 0  # the next record in the buffer
        self._end = 0  # of what is in the buffer
        self._base = 0  # byte of the file at which the buffer begins
        self._stream = open_stream(path)
        try:
            self._walker = self._begin()
        except BaseException:
            self.close()
            raise
        if self._stream.compression:
            self.source.format += f" ({self._stream.compression})"
        self._keep_count()

    @property
    def stored(self) -> int:
        """Bytes of the file that have been read, as stored."""
        return self._stream.stored

    @property
    def size(self) -> int | None:
        """Bytes of the file as stored; None for a pipe."""
        return self._stream.size

    @property
    def seekable(self) -> bool:
        """The same bytes can be had again by opening the path again."""
        return self.size is not None and self.source.path != "-"

    def chunks(self) -> Iterator[Chunk]:
        """The frames as they come. The chunk's buffer and table are used again for the next one, or the one after it
        (`in_turn`)."""
        while True:
            step = self._walker.index(self._buffer, self._at, self._end, self._table, self.number, self._base)
            self._at = step.at
            self.number = step.number
            self._keep_count(step.rows)
            if step.rows:
                chunk = Chunk(self._buffer, self._table[: step.rows], self._index)
                if self._in_turn:
                    self._lent = True
                    self._table, self._resting_table = self._resting_table, self._table
                yield chunk
            if step.status == DAMAGED:
                break
            if step.status != FULL and not self._read_on(step.need):
                break
        if self._stream.trouble is not None:
            self.source.note(self._stream.trouble, self.number, self._base + self._end)
        self._keep_count()

    def close(self) -> None:
        """Let go of the file."""
        self._stream.close()

    def _keep_count(self, rows: int = 0) -> None:
        source = self.source
        source.frames += rows
        source.bytes = self._stream.stored if self._stream.size is None else self._stream.size
        first, last = self._span.tolist()
        if first <= last:
            source.first, source.last = first, last

    def _read_on(self, need: int) -> bool:
        """Read once, after what is left in the buffer; False at the end of the file.

        need: bytes that the next record takes, or its header.
        """
        left = self._end - self._at
        if left < 0:  # a long block is to be skipped
            self._base += self._end
            self._at -= self._end
            self._end = 0
            self._unlent()
        # The rest moves to the front if that costs no more than has been read since the last time, or if it must.
        elif self._at and (left <= self._at or self._at + need > len(self._buffer)):
            rest = self._buffer[self._at : self._end]
            self._unlent()
            self._buffer[:left] = rest
            self._base += self._at
            self._at, self._end = 0, left
        if need > len(self._buffer):
            larger = np.empty(need, np.uint8)
            larger[: self._end] = self._buffer[: self._end]
            self._buffer = larger
            self._lent = False
        try:
            got = self._stream.readinto(memoryview(self._buffer)[self._end :])  # type: ignore[arg-type]
        except OSError as error:
            raise unreadable(self.source.path, error) from error
        self._end += got
        if got == 0 and self._at != self._end:
            self.source.note(Odd.FILE_CUT, self.number, self._base + self._end)
        return got > 0

    def _unlent(self) -> None:
        """See to it that nobody uses what is in the buffer: it is going to be overwritten."""
        if not self._lent:
            return
        if len(self._resting) < len(self._buffer):
            self._resting = np.empty(len(self._buffer), np.uint8)
        self._buffer, self._resting = self._resting, self._buffer
        self._lent = False

    def _begin(self) -> Walker:
        """Read the file's header: the walker for its format."""
        head = self._head(4)
        source, span = self.source, self._span
        found: Walker | str
        if recognise(head):
            source.format = "pcap"
            found = Pcap.begin(self._head(PCAP_HEADER), source, span)
            self._at = PCAP_HEADER
        elif head == PCAPNG_MAGIC:  # the walker reads the section header itself
            source.format = "pcapng"
            found = Pcapng.begin(self._head(SECTION_LEAST), source, span)
        elif head == SNOOP_MAGIC[:4]:
            source.format = "snoop"
            found = Snoop.begin(self._head(SNOOP_HEADER), source, span)
            self._at = SNOOP_HEADER
        else:
            found = f"byte 0: not a pcap or pcapng file (magic {head.hex(' ')}); convert it with editcap -F pcapng"
        if isinstance(found, str):
            raise self._hopeless(found)
        return found

    def _head(self, count: int) -> bytes:
        """The first `count` bytes of the file."""
        while self._end < count:
            if not self._read_on(0):
                raise self._hopeless(self._why_no_header())
        return self._buffer[:count].tobytes()

    def _why_no_header(self) -> str:
        if self._stream.trouble is not None:
            name = self._stream.compression
            return f"byte {self._stream.stored}: damaged or cut {name} stream, nothing came out; copy it again"
        if self._end == 0:
            return "byte 0: the file is empty; was the capture stopped before it was written (dumpcap, tcpdump -U)?"
        return f"byte {self._end}: the file ends inside its header; copy it again"

    def _hopeless(self, why: str) -> NfsleuthError:
        return NfsleuthError(f"{self.source.path}: {why}", Exit.UNREADABLE)

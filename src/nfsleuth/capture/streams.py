"""A path comes in, its bytes come out, decompressed where the first bytes say so: files, named pipes, standard input.

A stream gives what there is and does not wait for more, so that a capture that is still being written is read as it
grows. The libraries for compression are imported when a file needs them.
"""

from __future__ import annotations

import errno
import io
import os
import select
import stat
import sys
import zlib
from collections.abc import Callable
from typing import Any, Protocol, cast

from nfsleuth.capture.source import Odd
from nfsleuth.errors import Exit, NfsleuthError

STDIN = "-"
PIECE = 1 << 17  # compressed bytes that are read at a time
PIPE_ROOM = 1 << 20  # bytes that a pipe is asked to hold (Linux), so that one read fetches more than 64 KiB
WINDOW_MOST = 2**31  # of zstd: --ultra --long=31
MAGIC_MOST = 6  # bytes that tell every compression
MAGICS = {
    b"\x1f\x8b": "gz",
    b"\x28\xb5\x2f\xfd": "zst",
    b"\x04\x22\x4d\x18": "lz4",
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bz2",
}
ZSTD_FRAME = 0xFD2FB528
SKIPPABLE = 0x184D2A50  # to ...5F: a skippable frame of zstd (RFC 8878 section 3.1.2); pzstd begins with one


class Stream(Protocol):
    """Bytes of a capture, decompressed.

    compression: ``gz``, ... or empty. trouble: what was wrong with the compressed stream, known at the end.
    """

    compression: str
    trouble: Odd | None

    @property
    def stored(self) -> int:
        """Bytes taken from the file so far."""
        ...

    @property
    def size(self) -> int | None:
        """Bytes of the file; None for a pipe."""
        ...

    def readinto(self, room: memoryview) -> int:
        """Fill the beginning of `room` with what there is, at least one byte; 0 only at the end."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class Plain:
    """The bytes as they are stored."""

    compression = ""
    trouble: Odd | None = None

    def __init__(self, path: str) -> None:
        self._file: io.FileIO = open_raw(path)
        mode = os.fstat(self._file.fileno())
        self.size = mode.st_size if stat.S_ISREG(mode.st_mode) else None
        self.stored = 0
        self._ahead = b""
        if stat.S_ISFIFO(mode.st_mode):
            widen(self._file.fileno())

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, fewer at the end; they will be read again."""
        while len(self._ahead) < count:
            piece = self._read(count - len(self._ahead))
            if not piece:
                break
            self._ahead += piece
        return self._ahead[:count]

    def readinto(self, room: memoryview) -> int:
        """See `Stream`."""
        if self._ahead:
            taken = min(len(room), len(self._ahead))
            room[:taken] = self._ahead[:taken]
            self._ahead = self._ahead[taken:]
            return taken
        while True:
            got = self._file.readinto(room)
            if got is not None:
                self.stored += got
                return got
            self._wait()

    def read(self, count: int) -> bytes:
        """At most `count` bytes, what there is; none only at the end."""
        if self._ahead:
            piece, self._ahead = self._ahead[:count], self._ahead[count:]
            return piece
        return self._read(count)

    def _read(self, count: int) -> bytes:
        while True:
            piece = self._file.read(count)
            if piece is not None:
                self.stored += len(piece)
                return piece
            self._wait()

    def _wait(self) -> None:
        """Until there is something: whoever started us left the pipe in non-blocking mode."""
        select.select([self._file], [], [])

    def close(self) -> None:
        """Let go of the file; standard input stays open."""
        self._file.close()


class Packed:
    """What an engine makes of a compressed stream.

    An engine has the interface of `lzma.LZMADecompressor`: `decompress(data, max_length)`, `needs_input`, `eof`,
    `unused_data`. Members that follow each other are one stream, NULs behind the last are padding.
    """

    def __init__(self, raw: Plain, compression: str, engine: Callable[[], Any]) -> None:
        self.compression = compression
        self.trouble: Odd | None = None
        self._raw = raw
        self._magic = next(magic for magic, name in MAGICS.items() if name == compression)
        self._new_engine = engine
        self._engine = engine()
        self._done = False

    @property
    def stored(self) -> int:
        """See `Stream`."""
        return self._raw.stored

    @property
    def size(self) -> int | None:
        """See `Stream`."""
        return self._raw.size

    def readinto(self, room: memoryview) -> int:
        """See `Stream`."""
        data = b""
        while not self._done:
            if self._engine.eof:
                data = self._next_member()
                continue
            if not data and self._engine.needs_input:
                data = self._raw.read(min(PIECE, max(len(room), 1024)))
                if not data:
                    return self._end(Odd.COMPRESSION_CUT)
            try:
                out = self._engine.decompress(data, len(room))
            except Exception:  # each library has its own: zlib.error, LZMAError, OSError, RuntimeError
                return self._end(Odd.COMPRESSION_DAMAGED)
            data = b""
            if out:
                room[: len(out)] = out
                return len(out)
        return 0

    def _next_member(self) -> bytes:
        """The beginning of the member that follows, with an engine for it; none at the end."""
        rest = (self._engine.unused_data or b"").lstrip(b"\0")
        while len(rest) < len(self._magic):
            piece = self._raw.read(PIECE)
            if not piece:
                break
            rest = (rest + piece).lstrip(b"\0")
        if rest.startswith(self._magic):
            self._engine = self._new_engine()
            return bytes(rest)
        self._end(Odd.COMPRESSION_REST if rest else None)
        return b""

    def _end(self, trouble: Odd | None) -> int:
        self._done = True
        self.trouble = trouble
        return 0

    def close(self) -> None:
        """Let go of the file."""
        self._raw.close()


class GzipEngine:
    """zlib with the interface that `Packed` wants."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)
        self._pending = False

    @property
    def eof(self) -> bool:
        """The member has ended."""
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        """What follows it."""
        return self._inflate.unused_data

    @property
    def needs_input(self) -> bool:
        """All that could be made of the input has been handed out."""
        return not self._pending

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most `max_length` bytes."""
        out = self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)
        self._pending = len(out) == max_length or bool(self._inflate.unconsumed_tail)
        return out


class Zstd:
    """A zstd stream. The library decompresses into our buffer; whether the stream was complete, it does not say."""

    compression = "zst"

    def __init__(self, raw: Plain) -> None:
        import zstandard

        self.trouble: Odd | None = None
        self._raw = raw
        self._frames = ZstdFrames()
        self._error = zstandard.ZstdError
        context = zstandard.ZstdDecompressor(max_window_size=WINDOW_MOST)
        self._reader = context.stream_reader(cast("Any", self), read_size=PIECE, read_across_frames=True)

    @property
    def stored(self) -> int:
        """See `Stream`."""
        return self._raw.stored

    @property
    def size(self) -> int | None:
        """See `Stream`."""
        return self._raw.size

    def read(self, count: int = PIECE) -> bytes:
        """Compressed bytes, for the library."""
        data = self._raw.read(count)
        self._frames.follow(data)
        return data

    def readinto(self, room: memoryview) -> int:
        """See `Stream`."""
        if self.trouble is not None:
            return 0
        try:
            got = int(self._reader.readinto1(room))
        except self._error:
            self.trouble = Odd.COMPRESSION_REST if self._frames.strayed else Odd.COMPRESSION_DAMAGED
            return 0
        if got == 0 and not self._frames.complete:
            self.trouble = Odd.COMPRESSION_CUT
        return got

    def close(self) -> None:
        """Let go of the file."""
        self._raw.close()


class ZstdFrames:
    """Follows the frames and blocks of a zstd stream by their headers (RFC 8878 section 3.1), to know where it may end.

    complete: the bytes so far end where a frame ends. strayed: what follows the last frame is no zstd frame.
    """

    def __init__(self) -> None:
        self.complete = True
        self.strayed = False
        self._held = b""  # the beginning of a header
        self._skip = 0  # bytes to the next header
        self._blocks = False  # inside a frame, at a block header
        self._checksum = 0  # bytes of checksum behind the last block

    def follow(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        at = 0
        held = self._held + data
        while not self.strayed:
            if self._skip > len(held) - at:
                self._skip -= len(held) - at
                at = len(held)
                break
            at += self._skip
            self._skip = 0
            if at == len(held):
                self.complete = not self._blocks
                break
            length = self._header(held, at)
            if not length:
                break
            at += length
        self._held = held[at:]
        self.complete = self.complete and not self._held and not self._skip

    def _header(self, data: bytes, at: int) -> int:
        """Length of the header at `at`, 0 if it is not all there."""
        if self._blocks:
            return self._block_header(data, at)
        self.complete = False
        if len(data) - at < 5:
            return 0
        magic = int.from_bytes(data[at : at + 4], "little")
        if magic & ~0xF == SKIPPABLE:
            if len(data) - at < 8:
                return 0
            self._skip = int.from_bytes(data[at + 4 : at + 8], "little")
            return 8
        if magic != ZSTD_FRAME:
            self.strayed = True
            return 0
        descriptor = data[at + 4]
        single = descriptor >> 5 & 1
        self._checksum = 4 if descriptor & 4 else 0
        self._blocks = True
        # Window_Descriptor unless single segment, Dictionary_ID, Frame_Content_Size
        self._skip = (1 - single) + (0, 1, 2, 4)[descriptor & 3] + (single, 2, 4, 8)[descriptor >> 6]
        return 5

    def _block_header(self, data: bytes, at: int) -> int:
        self.complete = False
        if len(data) - at < 3:
            return 0
        header = int.from_bytes(data[at : at + 3], "little")
        run_length = header >> 1 & 3 == 1  # RLE_Block: one byte, whatever its size
        self._skip = 1 if run_length else header >> 3
        if header & 1:  # the last block
            self._blocks = False
            self._skip += self._checksum
        return 3


def open_stream(path: str) -> Stream:
    """The bytes of the capture at `path` (``-`` for standard input), decompressed if need be.

    Raises NfsleuthError (UNREADABLE) if it cannot be opened.
    """
    raw = Plain(path)
    try:
        head = raw.peek(MAGIC_MOST)
        name = next((name for magic, name in MAGICS.items() if head.startswith(magic)), "")
        if name == "zst" or (len(head) >= 4 and int.from_bytes(head[:4], "little") & ~0xF == SKIPPABLE):
            return Zstd(raw)
        return Packed(raw, name, engine_of(name)) if name else raw
    except OSError as error:
        raw.close()
        raise unreadable(path, error) from error


def engine_of(compression: str) -> Callable[[], Any]:
    """What makes decompressors with the interface that `Packed` wants."""
    if compression == "lz4":
        import lz4.frame

        return lz4.frame.LZ4FrameDecompressor  # type: ignore[no-any-return]
    if compression == "xz":
        import lzma

        return lzma.LZMADecompressor
    if compression == "bz2":
        import bz2

        return bz2.BZ2Decompressor
    return GzipEngine


def open_raw(path: str) -> io.FileIO:
    """The file at `path`, unbuffered. Raises NfsleuthError (UNREADABLE) that says why it cannot be opened."""
    try:
        return io.FileIO(0, "rb", closefd=False) if path == STDIN else io.FileIO(path, "rb")
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: str, error: OSError) -> NfsleuthError:
    """The error that names the file, what is wrong and the cure."""
    cures = {
        FileNotFoundError: "no such file; check the name",
        IsADirectoryError: "this is a folder; name the captures in it",
        PermissionError: "permission denied; run as a user who may read it",
    }
    why = cures.get(type(error), error.strerror or str(error))
    if error.errno == errno.EMFILE:
        why = "too many captures of the same time; join some with mergecap first"
    return NfsleuthError(f"{path}: {why}", Exit.UNREADABLE)


def widen(pipe: int) -> None:
    """Ask for more room in a pipe, where the system knows how."""
    if sys.platform == "linux":
        import fcntl

        try:
            if fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) < PIPE_ROOM:
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_ROOM)
        except OSError:  # more than /proc/sys/fs/pipe-max-size, or than this user may have: it works without
            return

"""An NFS export without a mount, through libnfs (https://github.com/sahlberg/libnfs), the user-space client library.

What is timed is then libnfs and not a kernel's client: it has no cache and reads nothing ahead, so each block is one
READ on the wire. The library is called through ctypes, since Debian ships no module for Python; of its interface
only what has been there since version 1.10 is used. Up to soname 14 (libnfs 5) the buffer is the last argument of
nfs_read and nfs_write; libnfs 6 (soname 16) put it before the length.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import mmap
import os
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from nfsleuth.bandwidth.active import loop
from nfsleuth.bandwidth.active.stores import Cache, File, refuse_sparse
from nfsleuth.bandwidth.plan import file_name
from nfsleuth.errors import Exit, NfsleuthError

NAMES = ("libnfs.so.13", "libnfs.so.14", "libnfs.so.16", "libnfs.so.12", "libnfs.so.11")
BUFFER_FIRST = 16  # soname from which on the buffer comes before the length
MOST_WRITTEN, LEAST_WRITTEN = 1 << 18, 256  # bytes per write
NOTE = "libnfs has no cache and reads nothing ahead: each block is one READ on the wire"


class _Url(ctypes.Structure):
    _fields_ = [("server", ctypes.c_char_p), ("path", ctypes.c_char_p), ("file", ctypes.c_char_p)]


class _Stat(ctypes.Structure):
    """struct nfs_stat_64."""

    _fields_ = [
        (f"nfs_{name}", ctypes.c_uint64)
        for name in (
            "dev", "ino", "mode", "nlink", "uid", "gid", "rdev", "size", "blksize", "blocks",
            "atime", "mtime", "ctime", "atime_nsec", "mtime_nsec", "ctime_nsec", "used",
        )
    ]  # fmt: skip


class _Room(ctypes.Structure):
    """struct nfs_statvfs_64; spare room behind it, should a later version have more fields."""

    _fields_ = [
        *(
            (name, ctypes.c_uint64)
            for name in ("bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree", "favail", "fsid", "flag")
        ),
        ("spare", ctypes.c_uint64 * 32),
    ]


def is_url(target: str) -> bool:
    """Whether `target` is an address for libnfs."""
    return target.startswith("nfs://")


class Export:
    """A folder of an NFS server, named by an address such as ``nfs://server/export/folder?version=4``."""

    kind = "libnfs"

    def __init__(self, url: str, timeout: float) -> None:
        self.url = url
        self._library, self._buffer_first = _load()
        context = self._library.nfs_init_context()
        if not context:
            raise NfsleuthError("libnfs: no memory")
        self._context = ctypes.c_void_p(context)
        parsed = self._library.nfs_parse_url_dir(self._context, url.encode())
        if not parsed:
            raise NfsleuthError(f"{url}: {self._why()}; write nfs://SERVER/EXPORT, with ?version=4 for NFSv4")
        if hasattr(self._library, "nfs_set_timeout"):
            self._library.nfs_set_timeout(self._context, int(timeout * 1000))
        server, path = parsed.contents.server, parsed.contents.path
        code = self._library.nfs_mount(self._context, server, path)
        self._library.nfs_destroy_url(parsed)
        if code < 0:
            raise NfsleuthError(f"{url}: cannot be mounted ({self._why()})", Exit.UNREADABLE)
        found = re.search(r"[?&]version=(\d)", url)
        self.filesystem = f"libnfs, NFSv{found[1] if found else 3}"

    def free(self) -> int | None:
        """Bytes that may be written, as the server says."""
        room = _Room()
        if not hasattr(self._library, "nfs_statvfs64"):
            return None
        if self._library.nfs_statvfs64(self._context, b"/", ctypes.byref(room)) < 0:
            return None
        return int(room.bavail * (room.frsize or room.bsize))

    def find(self, size: int) -> File | None:
        """The file of that size, if the server has it."""
        path, found = _path(size), _Stat()
        code = self._library.nfs_stat64(self._context, path.encode(), ctypes.byref(found))
        if code == -2:  # ENOENT
            return None
        self._check(code, path)
        if found.nfs_size != size:
            raise NfsleuthError(f"{self.url}{path}: is there and is not a file of {size} bytes; move it away")
        refuse_sparse(path, size, found.nfs_used)
        return File(path, size, False, _stamp(found))

    def create(self, size: int, made: Callable[[str], None], tick: loop.Tick) -> File:
        """As `stores.Folder.create`."""
        path = _path(size)
        handle = ctypes.c_void_p()
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
        self._check(self._library.nfs_open2(self._context, path.encode(), flags, 0o600, ctypes.byref(handle)), path)
        made(path)
        try:
            self._fill(handle, path, size, tick)
            self._check(self._library.nfs_fsync(self._context, handle), path)
        finally:
            self._library.nfs_close(self._context, handle)
        found = self._stat(path)
        refuse_sparse(path, size, found.nfs_used)
        return File(path, size, True, _stamp(found))

    def _fill(self, handle: ctypes.c_void_p, path: str, size: int, tick: loop.Tick) -> None:
        """Write `size` random bytes.

        libnfs 4.0 cannot encode a COMPOUND with more than about 1 kB of data (nfs-cp fails likewise over NFSv4), so a
        write that it refuses is tried again with half the bytes.
        """
        piece, done = MOST_WRITTEN, 0
        while done < size:
            data = os.urandom(min(piece, size - done))
            count = ctypes.c_uint64(len(data))
            arguments = (data, count) if self._buffer_first else (count, data)
            code = self._library.nfs_write(self._context, handle, *arguments)
            if code < 0 and "encode" in self._why() and piece > LEAST_WRITTEN:
                piece //= 2
                continue
            done += self._check(code, path)
            tick(done)

    def stamp(self, file: File) -> tuple[int, ...]:
        """Size and times of its last changes."""
        return _stamp(self._stat(file.path))

    def forget(self, file: File, cache: Cache) -> float | None:  # noqa: ARG002 - there is no cache
        """There is no cache."""
        return None

    def read(self, file: File, into: mmap.mmap, cache: Cache, tick: loop.Tick) -> float:  # noqa: ARG002
        """The clock runs from the first byte asked for to the last one received."""
        handle = ctypes.c_void_p()
        self._check(
            self._library.nfs_open(self._context, file.path.encode(), os.O_RDONLY, ctypes.byref(handle)), file.path
        )
        place = (ctypes.c_char * len(into)).from_buffer(into)
        count = ctypes.c_uint64(len(into))
        arguments = (place, count) if self._buffer_first else (count, place)
        read = partial(self._library.nfs_read, self._context, handle, *arguments)
        try:
            return loop.read_through(lambda _: self._check(read(), file.path), into, file.size, tick)
        finally:
            self._library.nfs_close(self._context, handle)

    def remove(self, path: str) -> None:
        """Delete it."""
        code = self._library.nfs_unlink(self._context, path.encode())
        if code != -2:
            self._check(code, path)

    def close(self) -> None:
        """Unmount."""
        self._library.nfs_destroy_context(self._context)

    def _stat(self, path: str) -> _Stat:
        found = _Stat()
        self._check(self._library.nfs_stat64(self._context, path.encode(), ctypes.byref(found)), path)
        return found

    def _check(self, code: int, path: str) -> int:
        """`code`, or the OSError that it stands for."""
        if code < 0:
            raise OSError(-code, self._why() or os.strerror(-code), path)
        return code

    def _why(self) -> str:
        said = self._library.nfs_get_error(self._context)
        return said.decode("utf-8", "replace").strip() if said else "no reason given"


def _load() -> tuple[Any, bool]:
    """The library, and whether the buffer is an argument before its length."""
    for name in (*NAMES, ctypes.util.find_library("nfs")):
        try:
            library = ctypes.CDLL(name) if name else None
        except OSError:
            continue
        if library is not None:
            _declare(library)
            number = re.search(r"\.(\d+)$", name or "")
            return library, bool(number) and int(number[1]) >= BUFFER_FIRST  # type: ignore[index]
    raise NfsleuthError(
        "libnfs is missing; on Debian and Ubuntu: apt install libnfs13 (or libnfs14), or mount the export"
    )


def _declare(library: ctypes.CDLL) -> None:
    """Types that ctypes would guess wrongly: pointers are no ints."""
    library.nfs_init_context.restype = ctypes.c_void_p
    library.nfs_parse_url_dir.restype = ctypes.POINTER(_Url)
    library.nfs_get_error.restype = ctypes.c_char_p


def _path(size: int) -> str:
    return "/" + file_name(size)


def _stamp(found: _Stat) -> tuple[int, ...]:
    return (found.nfs_size, found.nfs_mtime, found.nfs_mtime_nsec, found.nfs_ctime, found.nfs_ctime_nsec)

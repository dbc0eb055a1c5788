"""Where files are created and read: a folder of a file system (`Folder`); `libnfs.Export` is the other one."""

from __future__ import annotations

import ctypes
import io
import mmap
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from nfsleuth.bandwidth.active import loop
from nfsleuth.bandwidth.plan import file_name, human
from nfsleuth.errors import Exit, NfsleuthError

PIECE = 1 << 20  # bytes written at once
STORED = 0.9  # share of a file that must take room: one with less has holes, or is compressed
RESIDENT_SEEN = 4 << 30  # bytes of a file whose place in the cache is looked at
WARM = 0.05  # share of a file in the cache from which on a reading is not a cold one
DROP_CACHES = Path("/proc/sys/vm/drop_caches")
NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs", "fuse.glusterfs"})


class Cache(StrEnum):
    """How the client's cache is emptied before each reading."""

    AUTO = "auto"  # DROP if allowed, else ADVISE where it works, else DIRECT
    DROP = "drop"  # write 3 to /proc/sys/vm/drop_caches: root only, and it empties the cache of the whole machine
    ADVISE = "advise"  # posix_fadvise(POSIX_FADV_DONTNEED): this file only, and only a request
    DIRECT = "direct"  # O_DIRECT: past the cache, and past read-ahead
    KEEP = "keep"  # not at all: measures the cache once it is warm


CACHE_WORDS = {
    Cache.DROP: "drop_caches",
    Cache.ADVISE: "posix_fadvise(DONTNEED)",
    Cache.DIRECT: "O_DIRECT",
    Cache.KEEP: "kept",
}
DIRECT_NOTE = (
    "O_DIRECT reads past the client's cache and its read-ahead: each block is a request of its own, so small blocks "
    "measure the round trip more than the bandwidth"
)


@dataclass(frozen=True, slots=True)
class File:
    """A file to be read. made: by this run, which removes it; stamp: what changes when somebody writes to it."""

    path: str
    size: int
    made: bool
    stamp: tuple[int, ...]


class Store(Protocol):
    """What the worker needs of a place. Everything raises OSError as the file system does."""

    kind: str
    filesystem: str

    def free(self) -> int | None:
        """Bytes that may be written; None if that cannot be told."""

    def find(self, size: int) -> File | None:
        """The file of `size` bytes if it is there already.

        Raises NfsleuthError if what is there is no such file, or has holes.
        """

    def create(self, size: int, made: Callable[[str], None], tick: loop.Tick) -> File:
        """Make the file; `made` is told its path before the first byte is written. Raises NfsleuthError likewise."""

    def stamp(self, file: File) -> tuple[int, ...]:
        """What `File.stamp` would be now."""

    def forget(self, file: File, cache: Cache) -> float | None:
        """Empty the client's cache of `file`; the share of it that is still there, None if that cannot be told."""

    def read(self, file: File, into: mmap.mmap, cache: Cache, tick: loop.Tick) -> float:
        """Seconds that reading the file takes."""

    def remove(self, path: str) -> None:
        """Delete a file."""

    def close(self) -> None:
        """Let go of the place."""


def refuse_sparse(path: str, size: int, stored: int) -> None:
    """Raise NfsleuthError unless the file takes the room of its bytes. Some file systems never say: 0 passes."""
    if 0 < stored < size * STORED:
        raise NfsleuthError(
            f"{path}: {size} bytes take only {stored} on disk: it has holes, or is compressed, and reading it would "
            "time something else; choose a file system that stores what is written"
        )


class Folder:
    """A folder of a local or mounted file system."""

    def __init__(self, folder: str) -> None:
        if not Path(folder).is_dir():
            raise NfsleuthError(f"{folder}: is no folder; name the mount point, or a folder below it")
        self.folder = folder
        self.filesystem = filesystem_of(folder)
        self.kind = "mount" if self.filesystem in NETWORK else "local"

    def free(self) -> int | None:
        """Bytes that this user may write."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def find(self, size: int) -> File | None:
        """The file of that size from an earlier run, or made on the server."""
        path = self._path(size)
        try:
            found = path.lstat()
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(found.st_mode) or found.st_size != size:
            raise NfsleuthError(f"{path}: is there and is not a file of {size} bytes; move it away")
        refuse_sparse(str(path), size, found.st_blocks * 512)
        return File(str(path), size, False, _stamp(found))

    def create(self, size: int, made: Callable[[str], None], tick: loop.Tick) -> File:
        """Bytes that no server can compress or store once for two files, on disk before anything is timed."""
        path = self._path(size)
        with path.open("xb", buffering=0) as file:
            made(str(path))
            done = 0
            while done < size:
                done += file.write(os.urandom(min(PIECE, size - done))) or 0
                tick(done)
            os.fsync(file.fileno())
            found = os.fstat(file.fileno())
        refuse_sparse(str(path), size, found.st_blocks * 512)
        return File(str(path), size, True, _stamp(path.stat()))

    def stamp(self, file: File) -> tuple[int, ...]:
        """Size and times of its last changes."""
        return _stamp(Path(file.path).stat())

    def forget(self, file: File, cache: Cache) -> float | None:
        """Empty the cache as far as `cache` can."""
        if cache is Cache.DROP:
            DROP_CACHES.write_text("3\n")
        with io.FileIO(file.path) as opened:
            if cache in (Cache.ADVISE, Cache.DIRECT) and hasattr(os, "posix_fadvise"):
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            return resident(opened.fileno(), file.size)

    def read(self, file: File, into: mmap.mmap, cache: Cache, tick: loop.Tick) -> float:
        """The clock runs from the first byte asked for to the last one received: not while the file is opened."""
        flags = os.O_RDONLY | (os.O_DIRECT if cache is Cache.DIRECT and hasattr(os, "O_DIRECT") else 0)
        with io.FileIO(file.path, opener=lambda path, _: os.open(path, flags)) as opened:
            return loop.read_through(opened.readinto, into, file.size, tick)

    def remove(self, path: str) -> None:
        """Delete it; one that is gone already is as good."""
        Path(path).unlink(missing_ok=True)

    def close(self) -> None:
        """Nothing is held."""

    def _path(self, size: int) -> Path:
        return Path(self.folder) / file_name(size)


def may_drop() -> bool:
    """Whether this process may empty the machine's cache. (Containers show the file and refuse to open it.)"""
    try:
        os.close(os.open(DROP_CACHES, os.O_WRONLY))
    except OSError:
        return False
    return True


def choose_cache(store: Store, file: File, wanted: Cache, block: int) -> tuple[Cache, list[str]]:
    """What `Cache.AUTO` comes to here, tried on `file`; and notes for the reader.

    Raises NfsleuthError if the way that is wanted does not work here.
    """
    if store.kind == "libnfs":
        return Cache.KEEP, []
    direct_fits = hasattr(os, "O_DIRECT") and block % 512 == 0
    if wanted is Cache.DROP and not may_drop():
        raise NfsleuthError(f"{DROP_CACHES}: may not be written; run as root, or choose --cache advise or direct")
    if wanted is Cache.DIRECT and not direct_fits:
        raise NfsleuthError(
            f"--cache direct needs blocks of a multiple of 512 bytes, not {block}, and a system with O_DIRECT"
        )
    if wanted is Cache.AUTO:
        wanted = Cache.DROP if may_drop() else Cache.ADVISE
        left = store.forget(file, wanted)
        if wanted is Cache.ADVISE and left is not None and left > WARM and direct_fits:
            return Cache.DIRECT, [f"posix_fadvise left {100 * left:.0f} % of a file in the cache", DIRECT_NOTE]
    notes = {
        Cache.ADVISE: ["posix_fadvise asks the kernel to forget each file; it need not obey"],
        Cache.DIRECT: [DIRECT_NOTE],
        Cache.KEEP: ["the client's cache is kept: readings after the first come from memory"],
    }
    return wanted, notes.get(wanted, [])


def resident(descriptor: int, size: int) -> float | None:
    """Share of a file's first pages that lie in the page cache (mincore(2)); None where that cannot be told."""
    if not hasattr(ctypes, "CDLL") or os.name != "posix":
        return None
    import numpy as np

    length = min(size, RESIDENT_SEEN)
    pages = -(-length // mmap.PAGESIZE)
    flags = np.zeros(pages, np.uint8)
    try:
        with mmap.mmap(descriptor, length, prot=mmap.PROT_READ) as mapped:
            view = np.frombuffer(mapped, np.uint8)
            found = ctypes.CDLL(None, use_errno=True).mincore(
                ctypes.c_void_p(view.ctypes.data), ctypes.c_size_t(length), ctypes.c_void_p(flags.ctypes.data)
            )
            del view
    except (OSError, ValueError, AttributeError):
        return None
    return float((flags & 1).mean()) if found == 0 else None


def filesystem_of(folder: str, mounts: str = "/proc/self/mounts") -> str:
    """Type of the file system that `folder` is on, "" if the system does not say."""
    real = os.path.realpath(folder)
    try:
        lines = Path(mounts).read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    found = ("", "")
    for line in lines:
        words = line.split(" ")
        if len(words) < 3:
            continue
        point = words[1].encode("utf-8", "surrogateescape").decode("unicode_escape", "replace")  # \040 for a space
        if (real == point or real.startswith(point.rstrip("/") + "/")) and len(point) >= len(found[0]):
            found = (point, words[2])
    return found[1]


def explain(error: OSError, what: str) -> NfsleuthError:
    """What the file system said, with the cure that fits."""
    import errno

    cures = {
        errno.ENOSPC: "free some space, or choose smaller --sizes",
        errno.EDQUOT: "your quota is used up: choose smaller --sizes",
        errno.EROFS: "it is read-only: make the files on the server (bench --keep there), then run this again",
        errno.EACCES: "you may not write there: choose another folder, or make the files on the server (bench --keep)",
        errno.ENOENT: "somebody removed it meanwhile, or the mount is not what it was",
        errno.ESTALE: "the mount is stale: mount it again",
        errno.EIO: "look at the server, and at dmesg here",
        errno.ETIMEDOUT: "the server does not answer",
        errno.EFBIG: "choose smaller --sizes",
    }
    cure = cures.get(error.errno or 0, "")
    why = error.strerror or str(error)
    return NfsleuthError(f"{what}: {why}" + (f"; {cure}" if cure else ""), Exit.UNREADABLE)


def require_room(store: Store, sizes: list[int], target: str) -> None:
    """Raise NfsleuthError unless the files of `sizes` fit, with a hundredth to spare."""
    need, free = sum(sizes) * 101 // 100, store.free()
    if sizes and free is not None and free < need:
        raise NfsleuthError(
            f"{target}: the files need {need / 1e6:,.0f} MB and {free / 1e6:,.0f} MB are free; choose smaller --sizes "
            f"(largest now {human(max(sizes))})"
        )


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns)

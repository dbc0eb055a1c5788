"""A native client: NFS through libnfs, told what to do as the guests are (see agent.sh), as a process of its own.

    python -m nfsleuth.lab.native FOLDER

FOLDER holds `settings.json` (server, version, pause, name) and `steps`, one per line. Marks go to standard output,
decisions come from standard input. Seconds of `read` lie between the first call and the last reply of a file, by
CLOCK_MONOTONIC. libnfs has no page cache: each read goes to the server.

The functions used, and their arguments: libnfs, include/nfsc/libnfs.h, up to version 5.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import json
import os
import stat
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

READABLE = ("libnfs.so.13", "libnfs.so.14", "libnfs.so.12")  # up to version 5; 6 changed the order of arguments

READ_AHEAD = 1 << 17  # bytes: Linux's read_ahead_kb is 128

Consumer = Callable[[memoryview], object]
# What is made for each file anew, and takes its pieces: what `gzip` and `sha256sum` do with them.
CONSUMERS: dict[str, Callable[[], Consumer]] = {
    "": lambda: len,
    "gzip": lambda: zlib.compressobj(wbits=31).compress,
    "sha256": lambda: hashlib.sha256().update,
}


class CallError(Exception):
    """A call of libnfs failed."""


class Share:
    """A mounted share."""

    def __init__(self, server: str, version: int) -> None:
        self._lib = _library()
        self._context = ctypes.c_void_p(self._lib.nfs_init_context())
        self._do("set_version", version)
        self._do("mount", server.encode(), b"/export")

    def _do(self, what: str, *arguments: Any) -> int:  # noqa: ANN401 (of C functions)
        done = int(getattr(self._lib, f"nfs_{what}")(self._context, *arguments))
        if done < 0:
            raise self._failed(what, arguments)
        return done

    def _failed(self, what: str, arguments: object) -> CallError:
        said = self._lib.nfs_get_error(self._context) or b""
        return CallError(f"{what} {arguments}: {said.decode(errors='replace')}")

    def umount(self) -> None:
        """Unmount, and close the connection."""
        self._do("umount")
        self._lib.nfs_destroy_context(self._context)

    def read(self, path: str, block: int, order: list[int] | None, consume: Consumer = len) -> int:
        """Read a file in pieces of `block` bytes, in the `order` of their numbers or in sequence; returns its size.

        `consume` gets each piece before the next one is asked for.

        In sequence at least READ_AHEAD bytes are asked for at once, as a kernel's read-ahead would. (libnfs has one of
        its own, which in 4.0 loses the end of some files.)
        """
        handle = self._open(path, os.O_RDONLY)
        piece = max(block, READ_AHEAD) if order is None else block
        buffer = ctypes.create_string_buffer(piece)
        total = 0
        for number in itertools.count() if order is None else order:
            got = self._do("pread", handle, number * piece, piece, buffer)
            total += got
            if not got:
                break
            consume(memoryview(buffer)[:got])
        self._do("close", handle)
        return total

    def write(self, path: str, octets: int) -> None:
        """Write a file of `octets` zeros, flush it, rename it."""
        handle = ctypes.c_void_p()
        self._do("creat", path.encode(), 0o644, ctypes.byref(handle))
        block = bytes(min(octets, 1 << 16))
        for at in range(0, octets, len(block) or 1):
            piece = min(len(block), octets - at)
            self._do("pwrite", handle, at, piece, block)
        self._do("fsync", handle)
        self._do("close", handle)
        self._do("rename", path.encode(), f"{path}.old".encode())

    def walk(self, path: str) -> Iterator[str]:
        """The files below `path`, whose attributes were asked for, in order."""
        for name in sorted(self._list(path)):
            if self._mode(f"{path}/{name}") & 0o170000 == stat.S_IFDIR:
                yield from self.walk(f"{path}/{name}")
            else:
                yield f"{path}/{name}"

    def _open(self, path: str, flags: int) -> ctypes.c_void_p:
        handle = ctypes.c_void_p()
        self._do("open", path.encode(), flags, ctypes.byref(handle))
        return handle

    def _mode(self, path: str) -> int:
        # struct nfs_stat_64: nfs_dev, nfs_ino, nfs_mode, ..., each 64 bits wide
        found = (ctypes.c_uint64 * 64)()
        self._do("stat64", path.encode(), found)
        return int(found[2])

    def _list(self, path: str) -> list[str]:
        folder = ctypes.c_void_p()
        self._do("opendir", path.encode(), ctypes.byref(folder))
        names = []
        while entry := self._lib.nfs_readdir(self._context, folder):
            # struct nfsdirent begins with: next, name
            name = ctypes.cast(entry, ctypes.POINTER(ctypes.c_char_p))[1].decode(errors="replace")
            names.append(name)
        self._lib.nfs_closedir(self._context, folder)
        return [name for name in names if name not in (".", "..")]


def _library() -> Any:  # noqa: ANN401 (ctypes gives functions as attributes)
    for name in READABLE:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        for function in ("nfs_init_context", "nfs_readdir"):
            getattr(library, function).restype = ctypes.c_void_p
        library.nfs_get_error.restype = ctypes.c_char_p
        sizes: Any = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_char_p]
        library.nfs_pread.argtypes = library.nfs_pwrite.argtypes = sizes
        return library
    raise CallError(f"no library of {', '.join(READABLE)} here; apt-get install libnfs-utils")


def say(*words: object) -> None:
    """A mark for the lab."""
    print("@lab", *words, flush=True)  # noqa: T201 (the lab reads it)


def told(word: str) -> None:
    """Wait until the lab says `word`; its silence is the end."""
    for line in sys.stdin:
        if line.strip() == word:
            return
    raise CallError("the lab has gone")


def steps(share: Share, job: Path, name: str, consumer: str) -> dict[str, Callable[..., None]]:
    """What a line of the workload begins with -> what does it."""

    def metadata() -> None:
        for _ in share.walk("/tree"):
            pass

    def small(count: str) -> None:
        for _, path in zip(range(int(count)), share.walk("/tree"), strict=False):
            share.read(path, 1 << 16, None)

    def read(path: str, block: str, order: str = "") -> None:
        numbers = [int(line) for line in (job / order).read_text().split()] if order else None
        began = time.monotonic_ns()
        octets = share.read(f"/{path}", int(block), numbers, CONSUMERS[consumer]())
        say("read", path, octets, f"{(time.monotonic_ns() - began) / 1e9:.6f}")

    def write(octets: str) -> None:
        share.write(f"/outbox/{name}", int(octets))

    def idle(seconds: str) -> None:
        time.sleep(float(seconds))

    return {"metadata": metadata, "small": small, "read": read, "write": write, "idle": idle}


def main(job: Path) -> None:
    """Mount, work, unmount."""
    settings = json.loads((job / "settings.json").read_text())
    say("booted", "libnfs", "-", "-")
    # libnfs renews no lease: a mount that waited for others would be gone (NFS4ERR_EXPIRED).
    say("ready")
    told("go")
    share = Share(settings["server"], settings["version"])
    known = steps(share, job, settings["name"], settings["consumer"])
    for line in (job / "steps").read_text().splitlines():
        time.sleep(settings["pause"])
        step, *words = line.split()
        began = time.monotonic()
        known[step](*words)
        say("step", step, f"{time.monotonic() - began:.2f}")
    say("worked")
    told("end")
    share.umount()
    say("ended")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except (CallError, OSError) as error:
        say("failed", error)
        sys.exit(1)

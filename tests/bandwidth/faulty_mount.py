"""A file system that fails when told to: FOLDER comes in and shows up under MOUNT, through the kernel's FUSE client.

    python faulty_mount.py FOLDER MOUNT FAULTS

FAULTS is a file with lines such as ``read ESTALE``, ``write ENOSPC``, ``create EROFS`` or ``read hang``, which is looked
at before each operation. A read that hangs is what a hard NFS mount does whose server is gone: no signal but SIGKILL
ends it.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from pathlib import Path

from mfusepy import FUSE, FuseOSError, Operations

STAT = ("st_atime", "st_blocks", "st_ctime", "st_gid", "st_mode", "st_mtime", "st_nlink", "st_size", "st_uid")
ROOM = ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_ffree", "f_files", "f_frsize", "f_namemax")


class Faulty(Operations):
    """The folder `root`, with faults."""

    use_ns = False

    def __init__(self, root: Path, faults: Path) -> None:
        self.root, self.faults = root, faults

    def _place(self, path: str, operation: str) -> Path:
        """The file behind `path`, if `operation` is to succeed."""
        told = dict(line.split() for line in self.faults.read_text().splitlines())
        fault = told.get(operation)
        if fault == "hang":
            threading.Event().wait()
        if fault:
            raise FuseOSError(getattr(errno, fault))
        return self.root / path.lstrip("/")

    def getattr(self, path, fh=None):
        try:
            found = self._place(path, "getattr").lstat()
        except FileNotFoundError as error:
            raise FuseOSError(errno.ENOENT) from error
        return {name: getattr(found, name) for name in STAT}

    def readdir(self, path, fh):
        return [".", "..", *(one.name for one in self._place(path, "readdir").iterdir())]

    def create(self, path, mode, fi=None):
        return os.open(self._place(path, "create"), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def open(self, path, flags):
        return os.open(self._place(path, "open"), flags & ~os.O_DIRECT)

    def read(self, path, size, offset, fh):
        self._place(path, "read")
        return os.pread(fh, size, offset)

    def write(self, path, data, offset, fh):
        self._place(path, "write")
        return os.pwrite(fh, data, offset)

    def truncate(self, path, length, fh=None):
        os.truncate(self._place(path, "truncate"), length)

    def unlink(self, path):
        self._place(path, "unlink").unlink()

    def statfs(self, path):
        found = os.statvfs(self._place(path, "statfs"))
        return {name: getattr(found, name) for name in ROOM}

    def fsync(self, path, datasync, fh):
        os.fsync(fh)

    def release(self, path, fh):
        os.close(fh)


if __name__ == "__main__":
    folder, mount, faults = map(Path, sys.argv[1:])
    FUSE(Faulty(folder, faults), str(mount), foreground=True, attr_timeout=0, entry_timeout=0)

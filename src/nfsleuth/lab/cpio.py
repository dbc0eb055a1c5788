"""Archives that a kernel unpacks at boot: files come in, bytes in the "newc" format go out.

The format, and that a kernel unpacks several archives that follow each other: Linux,
Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

MAGIC = b"070701"
TRAILER = "TRAILER!!!"
ALIGNED = 4  # octets: each archive begins at a multiple


@dataclass(frozen=True)
class Entry:
    """One file of an archive: its content, and its mode with the type bits of stat.h."""

    content: bytes
    mode: int = stat.S_IFREG | 0o644


def program(content: bytes) -> Entry:
    """A file that can be run."""
    return Entry(content, stat.S_IFREG | 0o755)


def link(target: str) -> Entry:
    """A symbolic link."""
    return Entry(target.encode(), stat.S_IFLNK | 0o777)


def archive(files: Mapping[str, Entry]) -> bytes:
    """An archive of `files` by their path from the root; the folders above them are added."""
    members = dict.fromkeys(_folders(files), Entry(b"", stat.S_IFDIR | 0o755)) | dict(files)
    parts = [_member(number, name, members[name]) for number, name in enumerate(sorted(members), start=1)]
    return b"".join((*parts, _member(0, TRAILER, Entry(b"", 0))))


def _folders(names: Iterable[str]) -> set[str]:
    return {str(folder) for name in names for folder in PurePosixPath(name).parents if folder.name}


def _member(number: int, name: str, entry: Entry) -> bytes:
    # ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
    size, label = len(entry.content), name.encode() + b"\0"
    fields = (number, entry.mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(label), 0)
    head = MAGIC + b"".join(b"%08x" % field for field in fields) + label
    return _padded(head) + _padded(entry.content)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % ALIGNED)

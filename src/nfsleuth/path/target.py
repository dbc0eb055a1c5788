"""What there is to watch in a running guest: a `Process` comes in, a `Target` goes out, with all that has a name.

Nothing of the guest is changed by looking.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar, cast

from nfsleuth.path import elf, handlers
from nfsleuth.path.image import Image
from nfsleuth.path.model import Guest
from nfsleuth.path.packages import owner
from nfsleuth.path.process import LIBSLIRP, Mapping, Process, bias, live_tables

T = TypeVar("T")
REMEMBERED = 8  # images and tables
KNOWN = ".".join(map(str, handlers.KNOWN[0])), ".".join(map(str, handlers.KNOWN[1]))


@dataclass(frozen=True)
class Target:
    """A guest as it is found."""

    process: Process
    mappings: list[Mapping]
    qemu: Image
    slirp: Image | None
    slirp_path: str  # as the process sees it; "" without
    handlers: tuple[handlers.Handler, ...]  # of the clients that it has, or of all if that cannot be told
    notes: tuple[str, ...]

    @property
    def guest(self) -> Guest:
        """The description for a recording."""
        number = handlers.version(self.qemu)
        models = {h.client for h in self.handlers if h.nic}
        backends = {h.client for h in self.handlers if not h.nic}
        return Guest(
            self.process.pid,
            ".".join(map(str, number)) if number else "unknown",
            slirp_version(self.slirp_path) if self.slirp else "",
            tuple(sorted(models)),
            tuple(sorted(backends)),
        )

    def place(self, address: int) -> tuple[Image, int] | None:
        """The image that an address of the process lies in, and the address there."""
        for image, base in self._bases:
            if any(0 <= address - base - s.address < len(s.content) for s in image.segments):
                return image, address - base
        return None

    @cached_property
    def _bases(self) -> list[tuple[Image, int]]:
        """Images that are in the process, and what to add to their addresses."""
        names = {self.qemu.name: self.qemu, **({self.slirp.name: self.slirp} if self.slirp else {})}
        found = ((image, bias(self.mappings, image, name)) for name, image in names.items())
        return [(image, base) for image, base in found if base is not None]


def look(process: Process) -> Target:
    """Read the programs that run in `process`. Raises NfsleuthError if we may not, or it has ended."""
    mappings = process.mappings()
    qemu = _image(process.folder / "exe", process.program)
    library = next((m for m in mappings if LIBSLIRP.match(m.name)), None)
    slirp = _image(process.file_of(library), library.name) if library else None
    tables = _tables(process.folder / "exe", qemu)
    notes = version_notes(handlers.version(qemu))
    if slirp and "m_get" not in slirp.named():
        notes.append(
            "libslirp has no names but those it exports; a debug file, DEBUGINFOD_URLS or `path library` gives them"
        )
    return Target(
        process, mappings, qemu, slirp, library.path if library else "", tuple(_live(process, mappings, qemu, tables)),
        tuple(notes),
    )  # fmt: skip


def version_notes(number: tuple[int, int, int] | None) -> list[str]:
    """What to say of recordings of a version of QEMU that was not looked at."""
    if not handlers.is_known(number):
        shown = ".".join(map(str, number)) if number else "of unknown version"
        return [
            f"QEMU {shown}: tables of receive handlers are known for {KNOWN[0]} to {KNOWN[1]}; "
            "only exported functions are followed"
        ]
    if number and number[:2] not in handlers.CHECKED:
        checked = ", ".join(f"{major}.{minor}" for major, minor in handlers.CHECKED)
        return [
            f"QEMU {number[0]}.{number[1]}: its tables are taken to be like those of one of {checked}, which was not "
            "checked on a binary: names may be wrong"
        ]
    return []


def _image(path: Path, name: str) -> Image:
    """The program in `path`, read once for all guests that run it."""
    return _remembered(path, ("image", name), lambda: elf.read(path, name))


def _tables(path: Path, image: Image) -> list[handlers.Handler]:
    return _remembered(path, ("handlers",), lambda: handlers.find(image))


_memory: dict[object, object] = {}


def _remembered(path: Path, what: tuple[str, ...], make: Callable[[], T]) -> T:
    """What `make` gives for the content of `path`; the last few are kept, by file and time of change."""
    try:
        status = path.stat()
    except OSError:
        return make()  # says what is wrong with it
    key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, *what)
    if key not in _memory:
        while len(_memory) >= REMEMBERED:
            _memory.pop(next(iter(_memory)))
        _memory[key] = make()
    return cast(T, _memory[key])


def _live(
    process: Process, mappings: list[Mapping], qemu: Image, tables: Sequence[handlers.Handler]
) -> Sequence[handlers.Handler]:
    base = bias(mappings, qemu, process.program)
    if base is None or not tables:
        return tables
    live = live_tables(process, {base + h.table: h.table for h in tables})
    return [h for h in tables if h.table in live] or tables


def slirp_version(path: str) -> str:
    """The package that the library is from, and its version; what it is called if no package manager knows."""
    folder, _, name = path.rpartition("/")
    ours = re.search(r"/(libslirp)_([^_/]+)_(instrumented|plain)_[0-9a-f]+$", folder)
    return " ".join(ours.groups()) if ours else owner(path) or name


def kernel() -> str:
    """The kernel that places the probes."""
    return platform.release()

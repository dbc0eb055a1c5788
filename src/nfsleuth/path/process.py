"""A running QEMU: a process id comes in, a `Process` goes out: its threads, programs and libraries.

Files are opened through /proc/PID/exe and /proc/PID/map_files: that is the very file that runs, also when the guest has
a file system of its own or the package was upgraded since.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.path.image import Image

PROC = Path("/proc")
PROGRAM = re.compile(r"qemu-(system-\w+|kvm)|kvm")
MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) \S+ (\d+) *(.*)")
DELETED = " (deleted)"
LIBSLIRP = re.compile(r"libslirp\.so\.\d+")
LONGEST_HEAP = 1 << 28  # bytes of the heap that are looked through
MOST_THREADS = 64


@dataclass(frozen=True)
class Mapping:
    """A part of the process's memory."""

    start: int
    end: int
    access: str
    offset: int
    path: str

    @property
    def name(self) -> str:
        """Its file, without folders."""
        return self.path.removesuffix(DELETED).rpartition("/")[2]


@dataclass(frozen=True)
class Process:
    """A process that runs QEMU."""

    pid: int
    began: int  # start time, which tells it from a later one with the same pid
    program: str

    @property
    def folder(self) -> Path:
        """Its folder in /proc."""
        return PROC / str(self.pid)

    def alive(self) -> bool:
        """Whether it still runs."""
        return _began(self.pid) == self.began

    def threads(self) -> dict[int, str]:
        """Thread id -> name."""
        found = {}
        for task in _numbered(self.folder / "task"):
            try:
                found[int(task.name)] = (task / "comm").read_text(errors="replace").strip()
            except OSError:
                continue  # has ended
        return found

    def mappings(self) -> list[Mapping]:
        """Its memory. Raises NfsleuthError if we may not look."""
        try:
            lines = (self.folder / "maps").read_text(errors="replace").splitlines()
        except PermissionError:
            raise NfsleuthError(f"pid {self.pid} is another user's; use sudo") from None
        except OSError:
            raise self.gone() from None
        found = (MAPPING.fullmatch(line) for line in lines)
        return [Mapping(int(m[1], 16), int(m[2], 16), m[3], int(m[4], 16), m[6]) for m in found if m]

    def file_of(self, mapping: Mapping) -> Path:
        """A path that opens the mapped file itself."""
        return self.folder / "map_files" / f"{mapping.start:x}-{mapping.end:x}"

    def read(self, address: int, length: int) -> bytes:
        """Its memory; fewer bytes than asked for where it ends."""
        try:
            with (self.folder / "mem").open("rb", buffering=0) as file:
                file.seek(address)
                return file.read(length)
        except PermissionError:
            raise NfsleuthError(f"pid {self.pid} is another user's; use sudo") from None
        except (OSError, OverflowError):
            return b""

    def gone(self) -> NfsleuthError:
        """What to say when it has ended before anything was recorded."""
        return NfsleuthError(f"pid {self.pid} has ended; start the guest again and name its new pid", Exit.UNREADABLE)


def find(pid: int | None) -> Process:
    """The QEMU with `pid`, or the only one that runs. Raises NfsleuthError that names those that there are."""
    if pid is None:
        running = list(everyone())
        if len(running) == 1:
            return running[0]
        if not running:
            raise NfsleuthError("no QEMU runs on this machine that we can see; start a guest, or use sudo")
        raise NfsleuthError(f"several QEMU processes run; choose one with --pid: {_listed(running)}")
    program = _program(pid)
    began = _began(pid)
    if began is None:
        raise NfsleuthError(f"there is no process {pid}; {_there_is()}")
    if program is None:
        raise NfsleuthError(f"what process {pid} runs cannot be seen; it is another user's, so use sudo")
    if not PROGRAM.fullmatch(program):
        raise NfsleuthError(f"process {pid} is {program}, not QEMU; {_there_is()}")
    return Process(pid, began, program)


def everyone() -> Iterator[Process]:
    """All processes that run QEMU."""
    for folder in _numbered(PROC):
        pid = int(folder.name)
        program, began = _program(pid), _began(pid)
        if program and began is not None and PROGRAM.fullmatch(program):
            yield Process(pid, began, program)


def bias(mappings: list[Mapping], image: Image, name: str) -> int | None:
    """What to add to an address of `image` to get where it lies in the process; None if it is not there."""
    for mapping in mappings:
        if mapping.name == name and (address := image.address_of(mapping.offset)) is not None:
            return mapping.start - address
    return None


def live_tables(process: Process, tables: dict[int, int]) -> set[int]:
    """Which of `tables` (address in the process -> any number) a network client of the guest points to.

    QEMU's NetClientState begins with a pointer to its table (include/net/net.h) and is allocated on the heap: the heap
    is looked through for such pointers. One that is left over from a client that was removed is found as well.
    """
    import numpy as np

    wanted = np.array(sorted(tables), np.uint64)
    found: set[int] = set()
    for mapping in process.mappings():
        if mapping.path == "[heap]" and len(wanted):
            content = process.read(mapping.start, min(mapping.end - mapping.start, LONGEST_HEAP))
            words = np.frombuffer(content[: len(content) // 8 * 8], np.uint64)
            found |= {tables[int(word)] for word in np.unique(words[np.isin(words, wanted)])}
    return found


def _numbered(folder: Path) -> list[Path]:
    try:
        return sorted((p for p in folder.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
    except OSError:
        return []


def _program(pid: int) -> str | None:
    """The name of the program, or None if we may not know."""
    try:
        return (PROC / str(pid) / "exe").readlink().name.removesuffix(DELETED)
    except OSError:
        return None


def _began(pid: int) -> int | None:
    """Start time in clock ticks since the machine's, proc(5), field 22; None if there is no such process, or a dead."""
    try:
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[19]) if fields[0] not in "ZX" else None


def _listed(running: list[Process]) -> str:
    return ", ".join(f"{p.pid} ({p.program})" for p in running[:20]) + (", ..." if len(running) > 20 else "")


def _there_is() -> str:
    running = list(everyone())
    return f"QEMU runs as {_listed(running)}" if running else "no QEMU runs that we can see"

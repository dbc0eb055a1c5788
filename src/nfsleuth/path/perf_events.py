"""The kernel's perf events: what to count in which thread comes in, samples as a table come out.

perf_event_open(2) is called directly: an event lives as long as its file descriptor. So whatever ends this process, the
kernel takes the probes out with it, and neither `uprobe_events` nor any file ever names them. A probe is put only into
the processes whose threads it was opened for.

Formats: Linux, include/uapi/linux/perf_event.h; /sys/bus/event_source/devices/uprobe/format.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from nfsleuth.errors import Exit, NfsleuthError

UPROBE = Path("/sys/bus/event_source/devices/uprobe")
TRACEPOINT, SOFTWARE, CPU_CLOCK = 2, 1, 0
PERF_EVENT_OPEN, FSOPEN, FSCONFIG, FSMOUNT = 298, 430, 431, 432  # x86-64
FSCONFIG_CREATE = 6
CLOEXEC = 8  # PERF_FLAG_FD_CLOEXEC
ENABLE, DISABLE, SET_OUTPUT, SET_FILTER, ID = 0x2400, 0x2401, 0x2405, 0x40082406, 0x80082407  # ioctls
IP, TID, TIME, STACK_USER, IDENTIFIER = 1, 2, 4, 1 << 13, 1 << 16  # of sample_type
DISABLED, FREQUENCY, SAMPLE_ID_ALL, USE_CLOCK = 1, 1 << 10, 1 << 18, 1 << 25  # flags of perf_event_attr
MONOTONIC = 1  # CLOCK_MONOTONIC
SAMPLE, LOST = 9, 2  # types of records
PAGE = mmap.PAGESIZE
DATA_PAGES = 1 << 10  # of a thread's ring: 4 MiB, 60,000 samples
HEAD, TAIL = 1024, 1032  # in the first page, perf_event_mmap_page
ATTRIBUTE = struct.Struct("<IIQQQQQIIQQQQIiQIHH")

# What a probe or tracepoint writes: all samples have one size, so that they are read as a table.
PROBED = np.dtype(
    [("head", "<u8"), ("event", "<u8"), ("ip", "<u8"), ("pid", "<u4"), ("tid", "<u4"), ("time", "<i8"),
     ("stack_size", "<u8"), ("stack", "<u8"), ("stack_used", "<u8")]
)  # fmt: skip
CLOCKED = np.dtype([("head", "<u8"), ("event", "<u8"), ("ip", "<u8"), ("pid", "<u4"), ("tid", "<u4"), ("time", "<i8")])
Samples = npt.NDArray[np.void]

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Probe:
    """What to watch: a place in a program's file, or a tracepoint."""

    place: str = ""  # path of the file; empty for a tracepoint
    offset: int = 0  # in the file
    returning: bool = False  # at the return of the function that starts there
    tracepoint: int = 0  # its id
    clock: int = 0  # samples per second of CPU time


@dataclass
class Opened:
    """A probe in a thread."""

    probe: int  # its number
    tid: int
    file: int
    event: int  # id in samples


@dataclass
class Ring:
    """The memory into which the kernel writes a thread's samples."""

    memory: mmap.mmap
    lost: int = 0
    unread: int = 0  # samples of another size: a stack that could not be copied


@dataclass
class Watch:
    """Probes in threads. Use as a context manager: leaving it takes everything out.

    `probes` are opened in each of the threads `tids`; threads that end meanwhile are left out. Raises NfsleuthError
    if the kernel does not let us.
    """

    probes: Sequence[Probe]
    tids: Sequence[int]
    dtype: np.dtype[np.void] = field(default_factory=lambda: PROBED)
    pages: int = DATA_PAGES
    opened: list[Opened] = field(default_factory=list)
    rings: dict[int, Ring] = field(default_factory=dict)

    def __enter__(self) -> Self:
        try:
            for tid in self.tids:
                with contextlib.suppress(ProcessLookupError):
                    self._open(tid)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        ordered = sorted((o.event, o.probe) for o in self.opened)
        self._events = np.array([event for event, _ in ordered], np.uint64)
        self._numbers = np.array([probe for _, probe in ordered], np.uint64)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.take_out().join()

    def take_out(self) -> threading.Thread:
        """Begin to take everything out; the thread that does it ends when it is done.

        For each place in a program and each thread of it the kernel waits until nobody can be in it any more
        (uprobe_unregister_sync, kernel/events/uprobes.c), 0.1 s: for a guest that makes some seconds.
        """
        for ring in self.rings.values():
            ring.memory.close()
        files = [opened.file for opened in self.opened]
        self.opened.clear()
        self.rings.clear()
        thread = threading.Thread(target=_close, args=(files,))
        thread.start()
        return thread

    def _open(self, tid: int) -> None:
        for number, probe in enumerate(self.probes):
            file = _perf_event_open(_attribute(probe, self.dtype == PROBED), tid, probe)
            self.opened.append(Opened(number, tid, file, _identity(file)))
            if tid in self.rings:
                first = next(o for o in self.opened if o.tid == tid)
                fcntl.ioctl(file, SET_OUTPUT, first.file)
            else:
                self.rings[tid] = Ring(mmap.mmap(file, (1 + self.pages) * PAGE))

    def enable(self) -> None:
        """Begin."""
        for opened in self.opened:
            fcntl.ioctl(opened.file, ENABLE, 0)

    def disable(self) -> None:
        """Stop; what is written can still be read."""
        for opened in self.opened:
            fcntl.ioctl(opened.file, DISABLE, 0)

    def counts(self) -> list[int]:
        """How often each probe was passed while it was enabled, whether its samples fitted or not."""
        totals = [0] * len(self.probes)
        for opened in self.opened:
            totals[opened.probe] += int.from_bytes(os.read(opened.file, 8), "little")
        return totals

    @property
    def lost(self) -> int:
        """Samples that did not fit."""
        return sum(ring.lost + ring.unread for ring in self.rings.values())

    def read(self) -> Iterator[tuple[int, Samples]]:
        """What was written since: (thread, samples) for each thread, `event` being the probe's number."""
        for tid, ring in self.rings.items():
            for samples in _samples(ring, self.dtype):
                samples["event"] = self._numbers[np.searchsorted(self._events, samples["event"])]
                yield tid, samples


def _close(files: Sequence[int]) -> None:
    for file in files:
        os.close(file)


def _attribute(probe: Probe, stack: bool) -> bytes:
    """A perf_event_attr of version 5, without the path that it points to: `_perf_event_open` fills that in."""
    kind, config, period = SOFTWARE, CPU_CLOCK, 1
    flags = DISABLED | SAMPLE_ID_ALL | USE_CLOCK
    if probe.place:
        kind, config = _uprobe_type(), int(probe.returning)
    elif probe.tracepoint:
        kind, config = TRACEPOINT, probe.tracepoint
    else:
        period, flags = probe.clock, flags | FREQUENCY
    sampled = IDENTIFIER | IP | TID | TIME | (STACK_USER if stack else 0)
    path = 0  # filled in
    return ATTRIBUTE.pack(
        kind, ATTRIBUTE.size, config, period, sampled, 0, flags, 0, 0, path, probe.offset, 0, 0,
        8 if stack else 0, MONOTONIC, 0, 0, 0, 0,
    )  # fmt: skip


def _perf_event_open(attribute: bytes, tid: int, probe: Probe) -> int:
    buffer = ctypes.create_string_buffer(attribute, len(attribute))
    path = ctypes.create_string_buffer(os.fsencode(probe.place))
    if probe.place:
        struct.pack_into("<Q", buffer, PATH, ctypes.addressof(path))
    file = _libc.syscall(PERF_EVENT_OPEN, buffer, tid, -1, -1, CLOEXEC)
    if file >= 0:
        return int(file)
    number = ctypes.get_errno()
    if number == errno.ESRCH:
        raise ProcessLookupError(tid)
    if number in (errno.EACCES, errno.EPERM):
        raise NfsleuthError(
            "the kernel lets only root watch another process (perf_event_open(2)); use sudo", Exit.PARTS_MISSING
        )
    if number == errno.EMFILE:
        raise NfsleuthError("too many probes for the limit of open files; raise it (ulimit -n) or name fewer threads")
    raise NfsleuthError(f"the kernel refuses a probe: {os.strerror(number)} ({probe.place or 'event'})", Exit.WRONG_USE)


PATH = struct.calcsize("<IIQQQQQII")  # offset of uprobe_path in perf_event_attr


def _uprobe_type() -> int:
    try:
        return int((UPROBE / "type").read_text())
    except OSError:
        raise NfsleuthError(
            "this kernel has no uprobes (CONFIG_UPROBE_EVENTS); --method sampling and instrumented work without",
            Exit.PARTS_MISSING,
        ) from None


def _identity(file: int) -> int:
    return int.from_bytes(fcntl.ioctl(file, ID, bytes(8)), "little")


def _samples(ring: Ring, dtype: np.dtype[np.void]) -> Iterator[Samples]:
    """Samples of a ring since the last call, in order; the room is given back to the kernel."""
    memory, size = ring.memory, len(ring.memory) - PAGE
    head = int.from_bytes(memory[HEAD : HEAD + 8], "little")
    tail = int.from_bytes(memory[TAIL : TAIL + 8], "little")
    at, length = tail % size, head - tail
    content = memory[PAGE + at : PAGE + min(size, at + length)]
    if at + length > size:
        content += memory[PAGE : PAGE + at + length - size]
    memory[TAIL : TAIL + 8] = head.to_bytes(8, "little")
    yield from records(content, ring, dtype)


def records(content: bytes, ring: Ring, dtype: np.dtype[np.void]) -> Iterator[Samples]:
    """Split what a ring holds: runs of samples as tables of `dtype`; lost ones are counted in `ring`."""
    at, step = 0, dtype.itemsize
    while at + 8 <= len(content):
        kind, _, size = struct.unpack_from("<IHH", content, at)
        if size < 8 or at + size > len(content):  # never from a kernel
            return
        if kind == SAMPLE and size == step:
            count = (len(content) - at) // step
            table = np.frombuffer(content, dtype, count, at)
            # The low half of the head is the type, the high 16 bits the size; the mode between them differs.
            other = np.flatnonzero((table["head"] & 0xFFFF0000FFFFFFFF) != (SAMPLE | step << 48))
            count = int(other[0]) if len(other) else count
            yield table[:count].copy()
            at += count * step
            continue
        if kind == LOST:
            ring.lost += struct.unpack_from("<Q", content, at + 16)[0]
        elif kind == SAMPLE:
            ring.unread += 1
        at += size


def tracepoint(name: str) -> int:
    """The id of the tracepoint `name`, such as "syscalls/sys_enter_sendto". Raises NfsleuthError if there is none.

    tracefs is read through a mount that no path leads to (fsmount(2)), whether it is mounted or not.
    """
    try:
        file = os.open(f"events/{name}/id", os.O_RDONLY, dir_fd=_tracefs())
    except OSError:
        raise NfsleuthError(
            f"this kernel has no tracepoint {name}; --method sampling works without", Exit.PARTS_MISSING
        ) from None
    with os.fdopen(file) as opened:
        return int(opened.read())


_mounted: list[int] = []


def _tracefs() -> int:
    if not _mounted:
        context = _libc.syscall(FSOPEN, b"tracefs", 1)
        if context < 0:
            raise OSError(ctypes.get_errno(), "fsopen")
        try:
            _libc.syscall(FSCONFIG, context, FSCONFIG_CREATE, None, None, 0)
            mounted = _libc.syscall(FSMOUNT, context, 1, 0)
        finally:
            os.close(context)
        if mounted < 0:
            raise OSError(ctypes.get_errno(), "fsmount")
        _mounted.append(mounted)
    return _mounted[0]

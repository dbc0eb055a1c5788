"""The method instrumented: a guest that runs our build of libslirp comes in, a recording of every call in it goes out.

The recorder lies in the library (recorder.c). It takes notes until a time that we write into its memory, a second ahead
and again and again: if we are killed, it stops by itself. Its notes are read out of its memory.
"""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nfsleuth.errors import NfsleuthError
from nfsleuth.path import elf
from nfsleuth.path.model import EVENT, NO_CALLER, Cost, Events, Function, Method, Overhead, Recording, Role, Thread
from nfsleuth.path.process import bias
from nfsleuth.path.target import Target, kernel
from nfsleuth.path.watching import Heard, Meter, Wishes, until_over

STATE = "nfsleuth_state"
THREADS, NOTES = 8, 1 << 19  # as in recorder.c
HEADER, RING_HEADER = 16, 16
NOTE = np.dtype([("time", "<u8"), ("function", "<u8")])
RING = RING_HEADER + NOTES * NOTE.itemsize
PAUSE = 0.02  # s
AHEAD = 1.0  # s for which the recorder may go on without us
WRAPPER = "__wrap_"  # of a system call


@dataclass
class _Ring:
    """What was read of a thread's notes."""

    base: int  # its address
    read: int = 0  # notes up to here
    lost: int = 0
    parts: list[npt.NDArray[np.void]] = field(default_factory=list)


def record(target: Target, wishes: Wishes, heard: Heard = lambda _: None) -> Recording:
    """Record for `wishes.seconds`, or until the guest ends or the recording is full."""
    path, base = _state(target)
    heard("calibrating")
    library = ctypes.CDLL(str(path))
    library.nfsleuth_now.restype = ctypes.c_uint64
    ticks, cost = _calibrated(library)
    meter = Meter(target.process, wishes.baseline)
    before = meter.rate(wishes.baseline)
    rings = [_Ring(base + HEADER + number * RING) for number in range(THREADS)]
    for ring in rings:
        ring.read = _head(target, ring)
    began, start, at_start = datetime.now(UTC), time.monotonic(), meter.bytes()
    notes = list(target.notes)
    _allow(target, base, library.nfsleuth_now() + int(AHEAD * ticks))
    heard(f"recording for {wishes.seconds:g} s")

    def look() -> int:
        _allow(target, base, library.nfsleuth_now() + int(AHEAD * ticks))
        return sum(_take(target, ring) for ring in rings)

    try:
        if ended := until_over(target.process, wishes, PAUSE, look):
            notes.append(ended)
    finally:
        _allow(target, base, 0)
    seconds = time.monotonic() - start
    during = meter.since(at_start, seconds)
    for ring in rings:
        _take(target, ring)
    after = meter.rate(wishes.baseline)
    functions, events = _events(target, rings, ticks)
    threads = tuple(Thread(number + 1, f"thread {number + 1} in libslirp") for number in range(THREADS))
    counts = np.bincount(events["function"][events["kind"] == 0], minlength=len(functions))
    return Recording(
        Method.INSTRUMENTED, began.isoformat(timespec="seconds"), round(seconds, 3), kernel(), target.guest, threads,
        tuple(functions), (), {Method.INSTRUMENTED.value: cost}, tuple(counts.tolist()),
        sum(ring.lost for ring in rings), tuple(notes),
        overhead=Overhead(before, during, after, meter.source) if wishes.baseline else None, events=events,
    )  # fmt: skip


def _state(target: Target) -> tuple[Path, int]:
    """The library's file, and where the recorder's state lies in the process."""
    if target.slirp:
        mapping = next(m for m in target.mappings if m.name == target.slirp.name)
        path = target.process.file_of(mapping)
        address = elf.data_address(path, STATE)
        base = bias(target.mappings, target.slirp, target.slirp.name)
        if address is not None and base is not None:
            return path, base + address
    raise NfsleuthError(
        f"pid {target.process.pid} runs no libslirp of ours; start the guest with the LD_LIBRARY_PATH that "
        "`nfsleuth path library` prints, or use --method uprobes"
    )


def _calibrated(library: ctypes.CDLL) -> tuple[float, Cost]:
    """Ticks per second, and what a noted call costs."""
    results = (ctypes.c_double * 3)()
    library.nfsleuth_calibrate(results)
    ticks, pair, inside = results
    return ticks, Cost(round(pair / ticks * 1e9, 2), round(inside / ticks * 1e9, 2))


def _allow(target: Target, base: int, until: int) -> None:
    """Let the recorder take notes up to the tick `until`."""
    try:
        with (target.process.folder / "mem").open("r+b", buffering=0) as file:
            file.seek(base)
            file.write(until.to_bytes(8, "little"))
    except OSError:
        return  # the guest has ended


def _head(target: Target, ring: _Ring) -> int:
    return int.from_bytes(target.process.read(ring.base, 8), "little")


def _take(target: Target, ring: _Ring) -> int:
    """Read the notes that are new; returns how many there are in all."""
    head = _head(target, ring)
    first = max(ring.read, head - NOTES)
    if head > first:
        notes = np.concatenate([_notes(target, ring, a, b) for a, b in _pieces(first, head)])
        # What was written over while we read is lost.
        valid = max(first, _head(target, ring) - NOTES)
        ring.lost += valid - ring.read
        ring.parts.append(notes[valid - first :])
        ring.read = head
    return sum(map(len, ring.parts))


def _pieces(first: int, head: int) -> list[tuple[int, int]]:
    """A range of notes in parts that do not pass the ring's end."""
    turn = (first // NOTES + 1) * NOTES
    return [(first, head)] if head <= turn else [(first, turn), (turn, head)]


def _notes(target: Target, ring: _Ring, first: int, last: int) -> npt.NDArray[np.void]:
    at = ring.base + RING_HEADER + first % NOTES * NOTE.itemsize
    content = target.process.read(at, (last - first) * NOTE.itemsize)
    return np.frombuffer(content[: len(content) // NOTE.itemsize * NOTE.itemsize], NOTE)


def _events(target: Target, rings: list[_Ring], ticks: float) -> tuple[list[Function], Events]:
    assert target.slirp
    parts = [(n, part) for n, ring in enumerate(rings) for part in ring.parts]
    notes = np.concatenate([np.zeros(0, NOTE), *(part for _, part in parts)])
    events = np.zeros(len(notes), EVENT)
    addresses, numbers = np.unique(notes["function"] >> np.uint64(1), return_inverse=True)
    events["function"], events["kind"] = numbers, notes["function"] & np.uint64(1)
    events["time"] = (notes["time"] / ticks * 1e9).astype(np.int64)
    events["caller"] = NO_CALLER
    events["thread"] = np.concatenate([np.zeros(0, np.uint8), *(np.full(len(part), n, np.uint8) for n, part in parts)])
    base = bias(target.mappings, target.slirp, target.slirp.name) or 0
    return [_function(target, address - base) for address in addresses.tolist()], events


def _function(target: Target, address: int) -> Function:
    assert target.slirp
    name = target.slirp.names.get(address, f"{target.slirp.name}+{address:#x}")
    role = Role.SYSCALL if name.startswith(WRAPPER) else Role.SLIRP
    return Function(name.removeprefix(WRAPPER), target.slirp.name, max(0, address), role, source="symbol table")

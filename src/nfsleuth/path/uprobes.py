"""The method uprobes: a guest comes in, a recording goes out in which every call of the watched functions is an event.

Counts and edges are exact; times contain the probes (see `tree`). The guest is stopped for some microseconds at every
call of a watched function, and is as it was when the recording ends.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import numpy as np

from nfsleuth.path import calibrate, functions
from nfsleuth.path.functions import ENTRIES
from nfsleuth.path.model import EVENT, NO_CALLER, Function, Kind, Method, Overhead, Recording, Role, Thread
from nfsleuth.path.perf_events import Probe, Samples, Watch, tracepoint
from nfsleuth.path.process import MOST_THREADS
from nfsleuth.path.target import Target, kernel
from nfsleuth.path.watching import Heard, Meter, Wishes, until_over

PAUSE = 0.02  # seconds between two looks at the rings


@dataclass
class _Gathered:
    """Events as they come in."""

    count: int = 0
    parts: list[tuple[int, Samples]] = field(default_factory=list)

    def add(self, thread: int, samples: Samples) -> None:
        self.parts.append((thread, samples[["event", "time", "stack"]].copy()))
        self.count += len(samples)

    def take(self, watch: Watch) -> int:
        """Add what is new; returns how many events there are in all."""
        for tid, samples in watch.read():
            self.add(tid, samples)
        return self.count


def record(target: Target, wishes: Wishes, heard: Heard = lambda _: None) -> Recording:
    """Record for `wishes.seconds`, or until the guest ends, or Ctrl-C. `heard` gets progress."""
    watched, left_out = chosen(target, wishes.stepped)
    probes = [probe for function in watched for probe in _probes(target, function)]
    tids = dict(list(target.process.threads().items())[:MOST_THREADS])
    notes = list(target.notes)
    heard(f"calibrating: {len(watched)} functions in {len(tids)} threads")
    costs = calibrate.probe_costs(len(tids))
    meter = Meter(target.process, wishes.baseline)
    before = meter.rate(wishes.baseline)
    gathered = _Gathered()
    with Watch(probes, list(tids)) as watch:
        watch.enable()
        began, start = datetime.now(UTC), time.monotonic()
        at_start = meter.bytes()
        heard(f"recording for {wishes.seconds:g} s")
        ended = until_over(target.process, wishes, PAUSE, partial(gathered.take, watch))
        seconds = time.monotonic() - start
        during = meter.since(at_start, seconds)
        watch.disable()
        gathered.take(watch)
        counts, lost = watch.counts(), watch.lost
        taken_out = watch.take_out()
    if ended:
        notes.append(ended)
    if target.process.alive():
        began_later = target.process.threads().keys() - tids.keys()
        if began_later:
            notes.append(f"{len(began_later)} threads that began meanwhile, or beyond {MOST_THREADS}, were not watched")
    if wishes.baseline:
        taken_out.join()  # else what follows need not wait: the guest has been let go
    after = meter.rate(wishes.baseline)
    events, callers = _events(gathered, list(tids), target, watched)
    return Recording(
        Method.UPROBES, began.isoformat(timespec="seconds"), round(seconds, 3), kernel(), target.guest,
        tuple(Thread(tid, name) for tid, name in tids.items()), tuple(watched), callers, costs,
        tuple(counts[::2]), lost, tuple(notes), tuple(left_out),
        overhead=Overhead(before, during, after, meter.source) if wishes.baseline else None, events=events,
    )  # fmt: skip


def chosen(target: Target, stepped: bool) -> tuple[list[Function], list[str]]:
    """Functions to watch, and names of those that are left out because each call would cost 10 us more."""
    found = functions.of_qemu(target.qemu, target.handlers)
    if target.slirp:
        found += functions.of_slirp(target.slirp)
    # Handlers say what a frame is, and tap_read_packet which reads are of frames: they are watched whatever they cost.
    kept = [f for f in found if stepped or not f.stepped or f.role not in (Role.SLIRP, Role.NET) or f.name in ENTRIES]
    left_out = [f.name for f in found if f not in kept]
    return kept + functions.system_calls(), left_out


def _probes(target: Target, function: Function) -> list[Probe]:
    if function.role is Role.SYSCALL:
        return [Probe(tracepoint=tracepoint(f"syscalls/sys_{side}_{function.name}")) for side in ("enter", "exit")]
    slirp = target.slirp if target.slirp and function.object == target.slirp.name else None
    path = target.process.folder / "exe"
    if slirp:
        path = target.process.file_of(next(m for m in target.mappings if m.name == slirp.name))
    offset = (slirp or target.qemu).offset_of(function.address)
    assert offset is not None, "functions are found in segments of their file"
    return [Probe(str(path), offset, returning) for returning in (False, True)]


def _events(
    gathered: _Gathered, tids: list[int], target: Target, watched: list[Function]
) -> tuple[np.ndarray[tuple[int], np.dtype[np.void]], tuple[str, ...]]:
    """Events as a recording holds them, and the names of callers."""
    events = np.zeros(gathered.count, EVENT)
    stacks = np.zeros(gathered.count, np.uint64)
    at = 0
    for tid, samples in gathered.parts:
        part = slice(at, at + len(samples))
        events["time"][part] = samples["time"]
        events["function"][part] = samples["event"] // 2
        events["kind"][part] = samples["event"] % 2
        events["thread"][part] = tids.index(tid)
        stacks[part] = samples["stack"]
        at += len(samples)
    inside = np.array([f.role is not Role.SYSCALL for f in watched])
    calls = (events["kind"] == Kind.ENTER) & inside[events["function"]]
    events["caller"] = NO_CALLER
    addresses, numbers = np.unique(stacks[calls], return_inverse=True)
    names = [caller(target, address) for address in addresses.tolist()]
    callers = sorted(set(filter(None, names)))
    table = np.array([callers.index(name) if name else NO_CALLER for name in names], np.uint32)
    if len(table):
        events["caller"][calls] = table[numbers]
    return events, tuple(callers)


def caller(target: Target, address: int) -> str | None:
    """The function that the return address `address` lies in; None if it is none of QEMU's or libslirp's."""
    found = target.place(address)
    if found is None:
        return None
    image, place = found
    start = image.function_at(place)
    if start is None:
        return None
    known = {h.address: h.name for h in target.handlers} if image is target.qemu else {}
    return image.names.get(start) or known.get(start) or f"{image.name}+{start:#x}"

"""The method sampling: a guest comes in, a recording goes out that says in which function its threads were how often.

A clock of each thread's CPU time interrupts it (PERF_COUNT_SW_CPU_CLOCK, which every machine has). It disturbs little
and so tells shares best, but it counts no calls and follows no packet.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from nfsleuth.path import functions
from nfsleuth.path.model import Function, Method, Overhead, Recording, Role, Thread
from nfsleuth.path.perf_events import CLOCKED, Probe, Watch
from nfsleuth.path.process import MOST_THREADS, Mapping
from nfsleuth.path.target import Target, kernel
from nfsleuth.path.watching import Heard, Meter, Wishes, until_over

RATE = 20_000  # samples per second of CPU time
HIGHEST = Path("/proc/sys/kernel/perf_event_max_sample_rate")
PAUSE = 0.05  # s
KERNEL = 1 << 63  # addresses from here on


def record(target: Target, wishes: Wishes, heard: Heard = lambda _: None) -> Recording:
    """Sample for `wishes.seconds`, or until the guest ends."""
    tids = dict(list(target.process.threads().items())[:MOST_THREADS])
    notes = list(target.notes)
    meter = Meter(target.process, wishes.baseline)
    before = meter.rate(wishes.baseline)
    found: dict[int, int] = {}
    with Watch([Probe(clock=_rate())], list(tids), CLOCKED) as watch:
        watch.enable()
        began, start, at_start = datetime.now(UTC), time.monotonic(), meter.bytes()
        heard(f"recording for {wishes.seconds:g} s")
        if ended := until_over(target.process, wishes, PAUSE, partial(_count, watch, found)):
            notes.append(ended)
        seconds = time.monotonic() - start
        during = meter.since(at_start, seconds)
        watch.disable()
        _count(watch, found)
        lost = watch.lost
    after = meter.rate(wishes.baseline)
    counted = _functions(target, found)
    return Recording(
        Method.SAMPLING, began.isoformat(timespec="seconds"), round(seconds, 3), kernel(), target.guest,
        tuple(Thread(tid, name) for tid, name in tids.items()), tuple(counted), (), {}, (), lost, tuple(notes),
        samples=tuple(counted.values()),
        overhead=Overhead(before, during, after, meter.source) if wishes.baseline else None,
    )  # fmt: skip


def _rate() -> int:
    try:
        return min(RATE, int(HIGHEST.read_text()))
    except (OSError, ValueError):
        return RATE


def _count(watch: Watch, found: dict[int, int]) -> int:
    """Count what is new by address; returns how many addresses there are."""
    for _, samples in watch.read():
        addresses, times = np.unique(samples["ip"], return_counts=True)
        for address, count in zip(addresses.tolist(), times.tolist(), strict=True):
            found[address] = found.get(address, 0) + count
    return len(found)


def _functions(target: Target, found: dict[int, int]) -> dict[Function, int]:
    """Samples by function; what is in no program of the guest by what it is in."""
    counted: dict[Function, int] = {}
    mappings = target.mappings if not target.process.alive() else target.process.mappings()
    for address, count in found.items():
        function = _function(target, mappings, address)
        counted[function] = counted.get(function, 0) + count
    return dict(sorted(counted.items(), key=lambda pair: -pair[1]))


def _function(target: Target, mappings: list[Mapping], address: int) -> Function:
    if address >= KERNEL:
        return Function("kernel", "kernel", 0, Role.OTHER)
    place = target.place(address)
    if place is None:
        mapping = next((m for m in mappings if m.start <= address < m.end), None)
        name = mapping.name if mapping and mapping.name else "the guest's code (translated or in memory)"
        return Function(name, name, 0, Role.OTHER)
    image, at = place
    start = image.function_at(at)
    if start is None:
        return Function(f"{image.name} (between functions)", image.name, 0, Role.OTHER)
    if image is target.slirp:
        return Function(image.names.get(start, f"{image.name}+{start:#x}"), image.name, start, Role.SLIRP)
    handler = next((h for h in target.handlers if h.address == start), None)
    if handler:
        return Function(handler.name, image.name, start, functions.role(handler))
    known = image.names.get(start)
    role = Role.NET if known in functions.NET else Role.OTHER
    return Function(known or f"{image.name}+{start:#x}", image.name, start, role)

"""Recordings side by side: recordings come in, measures and ratios with intervals go out, beside those of the study.

A recording is one boot of one guest: values differ from boot to boot more than within one. So an interval is over
boots, and only boots that took turns are a fair comparison: a machine is not the same an hour later.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nfsleuth.bandwidth.numbers import LEAST_FOR_INTERVAL, bootstrapped_ratio
from nfsleuth.path import shares
from nfsleuth.path.model import Direction, Method, Recording
from nfsleuth.path.tree import Tree
from nfsleuth.report.escape import columns, shortened, visible
from nfsleuth.report.words import count

SEED = 1


@dataclass(frozen=True)
class Measure:
    """Something that is measured in every recording that can tell it."""

    key: str
    says: str
    unit: str
    study: str = ""  # what the study of 2013 says of user mode, bridged, or their ratio


MEASURES = (
    Measure("whole", "a frame out with all that it sets off", "us", "1.1 ms to 44 us, 25 x"),
    Measure("whole_corrected", "  the same, less the probes in it", "us"),
    Measure("until_syscall", "  of it, until its system call", "us"),
    Measure("until_syscall_corrected", "    the same, less the probes in it", "us"),
    Measure("syscall", "  of it, the system call", "us"),
    Measure("to_guest", "a frame in, handed to the NIC model", "us"),
    Measure("to_guest_corrected", "  the same, less the probes in it", "us"),
    Measure("set_off", "frames in per frame out", ""),
    Measure("nested", "frames in that one out set off", "%"),
    Measure("burst", "frames in without a pause between", ""),
    Measure("waiting", "time without a frame in for 0.2 s or longer", "%"),
    Measure("syscalls_out", "system calls per frame out", ""),
    Measure("syscalls_in", "system calls per frame in", ""),
    Measure("memory", "memory management of libslirp's time", "%", "50 %"),
    Measure("queue", "if_output and if_start, of the same", "%", "22.9 %"),
)


@dataclass(frozen=True)
class Boots:
    """Values of one measure in one group, one per boot that could tell it."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)


@dataclass(frozen=True)
class Row:
    """A measure in two groups."""

    measure: Measure
    first: Boots | None
    second: Boots | None
    ratio: float | None  # of medians
    interval: tuple[float, float] | None  # 95 %, over boots; None with too few


@dataclass(frozen=True)
class Comparison:
    """Two groups of recordings."""

    names: tuple[str, str]
    boots: tuple[int, int]
    methods: tuple[str, ...]
    interleaved: bool
    rows: tuple[Row, ...]


def group(recording: Recording) -> str:
    """What a recording is of: recordings with one name are boots of one thing."""
    return f"{'+'.join(recording.guest.nics) or '?'} on {'+'.join(recording.guest.backends) or '?'}"


def measures(recording: Recording, tree: Tree | None) -> dict[str, float]:
    """What one recording says of each measure that its method can tell; us, or per cent."""
    found = {s.name: s.value * 100 for s in reversed(shares.shares(recording, tree))}
    values = {"memory": found.get("memory management"), "queue": found.get("if_output and if_start")}
    if tree:
        f = tree.frames
        values |= {
            "whole": _median_us(f.whole),
            "whole_corrected": _median_us(f.whole_corrected),
            "until_syscall": _median_us(f.until_syscall),
            "until_syscall_corrected": _longer_than_probes(f.until_syscall_corrected, f.until_syscall),
            "syscall": _median_us(f.syscall),
            "to_guest": _median_us(f.to_guest_whole),
            "to_guest_corrected": _longer_than_probes(f.to_guest_corrected, f.to_guest_whole),
            "frames_out": float(f.to_network),
            "frames_in": float(f.to_guest),
            "set_off": f.to_guest / f.to_network if f.to_network else None,
            "nested": f.nested / f.to_guest * 100 if f.to_guest else None,
            "burst": f.burst,
            "waiting": float(f.waits.sum()) / recording.seconds / 1e7 if recording.seconds else None,
            "syscalls_out": _per(f.syscalls[Direction.TO_NETWORK], f.to_network),
            "syscalls_in": _per(f.syscalls[Direction.TO_GUEST], f.to_guest),
        }
    return {name: value for name, value in values.items() if value is not None}


def compare(recordings: Sequence[tuple[Recording, Tree | None]]) -> Comparison:
    """Two groups of recordings, in the order in which they come. Raises ValueError if there are not two."""
    groups: dict[str, list[dict[str, float]]] = {}
    for recording, tree in recordings:
        groups.setdefault(group(recording), []).append(measures(recording, tree))
    if len(groups) != 2:
        raise ValueError(f"wants recordings of two kinds of guests; there are {', '.join(groups) or 'none'}")
    first, second = groups
    order = [group(r) for r, _ in sorted(recordings, key=lambda pair: pair[0].created)]
    changes = sum(a != b for a, b in itertools.pairwise(order))
    return Comparison(
        (first, second),
        (len(groups[first]), len(groups[second])),
        tuple(sorted({r.method.value for r, _ in recordings})),
        changes >= 2 * min(len(groups[first]), len(groups[second])) - 1,
        tuple(_row(measure, groups[first], groups[second]) for measure in MEASURES),
    )


def _row(measure: Measure, first: Sequence[Mapping[str, float]], second: Sequence[Mapping[str, float]]) -> Row:
    a, b = (Boots(tuple(boot[measure.key] for boot in boots if measure.key in boot)) for boots in (first, second))
    if not a.values or not b.values:
        return Row(measure, a if a.values else None, b if b.values else None, None, None)
    ratio = bootstrapped_ratio(a.values, b.values, SEED)
    if ratio is None:
        return Row(measure, a, b, None, None)
    low, high = ratio.low, ratio.high
    return Row(measure, a, b, ratio.median, None if low is None or high is None else (low, high))


def _median_us(times: npt.NDArray[np.int64] | npt.NDArray[np.float64]) -> float | None:
    return float(np.median(times)) / 1000 if len(times) else None


def _longer_than_probes(corrected: npt.NDArray[np.float64], measured: npt.NDArray[np.int64]) -> float | None:
    """The median less the probes, where it is at least what was taken off; else the method cannot tell it."""
    found, whole = _median_us(corrected), _median_us(measured)
    return found if found is not None and whole is not None and 2 * found >= whole else None


def _per(calls: Mapping[str, int], frames: int) -> float | None:
    return sum(calls.values()) / frames if frames else None


def shown(comparison: Comparison, width: int = 80) -> str:
    """As text, at most `width` columns wide."""
    lines = [
        *_sides(comparison, width),
        f"method {', '.join(comparison.methods)}; medians over boots, of medians in each",
        "out: guest to network; in: network to guest",
        "",
        f"{'':<41}{'A':>8}{'B':>8}{'A / B':>23}"[:width],
    ]
    for row in comparison.rows:
        if row.first is None and row.second is None:
            continue
        says = f"{row.measure.says}{', ' + row.measure.unit if row.measure.unit else ''}"
        lines.append(f"{says:<41}{_value(row.first):>8}{_value(row.second):>8}{_ratio(row):>23}"[:width])
        if row.measure.study:
            lines.append(f"    the study: {row.measure.study}")
    lines.append("")
    if min(comparison.boots) < LEAST_FOR_INTERVAL:
        lines.append(f"No intervals: they need {LEAST_FOR_INTERVAL} boots of each.")
    elif not comparison.interleaved:
        lines.append("The boots did not take turns, so a change of the machine's load looks like a difference.")
    if Method.UPROBES.value in comparison.methods:
        lines.append("Times are as measured, probes included, but where they are said to be taken off.")
    return "".join(f"{line}\n" for line in lines)


def _sides(comparison: Comparison, width: int) -> list[str]:
    """What A and B are: on one line if they fit there. The names are those of files, which may hold anything."""
    a, b = (
        f"{side}: {visible(name)}, {count(boots, 'boot')}"
        for side, name, boots in zip("AB", comparison.names, comparison.boots, strict=True)
    )
    both = f"{a}    {b}"
    return [both] if columns(both) <= width else [shortened(a, width), shortened(b, width)]


def _value(boots: Boots | None) -> str:
    if boots is None:
        return "-"
    return f"{boots.median:,.0f}" if boots.median >= 1000 else f"{boots.median:.3g}"


def _ratio(row: Row) -> str:
    if row.ratio is None:
        return "-"
    spread = f" ({_digits(row.interval[0])} to {_digits(row.interval[1])})" if row.interval else ""
    return f"{_digits(row.ratio)} x{spread}"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}" if value >= 0.1 else f"{value:.1g}"

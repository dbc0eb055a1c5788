"""How fast a client moved data, and what kept it from more: INTERVAL rows come in, `Rates` go out, which add up.

The time of an interval (`trace.flows`) is put down to what limited it:

- ``server``: calls were there and no reply came, or the server's window was full;
- ``slots``: the same, but all slots were in use all the time and the server answered no slower than it answers a call
  that is alone: more calls at a time would have helped;
- ``network``: retransmission, data under way while the receiver had room, the round trip, and acknowledgments or
  segments that follow each other as steadily as only a link lets them;
- ``client``: its window was full; from the last byte of a reply to its acknowledgment (less the round trip) and to the
  next call; the time that its calls took to come;
- ``application``: nothing was asked for, for longer than a client takes between two calls.

An interval is client-limited if more than half of it is the client's. The client's *own speed* is bytes by the client's
time alone. Counts are kept per operation and size, rates as logarithmic histograms, so that all of it adds up exactly.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import IntEnum
from functools import reduce
from itertools import pairwise
from operator import add
from typing import NamedTuple

import numpy as np
from msgspec import Struct, field

from nfsleuth.clients.columns import Some, combined, ordered, starts_of
from nfsleuth.clients.timeline import Timeline, timelines
from nfsleuth.trace.tables import CLIENT, SERVER, Pace, Spent

STEPS = 16  # of a histogram per octave: 4.4 % each
LOWEST, HIGHEST = -20 * STEPS, 24 * STEPS  # bins, of MB/s or of ms: from one millionth to 16 million
SMALLEST, LARGEST = 9, 24  # size buckets: 512 bytes to 16 MB, as powers of 2
HALF = 0.5  # share of its time from which on an interval is the client's
LEAST_OWN = 0.01  # share of its time below which the client's own is not measured: its speed is at least a hundredfold
STEADY = 0.5  # share of time at an unchanged rate from which on it is a link's pace (by chance it is about a fifth)
STEADY_LEAST = 20  # steps from which on that can be told
FULL = 0.7  # share of waiting with all slots in use that counts as all the time
UNQUEUED = 2.0  # times the wait of a call that is alone: up to that the server does not queue calls


class Limit(IntEnum):
    """What limits an interval; in the order of the figures."""

    CLIENT = 0
    NETWORK = 1
    SERVER = 2
    SLOTS = 3
    APPLICATION = 4


LIMITS = tuple(limit.name.lower() for limit in Limit)
OPERATIONS = ("read", "write")


class Kind(NamedTuple):
    """What is counted together. size: bytes of a message, a power of 2."""

    operation: str
    size: int


class Histogram(Struct):
    """Counts of values on a logarithmic scale; exact sums, values within 2.2 %."""

    bins: Counter[int] = field(default_factory=Counter)

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(self.bins + other.bins)

    @property
    def total(self) -> int:
        """How many values."""
        return self.bins.total()

    def values(self) -> Iterator[tuple[float, int]]:
        """The middle of each bin with its count, ascending."""
        for bin_ in sorted(self.bins):
            yield _middle(bin_), self.bins[bin_]

    def quantile(self, share: float) -> float | None:
        """The value below which `share` (above 0) of the values lie; None without values."""
        return next(self.quantiles([share]))

    def quantiles(self, shares: Iterable[float]) -> Iterator[float | None]:
        """For each of `shares`, which ascend, its `quantile`."""
        below, total, bin_ = 0, self.total, None
        left = iter(sorted(self.bins.items()))
        for share in shares:
            while below < share * total:
                bin_, count = next(left)
                below += count
            yield None if bin_ is None else _middle(bin_)

    def logarithms(self) -> list[float]:
        """Natural logarithm of each value, ascending, as often as it was counted."""
        return [math.log(value) for value, count in self.values() for _ in range(count)]


def _middle(bin_: int) -> float:
    """The value in the middle of a bin."""
    middle: float = 2 ** ((bin_ + 0.5) / STEPS)
    return middle


def bins(values: np.ndarray) -> np.ndarray:
    """int64[n] bin of each of float64[n] positive values."""
    numbers: np.ndarray = np.clip(np.floor(np.log2(values) * STEPS), LOWEST, HIGHEST).astype(np.int64)
    return numbers


def _counted(groups: np.ndarray, values: np.ndarray, count: int) -> list[Histogram]:
    """A histogram of the values of each of `count` groups. groups: int64[n] from 0."""
    width = HIGHEST - LOWEST + 1
    keys, counts = np.unique(groups * width + bins(values) - LOWEST, return_counts=True)
    numbers, counts = (keys % width + LOWEST).tolist(), counts.tolist()
    bounds = np.searchsorted(keys, np.arange(count + 1) * width).tolist()
    histograms = []
    for begin, end in pairwise(bounds):
        histogram = Histogram()
        # Counter's own update would add up in Python what is there once.
        dict.update(histogram.bins, zip(numbers[begin:end], counts[begin:end], strict=True))
        histograms.append(histogram)
    return histograms


class Cell(Struct):
    """All intervals of one `Kind`.

    time: ns of each `Limit`. limited: intervals that each limited most; `CLIENT` only where it took more than half.
    rates: MB/s (10⁶ bytes) of all intervals. own: own speed in MB/s in all of them. limited_own: the same in those that
    were client-limited. gaps: ms from a reply to the next call, mean of each interval.
    """

    intervals: int = 0
    bytes: int = 0
    calls: int = 0
    span: int = 0  # ns
    time: tuple[int, ...] = (0,) * len(Limit)
    limited: tuple[int, ...] = (0,) * len(Limit)
    acks: int = 0
    acked: int = 0  # bytes
    zero_windows: int = 0
    retransmitted: int = 0  # segments
    rates: Histogram = field(default_factory=Histogram)
    own: Histogram = field(default_factory=Histogram)
    limited_own: Histogram = field(default_factory=Histogram)
    gaps: Histogram = field(default_factory=Histogram)

    def __add__(self, other: Cell) -> Cell:
        return Cell(
            self.intervals + other.intervals,
            self.bytes + other.bytes,
            self.calls + other.calls,
            self.span + other.span,
            tuple(a + b for a, b in zip(self.time, other.time, strict=True)),
            tuple(a + b for a, b in zip(self.limited, other.limited, strict=True)),
            self.acks + other.acks,
            self.acked + other.acked,
            self.zero_windows + other.zero_windows,
            self.retransmitted + other.retransmitted,
            self.rates + other.rates,
            self.own + other.own,
            self.limited_own + other.limited_own,
            self.gaps + other.gaps,
        )

    @property
    def client_limited(self) -> int:
        """Client-limited intervals."""
        return self.limited[Limit.CLIENT]

    @property
    def rate(self) -> float | None:
        """MB/s over all of its time."""
        return self.bytes * 1e3 / self.span if self.span else None

    @property
    def stride(self) -> float | None:
        """Bytes that the client acknowledges at a time."""
        return self.acked / self.acks if self.acks else None

    def share(self, limit: Limit) -> float:
        """Share of the time that `limit` took."""
        return self.shares[limit]

    @property
    def shares(self) -> list[float]:
        """The same of each `Limit`; 0 without any time."""
        whole = sum(self.time) or 1
        return [time / whole for time in self.time]


class Rates(Struct):
    """How fast, by operation and size, and when: of each moment bytes and the ns of each `Limit`."""

    cells: dict[Kind, Cell] = field(default_factory=dict)
    timeline: Timeline = field(default_factory=Timeline)

    def __add__(self, other: Rates) -> Rates:
        if not other.cells:
            return self
        if not self.cells:
            return other
        cells = dict(self.cells)
        for kind, cell in other.cells.items():
            cells[kind] = cells[kind] + cell if kind in cells else cell
        return Rates(cells, self.timeline + other.timeline)

    def of(self, operation: str) -> Cell:
        """All sizes of an operation together."""
        total = Cell()
        for kind in sorted(self.cells):
            if kind.operation == operation:
                total += self.cells[kind]
        return total

    @property
    def client_limited_rate(self) -> float | None:
        """Median own speed in MB/s over the client-limited intervals of READ; None if there are none."""
        speeds = [cell.limited_own for kind, cell in self.cells.items() if kind.operation == "read"]
        return reduce(add, speeds).quantile(0.5) if speeds else None


def measured(table: np.ndarray) -> dict[int, Rates]:
    """INTERVAL[n] as `Rates` per connection number."""
    moved = (table["calls"] > 0) & (table["end"] > table["begin"])
    rows = table if moved.all() else table.take(np.flatnonzero(moved))
    if not len(rows):
        return {}
    lengths, squares = rows["bytes"], rows["squares"]
    writes = lengths[:, CLIENT] > lengths[:, SERVER]
    octets = np.maximum(lengths[:, CLIENT], lengths[:, SERVER])
    mean = np.where(writes, squares[:, CLIENT], squares[:, SERVER]) / octets
    size = np.clip(np.round(np.log2(mean)), SMALLEST, LARGEST).astype(np.int64)
    keys = (rows["uid"], writes.astype(np.int64), size)
    ranks = combined(keys)
    order = ordered(ranks)
    starts = starts_of(ranks[order])
    some = Some(rows, order)  # rows are long: only columns are put in order
    amounts = np.column_stack([column[order] for column in (octets, *limits(rows))])
    lines = timelines(some["uid"], some["begin"], some["end"], amounts)
    found = {uid: Rates({}, line) for uid, line in lines.items()}
    kinds = (key[order[starts]].tolist() for key in keys)
    for uid, operation, exponent, cell in zip(*kinds, _cells(some, amounts, starts), strict=True):
        found[uid].cells[Kind(OPERATIONS[operation], 1 << exponent)] = cell
    return found


def limits(rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """int64[n] ns of each `Limit`, in their order, in INTERVAL[n]."""
    spent = rows["spent"]
    acks_steady, call_steady = (_steady(rows, way) for way in (Pace.ACKS, Pace.CALL))
    unacked = spent[:, Spent.UNACKED]
    trip = np.minimum(unacked, np.maximum(rows["shortest_ack"], 0) * rows["drains"])
    receiving = spent[:, Spent.WINDOW] + unacked - trip
    sending = spent[:, Spent.SEND]
    paced = np.where(acks_steady, receiving, 0) + np.where(call_steady, sending, 0)
    server = spent[:, Spent.SERVER] + spent[:, Spent.SERVER_WINDOW]
    slots = np.where(_slots(rows), server, 0)
    return (
        spent[:, Spent.TURN] + receiving + sending - paced,
        spent[:, Spent.WIRE] + spent[:, Spent.RECOVERY] + trip + paced,
        server - slots,
        slots,
        spent[:, Spent.IDLE],
    )


def main_limit(time: np.ndarray) -> np.ndarray:
    """int64[n] the `Limit` that took most of int64[n, 5]; the client only where it took more than half."""
    whole = np.maximum(time.sum(axis=1), 1)
    others = time.copy()
    others[:, Limit.CLIENT] = np.where(time[:, Limit.CLIENT] > HALF * whole, time[:, Limit.CLIENT], -1)
    limit: np.ndarray = others.argmax(axis=1)
    return limit


def _steady(rows: np.ndarray, way: int) -> np.ndarray:
    """bool[n]: whether the steps of `way` follow each other at the pace of a link."""
    many = rows["pace_count"][:, way] >= STEADY_LEAST
    steady: np.ndarray = rows["pace_steady"][:, way] > STEADY * rows["pace_time"][:, way]
    found: np.ndarray = many & steady
    return found


def _slots(rows: np.ndarray) -> np.ndarray:
    """bool[n]: whether waiting for the server was for want of slots.

    With all slots in use all the time, latency is slots by rate (Little's law), whoever is slow. A server that is at
    its limit lets calls queue: they wait longer than one that is alone. One that is not would have taken more calls.
    """
    waiting = rows["spent"][:, Spent.SERVER]
    full = (rows["peak"] >= 2) & (waiting > 0) & (rows["at_peak"] >= FULL * waiting)
    short: np.ndarray = (rows["shortest_wait"] > 0) & (
        rows["waited"] <= UNQUEUED * rows["shortest_wait"] * rows["calls"]
    )
    found: np.ndarray = full & short
    return found


def _cells(rows: Some, amounts: np.ndarray, starts: np.ndarray) -> Iterator[Cell]:
    """Columns of INTERVAL[n] in one cell each: all from one of `starts` up to the next.

    amounts: int64[n, 6], bytes and the ns of each `Limit`.
    """
    octets, time = amounts[:, 0], amounts[:, 1:]
    span, calls = rows["end"] - rows["begin"], rows["calls"]
    own = octets * 1e3 / np.maximum(time[:, Limit.CLIENT], LEAST_OWN * span)
    limit = main_limit(time)
    spent = rows.table["spent"]
    gaps = (spent[:, Spent.UNACKED] + spent[:, Spent.TURN] + spent[:, Spent.IDLE])[rows.rows] / 1e6 / calls
    counts = np.diff(starts, append=len(rows))
    of = np.repeat(np.arange(len(starts)), counts)
    clients = limit == Limit.CLIENT
    limited = np.bincount(of * len(Limit) + limit, minlength=len(starts) * len(Limit)).reshape(-1, len(Limit))
    named = (rows[name] for name in ("acks", "acked", "zero_windows", "retransmitted"))
    whole, *sums = (np.add.reduceat(column, starts, axis=0).tolist() for column in (amounts, calls, span, *named))
    histograms = (
        _counted(of, octets * 1e3 / span, len(starts)),
        _counted(of, own, len(starts)),
        _counted(of[clients], own[clients], len(starts)),
        _counted(of, np.maximum(gaps, 1e-6), len(starts)),
    )
    for intervals, (size, *times), mostly, asked, lasted, *others in zip(
        counts.tolist(), whole, limited.tolist(), *sums, *histograms, strict=True
    ):
        yield Cell(intervals, size, asked, lasted, tuple(times), tuple(mostly), *others)

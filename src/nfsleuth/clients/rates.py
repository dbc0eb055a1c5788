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
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from nfsleuth.trace.tables import Pace, Spent

STEPS = 16  # of a histogram per octave: 4.4 % each
LOWEST, HIGHEST = -20 * STEPS, 24 * STEPS  # bins, of MB/s or of ms: from one millionth to 16 million
SMALLEST, LARGEST = 9, 24  # size buckets: 512 bytes to 16 MB, as powers of 2
HALF = 0.5  # share of its time from which on an interval is the client's
LEAST_OWN = 0.01  # share of its time below which the client's own is not measured: its speed is at least a hundredfold
STEADY = 0.5  # share of time at an unchanged rate from which on it is a link's pace (by chance it is about a fifth)
STEADY_LEAST = 20  # steps from which on that can be told
FULL = 0.7  # share of waiting with all slots in use that counts as all the time
UNQUEUED = 2.0  # times the wait of a call that is alone: up to that the server does not queue calls
MOST_MOMENTS = 512  # of a timeline
FINEST = 26  # binary logarithm of the ns of a moment: 67 ms, about one interval


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


@dataclass(slots=True)
class Histogram:
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
            yield 2 ** ((bin_ + 0.5) / STEPS), self.bins[bin_]

    def quantile(self, share: float) -> float | None:
        """The value below which `share` of the values lie; None without values."""
        below, target = 0, share * self.total
        for value, count in self.values():
            below += count
            if below >= target:
                return value
        return None

    def logarithms(self) -> list[float]:
        """Natural logarithm of each value, ascending, as often as it was counted."""
        return [math.log(value) for value, count in self.values() for _ in range(count)]


def bins(values: np.ndarray) -> np.ndarray:
    """int64[n] bin of each of float64[n] positive values."""
    numbers: np.ndarray = np.clip(np.floor(np.log2(values) * STEPS), LOWEST, HIGHEST).astype(np.int64)
    return numbers


def _counted(values: np.ndarray) -> Histogram:
    numbers, counts = np.unique(bins(values), return_counts=True)
    return Histogram(Counter(dict(zip(numbers.tolist(), counts.tolist(), strict=True))))


@dataclass(slots=True)
class Cell:
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
        whole = sum(self.time)
        return self.time[limit] / whole if whole else 0.0


@dataclass(frozen=True, slots=True)
class Moment:
    """A piece of a timeline: bytes moved and ns of each limit."""

    bytes: int
    time: tuple[int, ...]

    def __add__(self, other: Moment) -> Moment:
        return Moment(self.bytes + other.bytes, tuple(a + b for a, b in zip(self.time, other.time, strict=True)))


@dataclass(slots=True)
class Timeline:
    """What happened when: at most `MOST_MOMENTS` moments of ``1 << fineness`` ns, numbered from 1970.

    With more, moments are made twice as long, until they fit: the result depends on what was seen, not on the order.
    """

    fineness: int = FINEST
    moments: dict[int, Moment] = field(default_factory=dict)

    def __add__(self, other: Timeline) -> Timeline:
        fineness = max(self.fineness, other.fineness)
        merged: dict[int, Moment] = {}
        for line in (self, other):
            for at, moment in line.moments.items():
                place = at >> (fineness - line.fineness)
                merged[place] = merged[place] + moment if place in merged else moment
        while len(merged) > MOST_MOMENTS:
            fineness += 1
            coarser: dict[int, Moment] = {}
            for at, moment in merged.items():
                coarser[at >> 1] = coarser[at >> 1] + moment if at >> 1 in coarser else moment
            merged = coarser
        return Timeline(fineness, merged)

    def runs(self) -> Iterator[tuple[int, int, Moment]]:
        """Begin and end (ns since 1970) of each moment, in order."""
        for at in sorted(self.moments):
            yield at << self.fineness, (at + 1) << self.fineness, self.moments[at]


@dataclass(slots=True)
class Rates:
    """How fast, by operation and size, and when."""

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
        return self.of("read").limited_own.quantile(0.5)


def measured(rows: np.ndarray) -> dict[int, Rates]:
    """INTERVAL[n] as `Rates` per connection number."""
    rows = rows[(rows["calls"] > 0) & (rows["end"] > rows["begin"])]
    if not len(rows):
        return {}
    write = rows["bytes"][:, 0] > rows["bytes"][:, 1]
    way = np.where(write, 0, 1)
    place = np.arange(len(rows))
    octets = rows["bytes"][place, way]
    size = np.clip(np.round(np.log2(rows["squares"][place, way] / octets)), SMALLEST, LARGEST).astype(np.int64)
    time = limits(rows)
    order = np.lexsort((size, write, rows["uid"]))
    keys = np.stack([rows["uid"], write.astype(np.int64), size])[:, order]
    starts = np.flatnonzero(np.r_[True, (keys[:, 1:] != keys[:, :-1]).any(axis=0)]).tolist()
    found: dict[int, Rates] = {}
    for start, end in pairwise([*starts, len(rows)]):
        mine = order[start:end]
        uid, operation, exponent = (int(k) for k in keys[:, start])
        kind = Kind(OPERATIONS[operation], 1 << exponent)
        rates = Rates(
            {kind: _cell(rows[mine], octets[mine], time[mine])}, _timeline(rows[mine], octets[mine], time[mine])
        )
        found[uid] = found[uid] + rates if uid in found else rates
    return found


def limits(rows: np.ndarray) -> np.ndarray:
    """int64[n, 5] ns of each `Limit` in INTERVAL[n]."""
    spent = rows["spent"]
    acks_steady, call_steady = (_steady(rows, way) for way in (Pace.ACKS, Pace.CALL))
    unacked = spent[:, Spent.UNACKED]
    trip = np.minimum(unacked, np.maximum(rows["shortest_ack"], 0) * rows["drains"])
    receiving = spent[:, Spent.WINDOW] + unacked - trip
    sending = spent[:, Spent.SEND]
    time = np.zeros((len(rows), len(Limit)), np.int64)
    time[:, Limit.CLIENT] = (
        spent[:, Spent.TURN] + np.where(acks_steady, 0, receiving) + np.where(call_steady, 0, sending)
    )
    time[:, Limit.NETWORK] = spent[:, Spent.WIRE] + spent[:, Spent.RECOVERY] + trip
    time[:, Limit.NETWORK] += np.where(acks_steady, receiving, 0) + np.where(call_steady, sending, 0)
    server = spent[:, Spent.SERVER] + spent[:, Spent.SERVER_WINDOW]
    slots = _slots(rows)
    time[:, Limit.SERVER] = np.where(slots, 0, server)
    time[:, Limit.SLOTS] = np.where(slots, server, 0)
    time[:, Limit.APPLICATION] = spent[:, Spent.IDLE]
    return time


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


def _cell(rows: np.ndarray, octets: np.ndarray, time: np.ndarray) -> Cell:
    """All of INTERVAL[n], of one `Kind`."""
    span = rows["end"] - rows["begin"]
    own = octets * 1e3 / np.maximum(time[:, Limit.CLIENT], LEAST_OWN * span)
    limit = main_limit(time)
    spent = rows["spent"]
    gaps = (spent[:, Spent.UNACKED] + spent[:, Spent.TURN] + spent[:, Spent.IDLE]) / 1e6 / rows["calls"]
    return Cell(
        intervals=len(rows),
        bytes=int(octets.sum()),
        calls=int(rows["calls"].sum()),
        span=int(span.sum()),
        time=tuple(time.sum(axis=0).tolist()),
        limited=tuple(np.bincount(limit, minlength=len(Limit)).tolist()),
        acks=int(rows["acks"].sum()),
        acked=int(rows["acked"].sum()),
        zero_windows=int(rows["zero_windows"].sum()),
        retransmitted=int(rows["retransmitted"].sum()),
        rates=_counted(octets * 1e3 / span),
        own=_counted(own),
        limited_own=_counted(own[limit == Limit.CLIENT]),
        gaps=_counted(np.maximum(gaps, 1e-6)),
    )


def _timeline(rows: np.ndarray, octets: np.ndarray, time: np.ndarray) -> Timeline:
    """INTERVAL[n] spread evenly over the moments that they lie in.

    Each part is the difference of two rounded sums since the interval's begin, so that parts add up to the same whether
    moments are short or long.
    """
    longest = int((rows["end"] - rows["begin"]).max())
    line = Timeline(FINEST + max(0, (longest >> FINEST).bit_length() - 8))  # an interval touches at most 257 moments
    amounts = np.column_stack([octets, time])
    for begin, end, whole in zip(rows["begin"].tolist(), rows["end"].tolist(), amounts.tolist(), strict=True):
        done = [0] * len(whole)
        for at in range(begin >> line.fineness, ((end - 1) >> line.fineness) + 1):
            share = min((at + 1) << line.fineness, end) - begin
            until = [amount * share // (end - begin) for amount in whole]
            part = [now - before for now, before in zip(until, done, strict=True)]
            moment = Moment(part[0], tuple(part[1:]))
            line.moments[at] = line.moments[at] + moment if at in line.moments else moment
            done = until
    return line + Timeline()

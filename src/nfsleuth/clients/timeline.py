"""What was moved when: spans of time with amounts come in, a `Timeline` of bounded size goes out. Timelines add up."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from msgspec import Struct, field

from nfsleuth.clients.columns import is_ordered, ordered, starts_of

MOST_MOMENTS = 512  # from the first to the last moment of a timeline
FINEST = 26  # binary logarithm of the ns of a moment: 67 ms, about one interval
TOGETHER = 1 << 11  # moments that spans are spread over at a time, up to MOST_MOMENTS more: 100 kB of amounts
LARGEST = float(1 << 53)  # an amount; beyond it a float64 is not exact


class Timeline(Struct, eq=False):
    """Amounts by moments of ``1 << fineness`` ns, numbered from 1970; moments without any are left out.

    The moments are as short as lets MOST_MOMENTS of them reach from the first to the last: what a timeline holds
    depends on what was seen, not on the order in which it was added up.

    places: int64[n] number of each moment, ascending. amounts: int64[n, k].
    """

    fineness: int = FINEST
    places: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    amounts: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.int64))

    def __add__(self, other: Timeline) -> Timeline:
        if not len(other) or not len(self):
            return self if len(self) else other
        fineness = max(self.fineness, other.fineness)
        places = np.concatenate([line.places >> (fineness - line.fineness) for line in (self, other)])
        more = _excess(int(places.min()), int(places.max()))
        return Timeline(fineness + more, *_added(places >> more, np.concatenate([self.amounts, other.amounts])))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Timeline)
            and (self.fineness == other.fineness or not len(self))
            and np.array_equal(self.places, other.places)
            and (np.array_equal(self.amounts, other.amounts) or not len(self))
        )

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __len__(self) -> int:
        return len(self.places)

    def runs(self) -> Iterator[tuple[int, int, list[int]]]:
        """Begin and end (ns since 1970) of each moment, and its amounts, in order."""
        for at, amounts in zip(self.places.tolist(), self.amounts.tolist(), strict=True):
            yield at << self.fineness, (at + 1) << self.fineness, amounts


def timelines(groups: np.ndarray, begin: np.ndarray, end: np.ndarray, amounts: np.ndarray) -> dict[int, Timeline]:
    """The timeline of each group of spans; every amount is spread evenly over the moments that its span lies in.

    groups: int64[n], ascending. begin, end: int64[n] ns, begin < end. amounts: int64[n, k], not negative.
    """
    if not len(groups):
        return {}
    starts = starts_of(groups)
    firsts = np.minimum.reduceat(begin, starts) >> FINEST
    lasts = (np.maximum.reduceat(end, starts) - 1) >> FINEST
    fineness = [FINEST + _excess(first, last) for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)]
    of = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(groups)))
    fine = np.array(fineness)[of]
    keys, parts = [], []
    moments = np.cumsum(((end - 1) >> fine) - (begin >> fine) + 1)
    for at, until in pairwise([*starts_of(moments // TOGETHER).tolist(), len(groups)]):
        some = slice(at, until)
        rows, places, spread = _spread(begin[some], end[some], amounts[some], fine[some])
        # The place within its group: at most MOST_MOMENTS different ones.
        own = places - (firsts[of[some]] << FINEST >> fine[some])[rows]
        key, part = _added(of[some][rows] * MOST_MOMENTS + own, spread)
        keys.append(key)
        parts.append(part)
    key, part = _added(np.concatenate(keys), np.concatenate(parts))
    bounds = np.searchsorted(key, np.arange(len(starts) + 1) * MOST_MOMENTS).tolist()
    found = {}
    for i, group in enumerate(groups[starts].tolist()):
        mine = slice(bounds[i], bounds[i + 1])
        origin = int(firsts[i]) << FINEST >> fineness[i]
        found[group] = Timeline(fineness[i], key[mine] - i * MOST_MOMENTS + origin, part[mine])
    return found


def _excess(first: int, last: int) -> int:
    """How many times moments must be made twice as long to reach from number `first` to `last`."""
    more = max(0, (last - first).bit_length() - MOST_MOMENTS.bit_length())
    while (last >> more) - (first >> more) >= MOST_MOMENTS:
        more += 1
    return more


def _spread(
    begin: np.ndarray, end: np.ndarray, amounts: np.ndarray, fineness: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, place and amounts of each moment of each span.

    Each part is the difference of two rounded sums since the span's begin, so that parts add up to the same whole
    whether moments are short or long.
    """
    first = begin >> fineness
    count = ((end - 1) >> fineness) - first + 1
    rows = np.repeat(np.arange(len(begin)), count)
    starts = np.cumsum(count) - count
    places = np.arange(len(rows)) - starts[rows] + first[rows]
    until = np.minimum((places + 1) << fineness[rows], end[rows]) - begin[rows]
    share = until / (end - begin)[rows]
    spread = (np.minimum(amounts.take(rows, axis=0), LARGEST) * share[:, None]).astype(np.int64)
    later = np.flatnonzero(rows[1:] == rows[:-1]) + 1  # moments of a span after its first: few
    spread[later] -= spread[later - 1]
    return rows, places, spread


def _added(keys: np.ndarray, amounts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Amounts of equal keys added up: the keys, ascending, and their amounts."""
    if not is_ordered(keys):
        order = ordered(keys)
        keys, amounts = keys[order], amounts.take(order, axis=0)
    starts = starts_of(keys)
    return keys[starts], np.add.reduceat(amounts, starts, axis=0)

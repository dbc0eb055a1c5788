"""Columns come in, `Seen` per strand goes out: counting done in NumPy, so that a row costs no Python."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from heapq import nsmallest
from itertools import compress, islice
from typing import TypeVar

import numpy as np
from msgspec import Struct

from nfsleuth.clients.columns import Column, begins, combined, is_ordered, ordered
from nfsleuth.clients.facts import MOST, SAMPLES, Seen, Sighting

V = TypeVar("V", bound=Hashable)


class Tally(Struct, frozen=True):
    """Counts of distinct (strand, value), ascending; int64[m] each.

    first, last: ns. samples: the smallest frames of all of them, one after the other; those of i end at ``ends[i]``.
    """

    strands: Column
    values: Column
    counts: Column
    first: Column
    last: Column
    samples: tuple[int, ...]
    ends: Column

    def seen(self, strands: int, meaning: Callable[[int], V], which: Column | None = None) -> list[Seen[V]]:
        """What each of `strands` strands, numbered from 0, has seen, of the rows `which` (bool[m], all if None).

        meaning: turns a value of the column into what is kept; two values may mean the same.
        """
        rows = np.arange(len(self.strands)) if which is None else np.flatnonzero(which)
        numbers = self.values[rows].tolist()
        meant = {number: meaning(number) for number in set(numbers)}
        values = list(map(meant.__getitem__, numbers))
        rows, values, others = self._bounded(rows, values, np.bincount(self.strands[rows], minlength=strands))
        sightings = zip(values, self.sightings(rows), strict=True)
        gather = dict if len(set(meant.values())) == len(meant) else _added
        sizes = np.bincount(self.strands[rows], minlength=strands).tolist()
        found = [Seen(gather(islice(sightings, size))) for size in sizes]
        for strand, count in others.items():
            found[strand].others = count
        return found

    def sightings(self, rows: Column) -> Iterator[Sighting]:
        """Of int64[n] `rows`. Columns become lists as a whole: strands are many, and most have few values."""
        if len(rows) == len(self.ends) == len(self.samples) and (np.diff(self.ends) == 1).all():
            samples: Iterable[tuple[int, ...]] = zip(self.samples, strict=True)  # one each, as of ports
        else:
            bounds = map(slice, np.where(rows > 0, self.ends[rows - 1], 0).tolist(), self.ends[rows].tolist())
            samples = map(self.samples.__getitem__, bounds)
        counts, firsts, lasts = (column[rows].tolist() for column in (self.counts, self.first, self.last))
        return map(Sighting, counts, samples, firsts, lasts)

    def _bounded(self, rows: Column, values: list[V], sizes: Column) -> tuple[Column, list[V], dict[int, int]]:
        """`rows` and their `values` without those beyond what `Seen` keeps, and counts of these by strand.

        sizes: int64[strands], rows of each. No `Sighting` is made only to be let go.
        """
        ends = np.cumsum(sizes)
        others: dict[int, int] = {}
        keep = np.ones(len(rows), np.bool_)
        for strand in np.flatnonzero(sizes > MOST).tolist():
            here = slice(ends[strand] - sizes[strand], ends[strand])
            kept = set(nsmallest(MOST, set(values[here]), key=repr))
            keep[here] = [value in kept for value in values[here]]
            others[strand] = int(self.counts[rows[here][~keep[here]]].sum())
        return (rows[keep], list(compress(values, keep)), others) if others else (rows, values, others)


def _added(sightings: Iterable[tuple[V, Sighting]]) -> dict[V, Sighting]:
    """What `dict` makes of `sightings`, but those of one value added up."""
    found: dict[V, Sighting] = {}
    for value, sighting in sightings:
        found[value] = found[value] + sighting if value in found else sighting
    return found


def tally(strands: Column, values: Column, frames: Column, firsts: Column, lasts: Column) -> Tally:
    """Count each distinct pair of int64[n] `strands` and `values`.

    frames: int64[n] frame of the sighting, 0 if not known. firsts, lasts: int64[n] its time, or the times that it
    spans, ns. Fastest if rows of a strand stand together, and in order of frames.
    """
    keys = combined((strands, values))
    order = np.arange(len(keys))
    if not is_ordered(keys):
        order = ordered(keys)
        keys, frames = keys[order], frames[order]
    new = begins(keys)
    if not (new[1:] | (frames[1:] >= frames[:-1])).all():
        within = np.lexsort((frames, keys))
        order, frames = order[within], frames[within]
    starts = np.flatnonzero(new)
    counts = np.diff(starts, append=len(keys))
    # Of each group the first SAMPLES distinct frames: number the distinct ones within their group.
    fresh = frames > 0
    fresh[1:] &= new[1:] | (frames[1:] != frames[:-1])
    number = np.cumsum(fresh)
    wanted = fresh & (number - np.repeat(number[starts] - fresh[starts], counts) <= SAMPLES)
    ends = np.cumsum(wanted)[starts + counts - 1]
    first = _reduce(np.minimum, firsts[order], starts)
    last = _reduce(np.maximum, lasts[order], starts)
    some = order[starts]
    return Tally(strands[some], values[some], counts, first, last, tuple(frames[wanted].tolist()), ends)


def _reduce(operation: np.ufunc, column: Column, starts: Column) -> Column:
    """``operation.reduceat``, which does not take empty columns."""
    return operation.reduceat(column, starts) if len(starts) else column

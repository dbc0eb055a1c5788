"""Columns come in, `Seen` per strand goes out: counting done in NumPy, so that a row costs no Python."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from heapq import nsmallest
from typing import Any, TypeVar

import numpy as np
from msgspec import Struct

from nfsleuth.clients.facts import MOST, SAMPLES, Seen, Sighting

V = TypeVar("V", bound=Hashable)
Column = np.ndarray[Any, Any]


def distinct(*columns: Column) -> tuple[Column, Column]:
    """Number the combinations of values in their order: int64[n] number of each row, int64[m] a row of each number."""
    order = np.lexsort(columns[::-1])
    new = np.zeros(len(order), np.bool_)
    new[:1] = True
    for column in columns:
        new[1:] |= column[order[1:]] != column[order[:-1]]
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.cumsum(new) - 1
    return numbers, order[new]


class Tally(Struct, frozen=True):
    """Counts of distinct (strand, value), ascending; int64[m] each.

    first, last: ns. samples: the smallest frames of all of them, one after the other; those of i end at ``ends[i]``.
    """

    strands: Column
    values: Column
    counts: Column
    first: Column
    last: Column
    samples: list[int]
    ends: Column

    def seen(self, meaning: Callable[[int], V], which: Column | None = None) -> dict[int, Seen[V]]:
        """What each strand has seen, of the rows `which` (bool[m], all if None).

        meaning: turns a value of the column into what is kept; two values may mean the same.
        """
        rows = np.arange(len(self.strands)) if which is None else np.flatnonzero(which)
        begins = np.where(rows > 0, self.ends[rows - 1], 0)
        # Columns become lists as a whole: strands are many, and most have few values.
        columns = (self.values, self.counts, self.ends, self.first, self.last)
        values, counts, ends, first, last = (column[rows].tolist() for column in columns)
        meant = {value: meaning(value) for value in set(values)}
        table = [[meant[value] for value in values], counts, begins.tolist(), ends, first, last]
        starts = np.flatnonzero(np.diff(self.strands[rows], prepend=-1))
        strands = self.strands[rows[starts]].tolist()
        spans = zip(strands, starts.tolist(), np.append(starts, len(rows))[1:].tolist(), strict=True)
        return {strand: self._seen(*(column[start:end] for column in table)) for strand, start, end in spans}

    def _seen(
        self,
        values: list[V],
        counts: list[int],
        begins: list[int],
        ends: list[int],
        firsts: list[int],
        lasts: list[int],
    ) -> Seen[V]:
        """`Seen` of one strand. Its bound is applied first: no `Sighting` is made only to be let go."""
        samples = self.samples
        kept = None if len(values) <= MOST else set(nsmallest(MOST, set(values), key=repr))
        others = 0
        found: dict[V, Sighting] = {}
        for value, count, begin, end, first, last in zip(values, counts, begins, ends, firsts, lasts, strict=True):
            if kept is not None and value not in kept:
                others += count
                continue
            sighting = Sighting(count, tuple(samples[begin:end]), first, last)
            found[value] = found[value] + sighting if value in found else sighting
        return Seen(found, others)


def tally(strands: Column, values: Column, frames: Column, firsts: Column, lasts: Column) -> Tally:
    """Count each distinct pair of int64[n] `strands` (below 2**31) and `values` (not negative).

    frames: int64[n] frame of the sighting, 0 if not known; fastest if ascending. firsts, lasts: int64[n] its time, or
    the times that it spans, ns.
    """
    order = np.arange(len(strands)) if (frames[1:] >= frames[:-1]).all() else np.argsort(frames, kind="stable")
    small = values
    if len(values) and int(values.max()) >> 32:
        _, small = np.unique(values, return_inverse=True)
    order = order[np.argsort((strands << 32 | small)[order], kind="stable")]
    strands, values, frames = strands[order], values[order], frames[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (strands[1:] != strands[:-1]) | (values[1:] != values[:-1])
    starts = np.flatnonzero(new)
    # Of each group the first SAMPLES distinct frames: number the distinct ones within their group.
    fresh = frames > 0
    fresh[1:] &= new[1:] | (frames[1:] != frames[:-1])
    number = np.cumsum(fresh)
    wanted = fresh & (number - (number - fresh)[starts][np.cumsum(new) - 1] <= SAMPLES)
    return Tally(
        strands[starts],
        values[starts],
        np.diff(starts, append=len(order)),
        _reduce(np.minimum, firsts[order], starts),
        _reduce(np.maximum, lasts[order], starts),
        frames[wanted].tolist(),
        np.cumsum(_reduce(np.add, wanted.astype(np.int64), starts)),
    )


def _reduce(operation: np.ufunc, column: Column, starts: Column) -> Column:
    """``operation.reduceat``, which does not take empty columns."""
    return operation.reduceat(column, starts) if len(starts) else column

"""Columns of rows come in, how they are ordered goes out. Nothing here knows what the columns mean."""

from __future__ import annotations

from typing import Any

import numpy as np

Column = np.ndarray[Any, Any]

_GOLDEN = np.uint64(0x9E37_79B9_7F4A_7C15)  # 2**64 / golden ratio, odd
_HALF = np.uint64(32)


class Some:
    """Columns of some rows of a table, each copied when it is first asked for.

    Whole rows of CONNECTION are long: to copy them is slow, and so is to go through them for one column.
    """

    def __init__(self, table: np.ndarray, rows: Column) -> None:
        """rows: int64[n] numbers of rows of `table`."""
        self.table = table
        self.rows = rows
        self._columns: dict[str, Column] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> Column:
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = self.table[name].take(self.rows, axis=0)
        return column


def distinct(*columns: Column) -> tuple[Column, Column]:
    """Number the combinations of values in their order: int64[n] number of each row, int64[m] a row of each number."""
    keys = combined(columns)
    order = ordered(keys)
    new = begins(keys[order])
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.cumsum(new) - 1
    return numbers, order[new]


def together(*columns: Column) -> tuple[Column, Column]:
    """An order of rows, int64[n], in which equal ones mostly stand together, and bool[n] where others begin in it.

    columns: integers, n each. The order is that of a hash: faster than one that sorts by each column. Where hashes
    collide, or are made to, equal rows stand apart as well; the first one that is equal always comes first.
    """
    hashes = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        hashes = (hashes + column.astype(np.uint64)) * _GOLDEN
        hashes ^= hashes >> _HALF
    order = ordered((hashes >> _HALF).astype(np.int64))
    new = np.zeros(len(order), np.bool_)
    for column in columns:
        new |= begins(column[order])
    return order, new


def ordered(keys: Column) -> Column:
    """``np.argsort(keys, kind="stable")`` of int64[n] `keys`, not negative.

    Where a key and the number of its row fit into one integer, those are sorted: a sixth of the time.
    """
    bits = len(keys).bit_length()
    if not len(keys) or int(keys.max()) >> (63 - bits):
        return np.argsort(keys, kind="stable")
    both = keys << bits
    both |= np.arange(len(keys))
    both.sort()
    both &= (1 << bits) - 1
    return both


def combined(columns: tuple[Column, ...]) -> Column:
    """int64[n] keys, not negative, that sort as the rows of `columns` do, by the first one first."""
    keys, size = _ranked(columns[0])
    most = 1 << (63 - len(keys).bit_length())
    for column in columns[1:]:
        ranks, count = _ranked(column)
        if size * count > most:
            keys, size = _ranked(keys, 0)
        keys *= count
        keys += ranks
        size *= count
    return keys


def _ranked(column: Column, most: int = 1 << 31) -> tuple[Column, int]:
    """A new int64[n] that sorts as integers of any size do, and a number that it is below: at most `most`, or n."""
    if not len(column):
        return column.astype(np.int64), 1
    low = column.min()
    size = int(column.max()) - int(low) + 1
    if size <= most:
        return (column - low).astype(np.int64, copy=False), size
    kept, ranks = np.unique(column, return_inverse=True)
    return ranks, len(kept)


def places(values: Column, kept: Column) -> Column:
    """int64[n]: where in int64[m] `kept`, ascending, each of int64[n] `values` stands; -1 where it does not."""
    if not len(values) or not len(kept):
        return np.full(len(values), -1)
    low, high = int(kept[0]), int(kept[-1])
    if high - low > 4 * (len(kept) + len(values)):
        found = np.minimum(np.searchsorted(kept, values), len(kept) - 1)
        return np.where(kept[found] == values, found, -1)
    table = np.full(high - low + 2, -1)  # a tenth of the time; the last one is for what lies beyond
    table[kept - low] = np.arange(len(kept))
    return table[np.where((values >= low) & (values <= high), values - low, -1)]


def is_ordered(column: Column) -> bool:
    """Whether no value is smaller than the one before it."""
    return bool((column[1:] >= column[:-1]).all())


def starts_of(ranked: Column) -> Column:
    """int64[m]: the rows of `ranked` where another value begins."""
    return np.flatnonzero(begins(ranked))


def begins(ranked: Column) -> Column:
    """bool[n]: where another value begins."""
    new = np.ones(len(ranked), np.bool_)
    new[1:] = ranked[1:] != ranked[:-1]
    return new

"""What the tracker hands out: rows that are finished, and the text that they refer to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from nfsleuth.trace.tables import CLOCK, INTERVAL


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows since the last call of the tracker (dtypes: `trace.tables`).

    connections: CONNECTION[n], those that ended, were dropped for want of space, or (at the end, in a snapshot) all.
    identities: IDENTITY[n], calls: CALL[n]; their `at`, `name_at` refer to `text`.
    neighbours: NEIGHBOUR[n], only at the end and in a snapshot.
    intervals: INTERVAL[n], the stretches of moving file data that have ended.
    clocks: CLOCK[n], samples of clients' clocks.
    oddities, oddity_frames: int64[len(Oddity)], counts and first frames since the start of the trace.
    """

    connections: np.ndarray
    identities: np.ndarray
    calls: np.ndarray
    neighbours: np.ndarray
    text: bytes
    oddities: np.ndarray
    oddity_frames: np.ndarray
    intervals: np.ndarray = field(default_factory=lambda: np.empty(0, INTERVAL))
    clocks: np.ndarray = field(default_factory=lambda: np.empty(0, CLOCK))


def joined(parts: Sequence[np.ndarray], dtype: np.dtype[np.void]) -> np.ndarray:
    """A copy of all rows of `parts`, arrays of `dtype`, one after the other.

    Rows with padding or arrays in them are copied as bytes: NumPy would copy field by field, 2 to 15 times slower.
    """
    count = sum(map(len, parts))
    if not count:
        return _none(dtype)
    rows: np.ndarray = np.empty(count, dtype)
    as_bytes = np.dtype((np.void, dtype.itemsize))
    np.concatenate([part.view(as_bytes) for part in parts], out=rows.view(as_bytes))
    return rows


@cache  # NumPy looks at every field of a dtype before it makes an array: a chunk brings rows of few tables
def _none(dtype: np.dtype[np.void]) -> np.ndarray:
    """No rows."""
    return np.empty(0, dtype)

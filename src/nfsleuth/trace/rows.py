"""What the tracker hands out: rows that are finished, and the text that they refer to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct, field

from nfsleuth.trace.tables import CLOCK, INTERVAL


class Rows(Struct, frozen=True):
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
    """A copy of all rows of `parts`, contiguous arrays of `dtype`, one after the other.

    They are copied as bytes. NumPy would copy field by field, 2 to 15 times slower, and look at each part's fields.
    """
    return np.frombuffer(bytearray().join(parts), dtype)  # type: ignore[arg-type]  # arrays are buffers

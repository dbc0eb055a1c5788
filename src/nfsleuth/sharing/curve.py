"""Stack distances of one host come in; what a cache of any size on it would have saved goes out, with its error.

A cache of C blocks keeps what was used last: a read of a block finds it there if fewer than C others were read since.
In a sample that holds a share R of the blocks, a distance of d stands for d / R. How many bytes are missed is estimated
from the sample; what was sent is known, and the rest was hit. (That is SHARDS-adj of Waldspurger et al., FAST '15,
section 4.2: what the sample has too much or too little of is put down to the hits.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nfsleuth.sharing.tables import COARSE, DISTANCES, GROUPS

ENOUGH = 0.95  # of what any cache saves: what more buys is little
STEPS = 4  # points of a curve per doubling of the size
T95 = 2.365  # Student's t for 95 % and GROUPS - 1 degrees of freedom
DEVIATIONS = 2.0  # standard deviations of a distance that the band takes in


@dataclass(frozen=True, slots=True)
class Point:
    """Bytes that a cache of `size` bytes saves; with 95 % between `low` and `high`, equal without a sample."""

    size: int
    saved: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """What caches of one host, or of several with one cache each of the same size, save.

    block: bytes. rate: of the sample. sent: bytes. taken: bytes that the sample stands for. hits: float64[n], bytes by
    stack distance in blocks of the sample. groups: float64[GROUPS, DISTANCES + 1], see `kernel.take`.
    """

    block: int
    rate: float
    sent: int
    taken: float
    hits: np.ndarray
    groups: np.ndarray

    def at(self, size: int) -> Point:
        """What a cache of `size` bytes saves."""
        blocks = size // self.block
        saved = self._saved(blocks)
        if self.rate == 1:
            return Point(size, saved, saved, saved)
        scatter = T95 * self._scatter(blocks)
        # Of the blocks read since, binomially many are in the sample: a distance is off by this share of it
        stretch = DEVIATIONS * math.sqrt((1 - self.rate) / max(blocks * self.rate, 1))
        low = self._saved(blocks * max(1 - stretch, 0)) - scatter
        high = self._saved(blocks * (1 + stretch)) + scatter
        return Point(size, saved, max(low, 0.0), min(high, float(self.sent)))

    def _saved(self, blocks: float) -> float:
        """Bytes that a cache of that many blocks saves."""
        if blocks < 1:
            return 0.0
        reached = math.floor((blocks - 1) * self.rate) + 1  # distances that find their block
        hit = float(self.hits[:reached].sum())
        return min(max(self.sent - (self.taken - hit), 0.0), float(self.sent))

    def _scatter(self, blocks: float) -> float:
        """Standard error of `_saved`, from the scatter of the misses of the random groups of the sample."""
        within = class_begins() <= max(blocks - 1, 0)
        missed = GROUPS * (self.groups[:, -1] - self.groups[:, :-1][:, within].sum(axis=1))
        return float(missed.std(ddof=1) / math.sqrt(GROUPS) * math.sqrt(1 - self.rate))

    @property
    def all(self) -> Point:
        """What a cache saves that never gives anything up."""
        return self.at(self.largest)

    @property
    def largest(self) -> int:
        """Bytes of the smallest cache that saves as much as any."""
        used = np.flatnonzero(self.hits)
        return self.block * (math.ceil(int(used[-1]) / self.rate) + 1) if len(used) else 0

    @property
    def enough(self) -> int:
        """Bytes of the smallest cache that saves ENOUGH of what any saves; 0 where none saves anything."""
        total = self._saved(self.largest // self.block)
        if not self.largest or total <= 0:
            return 0
        missing = self.sent - self.taken  # of the sample, put down to the smallest distances
        reached = int(np.searchsorted(np.cumsum(self.hits) + missing, ENOUGH * total))
        return self.block * (math.ceil(min(reached, len(self.hits) - 1) / self.rate) + 1)

    def points(self, most: int | None = None) -> list[Point]:
        """The curve at STEPS sizes per doubling, from one block to beyond where it ends, or to `most` bytes."""
        end = max(self.largest if most is None else most, self.block)
        count = math.ceil(STEPS * math.log2(end / self.block)) + 2
        sizes = sorted({int(2 ** (i / STEPS)) * self.block for i in range(count)})
        return [self.at(size) for size in sizes]


def class_begins() -> np.ndarray:
    """float64[DISTANCES]: the smallest number in each class of `kernel.class_of`."""
    shift = np.maximum((np.arange(DISTANCES) >> COARSE) - 1, 0)
    begins: np.ndarray = (np.arange(DISTANCES) - (shift << COARSE)).astype(np.float64) * 2.0**shift
    return begins


def added(curves: Sequence[Curve]) -> Curve:
    """One cache of the same size on each host: what they save together. Curves of one trace."""
    if not curves:
        return Curve(1, 1.0, 0, 0.0, np.zeros(0), np.zeros((GROUPS, DISTANCES + 1)))
    hits = np.zeros(max(len(c.hits) for c in curves))
    for curve in curves:
        hits[: len(curve.hits)] += curve.hits
    return Curve(
        curves[0].block,
        curves[0].rate,
        sum(c.sent for c in curves),
        sum(c.taken for c in curves),
        hits,
        np.sum([c.groups for c in curves], axis=0),
    )

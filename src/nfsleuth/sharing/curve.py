"""Stack distances of one host come in; what a cache of any size on it would have saved goes out, with its error.

A cache of C blocks keeps what was used last: a read of a block finds it there if fewer than C others were read since.
Of a host whose newest blocks are all followed, caches up to as many blocks are known exactly. What larger caches hit of
the reads that those miss is estimated: where a share R of the blocks is in the sample, a distance of d there stands for
d / R, and the part of these reads that a larger cache hits is taken to be the same in the sample as among all.

Where no newest blocks were followed, misses are estimated from the sample; what was sent is known, and what is not
missed was hit. (That is SHARDS-adj of Waldspurger et al., FAST '15, section 4.2: what the sample has too much or too
little of is put down to the hits.)
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from nfsleuth.sharing.tables import COARSE, DISTANCES, GROUPS, class_bounds

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
    """What caches of one host save.

    block: bytes. rate: of the sample. sent: bytes. newest: float64[depth], bytes by stack distance in blocks, of all
    reads of a block that was among the `depth` newest; empty where all blocks are in the sample. Of the other reads:
    taken: bytes that the sample stands for. hits: float64[n], bytes by stack distance in blocks of the sample.
    groups: float64[GROUPS, DISTANCES + 1], see `kernel.take`.
    """

    block: int
    rate: float
    sent: int
    taken: float
    hits: np.ndarray
    groups: np.ndarray
    newest: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def at(self, size: int) -> Point:
        """What a cache of `size` bytes saves."""
        blocks = size // self.block
        saved = self._saved(blocks)
        if self.rate == 1 or blocks <= len(self.newest):
            return Point(size, saved, saved, saved)
        scatter = T95 * self._scatter(blocks)
        # Of the blocks read since, binomially many are in the sample: a distance is off by this share of it
        stretch = DEVIATIONS * math.sqrt((1 - self.rate) / max(blocks * self.rate, 1))
        low = self._saved(blocks * max(1 - stretch, 0)) - scatter
        high = self._saved(blocks * (1 + stretch)) + scatter
        return Point(size, saved, max(low, self._known), min(high, float(self.sent)))

    @cached_property
    def _sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Bytes at the first n distances: float64[depth + 1] of `newest`, float64[n + 1] of `hits`."""
        return np.append(0.0, np.cumsum(self.newest)), np.append(0.0, np.cumsum(self.hits))

    @property
    def _known(self) -> float:
        """Bytes that a cache of as many blocks as are all followed saves."""
        return float(self._sums[0][-1])

    def _saved(self, blocks: float) -> float:
        """Bytes that a cache of that many blocks saves."""
        near, far = self._sums
        if blocks < 1 or blocks <= len(self.newest):
            return float(near[max(math.floor(blocks), 0)])
        reached = math.floor((blocks - 1) * self.rate) + 1  # distances that find their block
        hit = float(far[min(reached, len(self.hits))])
        if not len(self.newest):
            return min(max(self.sent - (self.taken - hit), 0.0), float(self.sent))
        part = min(hit / self.taken, 1.0) if self.taken > 0 else 0.0
        return self._known + (self.sent - self._known) * part

    def _scatter(self, blocks: float) -> float:
        """Standard error of `_saved`, from the scatter of the misses of the random groups of the sample."""
        within = class_bounds(COARSE, DISTANCES)[0] <= max(blocks - 1, 0)
        everything = self.groups[:, -1]
        missed = everything - self.groups[:, :-1][:, within].sum(axis=1)
        share = 1.0
        if len(self.newest):
            # A group that has more of everything has more misses, too: of a ratio, only what goes beyond that is error.
            whole = float(everything.sum())
            if whole <= 0:
                return 0.0
            missed = missed - everything * float(missed.sum()) / whole
            share = (self.sent - self._known) / whole
        return share * float(GROUPS * missed.std(ddof=1) / math.sqrt(GROUPS) * math.sqrt(1 - self.rate))

    @property
    def all(self) -> Point:
        """What a cache saves that never gives anything up."""
        return self.at(self.largest)

    @cached_property
    def largest(self) -> int:
        """Bytes of the smallest cache that saves as much as any; 0 where none saves anything."""
        far, near = np.flatnonzero(self.hits), np.flatnonzero(self.newest)
        if len(far):
            return self.block * max(math.ceil(int(far[-1]) / self.rate), len(self.newest)) + self.block
        return self.block * (int(near[-1]) + 1) if len(near) else 0

    @property
    def enough(self) -> int:
        """Bytes of the smallest cache that saves ENOUGH of what any saves; 0 where none saves anything."""
        return smallest(self)

    def points(self, most: int | None = None) -> list[Point]:
        """The curve at STEPS sizes per doubling, from one block to beyond where it ends, or to `most` bytes."""
        return points(self, most)


@dataclass(frozen=True)
class Together:
    """One cache of the same size on each of several hosts: what they save in all. Curves of one trace.

    The band is the sum of theirs, as if they were all off to the same side.
    """

    block: int
    rate: float
    curves: tuple[Curve, ...]

    @property
    def sent(self) -> int:
        """Bytes."""
        return sum(c.sent for c in self.curves)

    def at(self, size: int) -> Point:
        """What caches of `size` bytes save."""
        found = [c.at(min(size, c.largest)) for c in self.curves]
        return Point(size, sum(p.saved for p in found), sum(p.low for p in found), sum(p.high for p in found))

    @property
    def exact_to(self) -> int:
        """Bytes up to which caches on every host are exact in a sample."""
        return min((self.block * len(c.newest) for c in self.curves), default=0)

    @property
    def all(self) -> Point:
        """What caches save that never give anything up."""
        return self.at(self.largest)

    @cached_property
    def largest(self) -> int:
        """Bytes of the smallest size at which they save as much as at any."""
        return max((c.largest for c in self.curves), default=0)

    @property
    def enough(self) -> int:
        """As for one curve."""
        return smallest(self)

    def points(self, most: int | None = None) -> list[Point]:
        """As for one curve."""
        return points(self, most)


def smallest(curve: Curve | Together) -> int:
    """Bytes of the smallest cache that saves ENOUGH of what any saves; 0 where none saves anything.

    Savings grow with the size, so that the place is found by halving.
    """
    wanted = ENOUGH * curve.all.saved
    if wanted <= 0:
        return 0
    return curve.block * bisect_left(range(curve.largest // curve.block), wanted, key=lambda n: _at(curve, n).saved)


def _at(curve: Curve | Together, blocks: int) -> Point:
    return curve.at(blocks * curve.block)


def points(curve: Curve | Together, most: int | None = None) -> list[Point]:
    """A curve at STEPS sizes per doubling, from one block to beyond where it ends, or to `most` bytes."""
    end = max(curve.largest if most is None else most, curve.block)
    count = math.ceil(STEPS * math.log2(end / curve.block)) + 2
    return [_at(curve, blocks) for blocks in sorted({int(2 ** (i / STEPS)) for i in range(count)})]

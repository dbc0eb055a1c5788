"""Robust statistics: samples come in; medians, spreads, intervals and likelihoods go out.

Times and rates have long tails (a scheduler's pause, a lost segment), so nothing here is a mean or a variance: the
median, the median absolute deviation, and Student's t with few degrees of freedom in place of a normal distribution
(Lange, Little and Taylor, "Robust statistical modeling using the t distribution", JASA 84, 1989).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from msgspec import Struct

NU = 4.0  # degrees of freedom: tails as heavy as timings have; with 4 they have a variance, and outliers are cheap
NORMAL = 1.4826  # the MAD of a normal distribution times this is its standard deviation
RESAMPLES = 2000
LEAST_FOR_INTERVAL = 3  # samples: from fewer no interval can be drawn


class Interval(Struct, frozen=True):
    """A median, and where it lies with 95 % confidence; `low` and `high` are None with too few samples."""

    median: float
    low: float | None
    high: float | None


def median(samples: Sequence[float]) -> float:
    """The median; raises ValueError of nothing."""
    if not len(samples):
        raise ValueError("the median of nothing")
    return float(np.median(np.asarray(samples, np.float64)))


def spread(samples: Sequence[float]) -> float:
    """The median absolute deviation, scaled to the standard deviation of a normal distribution."""
    values = np.asarray(samples, np.float64)
    return float(NORMAL * np.median(np.abs(values - np.median(values))))


def bootstrapped(samples: Sequence[float], seed: int = 0) -> Interval:
    """The median with its percentile bootstrap interval (Efron 1979). seed: makes the draw repeatable."""
    middle = median(samples)
    if len(samples) < LEAST_FOR_INTERVAL:
        return Interval(middle, None, None)
    low, high = np.quantile(_medians(samples, np.random.default_rng(seed)), (0.025, 0.975))
    return Interval(middle, float(low), float(high))


def bootstrapped_ratio(above: Sequence[float], below: Sequence[float], seed: int = 0) -> Interval | None:
    """The ratio of two medians with its percentile bootstrap interval, both drawn anew; None if it divides by 0.

    The samples are independent: boots of one guest and of another, say, not pairs.
    """
    base = median(below)
    if not base:
        return None
    ratio = median(above) / base
    if min(len(above), len(below)) < LEAST_FOR_INTERVAL:
        return Interval(ratio, None, None)
    draw = np.random.default_rng(seed)
    over, under = _medians(above, draw), _medians(below, draw)
    ratios = over[under != 0] / under[under != 0]
    low, high = np.quantile(ratios, (0.025, 0.975))
    return Interval(ratio, float(low), float(high))


def _medians(samples: Sequence[float], draw: np.random.Generator) -> npt.NDArray[np.float64]:
    """Medians of as many samples, drawn from them again and again."""
    values = np.asarray(samples, np.float64)
    drawn = draw.integers(0, len(values), (RESAMPLES, len(values)))
    return np.asarray(np.median(values[drawn], axis=1), np.float64)


def student_log_density(value: float, centre: float, scale: float, nu: float = NU) -> float:
    """ln of the density of Student's t with `nu` degrees of freedom, moved to `centre` and stretched by `scale`."""
    t = (value - centre) / scale
    constant = math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2) - 0.5 * math.log(nu * math.pi) - math.log(scale)
    return constant - (nu + 1) / 2 * math.log1p(t * t / nu)

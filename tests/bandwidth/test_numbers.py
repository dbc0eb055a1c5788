"""Intervals are of medians, and of their ratios."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfsleuth.bandwidth.numbers import bootstrapped, bootstrapped_ratio

samples = st.lists(st.floats(0.1, 1e6), min_size=3, max_size=12)


@given(samples, samples)
def test_a_ratio_lies_in_its_interval(above, below):
    found = bootstrapped_ratio(above, below)
    assert found.low <= found.median * (1 + 1e-9)
    assert found.median <= found.high * (1 + 1e-9)
    assert found == bootstrapped_ratio(above, below), "the same draw each time"


@given(samples)
def test_a_ratio_to_one_is_the_interval_itself(values):
    ratio, plain = bootstrapped_ratio(values, [1.0] * 3), bootstrapped(values)
    assert ratio.median == plain.median
    # Other draws: the ends of the intervals are among the medians that can be drawn, and near each other.
    assert min(values) <= ratio.low <= plain.median <= ratio.high <= max(values)


def test_few_samples_have_no_interval():
    assert bootstrapped_ratio([4.0, 6.0], [2.0, 2.0, 2.0]).median == pytest.approx(2.5)
    assert bootstrapped_ratio([4.0, 6.0], [2.0, 2.0, 2.0]).low is None


def test_nothing_is_divided_by_nothing():
    assert bootstrapped_ratio([1.0, 2.0, 3.0], [0.0, 0.0, 0.0]) is None
    found = bootstrapped_ratio([1.0, 2.0, 3.0], [0.0, 0.0, 1.0, 1.0, 1.0])
    assert found.median == 2
    assert found.high is not None

"""Timelines: against a twin that spreads each span on its own, in any order of adding up."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nfsleuth.clients import timeline
from nfsleuth.clients.timeline import FINEST, MOST_MOMENTS, Timeline, timelines

SPANS = st.lists(
    st.tuples(
        st.integers(0, 2),  # group
        st.integers(0, 1 << 45),  # begin, up to ten hours
        st.integers(1, 1 << 34),  # length, up to 17 s
        st.integers(0, 1 << 40),  # bytes
    ),
    max_size=40,
)


def spread(spans):
    """What `timelines` makes of (group, begin, length, bytes)."""
    spans = sorted(spans, key=lambda span: span[0])
    groups, begin, length, octets = (np.array([span[i] for span in spans], np.int64) for i in range(4))
    return timelines(groups, begin, begin + length, np.column_stack([octets, length]))


def twin(spans, fineness):
    """Exact amounts by moment, as fractions."""
    moments = {}
    for _, begin, length, octets in spans:
        end = begin + length
        for at in range(begin >> fineness, ((end - 1) >> fineness) + 1):
            share = Fraction(min((at + 1) << fineness, end) - max(at << fineness, begin), length)
            before = moments.get(at, (0, 0))
            moments[at] = (before[0] + octets * share, before[1] + length * share)
    return moments


@given(SPANS)
@settings(deadline=None)
def test_every_amount_lands_where_it_belongs(spans):
    found = spread(spans)
    assert set(found) == {span[0] for span in spans}
    for group, line in found.items():
        mine = [span for span in spans if span[0] == group]
        exact = twin(mine, line.fineness)
        assert line.places.tolist() == sorted(exact)
        assert line.amounts.sum(axis=0).tolist() == [sum(s[3] for s in mine), sum(s[2] for s in mine)]
        for begin, _, amounts in line.runs():  # a span's parts are rounded, each by less than one
            assert amounts == pytest.approx([float(a) for a in exact[begin >> line.fineness]], abs=2 * len(mine))
        first, last = min(s[1] for s in mine), max(s[1] + s[2] for s in mine) - 1
        assert (last >> line.fineness) - (first >> line.fineness) < MOST_MOMENTS
        finer = line.fineness - 1
        assert line.fineness == FINEST or (last >> finer) - (first >> finer) >= MOST_MOMENTS


@given(SPANS, st.randoms(use_true_random=False), st.integers(1, 5))
@settings(deadline=None)
def test_timelines_add_up_in_any_order(spans, random, pieces):
    one_group = [(0, *span[1:]) for span in spans]
    whole = spread(one_group).get(0, Timeline())
    random.shuffle(one_group)
    total = Timeline()
    for i in range(pieces):
        total += spread(one_group[i::pieces]).get(0, Timeline())
    assert total == whole
    assert Timeline() + whole == whole + Timeline() == whole


@given(SPANS)
@settings(deadline=None, max_examples=30)
def test_the_number_spread_at_a_time_does_not_matter(spans):
    whole = spread(spans)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timeline, "TOGETHER", 3)
        assert spread(spans) == whole


def test_timelines_that_differ_are_not_equal():
    [line] = spread([(0, 0, 10, 10)]).values()
    [other] = spread([(0, 0, 10, 11)]).values()
    assert line != other
    assert line != Timeline()
    assert line != "a timeline"

"""Fusion: what must hold whatever the evidence."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nfsleuth.errors import NfsleuthError
from nfsleuth.evidence.model import HYPOTHESES, Evidence, Group, State
from nfsleuth.verdict.fuse import GROUP_CAP, TOTAL_CAP, by_group, fuse, fuse_each, together
from nfsleuth.verdict.priors import DEFAULT, complete, parse

NATS = st.floats(-30, 30) | st.sampled_from([math.inf, -math.inf, math.nan])
ROWS = st.lists(
    st.builds(
        Evidence,
        rule=st.just("x"),
        group=st.sampled_from(list(Group)),
        says=st.just(""),
        seen=st.just("x"),
        toward=st.dictionaries(st.sampled_from(HYPOTHESES), NATS, max_size=3),
        virtual=NATS,
        counted=st.booleans(),
    ),
    max_size=12,
)
PRIORS = st.dictionaries(st.sampled_from(HYPOTHESES), st.floats(0, 0.16), max_size=5).map(complete)


def row(group=Group.LINK, counted=True, **toward):
    named = {State(name.replace("_", "-")): nats for name, nats in toward.items()}
    return Evidence("x", group, "", "x", named, counted=counted)


def _only(given):
    return [given] if given.counted else []


@settings(max_examples=150)
@given(ROWS, PRIORS)
def test_probabilities_sum_to_one_and_never_reach_it(rows, priors):
    belief = fuse(rows, priors)
    assert math.isclose(sum(belief.states.values()), 1, abs_tol=1e-9)
    assert all(0 < p < 0.99991 for p in belief.states.values())
    assert 0 <= belief.virtual <= 1
    assert belief.answer in (belief.leading, State.UNKNOWN, State.CONFLICT)


@settings(max_examples=150)
@given(ROWS, st.randoms())
def test_order_does_not_matter(rows, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert fuse(rows, DEFAULT) == fuse(shuffled, DEFAULT)


@settings(max_examples=150)
@given(ROWS, PRIORS)
def test_a_row_moves_the_odds_as_it_does_alone(rows, priors):
    belief, moved = fuse_each(rows, priors)
    odds = [
        math.log(p) - math.log1p(-p) for p in (fuse(r, priors).states[belief.leading] for r in [[], *map(_only, rows)])
    ]
    assert belief == fuse(rows, priors)
    assert moved == [after - odds[0] for after in odds[1:]]


@settings(max_examples=150)
@given(ROWS, PRIORS)
def test_each_group_is_left_out_as_if_it_had_not_been_seen(rows, priors):
    belief = fuse(rows, priors)
    assert [group for group, _ in belief.without] == list(belief.groups)
    for group, led in belief.without:
        others = fuse([row for row in rows if row.group is not group], priors)
        assert (led.leading, led.answer, led.sure) == (others.leading, others.answer, others.states[others.leading])


@settings(max_examples=150)
@given(ROWS)
def test_groups_and_totals_are_capped(rows):
    belief = fuse(rows, DEFAULT)
    assert all(abs(nats) <= GROUP_CAP for group in belief.groups.values() for nats in group.values())
    for state in HYPOTHESES:
        odds = (belief.states[state] / DEFAULT[state]) / (belief.states[State.NATIVE] / DEFAULT[State.NATIVE])
        assert abs(math.log(odds)) <= 2 * TOTAL_CAP + 5  # plus what the floor and the doubt of "native" may move


@given(st.floats(0.1, 6.9), st.integers(1, 50))
def test_more_of_one_cause_never_passes_the_cap(nats, times):
    assert together([nats] * times) <= min(GROUP_CAP, nats * (1 + 0.3 * (times - 1)) + 1e-9)
    assert together([nats] * times) >= min(GROUP_CAP, nats)


def test_opposite_signs_of_one_group_are_both_heard():
    assert together([3.0, -2.0]) == pytest.approx(1.0)
    assert together([3.0, 1.0]) == pytest.approx(3.3)
    assert together([]) == 0


@given(ROWS)
def test_rows_set_aside_change_nothing(rows):
    aside = [row(counted=False, native=6.0)]
    assert fuse([*rows, *aside], DEFAULT) == fuse(rows, DEFAULT)


def test_nothing_seen_is_unknown():
    assert fuse([], DEFAULT).answer is State.UNKNOWN
    assert by_group([]) == {}


def test_the_prior_alone_gives_no_verdict():
    assert fuse([], parse("native=.95")).answer is State.UNKNOWN


def test_opposed_strong_groups_are_a_conflict():
    rows = [row(bridged_vm=6.0), row(Group.ADDRESS, user_nat_vm=6.9)]
    assert fuse(rows, DEFAULT).answer is State.CONFLICT
    assert fuse([rows[0], row(Group.TRANSPORT, user_nat_vm=2.8)], DEFAULT).answer is State.BRIDGED


@pytest.mark.parametrize("priors", [DEFAULT, parse("native=.99")])
def test_makers_mac_never_makes_native_surer_than_nine_tenths(priors):
    rows = [row(bridged_vm=-3.85), row(Group.TRANSPORT, user_nat_vm=-4.5), row(Group.HOP, kernel_nat=-4.0)]
    belief = fuse(rows, priors)
    assert belief.answer is State.NATIVE
    assert belief.states[State.NATIVE] <= 0.9


def test_makers_mac_alone_leaves_a_guest_possible():
    belief = fuse([row(bridged_vm=-3.85)], DEFAULT)
    machine_or_guest = belief.states[State.NATIVE] + belief.states[State.BRIDGED]
    assert belief.states[State.NATIVE] == pytest.approx(0.9 * machine_or_guest)
    assert belief.virtual >= 0.1 * machine_or_guest
    proven = fuse([row(bridged_vm=-3.85), row(Group.IDENTITY, native=2.0)], DEFAULT)
    assert proven.states[State.NATIVE] > 0.9 * (proven.states[State.NATIVE] + proven.states[State.BRIDGED])


def test_share_of_kernel_nat_that_is_guests():
    nat = row(Group.HOP, kernel_nat=4.5)
    guest = Evidence("x", Group.IDENTITY, "", "x", {}, virtual=3.0)
    program = Evidence("x", Group.IDENTITY, "", "x", {}, virtual=-3.0)
    low, middle, high = (fuse([nat, *more], DEFAULT).virtual for more in ([program], [], [guest]))
    assert low < middle < high


def test_priors_share_what_is_left():
    given_priors = parse("native=.6, bridged-vm=.2")
    assert given_priors[State.NATIVE] == pytest.approx(0.6)
    assert sum(given_priors.values()) == pytest.approx(1)
    assert given_priors[State.USER_NAT] == pytest.approx(0.2 * 0.10 / 0.25)
    assert sum(DEFAULT.values()) == pytest.approx(1)
    assert min(parse("native=1").values()) > 0


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("native", "STATE=PROBABILITY"),
        ("vm=.5", "bridged-vm"),
        ("unknown=.5", "choose of"),
        ("native=much", "not a number"),
        ("native=1.5", "from 0 to 1"),
        ("native=nan", "from 0 to 1"),
        ("native=.6,bridged-vm=.6", "sum to 1.2"),
        ("native=.1,native=.2", "twice"),
        (",".join(f"{s}=.1" for s in HYPOTHESES), "sum to 1"),
    ],
)
def test_priors_that_make_no_sense(text, word):
    with pytest.raises(NfsleuthError, match=word):
        parse(text)

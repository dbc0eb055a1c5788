"""Groups are the best there are where that can be tried, and a local optimum where it cannot."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hosts import naive
from nfsleuth.hosts import clustering
from nfsleuth.hosts.clustering import Clique, Weights, cluster, log_odds, probability, total

NATS = st.integers(-20, 20).map(lambda n: n / 2)
SHARES = st.sampled_from([0.0, 0.3, 0.5, 1.0])


@st.composite
def weights(draw, most=7):
    count = draw(st.integers(1, most))
    members = st.integers(0, count - 1)
    cliques = draw(
        st.lists(
            st.builds(
                lambda some, labels, same, differ, strong: Clique(
                    some, same, differ, {n: labels[n % len(labels)] for n in some}, {"a": strong}
                ),
                st.dictionaries(members, SHARES, max_size=count),
                st.lists(st.sampled_from("abc"), min_size=1, max_size=3),
                NATS,
                NATS.map(lambda nats: -abs(nats)),
                NATS,
            ),
            max_size=3,
        )
    )
    pairs = draw(st.dictionaries(st.tuples(members, members).filter(lambda p: p[0] < p[1]), NATS, max_size=6))
    return Weights(count, draw(st.sampled_from([0.0, -0.5, -3.0])), cliques, pairs)


def checked(found, count):
    assert sorted(member for group in found for member in group) == list(range(count))
    assert found == sorted(sorted(group) for group in found)
    return found


@given(weights())
def test_small_groups_are_the_best_of_all_partitions(w):
    found = checked(cluster(w), w.count)
    assert total(w, found) == pytest.approx(naive.best(w.count, w.pair), abs=1e-6)


@given(weights())
def test_local_search_ends_where_no_step_gains(w):
    """By itself, without the exact solution of small components: never below all alone, no client better elsewhere."""
    found = checked(sorted(clustering._Search(w, list(range(w.count))).groups()), w.count)
    assert total(w, found) >= -1e-6
    for group in found:
        for member in group:
            here = sum(w.pair(member, b) for b in group if b != member)
            assert here >= -1e-6
            for other in found:
                if other is not group and joined(w, [member], other):
                    assert sum(w.pair(member, b) for b in other) <= here + 1e-6
    for i, group in enumerate(found):
        for other in found[:i]:
            if joined(w, group, other):
                assert sum(w.pair(a, b) for a in group for b in other) <= 1e-6


def joined(w, group, other) -> bool:
    """Whether some sign holds for one of `group` with one of `other`: only then is a step tried."""
    pairs = [(a, b) for a in group for b in other]
    return any(c.weight(a, b) > 0 for c in w.cliques for a, b in pairs) or any(
        w.tied(a).get(b, 0) > 0 for a, b in pairs
    )


@given(weights(6))
def test_the_order_of_cliques_does_not_matter(w):
    again = Weights(w.count, w.base, list(reversed(w.cliques)), dict(reversed(w.pairs.items())))
    assert total(again, cluster(again)) == pytest.approx(total(w, cluster(w)), abs=1e-6)


def test_it_is_no_transitive_closure():
    """A-B and B-C are likely, A-C is impossible: the chain breaks at its weaker pair."""
    w = Weights(3, -1.0, [], {(0, 1): 4.0, (1, 2): 3.0, (0, 2): -9.0})
    assert cluster(w) == [[0, 1], [2]]


def test_nothing_in_common_is_nothing_shared():
    assert cluster(Weights(3, -3.0)) == [[0], [1], [2]]
    assert cluster(Weights(0, -3.0)) == []
    with pytest.raises(ValueError, match="base"):
        Weights(1, 1.0)
    with pytest.raises(ValueError, match="different places"):
        Clique({}, 1.0, 1.0)


def planted(hosts: int, guests: int, noise: int, seed: int = 1) -> tuple[Weights, list[list[int]]]:
    """Guests of each host have a key in common; `noise` wrong ties of a weight below it join hosts."""
    rng = random.Random(seed)
    count = hosts * guests
    order = list(range(count))
    rng.shuffle(order)
    truth = [sorted(order[i * guests : (i + 1) * guests]) for i in range(hosts)]
    keys = {member: str(number) for number, group in enumerate(truth) for member in group}
    clique = Clique(dict.fromkeys(range(count), 1.0), 6.0, -5.0, keys)
    pairs = {tuple(sorted(rng.sample(range(count), 2))): 4.0 for _ in range(noise)}
    return Weights(count, -3.0, [clique], pairs), sorted(truth)


@pytest.mark.parametrize(("hosts", "guests", "noise"), [(3, 12, 30), (40, 7, 300), (5, 60, 400)])
def test_planted_groups_are_found(hosts, guests, noise):
    w, truth = planted(hosts, guests, noise)
    assert cluster(w) == truth


@pytest.mark.slow
def test_ten_thousand_clients_take_seconds():
    began = time.process_time()
    w, truth = planted(500, 20, 5000)
    assert cluster(w) == truth
    one = Weights(10_000, -3.0, [Clique(dict.fromkeys(range(10_000), 1.0), 6.4)])
    assert cluster(one) == [list(range(10_000))]
    assert time.process_time() - began < 60


@given(st.floats(0.001, 0.999))
def test_log_odds_and_back(p):
    assert probability(log_odds(p)) == pytest.approx(p)
    assert probability(-1000.0) == 0.0
    assert probability(1000.0) == 1.0

"""How fast a clock runs, from its TCP timestamps: the line of Kohno, Broido and claffy, its error, and pauses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfsleuth.clients import clock as clocks
from nfsleuth.clients.clock import SHORTEST, Clock, fit, upper_slope
from nfsleuth.clients.facts import CLOCKS_KEPT, Facts
from nfsleuth.trace.tables import CLOCK

BEGIN = 1_700_000_000 * 10**9


def samples(ppm=0.0, *, span=120.0, count=300, hertz=1000, jitter=2e-4, pauses=(), seed=1, first=2**32 - 5000):
    """CLOCK rows of a clock that is `ppm` fast, sampled at random, late by `jitter` s in the mean (exponential).

    pauses: (when, how long) it stood still, s. The counter wraps soon after its begin.
    """
    rng = np.random.default_rng(seed)
    sent = np.sort(rng.uniform(0, span, count))
    own = sent * (1 + ppm * 1e-6)
    for when, lost in pauses:
        own -= np.clip(sent - when, 0, lost)
    seen = sent + 1e-4 + rng.exponential(jitter, count)
    order = np.argsort(seen)
    rows = np.zeros(count, CLOCK)
    rows["time"] = BEGIN + (seen[order] * 1e9).astype(np.int64)
    rows["value"] = (np.floor((own[order] + 0.3) * hertz).astype(np.int64) + first) & 0xFFFF_FFFF
    rows["frame"] = np.arange(1, count + 1)
    rows["port"] = 777
    return rows


def measured(rows, ports):
    """The clocks of connections. ports: of the client, by uid."""
    return clocks.measured(
        rows, np.array(sorted(ports), np.int64), np.array([ports[uid] for uid in sorted(ports)], "u2")
    )


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(-500, 500)), min_size=2, max_size=40, unique_by=lambda p: p[0])
)
def test_the_slope_is_the_linear_programmes(points):
    """Against every line through two points that lies above all of them: none is closer in the mean."""
    x, y = (np.array(column, float) for column in zip(*points, strict=True))
    candidates = [
        (y[j] - y[i]) / (x[j] - x[i]) for i in range(len(x)) for j in range(len(x)) if x[i] < x[j]
    ]  # fmt: skip

    def distance(slope):
        return float((y - slope * x).max() - (y - slope * x).mean())

    assert distance(upper_slope(x, y)) == pytest.approx(min(map(distance, candidates)), abs=1e-6)


@pytest.mark.parametrize("hertz", [100, 250, 1000, 1_000_000])
@pytest.mark.parametrize("ppm", [-80.0, 0.0, 12.5])
def test_skew_and_rate_are_found(hertz, ppm):
    clock = fit(samples(ppm, hertz=hertz, span=300))
    assert clock.hertz == hertz
    assert abs(clock.ppm - ppm) < 3 * clock.error
    assert clock.error < 5
    assert clock.samples == 300
    assert clock.frame == 1
    assert clock.pauses == ()


def test_errors_are_as_large_as_they_say():
    """Two of three within one standard deviation, 9 of 10 within two, over clocks and conditions of many kinds."""
    rng, off = np.random.default_rng(7), []
    for seed in range(150):
        ppm = rng.uniform(-80, 80)
        how = {"span": rng.uniform(30, 900), "count": int(rng.uniform(40, 400)), "jitter": rng.uniform(5e-5, 2e-3)}
        clock = fit(samples(ppm, seed=seed, **how))
        off.append(abs(clock.ppm - ppm) / clock.error)
    off = np.array(off)
    assert (off < 1).mean() > 0.67
    assert (off < 2).mean() > 0.9
    assert (off < 4).mean() > 0.97


def test_longer_is_surer():
    errors = [fit(samples(20, span=span)).error for span in (30, 300, 3000)]
    assert errors == sorted(errors, reverse=True)
    assert errors[2] < 0.2


def test_a_clock_whose_rate_changes_is_not_sure():
    rows = samples(0.0, span=200)
    later = rows["time"] > BEGIN + 100 * 10**9
    late = (rows["time"][later] - BEGIN) / 1e9 - 100
    rows["value"][later] = (
        rows["value"][later].astype(np.int64) + (late * 0.3).astype(np.int64)
    ) & 0xFFFF_FFFF  # 300 ppm
    assert fit(rows).error > 50


def test_pauses_are_found_and_left_out():
    clock = fit(samples(30, span=300, pauses=((40.0, 3.2), (90.0, 0.6))))
    assert [round(lost / 1e9, 2) for _, lost in clock.pauses] == [3.2, 0.6]
    assert [round((when - BEGIN) / 1e9) for when, _ in clock.pauses] == pytest.approx([44, 91], abs=2)
    assert abs(clock.ppm - 30) < 3 * clock.error
    assert clock.span < 215 * 10**9


def test_a_late_packet_is_no_pause():
    rows = samples()
    rows["time"][150] += 700_000_000
    rows = rows[np.argsort(rows["time"])]
    assert fit(rows).pauses == ()


def test_what_is_no_clock_gives_none():
    assert fit(samples()[:10]) is None
    assert fit(samples(span=SHORTEST / 1e9 - 1)) is None
    still, wild, same = samples(), samples(), samples()
    still["value"] = 7
    wild["value"] = np.random.default_rng(1).integers(0, 2**32, len(wild))
    same["time"] = BEGIN
    assert fit(still) is fit(wild) is fit(same) is fit(samples(hertz=700)) is None


@given(st.lists(st.tuples(st.integers(-(2**62), 2**62), st.integers(0, 2**32 - 1)), max_size=60))
def test_hostile_samples(points):
    rows = np.zeros(len(points), CLOCK)
    for i, (time, value) in enumerate(sorted(points)):
        rows[i] = (0, time, i, value, 777)
    assert isinstance(measured(rows, {0: 777}), dict)


def test_only_rows_from_the_clients_port_count():
    ours, theirs = samples(40), samples(-40)
    theirs["port"] = 2049
    rows = np.concatenate([theirs, ours])
    assert measured(rows, {0: 777})[0].ppm > 30
    assert measured(rows, {0: 2049})[0].ppm < -30
    assert measured(rows, {}) == measured(rows, {0: 1}) == measured(rows[:0], {0: 777}) == {}


def test_many_clocks_are_each_as_one_alone():
    each = {
        3: samples(40, seed=1),
        5: samples()[:10],
        8: samples(-7, hertz=250, pauses=((110, 3.0),), seed=2),
        9: samples(hertz=700),
        20: samples(12, hertz=100, count=77, seed=3),
    }
    for uid, rows in each.items():
        rows["uid"] = uid
    rows = np.random.default_rng(4).permutation(np.concatenate(list(each.values())))
    alone = {uid: fit(rows) for uid, rows in each.items()}
    assert [uid for uid, clock in alone.items() if clock] == [3, 8, 20]
    assert measured(rows, dict.fromkeys(each, 777)) == {uid: clock for uid, clock in alone.items() if clock}


def clock(n: int) -> Clock:
    return Clock(n / 10, 5.0, BEGIN, 10**11, 1000, 100, n, ())


@given(*[st.sets(st.integers(0, 40)) for _ in range(3)])
def test_clocks_of_facts_add_up_in_any_order(a, b, c):
    facts = [Facts("10.0.0.7", clocks=tuple(sorted(map(clock, some))[:CLOCKS_KEPT])) for some in (a, b, c)]
    left, right = (facts[0] + facts[1]) + facts[2], facts[2] + (facts[1] + facts[0])
    assert left.clocks == right.clocks == tuple(map(clock, sorted(a | b | c)[:CLOCKS_KEPT]))

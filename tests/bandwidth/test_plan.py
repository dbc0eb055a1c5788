"""Sizes, order of trials, the estimate of time, and timings that come back out of JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfsleuth.bandwidth.plan import Plan, Step, human, parse_size, parse_sizes, time_left
from nfsleuth.bandwidth.timings import Timings, Trial, from_json, from_rows, to_json
from nfsleuth.errors import NfsleuthError


def run(*trials, **fields) -> Timings:
    return Timings("/mnt", "local", 4096, trials=[Trial(*t) for t in trials], **fields)


def test_sizes_are_those_of_dd():
    assert parse_sizes("2G, 500K,1M,1M") == (500 * 1024, 1 << 20, 2 << 30)
    assert [human(size) for size in (512000, 1 << 20, 1 << 31, 1000)] == ["500K", "1M", "2G", "1000"]


@pytest.mark.parametrize("wrong", ["", "0", "5T", "-1M", "1.5M", "1M,", "9" * 30])
def test_wrong_sizes_are_refused(wrong):
    with pytest.raises(NfsleuthError, match="500K"):
        parse_sizes(wrong)


@given(st.integers(1, 1 << 40))
def test_a_size_is_written_as_it_is_read(size):
    assert parse_size(human(size)) == size


@pytest.mark.parametrize("fields", [{"sizes": ()}, {"block": 0}, {"rounds": 0}, {"sizes": (1 << 43,)}])
def test_impossible_plans_are_refused(fields):
    with pytest.raises(NfsleuthError):
        Plan(**{"sizes": (1,)} | fields)


def test_every_size_is_read_once_per_round_in_an_order_that_changes():
    plan = Plan((1, 2, 3, 4, 5, 6), rounds=8, seed=3)
    steps = plan.steps()
    rounds = [[s.size for s in steps if s.round == n] for n in range(9)]
    assert all(sorted(sizes) == [1, 2, 3, 4, 5, 6] for sizes in rounds)
    assert len({tuple(sizes) for sizes in rounds}) > 4
    assert steps == Plan((1, 2, 3, 4, 5, 6), rounds=8, seed=3).steps()


def test_time_left_goes_by_what_was_seen():
    left = [Step(1, 1000), Step(1, 2000)]
    assert time_left(left, {1000: [1.0, 3.0]}) == pytest.approx(2 + 4)
    assert time_left(left, {}) == pytest.approx(3000 / 50e6)


def test_the_warm_up_does_not_count():
    result = run((1000, 0, 9.0, True), (1000, 1, 1.0), (1000, 2, 3.0), (1000, 3, 2.0)).results()
    assert [(r.size, r.trials, r.seconds.median) for r in result] == [(1000, 3, 2.0)]
    assert 1.0 <= result[0].seconds.low <= 2.0 <= result[0].seconds.high <= 3.0


def test_one_figure_for_a_run_is_of_its_large_files():
    large, small = 200 << 20, 1 << 20
    both = run((small, 1, 1.0), (large, 1, 4.0), (large, 2, 2.0), (large, 3, 1.0))
    interval, which = both.bandwidth()
    assert (interval.median, which) == (pytest.approx(large / 2e6), "files of 200M")
    assert run((small, 1, 1.0)).bandwidth()[1] == "files of 1M"
    assert run().bandwidth() is None


def test_timings_survive_json():
    given_run = run((1000, 0, 9.0, True), (1000, 1, 1.0, False, 0.5), notes=["a"], problem="b", seed=7, loop_rate=1.5)
    assert from_json(json.dumps(to_json(given_run)), "x.json") == given_run


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": "nfsleuth.bench/9"}, "measure again"),
        ({"schema": "other"}, "no timings"),
        ({"trials": [{"size": 1}]}, "damaged"),
        ({"trials": [{"size": 1, "round": 1, "seconds": 0, "warmup": False}]}, "damaged"),
        ({"trials": [{"size": 1, "round": 1, "seconds": float("nan"), "warmup": False}]}, "damaged"),
        ({"block": "many"}, "damaged"),
        ({"versions": [1]}, "damaged"),
    ],
)
def test_json_that_is_none_of_ours_is_refused(change, says):
    with pytest.raises(NfsleuthError, match=says):
        from_json(json.dumps(to_json(run((1000, 1, 1.0))) | change), "x.json")


@pytest.mark.parametrize("text", ["", "[", "[]", "5", "[" * 100_000])
def test_what_is_no_json_object_is_refused(text):
    with pytest.raises(NfsleuthError, match=r"x\.json"):
        from_json(text, "x.json")


# A lab's timings


def test_a_labs_rows_become_runs():
    rows = [
        {"client": c, "octets": 1000, "seconds": s, "round": n} for c, s in (("a", 1.0), ("b", 2.0)) for n in (1, 2)
    ]
    runs = from_rows(rows, "lab", 4096, {"b": "virtio bridged", "c": "native"})
    assert [(r.label, r.rounds, len(r.trials)) for r in runs] == [("virtio bridged", 2, 2)]
    with pytest.raises(NfsleuthError, match="damaged"):
        from_rows([{"client": "a"}], "lab", 4096, {"a": "native"})

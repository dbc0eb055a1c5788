"""A sample of 1 % says what all blocks would have said, in a fraction of the time and memory."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tracking import CHECKED, INTERPRETED

BENCH = Path(__file__).parents[2] / "bench" / "sharing.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_sharing", BENCH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.skipif(CHECKED or INTERPRETED, reason="ten million reads are for compiled code")
@pytest.mark.parametrize("workload", ["zipf", "loop"])
def test_ten_million_reads(bench, workload):
    """The promise of docs/sharing.md. CPU time, since other tests may be at work on the same processors."""
    found = bench.compared(workload, 10_000_000, 0.01, 1813)
    assert found["largest_error"] < 1, "percentage points, at every size"
    assert found["mean_error"] < 0.1, "the measure of the SHARDS paper"
    assert found["inside_band"] >= 0.95
    assert found["sampled"]["cpu"] < 30
    assert found["sampled"]["megabytes"] < 200
    assert found["sampled"]["blocks"] < 0.02 * found["exact"]["blocks"], "it is a sample"
    assert found["sampled"]["distinct"] == pytest.approx(found["exact"]["distinct"], rel=0.05)
    assert found["sampled"]["shared"] == pytest.approx(found["exact"]["shared"], rel=0.05)
    assert found["sampled"]["enough"] == pytest.approx(found["exact"]["enough"], rel=0.05)
    assert found["exact"]["sent"] == found["sampled"]["sent"]


@pytest.mark.slow
@pytest.mark.skipif(CHECKED or INTERPRETED, reason="ten million reads are for compiled code")
def test_a_loop_that_is_wider_than_what_is_all_followed(bench):
    """Its step is where the sample puts it: within a few thousandths of the size, and right at the sizes reported."""
    found = bench.compared("wide", 10_000_000, 0.01, 1813)
    assert found["largest_reported"] < 1
    assert found["mean_error"] < 1
    assert found["over_1_point"] < 0.01, "sizes between where the step is and where it seems to be"
    assert found["inside_band"] >= 0.95
    assert found["sampled"]["largest"] == pytest.approx(found["exact"]["largest"], rel=0.005)
    assert found["sampled"]["megabytes"] < 200


@pytest.mark.slow
@pytest.mark.skipif(CHECKED or INTERPRETED, reason="a million reads are for compiled code")
@pytest.mark.parametrize("workload", ["zipf", "loop"])
def test_other_seeds_are_no_worse(bench, workload):
    """Of several samples of a million reads, none is off by more than a point anywhere, nor outside its band."""
    exact = bench.apart(workload, 1_000_000, 1.0, 1)
    truth = [saved for saved, _, _ in exact["points"]]
    inside = 0.0
    for seed in range(5):
        points = bench.apart(workload, 1_000_000, 0.01, seed)["points"]
        assert max(abs(found - true) for (found, _, _), true in zip(points, truth, strict=True)) < 0.01
        inside += sum(low - 1e-9 <= t <= high + 1e-9 for (_, low, high), t in zip(points, truth, strict=True))
    assert inside / (5 * len(truth)) >= 0.9

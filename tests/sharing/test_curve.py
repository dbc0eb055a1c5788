"""What a curve says, on distances written down by hand."""

from __future__ import annotations

import numpy as np
import pytest

from nfsleuth.sharing.curve import Curve, Together
from nfsleuth.sharing.kernel import class_of
from nfsleuth.sharing.result import _middle
from nfsleuth.sharing.tables import COARSE, DISTANCES, FINE, GROUPS, MOST_DISTANCE, TIMES, class_bounds

NO_GROUPS = np.zeros((GROUPS, DISTANCES + 1))


def curve(*hits, rate=1.0, sent=1000, taken=None, groups=NO_GROUPS, block=4096) -> Curve:
    return Curve(block, rate, sent, sent if taken is None else taken, np.array(hits, float), groups)


def test_a_cache_of_n_blocks_finds_what_was_used_less_than_n_blocks_ago():
    made = curve(100, 0, 50, 0)
    assert [made.at(n * 4096).saved for n in range(5)] == [0, 100, 100, 150, 150]
    assert made.at(4095).saved == 0
    assert made.at(3 * 4096 - 1).saved == 100
    assert made.largest == 3 * 4096
    assert made.all.saved == 150
    assert made.all.low == made.all.high == 150


def test_enough_is_the_smallest_cache_with_95_per_cent_of_all():
    assert curve(94, 1, 5).enough == 2 * 4096
    assert curve(94, 0.9, 5.1).enough == 3 * 4096
    assert curve(0, 0, 0).enough == 0
    assert curve().enough == 0
    assert curve(*[0] * 99, 7).enough == 100 * 4096, "a loop: nothing is saved until all of it fits"


def test_distances_of_a_sample_stand_for_longer_ones():
    made = curve(100, 100, rate=0.1, sent=400)
    assert [made.at(n * 4096).saved for n in (0, 1, 10, 11, 12)] == [0, 100, 100, 200, 200]
    assert made.largest == 11 * 4096


def test_what_the_sample_has_too_little_of_was_hit():
    """SHARDS-adj: sent is known, misses are estimated."""
    assert curve(100, rate=0.1, sent=400, taken=350).all.saved == 150
    assert curve(100, rate=0.1, sent=400, taken=600).all.saved == 0


def test_small_caches_are_known_and_the_sample_is_asked_about_the_rest():
    """Of 400 bytes that small caches miss, larger ones hit as large a part as of the 300 that the sample stands for."""
    made = Curve(4096, 0.5, 1000, 300.0, np.array([0.0, 75, 75]), NO_GROUPS, np.array([500.0, 100]))
    assert [made.at(n * 4096).saved for n in range(7)] == [0, 500, 600, 700, 700, 800, 800]
    assert made.largest == 5 * 4096
    assert made.all.saved == 800
    exactly = made.at(2 * 4096)
    assert exactly.low == exactly.saved == exactly.high
    assert made.at(3 * 4096).low >= 600, "no more than what is known is in doubt"
    nothing = Curve(4096, 0.5, 1000, 0.0, np.zeros(4), NO_GROUPS, np.array([500.0, 100]))
    assert nothing.all.saved == 600
    assert nothing.largest == 2 * 4096


def test_a_band_is_wider_where_groups_differ_and_where_distances_are_uncertain():
    even, uneven = NO_GROUPS.copy(), NO_GROUPS.copy()
    even[:, -1], even[:, 0] = 100, 50
    uneven[:, -1], uneven[:, 0] = 100, np.arange(GROUPS) * 100 / 7
    steady = curve(400, rate=0.1, sent=800, groups=even).at(1 << 20)
    assert steady.low == steady.saved == steady.high
    loose = curve(400, rate=0.1, sent=800, groups=uneven).at(1 << 20)
    assert loose.low < steady.low == steady.high < loose.high
    step = curve(*[0] * 100, 400, rate=0.1, sent=800, groups=even)
    assert step.at(1000 * 4096).low == 0
    assert step.at(1000 * 4096).high == 400, "the step may lie a little to the left"
    assert step.at(2000 * 4096).low == 400


def test_points_go_from_a_block_to_the_end():
    points = curve(100, *[0] * 1000, 50).points()
    assert points[0].size == 4096
    assert points[-1].saved == 150
    saved = [p.saved for p in points]
    assert saved == sorted(saved)


def test_hosts_add_up():
    both = Together(4096, 1.0, (curve(100), curve(10, 20)))
    assert (both.sent, both.at(4096).saved, both.at(8192).saved, both.at(1 << 30).saved) == (2000, 110, 130, 130)
    assert (both.largest, both.enough, both.all.saved) == (8192, 8192, 130)
    assert Together(4096, 1.0, (curve(100), curve(1, 1))).enough == 4096
    assert both.points()[-1].saved == 130
    nobody = Together(4096, 1.0, ())
    assert (nobody.all.saved, nobody.enough, nobody.largest) == (0, 0, 0)


@pytest.mark.parametrize("bits", [FINE, COARSE])
def test_classes_are_narrow_and_in_order(bits):
    most = {FINE: 2**63 - 1, COARSE: MOST_DISTANCE}[bits]
    values = sorted({min(n + d, most) for n in (1 << np.arange(62)).tolist() for d in (-1, 0, 1, 3)} | {most})
    numbers = [class_of(np.int64(v), bits) for v in values]
    assert numbers == sorted(numbers)
    assert [class_of(np.int64(v), bits) for v in range(2 << bits)] == list(range(2 << bits))
    assert max(numbers) == {FINE: TIMES, COARSE: DISTANCES}[bits] - 1


def test_what_is_said_of_a_class_lies_in_it():
    for value in (0, 5, 63, 64, 1000, 123_456_789, 10**15, 2**62):
        number = class_of(np.int64(value), FINE)
        assert class_of(np.int64(_middle(number)), FINE) == number
        assert abs(_middle(number) - value) <= value / 32
    begins, _ = class_bounds(COARSE, DISTANCES)
    assert [class_of(np.int64(begins[n]), COARSE) for n in range(DISTANCES)] == list(range(DISTANCES))

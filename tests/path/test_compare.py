"""Ratios are of medians over boots, and intervals need boots."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.path.make import recording, send

from nfsleuth.path.compare import compare, measures, shown
from nfsleuth.path.tree import grow

TAP = ("qemu_net_queue_send", ("tap:receive_iov", "writev"))


def boot(backend, minute, slower=1):
    calls = [send("sendto")] if backend == "user" else [TAP]
    rec = recording(calls)
    events = rec.events.copy()
    events["time"] *= slower
    guest = replace(rec.guest, backends=(backend,))
    rec = replace(rec, guest=guest, events=events, created=f"2026-11-22T12:{minute:02d}:00+00:00")
    return rec, grow(rec)


def whole(comparison):
    return next(row for row in comparison.rows if row.measure.key == "whole")


def test_one_boot_each_gives_a_ratio_and_no_interval():
    found = compare([boot("user", 0), boot("tap", 1)])
    assert found.names == ("rtl8139 on user", "rtl8139 on tap")
    assert whole(found).ratio == pytest.approx(11 / 5)  # events from the first to the last
    assert whole(found).interval is None
    assert "they need 3 boots" in shown(found)


def test_boots_give_an_interval():
    boots = [boot(b, 2 * n + (b == "tap"), slower=1 + n) for n in range(5) for b in ("user", "tap")]
    found = compare(boots)
    low, high = whole(found).interval
    assert low <= whole(found).ratio <= high
    assert low < 11 / 5 < high
    assert found.interleaved
    assert "take turns" not in shown(found)


def test_boots_that_did_not_take_turns_are_told():
    found = compare([boot("user", n) for n in range(5)] + [boot("tap", 5 + n) for n in range(5)])
    assert not found.interleaved
    assert "did not take turns" in shown(found)


def test_the_study_stands_beside():
    text = shown(compare([boot("user", 0), boot("tap", 1)]))
    assert "1.1 ms to 44 us, 25 x" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("boots", [[], ["user"], ["user", "user"]])
def test_two_kinds_are_wanted(boots):
    with pytest.raises(ValueError, match="two kinds"):
        compare([boot(b, n) for n, b in enumerate(boots)])


def test_what_a_method_cannot_tell_is_left_out():
    assert "memory" not in measures(*boot("user", 0))
    assert "whole" not in measures(replace(boot("user", 0)[0], events=boot("user", 0)[0].events[:0]), None)


def test_names_out_of_a_file_are_made_visible_and_fit():
    user, tap = boot("user", 0), boot("tap", 1)
    odd = replace(user[0], guest=replace(user[0].guest, nics=("\x1b[2J" + "n" * 100,)))
    text = shown(compare([(odd, user[1]), tap]))
    assert "\x1b" not in text
    assert r"A: \x1b[2Jnnn" in text
    assert "B: rtl8139 on tap, 1 boot\n" in text
    assert max(map(len, text.splitlines())) <= 80

"""Who boots when: rounds with an order of their own, and recordings where no capture disturbs them."""

from __future__ import annotations

import pytest

from nfsleuth.cli import main
from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.lab import record
from nfsleuth.lab.experiment import load, read
from nfsleuth.lab.turns import plan

TWO = """
title = "two"
[[natives]]
name = "native"
[[guests]]
name = "hidden"
backend = "user"
[[guests]]
name = "bridged"
"""
PATH = '[path]\nmethod = ["uprobes", "instrumented"]\n'


def turns(text: str):
    found = plan(read(text, "two"))
    return [[(t.client.name, t.boot, t.work, t.method) for t in part] for part in (found.captured, found.after)]


def test_without_more_each_client_works_once_in_the_order_of_the_file():
    assert turns(TWO) == [[("native", 1, True, ""), ("hidden", 1, True, ""), ("bridged", 1, True, "")], []]


def test_under_capture_nothing_is_recorded_inside():
    captured, after = turns(TWO + PATH)
    assert captured == turns(TWO)[0]
    assert after == [
        ("hidden", 1, False, "uprobes"), ("hidden", 1, False, "instrumented"), ("bridged", 1, False, "uprobes"),
    ]  # fmt: skip


def test_without_captures_one_boot_does_both():
    captured, after = turns("captures = []\n" + TWO + PATH)
    assert captured == [
        ("native", 1, True, ""), ("hidden", 1, True, "uprobes"), ("hidden", 1, False, "instrumented"),
        ("bridged", 1, True, "uprobes"),
    ]  # fmt: skip
    assert after == []


def test_each_round_has_everybody_in_an_order_of_the_seed():
    def rounds(seed):
        captured = plan(load("path", seed, 6)).captured
        return [[t.client.name for t in captured if t.boot == boot] for boot in range(1, 7)]

    found = rounds(5)
    assert all(sorted(one) == sorted(found[0]) for one in found)
    assert len({tuple(one) for one in found}) == 6
    assert found == rounds(5) != rounds(6)
    assert [t.boot for t in plan(load("path")).captured] == sorted(t.boot for t in plan(load("path")).captured)


def test_rounds_are_in_turn():
    with pytest.raises(NfsleuthError, match='goes with start = "in turn" only'):
        read('boots = 2\nstart = "together"\n' + TWO, "two")


def test_a_warmup_leaves_something():
    with pytest.raises(NfsleuthError, match="warmup = 1 leaves none of 1 rounds"):
        read(TWO + "[workloads.default]\nwarmup = 1\n", "two")


def test_no_capture_is_asked_for_by_an_empty_list():
    assert read("captures = []\n" + TWO, "two").captures == ()
    assert [c.name for c in read(TWO, "two").captures] == ["server"]


def test_some_clients_of_an_experiment():
    path = load("path")
    some = record.only(path, ["rtl8139", "virtio", "user", "tap"])
    assert {(g.nic, g.backend) for g in some.guests} == {
        (nic, backend) for nic in ("rtl8139", "virtio-net-pci") for backend in ("user", "tap")
    }
    assert not some.natives
    assert {g.nic for g in record.only(path, ["passt"]).guests} == {g.nic for g in path.guests}
    named = record.only(path, ["native", "e1000-hub"])
    assert [c.name for c in named.clients] == ["native", "e1000-hub"]
    with pytest.raises(NfsleuthError, match="--only rtl8193: no client has that"):
        record.only(path, ["rtl8193"])
    with pytest.raises(NfsleuthError, match="leaves no client"):
        record.only(path, ["rtl8139", "vhost"])


def test_rounds_and_recordings_are_in_the_estimate():
    one, five = (record.estimate(load("path", boots=boots)) for boots in (1, 5))
    assert five.octets == pytest.approx(5 * one.octets)
    assert five.seconds == pytest.approx(5 * one.seconds)
    assert five.captured == 0
    paper = load("paper")
    assert paper.path
    assert len(plan(paper).after) == 6  # four guests, and the two in user mode once more


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--only", "rtl8193"], "--only rtl8193: no client has that"),
        (["--boots", "0"], "0 is not in the range"),
    ],
)
def test_options_that_fit_nothing_are_a_message(capsys, tmp_path, words, why):
    with pytest.raises(SystemExit) as ended:
        main(["lab", "run", "path", *words, "-o", str(tmp_path / "out")])
    assert ended.value.code == Exit.WRONG_USE
    assert why in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

"""Groups with their reasons and probabilities, pairs with their signs, and the labelled captures of the repository."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest

import nfsleuth
from evidence.make import BOOT, DELL, household, linux
from hosts.make import clock, member, scene, switch
from nfsleuth.evidence import Rules
from nfsleuth.evidence.model import State
from nfsleuth.hosts.group import MOST_NOTES, MOST_PAIRS, group
from nfsleuth.hosts.imports.known import Guest, Known
from nfsleuth.hosts.model import Pairs
from nfsleuth.verdict import conclude

LAB = Path(__file__).parents[1] / "captures" / "lab"
TABLES = sorted(LAB.glob("*/switch.fdb.json"))
USER_MODE = ("user", "passt")
A, B, C = "52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"


def grouped(*members, known=None, link_speed=0):
    around = scene(*members).around
    return group(members, around, Rules.builtin(), known, link_speed)


def test_pairs_are_made_when_they_are_looked_at():
    made = []

    def make():
        made.append(1)
        return grouped(member(1), member(2), known=Known((switch(p1=[A, B]),))).pairs._made

    pairs = Pairs(make)
    assert not made
    assert len(pairs) == 1
    assert (pairs[0].a, pairs[0].b) == ("c1", "c2")
    assert pairs[:5] == tuple(pairs) == (pairs[0],)
    assert pairs.left == 0
    assert made == [1]
    assert pairs == Pairs(make) != Pairs()
    assert Pairs() == Pairs() != ()
    assert "c2" in repr(pairs)


def test_nobody_and_one():
    assert grouped().hosts == grouped(member(1)).hosts == grouped(member(1), member(2)).hosts == ()


def test_a_forwarding_table_groups_bridged_guests_with_those_behind_nat():
    nat = {"state": State.USER_NAT, "address": "10.77.0.109", "mac": DELL}
    known = Known((switch(p1=[A, DELL], p2=[B, C]),))
    found = grouped(member(1), member(2), member(3), member(4, **nat), member(5, **nat), known=known)
    assert [host.clients for host in found.hosts] == [("c1", "c4", "c5"), ("c2", "c3")]
    assert [host.id for host in found.hosts] == ["host-1", "host-2"]
    assert all(0.9 < host.probability < 1 for host in found.hosts)
    assert "3 at p1 of sw1" in found.hosts[0].because
    assert "2 behind the user-mode network of 10.77.0.109" in found.hosts[0].because
    weights = {(pair.a, pair.b): pair.weight for pair in found.pairs}
    assert weights["c4", "c5"] > weights["c1", "c4"] > 0 > weights["c1", "c2"]


def test_what_speaks_against_is_weighed_and_shown():
    """Two skews that agree are not enough against an inventory."""
    clocks = [member(n, clocks=(clock(41.0 + n / 10),)) for n in (1, 2)]
    assert len(grouped(*clocks).hosts) == 1
    known = Known(guests=(Guest("hv1", "a", frozenset({A})), Guest("hv2", "b", frozenset({B}))))
    found = grouped(*clocks, known=known)
    assert found.hosts == ()
    (pair,) = found.pairs
    assert [(s.rule, s.weight > 0) for s in pair.signs] == [("inventory_host", False), ("clock_skew", True)]
    assert pair.probability < 0.01


def test_a_weak_joint_is_the_groups_probability():
    known = Known((switch(p1=[A, B]),))
    sure = grouped(member(1), member(2), known=known).hosts[0].probability
    found = grouped(member(1, clocks=(clock(41.0),)), member(2), member(3, clocks=(clock(41.1),)), known=known)
    assert found.hosts[0].clients == ("c1", "c3") or found.hosts[0].clients == ("c1", "c2")
    assert found.hosts[0].probability <= sure


def test_chains_break_where_their_ends_are_apart():
    """c1 and c2 at one port, c2 and c3 with one skew, c3 at another port: no transitive closure."""
    known = Known((switch(p1=[A, B], p2=[C]),))
    found = grouped(member(1), member(2, clocks=(clock(41.0),)), member(3, clocks=(clock(41.1),)), known=known)
    assert [host.clients for host in found.hosts] == [("c1", "c2")]


def test_the_order_of_clients_decides_names_only():
    nat = {"state": State.USER_NAT, "address": "10.77.0.109", "mac": DELL}
    members = [member(n, **nat) for n in (1, 2)] + [member(n) for n in (3, 4)]
    known = Known((switch(p1=[DELL], p2=[C, "52:54:00:00:00:04"]),))
    one, two = grouped(*members, known=known), grouped(*reversed(members), known=known)
    assert {frozenset(h.clients) for h in one.hosts} == {frozenset(h.clients) for h in two.hosts}
    assert sorted(h.probability for h in one.hosts) == sorted(h.probability for h in two.hosts)


def test_notes_are_told_and_bounded():
    cards = [f"{m}:00:00:01" for m in ("18:66:da", "a4:bf:01")]
    known = Known(tuple(switch(f"s{n}", up=cards) for n in range(50)))
    found = grouped(known=known)
    assert len(found.notes) == MOST_NOTES + 1
    assert found.notes[0] == "port up of s0 is not one host's: cards of 2 machines behind it"
    assert found.notes[-1].startswith("and 30 more")


@pytest.mark.slow
def test_pairs_are_bounded():
    nat = {"state": State.USER_NAT, "address": "10.77.0.109", "mac": DELL}
    members = [member(n, **nat) for n in range(300)]
    found = grouped(*members)
    assert len(found.hosts[0].clients) == 300
    assert len(found.pairs) == MOST_PAIRS
    assert found.pairs.left == 300 * 299 // 2 - MOST_PAIRS


def test_verdicts_carry_their_host():
    clients = [linux(n, ports=(40000 + i,), verifier=BOOT + i) for i, n in enumerate("ab")]
    report = conclude(household(*clients), known=Known())
    assert report.hosts[0].clients == tuple(v.id for v in report.clients)
    assert {v.host for v in report.clients} == {"host-1"}
    assert report.pairs[0].signs[0].rule == "user_nat_address"


def pairs(labels, report):
    """(both behind one user-mode NAT, both bridged, one host, said to) of each pair of labelled clients."""
    found = []
    for one in labels["clients"]:
        here = [v for v in report.clients if v.facts.address in (one["address"], one["address6"])]
        mine = max(here, key=lambda v: len(set(one["ports"]) & set(v.facts.ports)), default=None)
        if mine is not None:
            found.append((one, mine))
    for (a, va), (b, vb) in combinations(found, 2):
        if va is not vb:
            nat = a["backend"] in USER_MODE and b["backend"] in USER_MODE and a["address"] == b["address"]
            bridged = a["backend"] == b["backend"] == "tap"
            yield nat, bridged, a["host"] == b["host"], va.host is not None and va.host == vb.host


def read(place: Path):
    labels = json.loads((place / "server.labels.json").read_text(encoding="utf-8"))
    return labels, nfsleuth.facts(place / labels["capture"])


@pytest.mark.parametrize("place", sorted(LAB.iterdir()), ids=lambda p: p.name)
def test_guests_behind_one_user_mode_nat_are_grouped_and_nobody_wrongly(place):
    labels, facts = read(place)
    told = list(pairs(labels, nfsleuth.conclude(facts)))
    assert all(said == same for nat, _, same, said in told if nat)
    assert not [1 for _, _, same, said in told if said and not same]


@pytest.mark.parametrize("table", TABLES, ids=lambda p: p.parent.name)
def test_bridged_guests_are_grouped_by_the_switchs_own_table(table):
    labels, facts = read(table.parent)
    told = list(pairs(labels, nfsleuth.conclude(facts, imported=nfsleuth.import_tables(fdb=[table]))))
    assert [1 for _, bridged, same, _ in told if bridged and same]
    assert all(said == same for nat, bridged, same, said in told if bridged or nat)
    assert not [1 for _, _, same, said in told if said and not same]


def test_there_is_a_recorded_table():
    assert TABLES

"""The library on real captures: tables, facts and verdicts agree with each other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import nfsleuth
from nfsleuth.errors import Exit, NfsleuthError

FOLDER = os.environ.get("NFSLEUTH_CAPTURES")
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not FOLDER, reason="NFSLEUTH_CAPTURES does not name the folder of labelled captures"),
]


def lab(name: str) -> Path:
    return Path(FOLDER or "") / "lab" / name


MIXED = "d05-two-hosts-mixed.pcap.zst"


@pytest.fixture(scope="module")
def tables() -> nfsleuth.TraceTables:
    return nfsleuth.read(lab(MIXED))


def test_the_tables_agree_with_each_other(tables: nfsleuth.TraceTables) -> None:
    from_client = tables.calls.filter(~tables.calls["from_server"])
    assert len(from_client) == tables.connections["calls"].sum() > 0
    assert tables.calls["client"].null_count() == 0
    assert set(tables.calls["client"]) <= set(tables.connections["client"])
    assert set(tables.identities["uid"]) <= set(tables.connections["uid"])
    assert tables.sources["frames"].to_list() == [tables.captures[0].frames]
    assert tables.connections["last_frame"].max() <= tables.captures[0].frames
    assert tables.connections["uid"].is_unique().all()


def test_calls_come_in_pieces_with_the_same_content(tables: nfsleuth.TraceTables) -> None:
    import polars as pl

    pieces = pl.concat(nfsleuth.calls(lab(MIXED)))
    assert pieces.sort("call_frame", "xid").equals(tables.calls.sort("call_frame", "xid"))


def test_without_calls_the_other_tables_are_the_same(tables: nfsleuth.TraceTables) -> None:
    without = nfsleuth.read(lab(MIXED), calls=False)
    assert without.calls.is_empty()
    assert without.connections.sort("uid").equals(tables.connections.sort("uid"))


def test_identify_and_conclude_say_the_same(tables: nfsleuth.TraceTables) -> None:
    report = nfsleuth.identify(lab(MIXED))
    again = nfsleuth.conclude(tables.facts, tables.captures)
    assert report.clients
    assert [(c.id, c.states) for c in again.clients] == [(c.id, c.states) for c in report.clients]
    assert report.captures == tables.captures


def test_facts_of_captures_read_apart_add_up() -> None:
    names = ("a02-virtio-slirp-v4.0.pcap.zst", "c02-libnfs-v4.pcap.zst")
    one, other = (nfsleuth.facts(lab(name)) for name in names)
    both = {c.facts.address for c in nfsleuth.conclude(one + other).clients}
    assert both == {c.facts.address for part in (one, other) for c in nfsleuth.conclude(part).clients}
    assert (one + other) == (other + one)


def test_progress_is_told_up_to_the_end() -> None:
    told: list[tuple[int, int | None]] = []
    nfsleuth.facts(lab(MIXED), progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (lab(MIXED).stat().st_size,) * 2
    assert told == sorted(told)


def test_oddities_of_a_rotated_set_are_put_down_to_their_files() -> None:
    names = ("a02-virtio-slirp-v4.0.pcap.zst", MIXED)
    apart = [nfsleuth.read(lab(name), calls=False).captures[0].oddities for name in names]
    together = [c.oddities for c in nfsleuth.read(*map(lab, names), calls=False).captures]
    kinds = ("not_ip", "segment_repeated", "gap")
    assert [[odd.get(k, 0) for k in kinds] for odd in together] == [[odd.get(k, 0) for k in kinds] for odd in apart]


def test_what_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    for call in (nfsleuth.identify, nfsleuth.facts, nfsleuth.read):
        with pytest.raises(NfsleuthError, match=r"none\.pcap") as failed:
            call(tmp_path / "none.pcap")
        assert failed.value.exit_code == Exit.UNREADABLE


def test_rules_that_are_not_there_are_wrong_use(tmp_path: Path) -> None:
    facts = nfsleuth.facts(lab("c02-libnfs-v4.pcap.zst"))
    with pytest.raises(NfsleuthError, match="no rules there") as failed:
        nfsleuth.conclude(facts, rules=tmp_path)
    assert failed.value.exit_code == Exit.WRONG_USE
    with pytest.raises(NfsleuthError, match="cannot be read as rules"):
        nfsleuth.conclude(facts, rules=tmp_path / "none.toml")

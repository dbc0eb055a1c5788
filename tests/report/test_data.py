"""JSON, CSV and Parquet: the contract's keys, exact values, and nothing that a terminal or a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import json

import polars as pl
import pytest

from nfsleuth.evidence.model import HYPOTHESES
from nfsleuth.report import csv_report, frames, json_report
from report import make

CLIENT_KEYS = {
    "id", "address", "ports", "macs", "names", "nfs_versions", "implementation", "state", "virtual", "states",
    "platform", "host", "reads", "evidence",
}  # fmt: skip


def test_the_contract_of_version_1_holds() -> None:
    found = json_report.identified(make.ordinary())
    assert found["schema"] == "nfsleuth.identify/1"
    assert {"captures", "clients", "hosts"} <= found.keys()
    assert {"path", "format", "frames", "bytes", "first", "last", "oddities"} <= found["captures"][0].keys()
    for client in found["clients"]:
        assert client.keys() >= CLIENT_KEYS
        assert client["states"].keys() == {s.value for s in HYPOTHESES}
        assert sum(client["states"].values()) == pytest.approx(1, abs=1e-5)
        assert client["reads"].keys() == {"calls", "bytes", "MBps", "client_limited_MBps"}
        for piece in client["evidence"]:
            assert piece.keys() >= {"rule", "says", "weight", "seen", "frames", "counted", "why_not"}
    assert {"id", "clients", "probability", "because"} <= found["hosts"][0].keys()


def test_values_are_exact() -> None:
    client = json_report.client(make.verdict(reads=120))
    assert client["ports"] == [802, 871]
    assert client["names"] == ["vm-a"]
    assert client["platform"] == {"name": "KVM/QEMU", "probability": 0.97}
    assert client["reads"] == {"calls": 120, "bytes": 7_864_320, "MBps": 131.072, "client_limited_MBps": None}
    assert client["first"] == "2026-03-01T12:03:44.123456789Z"
    assert [piece["weight"] for piece in client["evidence"]] == [4.6, -0.4, 0.0]


def test_json_keeps_hostile_text_whole_and_prints_only_ascii() -> None:
    report = make.hostile()
    text = json.dumps(json_report.identified(report))
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text)["clients"][0]["names"] == [make.HOSTILE]


def test_what_is_asked_about_is_explained_with_its_host() -> None:
    report = make.ordinary()
    found = json_report.explained(report, [report.clients[2]])
    assert found["schema"] == "nfsleuth.explain/1"
    assert [c["id"] for c in found["clients"]] == ["10.0.0.9#1"]
    assert [h["id"] for h in found["hosts"]] == ["h1"]
    assert json_report.explained(report, [report.clients[0]])["hosts"] == []


def test_csv_has_a_line_per_client_and_its_header() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_report.clients(make.ordinary()))))
    assert [row["id"] for row in rows] == [c.id for c in make.ordinary().clients]
    assert tuple(rows[0]) == csv_report.HEADER
    assert rows[0]["because"] == "MAC 52:54:00 is KVM/QEMU's, and no sign speaks against it"
    assert rows[0]["read_MBps"] == "131.072"


def test_csv_is_safe_for_a_spreadsheet() -> None:
    report = make.report(make.verdict(name='=HYPERLINK("x")'), *make.hostile().clients)
    text = csv_report.clients(report)
    assert len(text.splitlines()) == 5
    assert all(c == "\n" or c.isprintable() for c in text)
    names = [row["names"] for row in csv.DictReader(io.StringIO(text))]
    assert names[0] == '\\x3dHYPERLINK("x")'


@pytest.mark.parametrize(
    "report", [make.ordinary(), make.hostile(), make.report()], ids=["ordinary", "hostile", "none"]
)
def test_parquet_gives_back_the_clients_with_their_evidence(report) -> None:
    out = io.BytesIO()
    frames.clients(report).write_parquet(out)
    back = pl.read_parquet(io.BytesIO(out.getvalue()))
    assert back.schema == pl.Schema(frames.CLIENTS)
    assert back["id"].to_list() == [c.id for c in report.clients]
    assert back["evidence"].list.len().to_list() == [len(c.weighed) for c in report.clients]
    assert frames.evidence(report).height == sum(len(c.weighed) for c in report.clients)

"""Arrays of the tracker as frames: names for numbers, null for none, and the columns that the library documents."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nfsleuth import api
from nfsleuth.report import tables
from nfsleuth.report.call_lines import CallLines
from nfsleuth.report.escape import columns
from nfsleuth.trace import tables as t

SECOND = 1_000_000_000


def call(**values: object) -> np.ndarray:
    row = np.zeros(1, t.CALL)
    row["program"], row["version"], row["procedure"], row["call_time"] = 100003, 4, 1, SECOND
    for name, value in values.items():
        row[name] = value
    return row


def connection(**values: object) -> np.ndarray:
    row = np.zeros(1, t.CONNECTION)
    row["client_lo"], row["server_lo"] = 0xFFFF_0A00_0007, 0xFFFF_0A00_0001
    row["transport"], row["client_mac"], row["server_mac"] = 6, 0x525400123456, t.NO_MAC
    for name, value in values.items():
        row[name] = value
    return row


def test_a_connection_is_readable() -> None:
    flags = int(t.Program.NFS | t.Program.MOUNT)
    [row] = tables.connections(
        connection(programs=flags, versions=int(t.Version.V4_1), role=2, handshake=-1, ttl_min=[64, 0], first=SECOND)
    ).to_dicts()
    assert (row["client"], row["server"], row["transport"], row["role"]) == ("10.0.0.7", "10.0.0.1", "tcp", "rpc")
    assert (row["client_mac"], row["server_mac"]) == ("52:54:00:12:34:56", None)
    assert (row["programs"], row["versions"]) == (["nfs", "mount"], ["4.1"])
    assert (row["ttl_min_client"], row["ttl_min_server"]) == (64, None)
    assert (row["handshake"], row["syn_frame"], row["syn_window"]) == (None, None, None)
    assert row["first"] == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert row["last_call"] is None
    [row] = tables.connections(connection(last_call=2 * SECOND)).to_dicts()
    assert row["last_call"] == datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)


def test_a_compound_is_named_after_its_main_operation() -> None:
    ops = np.zeros((1, t.MAX_OPS), np.uint8)
    ops[0, :4] = (53, 22, 25, 9)
    [row] = tables.calls(
        call(
            ops=ops, ops_count=4, main=25, offset=65536, count=32768, bytes=32768, reply_frame=9, reply_time=SECOND + 5
        ),
        b"",
        tables.connections(connection(client_port=871)),
    ).to_dicts()
    assert (row["operation"], row["operations"]) == ("READ", ["SEQUENCE", "PUTFH", "READ", "GETATTR"])
    assert (row["client"], row["client_port"], row["server"]) == ("10.0.0.7", 871, "10.0.0.1")
    assert (row["offset"], row["count"], row["latency"], row["status_name"]) == (65536, 32768, 5, "NFS4_OK")


def test_a_procedure_of_version_3_stands_for_itself() -> None:
    [row] = tables.calls(call(version=3, procedure=3, name_at=1, name_length=4, status=2), b"xf\xfcr.").to_dicts()
    assert (row["operation"], row["operations"], row["name"]) == ("LOOKUP", ["LOOKUP"], "für.")
    assert (row["status_name"], row["minor"], row["client"]) == ("NFS3ERR_NOENT", None, None)


@pytest.mark.parametrize(
    ("status", "name"),
    [(-1, "no reply"), (-2, "not decoded"), (-103, "PROC_UNAVAIL"), (-199, "accept_stat 99"), (-200, "DENIED")],
)
def test_a_call_without_a_status_says_why(status: int, name: str) -> None:
    [row] = tables.calls(call(status=status), b"").to_dicts()
    assert (row["status"], row["status_name"], row["latency"]) == (None, name, None)


def test_identities_have_their_text_and_their_bytes() -> None:
    rows = np.zeros(2, t.IDENTITY)
    rows["kind"], rows["at"], rows["length"] = (t.Identity.CALLBACK, t.Identity.SESSION), (2, 0), (5, 0)
    found = tables.identities(rows, b"__tcp\0x").to_dicts()
    assert [(r["kind"], r["text"], r["raw"]) for r in found] == [
        ("callback", "tcp x", b"tcp\0x"),
        ("session", None, b""),
    ]


def test_a_bridge_has_no_address() -> None:
    rows = np.zeros(2, t.NEIGHBOUR)
    rows["kind"], rows["lo"] = (t.Neighbour.BRIDGE, t.Neighbour.ARP), (0, 0xFFFF_0A00_0001)
    assert tables.neighbours(rows)["address"].to_list() == [None, "10.0.0.1"]


@pytest.mark.parametrize("table", ["connections", "calls", "identities", "neighbours", "oddities", "sources"])
def test_every_column_is_documented(table: str) -> None:
    empty = api.TraceTables(None, (), {}, [])  # type: ignore[arg-type]
    documented = getattr(api.TraceTables, table).__doc__
    for name in getattr(empty, table).columns:
        family = name.removesuffix("_client").removesuffix("_server") + "_"
        assert f"`{name}`" in documented or f"`{family}`" in documented, name


def test_the_schema_of_calls_is_what_is_said() -> None:
    assert tables.calls(call(), b"").schema == pl.Schema(tables.CALLS)
    assert tables.calls(np.zeros(0, t.CALL), b"").schema == pl.Schema(tables.CALLS)


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(t.CALL, st.integers(0, 5)), st.binary(max_size=20), st.sampled_from([80, 100, 160]))
def test_any_rows_give_a_frame_and_lines_that_fit(rows: np.ndarray, text: bytes, width: int) -> None:
    rows["name_at"] %= 30
    rows["name_length"] %= 30
    frame = tables.calls(rows, text)
    assert frame.schema == pl.Schema(tables.CALLS)
    for line in CallLines(width).render(frame).splitlines():
        assert columns(line) <= width
        assert line.isprintable()


def test_a_line_says_what_was_asked_and_what_came_back() -> None:
    lines = CallLines(80)
    ends = tables.connections(connection())
    first = lines.render(tables.calls(call(main=15, name_at=0, name_length=3, status=2), b"a\x1bb", ends))
    heading, line = first.splitlines()
    assert heading.split() == ["Seconds", "Client", "Operation", "What", "Status", "Bytes", "Latency"]
    assert line.split() == ["0.000000", "10.0.0.7", "LOOKUP", "a\\x1bb", "NOENT"]
    later = call(call_time=3 * SECOND, main=25, offset=7, count=9, bytes=9, reply_frame=1, reply_time=3 * SECOND + 1000)
    [line] = lines.render(tables.calls(later, b"", ends)).splitlines()
    assert line.split() == ["2.000000", "10.0.0.7", "READ", "9", "@", "7", "OK", "9", "B", "1", "µs"]


def test_a_line_says_that_a_call_is_encrypted() -> None:
    hidden = call(flags=t.CALL_HIDDEN, flavor=t.Flavor.GSS, status=-2, reply_frame=1, reply_time=SECOND + 1000)
    lines = CallLines(80).render(tables.calls(hidden, b"", tables.connections(connection()))).splitlines()
    assert lines[1].split() == ["0.000000", "10.0.0.7", "COMPOUND", "encrypted", "1", "µs"]
    unanswered = call(flags=t.CALL_HIDDEN, flavor=t.Flavor.GSS, status=-1)
    assert "encrypted" not in CallLines(80).render(tables.calls(unanswered, b"", None))


def test_operations_that_were_not_read_are_not_listed() -> None:
    ops = np.zeros((1, t.MAX_OPS), np.uint8)
    ops[0, :2] = (22, 38)
    [row] = tables.calls(call(ops=ops, ops_count=3, main=38), b"", None).iter_rows(named=True)
    assert (row["operations"], row["operations_count"]) == (["PUTFH", "WRITE"], 3)

"""TCP and UDP headers, and the options of a SYN."""

from __future__ import annotations

import pytest
from headers import SYN, TCP, UDP, read
from hypothesis import given, settings
from hypothesis import strategies as st

import packets as p
from nfsleuth.wire.packet import Header
from nfsleuth.wire.tcp import layout


def segment(data, length=None):
    return read(TCP, data, before={"transport_length": len(data) if length is None else length})


def options(data, end=None):
    """PACKET row after reading the options of a SYN."""
    syn = p.tcp(flags=p.SYN, options=data)
    _, row = segment(syn)
    return read(SYN, syn[:end], before=row, behind=b"\x08\x0a" * 20)[1]


def test_tcp_fields():
    data = p.tcp(b"payload", 777, 2049, sequence=2**32 - 1, acknowledged=5, flags=p.ACK | p.PSH, window=65535)
    status, row = segment(data, 1000)
    assert status == Header.OK
    wanted = {"source_port": 777, "destination_port": 2049, "sequence": 2**32 - 1, "acknowledged": 5, "flags": 0x18,
              "window": 65535, "payload_at": 20, "payload_length": 980}  # fmt: skip
    assert {name: row[name] for name in wanted} == wanted


def test_udp_fields():
    _, row = read(UDP, p.udp(b"payload", 800, 111), before={"transport_length": 15})
    assert (row["source_port"], row["destination_port"]) == (800, 111)
    assert (row["payload_at"], row["payload_length"]) == (8, 7)


@pytest.mark.parametrize("offset", [0, 4, 6, 15])
def test_a_header_length_that_cannot_be(offset):
    data = bytearray(p.tcp(b"x" * 3))
    data[12] = offset << 4
    assert segment(bytes(data))[0] == Header.MALFORMED


def test_udp_in_less_than_its_header():
    assert read(UDP, p.udp(), before={"transport_length": 7})[0] == Header.MALFORMED


def test_every_prefix_is_cut():
    for end in range(20):
        assert read(TCP, p.tcp()[:end], before={"transport_length": 20}, behind=b"\xff" * 20)[0] == Header.CUT
    for end in range(8):
        assert read(UDP, p.udp()[:end], before={"transport_length": 8}, behind=b"\xff" * 20)[0] == Header.CUT


@pytest.mark.parametrize(
    ("data", "text", "wanted"),
    [
        (p.LINUX_SYN, "mss,sok,ts,nop,ws", {"mss": 1460, "scale": 7, "timestamp_zero": 0, "options_bad": 0}),
        (p.MSS, "mss", {"mss": 1460, "scale": -1}),
        # SLiRP, then Windows, as seen on the wire
        (bytes.fromhex("020405b4"), "mss", {"mss": 1460}),
        (bytes.fromhex("020405b40103030801010402"), "mss,nop,ws,nop,nop,sok", {"mss": 1460, "scale": 8}),
        (bytes.fromhex("080affffffff00000000"), "ts,eol", {"timestamp_zero": 0}),
        (bytes.fromhex("080a0000000000000000"), "ts,eol", {"timestamp_zero": 1}),
        (bytes.fromhex("1e0400001e040000"), "?,?", {"options_bad": 0}),  # Multipath TCP
        (b"", "", {"mss": 0, "scale": -1, "options_bad": 0}),
        (b"\1" * 40, "nop" + ",nop" * 15, {"options_bad": 0}),  # 16 are kept
        (bytes.fromhex("020005b4"), "mss", {"mss": 0, "options_bad": 1}),  # length 0
        (bytes.fromhex("0201"), "mss", {"mss": 0, "options_bad": 1}),
        (bytes.fromhex("0228"), "mss", {"mss": 0, "options_bad": 1}),  # beyond the header
        (bytes.fromhex("01010102"), "nop,nop,nop,mss", {"options_bad": 1}),  # without a length
        (bytes.fromhex("020305b4"), "mss", {"mss": 0}),  # the wrong length for its kind
    ],
)  # fmt: skip
def test_options_of_a_syn(data, text, wanted):
    row = options(data)
    assert layout(row["options"]).startswith(text)
    assert {name: row[name] for name in wanted} == wanted


@pytest.mark.parametrize("end", range(20, 40))
def test_options_cut_by_the_snaplen_count_as_malformed(end):
    row = options(p.LINUX_SYN, end)
    assert row["options_bad"] == 1
    assert layout(options(p.LINUX_SYN)["options"]).startswith(layout(row["options"]))


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=80), st.integers(0, 100))
def test_random_bytes_are_safe(data, length):
    status, row = segment(data, length)
    if status == Header.OK:
        assert row["payload_length"] >= 0
        assert 20 <= row["payload_at"] <= 60
        read(SYN, data, before=row)
    read(UDP, data, before={"transport_length": length})

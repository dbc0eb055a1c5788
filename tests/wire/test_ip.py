"""IPv4 and IPv6 headers."""

from __future__ import annotations

import pytest
from headers import IPV4, IPV6, read
from hypothesis import given, settings
from hypothesis import strategies as st

import packets as p
from nfsleuth.wire.packet import Header

MAPPED = 0xFFFF00000000
HOP, ROUTING, OPTIONS, AH = 0, 43, 60, 51
PAD = b"\0" + b"\1\4" + bytes(4)  # rest of a hop-by-hop or destination header of 8 bytes
LONG = b"\1" + bytes(14)  # the same with 16 bytes


# The example of RFC 1071-era texts: 10.0.0.7 to 10.0.0.1, 52 bytes, DF, TTL 64, TCP
GOLDEN4 = bytes.fromhex("45000034abcd4000400600000a0000070a000001") + bytes(32)


def test_ipv4_fields():
    status, row = read(IPV4, GOLDEN4)
    assert status == Header.OK
    wanted = {"version": 4, "protocol": 6, "ttl": 64, "fragment_id": 0xABCD, "fragment_at": 0, "fragment_more": 0,
              "df": 1, "source_hi": 0, "source_lo": MAPPED | 0x0A000007, "destination_lo": MAPPED | 0x0A000001,
              "transport_at": 20, "transport_length": 32}  # fmt: skip
    assert {name: row[name] for name in wanted} == wanted


def test_ipv4_options_and_fragments():
    _, row = read(IPV4, p.ipv4(b"x" * 16, options=b"\x94\4\0\0", at=1480, more=True, df=False, identification=9))
    assert (row["transport_at"], row["transport_length"]) == (24, 16)
    assert (row["fragment_at"], row["fragment_more"], row["fragment_id"], row["df"]) == (1480, 1, 9, 0)


def test_bytes_behind_the_packet_are_not_its_own():
    """Ethernet pads to 60 bytes."""
    assert read(IPV4, p.ipv4(b"1234") + bytes(22))[1]["transport_length"] == 4
    assert read(IPV6, p.ipv6(b"1234") + bytes(22))[1]["transport_length"] == 4


def test_length_0_means_as_far_as_the_frame_reaches():
    """Segmentation offload above 64 KiB leaves the field 0."""
    assert read(IPV4, p.ipv4(b"1234", total=0), wire=100_020)[1]["transport_length"] == 100_000
    assert read(IPV6, p.ipv6(b"1234", length=0), wire=100_040)[1]["transport_length"] == 100_000


@pytest.mark.parametrize(
    "packet",
    [
        b"\x55" + GOLDEN4[1:],  # version 5
        b"\x44" + GOLDEN4[1:],  # a header of 16 bytes
        p.ipv4(total=19),
        p.ipv4(options=bytes(8), total=27),
    ],
)
def test_ipv4_that_cannot_be(packet):
    assert read(IPV4, packet)[0] == Header.MALFORMED


def test_ipv6_fields():
    status, row = read(IPV6, p.ipv6(b"x" * 30, "fd00::7", "2001:db8::1", hops=63))
    assert status == Header.OK
    wanted = {"version": 6, "protocol": 6, "ttl": 63, "source_hi": 0xFD00 << 48, "source_lo": 7,
              "destination_hi": 0x20010DB8 << 32, "destination_lo": 1, "transport_at": 40, "transport_length": 30,
              "fragment_at": 0, "fragment_more": 0}  # fmt: skip
    assert {name: row[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("extensions", "length"),
    [
        ([(HOP, PAD)], 8),
        ([(HOP, LONG), (ROUTING, PAD), (OPTIONS, PAD)], 32),
        ([(AH, b"\4" + bytes(22))], 24),  # RFC 4302: in words, less 2
        ([(HOP, PAD)] * 8, 64),
    ],
)
def test_ipv6_extension_headers(extensions, length):
    status, row = read(IPV6, p.ipv6(b"x" * 20, extensions=extensions))
    assert status == Header.OK
    assert (row["protocol"], row["transport_at"], row["transport_length"]) == (6, 40 + length, 20)


def test_ipv6_fragments():
    _, first = read(IPV6, p.ipv6(b"x" * 40, extensions=[p.fragment6(0, True)]))
    assert (first["fragment_more"], first["fragment_id"], first["transport_at"]) == (1, 9, 48)
    _, later = read(IPV6, p.ipv6(b"x" * 40, extensions=[p.fragment6(1232, False)], protocol=HOP))
    assert (later["fragment_at"], later["fragment_more"], later["transport_length"]) == (1232, 0, 40)


def test_a_ninth_extension_header_is_not_followed():
    _, row = read(IPV6, p.ipv6(b"x" * 20, extensions=[(HOP, PAD)] * 9))
    assert row["protocol"] == HOP


def test_an_extension_header_longer_than_the_packet():
    assert read(IPV6, p.ipv6(extensions=[(HOP, b"\xff" + bytes(6))]))[0] == Header.MALFORMED


def test_not_version_6():
    assert read(IPV6, b"\x45" + p.ipv6(bytes(20))[1:])[0] == Header.MALFORMED


@pytest.mark.parametrize(
    ("layer", "packet", "length"),
    [
        (IPV4, GOLDEN4, 20),
        (IPV4, p.ipv4(bytes(20), options=bytes(20)), 20),
        (IPV6, p.ipv6(bytes(20)), 40),
        (IPV6, p.ipv6(bytes(20), extensions=[(HOP, PAD), p.fragment6(0, True)]), 56),
    ],
)
def test_every_prefix_is_cut(layer, packet, length):
    for end in range(length):
        assert read(layer, packet[:end], wire=len(packet), behind=b"\xff" * 60)[0] == Header.CUT, end


@settings(deadline=None, max_examples=200)
@given(st.sampled_from([IPV4, IPV6]), st.binary(max_size=120), st.integers(0, 1 << 20))
def test_random_bytes_are_safe(layer, data, more):
    first = b"\x45" if layer == IPV4 else b"\x60"
    status, row = read(layer, first + data, wire=1 + len(data) + more)
    if status == Header.OK:
        assert row["transport_at"] >= 20
        assert row["transport_length"] >= 0

"""Link layers."""

from __future__ import annotations

import pytest
from headers import LINK, read
from hypothesis import given, settings
from hypothesis import strategies as st

import packets as p
from nfsleuth.trace.tables import NO_MAC
from nfsleuth.wire.packet import Header

IP4, IP6 = p.ipv4(b"payload"), p.ipv6(b"payload")
MAC = 0x525400000007
FRAMES = {  # link type, frame, ethertype, MAC, VLAN, length of the link header
    "ethernet": (p.ETHERNET, p.ethernet(IP4), 0x0800, MAC, 0, 14),
    "ethernet 6": (p.ETHERNET, p.ethernet(IP6), 0x86DD, MAC, 0, 14),
    "vlan": (p.ETHERNET, p.ethernet(IP4, vlans=[100]), 0x0800, MAC, 100, 18),
    "priority in the tag": (p.ETHERNET, p.ethernet(IP4, vlans=[0xE064]), 0x0800, MAC, 100, 18),
    "qinq": (p.ETHERNET, p.ethernet(IP4, vlans=[7, 8], tag=0x88A8), 0x0800, MAC, 8, 22),
    "four tags": (p.ETHERNET, p.ethernet(IP6, vlans=[1, 2, 3, 4]), 0x86DD, MAC, 4, 30),
    "arp": (p.ETHERNET, p.ethernet(p.arp(), kind=0x0806), 0x0806, MAC, 0, 14),
    "llc": (p.ETHERNET, p.stp(), -2, 0x525400AABBCC, 0, 14),
    "sll": (p.SLL, p.sll(IP4), 0x0800, MAC, 0, 16),
    "sll2": (p.SLL2, p.sll2(IP6), 0x86DD, MAC, 0, 20),
    "null": (p.NULL, p.null(IP4), 0x0800, int(NO_MAC), 0, 4),
    "null, captured elsewhere": (p.NULL, p.null(IP6, order="big"), 0x86DD, int(NO_MAC), 0, 4),
    "loop": (p.LOOP, p.null(IP4, order="big"), 0x0800, int(NO_MAC), 0, 4),
    "raw": (p.RAW, IP4, 0x0800, int(NO_MAC), 0, 0),
    "raw of BSD": (12, IP6, 0x86DD, int(NO_MAC), 0, 0),
    "raw, neither": (p.RAW, b"\x50", 0, int(NO_MAC), 0, 0),
}


@pytest.mark.parametrize("name", FRAMES)
def test_each_link_type(name):
    link, frame, kind, mac, vlan, length = FRAMES[name]
    status, row = read(LINK, frame, link=link)
    assert status == Header.OK
    assert (row["ethertype"], row["mac"], row["vlan"], row["network_at"]) == (kind, mac, vlan, length)


@pytest.mark.parametrize("name", FRAMES)
def test_every_prefix_is_cut(name):
    link, frame, _, _, _, length = FRAMES[name]
    for end in range(max(length, 1)):
        assert read(LINK, frame[:end], link=link, behind=b"\xff" * 40)[0] == Header.CUT, end


def test_a_fifth_tag_is_not_followed():
    _, row = read(LINK, p.ethernet(IP4, vlans=[1, 2, 3, 4, 5]))
    assert (row["ethertype"], row["vlan"]) == (0x8100, 4)


def test_sll_without_an_ethernet_address_has_no_mac():
    frame = bytearray(p.sll(IP4))
    frame[4:6] = b"\0\0"
    assert read(LINK, bytes(frame), link=p.SLL)[1]["mac"] == NO_MAC


def test_an_unknown_link_type_is_left_alone():
    assert read(LINK, b"anything", link=147)[0] == Header.OTHER


@settings(deadline=None)
@given(st.binary(max_size=60), st.sampled_from([0, 1, 12, 101, 108, 113, 147, 228, 229, 276]))
def test_random_bytes_are_safe(data, link):
    status, row = read(LINK, data, link=link)
    assert status != Header.OK or 0 <= row["network_at"] <= len(data)

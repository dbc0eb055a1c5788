"""Link layers: a frame comes in, the source MAC and where the network layer begins go out.

    Ethernet II (IEEE 802.3):      destination 6 | source 6 | type 2
    802.1Q, 802.1ad (QinQ):        ... type 0x8100 or 0x88a8 | priority, VLAN 2 | type 2
    Linux cooked v1 (SLL):         packet type 2 | ARPHRD 2 | length 2 | address 8 | protocol 2
    Linux cooked v2 (SLL2):        protocol 2 | 0 2 | interface 4 | ARPHRD 2 | packet type 1 | length 1 | address 8
    BSD loopback (NULL, LOOP):     address family 4, in the byte order of the machine that captured (NULL) or big endian
    raw IP:                        nothing

Link type numbers: https://www.tcpdump.org/linktypes.html
"""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import part
from nfsleuth.wire.fields import be16, be32, be48, le32, u8
from nfsleuth.wire.packet import Header

LINK_NULL = 0
LINK_ETHERNET = 1
LINK_RAW_BSD = 12
LINK_RAW_OPENBSD = 14
LINK_RAW = 101
LINK_LOOP = 108
LINK_SLL = 113
LINK_IPV4 = 228
LINK_IPV6 = 229
LINK_SLL2 = 276

TYPE_IPV4 = 0x0800
TYPE_ARP = 0x0806
TYPE_VLAN = 0x8100
TYPE_QINQ = 0x88A8
TYPE_QINQ_OLD = 0x9100
TYPE_IPV6 = 0x86DD
TYPE_LENGTH = -2  # the field holds a length: IEEE 802.2 LLC follows
SMALLEST_TYPE = 0x0600

MOST_TAGS = 4  # 802.1Q headers that are followed in one frame

# Address families of IPv6 on the systems that write NULL captures: NetBSD and OpenBSD 24, FreeBSD 28, macOS 30, Linux
# 10
FAMILY_IPV4 = 2
_NO_MAC = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


@part
def read_link(p, buf, at, end, link):
    """Fill mac, ethertype, vlan, network_at of PACKET row `p`; frame bytes are buf[at:end]. Returns a Header."""
    p["mac"] = _NO_MAC
    p["vlan"] = 0
    if link == LINK_ETHERNET:
        if end - at < 14:
            return Header.CUT
        p["mac"] = be48(buf, at + 6)
        return _read_type(p, buf, at + 12, end)
    if link == LINK_SLL:
        if end - at < 16:
            return Header.CUT
        if be16(buf, at + 4) == 6:
            p["mac"] = be48(buf, at + 6)
        return _read_type(p, buf, at + 14, end)
    if link == LINK_SLL2:
        if end - at < 20:
            return Header.CUT
        if buf[at + 11] == 6:
            p["mac"] = be48(buf, at + 12)
        return _read_tagged(p, buf, be16(buf, at), at + 20, end)
    if link == LINK_NULL or link == LINK_LOOP:
        return _read_family(p, buf, at, end, link)
    if link in (LINK_RAW, LINK_RAW_BSD, LINK_RAW_OPENBSD, LINK_IPV4, LINK_IPV6):
        return _read_version(p, buf, at, end)
    p["ethertype"] = -1
    return Header.OTHER


@part
def _read_type(p, buf, at, end):
    """The ethertype at `at`, the network layer (or a tag) two bytes on."""
    return _read_tagged(p, buf, be16(buf, at), at + 2, end)


@part
def _read_tagged(p, buf, ethertype, at, end):
    """Follow 802.1Q tags from `at` on; the tag's type has been read already."""
    tags = 0
    while ethertype in (TYPE_VLAN, TYPE_QINQ, TYPE_QINQ_OLD) and tags < MOST_TAGS:
        if end - at < 4:
            return Header.CUT
        p["vlan"] = be16(buf, at) & 0x0FFF
        ethertype = be16(buf, at + 2)
        at += 4
        tags += 1
    p["ethertype"] = ethertype if ethertype >= SMALLEST_TYPE else TYPE_LENGTH
    p["network_at"] = at
    return Header.OK


@part
def _read_family(p, buf, at, end, link):
    if end - at < 4:
        return Header.CUT
    family = be32(buf, at)
    if link == LINK_NULL and family > 0xFFFF:
        family = le32(buf, at)
    p["network_at"] = at + 4
    if family == FAMILY_IPV4:
        p["ethertype"] = TYPE_IPV4
    elif family in (10, 24, 28, 30):
        p["ethertype"] = TYPE_IPV6
    else:
        p["ethertype"] = 0
    return Header.OK


@part
def _read_version(p, buf, at, end):
    if end - at < 1:
        return Header.CUT
    version = u8(buf, at) >> 4
    p["network_at"] = at
    if version == 4:
        p["ethertype"] = TYPE_IPV4
    elif version == 6:
        p["ethertype"] = TYPE_IPV6
    else:
        p["ethertype"] = 0
    return Header.OK

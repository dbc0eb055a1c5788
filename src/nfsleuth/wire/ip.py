"""IPv4 (RFC 791) and IPv6 (RFC 8200): the network header comes in, addresses and where the transport begins go out.

    IPv4   |ver ihl| tos | total length | id | flags, fragment offset | ttl | protocol | checksum | source 4 | dest. 4 |
    IPv6   |ver class flow| payload length | next header | hop limit | source 16 | destination 16 | extension headers
    ...

Lengths are those of the headers, never of the capture. A length of 0 (segmentation offload above 64 KiB, or an IPv6
jumbogram, RFC 2675) means: as far as the frame reached on the wire.
"""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import part
from nfsleuth.wire.fields import be16, be32, be64, u8
from nfsleuth.wire.packet import Header

PROTOCOL_HOP_BY_HOP = 0
PROTOCOL_ICMP = 1
PROTOCOL_IPIP = 4
PROTOCOL_TCP = 6
PROTOCOL_UDP = 17
PROTOCOL_IPV6 = 41
PROTOCOL_ROUTING = 43
PROTOCOL_FRAGMENT = 44
PROTOCOL_GRE = 47
PROTOCOL_AH = 51
PROTOCOL_ICMPV6 = 58
PROTOCOL_NONE = 59
PROTOCOL_OPTIONS = 60
PROTOCOL_OSPF = 89
PROTOCOL_VRRP = 112  # also CARP
PROTOCOL_MOBILITY = 135
PROTOCOL_HIP = 139
PROTOCOL_SHIM6 = 140

MOST_EXTENSIONS = 8  # IPv6 extension headers that are followed in one packet
MAPPED = np.uint64(0x0000_FFFF_0000_0000)  # ::ffff:0:0/96, RFC 4291 section 2.5.5.2


@part
def read_ipv4(p, buf, at, end, wire_end):
    """Fill the network fields of PACKET row `p`. Captured bytes end at `end`, the frame on the wire at `wire_end`."""
    if end - at < 20:
        return Header.CUT
    header = (u8(buf, at) & 0x0F) * 4
    total = be16(buf, at + 2)
    if total == 0:
        total = wire_end - at
    if u8(buf, at) >> 4 != 4 or header < 20 or total < header:
        return Header.MALFORMED
    fragment = be16(buf, at + 6)
    p["version"] = 4
    p["fragment_id"] = be16(buf, at + 4)
    p["fragment_at"] = (fragment & 0x1FFF) * 8
    p["fragment_more"] = (fragment >> 13) & 1
    p["df"] = (fragment >> 14) & 1
    p["ttl"] = u8(buf, at + 8)
    p["protocol"] = u8(buf, at + 9)
    p["source_hi"] = np.uint64(0)
    p["source_lo"] = MAPPED | np.uint64(be32(buf, at + 12))
    p["destination_hi"] = np.uint64(0)
    p["destination_lo"] = MAPPED | np.uint64(be32(buf, at + 16))
    p["transport_at"] = at + header
    p["transport_length"] = total - header
    return Header.OK


@part
def read_ipv6(p, buf, at, end, wire_end):
    """As `read_ipv4`, for IPv6 with its extension headers."""
    if end - at < 40:
        return Header.CUT
    if u8(buf, at) >> 4 != 6:
        return Header.MALFORMED
    length = be16(buf, at + 4)
    p["version"] = 6
    p["fragment_id"] = 0
    p["fragment_at"] = 0
    p["fragment_more"] = 0
    p["df"] = 0
    p["ttl"] = u8(buf, at + 7)
    p["source_hi"] = be64(buf, at + 8)
    p["source_lo"] = be64(buf, at + 16)
    p["destination_hi"] = be64(buf, at + 24)
    p["destination_lo"] = be64(buf, at + 32)
    stop = at + 40 + length if length else wire_end
    return _read_extensions(p, buf, u8(buf, at + 6), at + 40, end, stop)


@part
def _read_extensions(p, buf, protocol, at, end, stop):
    """Walk extension headers (RFC 8200 section 4) from `at`; the packet's payload ends at `stop`."""
    for _ in range(MOST_EXTENSIONS):
        known = protocol in (PROTOCOL_HOP_BY_HOP, PROTOCOL_ROUTING, PROTOCOL_OPTIONS, PROTOCOL_FRAGMENT, PROTOCOL_AH)
        if not known and protocol not in (PROTOCOL_MOBILITY, PROTOCOL_HIP, PROTOCOL_SHIM6):
            break
        if end - at < 8:
            return Header.CUT
        if protocol == PROTOCOL_FRAGMENT:
            length = np.int64(8)
            p["fragment_at"] = be16(buf, at + 2) & 0xFFF8
            p["fragment_more"] = u8(buf, at + 3) & 1
            p["fragment_id"] = be32(buf, at + 4)
        elif protocol == PROTOCOL_AH:
            length = (u8(buf, at + 1) + 2) * 4  # RFC 4302: counted in 32-bit words, less 2
        else:
            length = (u8(buf, at + 1) + 1) * 8
        protocol = u8(buf, at)
        at += length
        if at > stop:
            return Header.MALFORMED
        if p["fragment_at"] > 0:
            break  # what follows is the middle of the datagram
    p["protocol"] = protocol
    p["transport_at"] = at
    p["transport_length"] = stop - at
    return Header.OK

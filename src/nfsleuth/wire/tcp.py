"""TCP (RFC 9293) and UDP (RFC 768) headers, and the options of a SYN.

    | source port 2 | destination port 2 | sequence 4 | acknowledgment 4 | offset, flags 2 | window 2 | checksum 2 |
    urgent 2 |

The layout of a SYN's options (which, in what order) is the signature of an operating system's TCP. It is packed as
one nibble per option from the lowest on: END stops it, `OTHER_OPTION` stands for kinds that have no nibble.
"""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import part
from nfsleuth.wire.fields import be16, be32, u8
from nfsleuth.wire.packet import Header

FIN, SYN, RST, ACK, ECE, CWR = 0x01, 0x02, 0x04, 0x10, 0x40, 0x80

OPTION_EOL, OPTION_NOP, OPTION_MSS, OPTION_SCALE, OPTION_SACK_OK, OPTION_SACK, OPTION_TIMESTAMP = 0, 1, 2, 3, 4, 5, 8
OTHER_OPTION = 0xE
END = 0xF
MOST_OPTIONS = 16
LAYOUT_NAMES = {0: "eol", 1: "nop", 2: "mss", 3: "ws", 4: "sok", 5: "sack", 8: "ts", OTHER_OPTION: "?"}


def layout(options: int) -> str:
    """Packed option kinds as text in the manner of p0f: ``mss,sok,ts,nop,ws``."""
    names = []
    for i in range(MOST_OPTIONS):
        kind = (options >> (4 * i)) & 0xF
        if kind == END:
            break
        names.append(LAYOUT_NAMES.get(kind, "?"))
    return ",".join(names)


@part
def read_tcp(p, buf, end):
    """Fill the transport fields of PACKET row `p` from p["transport_at"] on. Returns a Header."""
    at = p["transport_at"]
    if end - at < 20:
        return Header.CUT
    header = (u8(buf, at + 12) >> 4) * 4
    if header < 20 or header > p["transport_length"]:
        return Header.MALFORMED
    p["source_port"] = be16(buf, at)
    p["destination_port"] = be16(buf, at + 2)
    p["sequence"] = be32(buf, at + 4)
    p["acknowledged"] = be32(buf, at + 8)
    p["flags"] = u8(buf, at + 13)
    p["window"] = be16(buf, at + 14)
    p["payload_at"] = at + header
    p["payload_length"] = p["transport_length"] - header
    return Header.OK


@part
def read_udp(p, buf, end):
    """Fill ports and payload of PACKET row `p`. Returns a Header."""
    at = p["transport_at"]
    if end - at < 8:
        return Header.CUT
    if p["transport_length"] < 8:
        return Header.MALFORMED
    p["source_port"] = be16(buf, at)
    p["destination_port"] = be16(buf, at + 2)
    p["payload_at"] = at + 8
    p["payload_length"] = p["transport_length"] - 8
    return Header.OK


@part
def read_syn_options(p, buf, end):
    """Fill mss, scale, options, options_bad, timestamp_zero of PACKET row `p` (RFC 9293 section 3.1, RFC 7323).

    Options beyond the captured bytes count as malformed, as do lengths that cannot be.
    """
    p["mss"] = 0
    p["scale"] = -1
    p["options_bad"] = 0
    p["timestamp_zero"] = 0
    packed = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
    at = p["transport_at"] + 20
    stop = p["payload_at"]
    if stop > end:
        stop = end
        p["options_bad"] = 1
    count = 0
    while at < stop and count < MOST_OPTIONS:
        kind = u8(buf, at)
        nibble = kind if kind in (0, 1, 2, 3, 4, 5, 8) else OTHER_OPTION
        shift = np.uint64(4 * count)
        packed = (packed & ~(np.uint64(0xF) << shift)) | (np.uint64(nibble) << shift)
        count += 1
        if kind == OPTION_EOL:
            break
        if kind == OPTION_NOP:
            at += 1
            continue
        length = u8(buf, at + 1) if at + 1 < stop else np.int64(0)
        if length < 2 or at + length > stop:
            p["options_bad"] = 1
            break
        if kind == OPTION_MSS and length == 4:
            p["mss"] = be16(buf, at + 2)
        elif kind == OPTION_SCALE and length == 3:
            p["scale"] = u8(buf, at + 2)
        elif kind == OPTION_TIMESTAMP and length == 10 and be32(buf, at + 2) == 0:
            p["timestamp_zero"] = 1
        at += length
    p["options"] = packed

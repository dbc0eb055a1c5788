"""The short way for the frame that most frames are: it only continues data that nobody wants to see.

A frame takes it if it is Ethernet, IPv4 without options or fragments, and TCP that carries nothing but ACK or PSH, in
order, on a known connection, if its MAC and TTL are those of the last frame of its stream that went the long way, and
if its payload, which may be empty, ends inside what its stream passes over. For such a frame the long way through
`advance` would change these counts and no more. Every other frame changes nothing here, but where its connection is
looked for. The tests compare both ways.
"""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import part
from nfsleuth.trace.flows import observe
from nfsleuth.trace.hashing import mix
from nfsleuth.trace.sequence import SEQUENCE_MASK
from nfsleuth.trace.state import Control, Phase
from nfsleuth.wire import ethernet, ip, tcp
from nfsleuth.wire.fields import be16, be32, be64, u8

LEAST = 14 + 20 + 20  # bytes of the three headers without options
VERSION_LENGTH = 0x45  # IPv4 without options
FRAGMENT_TTL_PROTOCOL = 0x3FFF_FFFF  # of 32 bits, without "don't fragment" and the bit that is reserved


@part
def _place(s, addresses, ports):
    """Where a stream is looked up; one that shares its place with another takes the long way, which is right too."""
    h = mix(addresses, np.uint64(ports) << np.uint64(16))
    return (h >> np.uint64(40)) & np.uint64(len(s["recent"]) - 1)


@part
def _addresses(source, destination):
    """Two IPv4 addresses, as they follow each other in the header."""
    low, half = np.uint64(0xFFFF_FFFF), np.uint64(32)
    return ((source & low) << half) | (destination & low)


@part
def _ports(source, destination):
    """Two ports likewise."""
    return (np.int64(source) << 16) | np.int64(destination)


@part
def remember(s, p, k):
    """The TCP packet `p`, which has been counted, belongs to stream `k`: the next one like it is known by this."""
    if p["version"] == 4:
        addresses = _addresses(p["source_lo"], p["destination_lo"])
        ports = _ports(p["source_port"], p["destination_port"])
        row = s["recent"][_place(s, addresses, ports)]
        row["addresses"] = addresses
        row["ports"] = ports
        row["mac_type"] = (p["mac"] << np.uint64(16)) | np.uint64(ethernet.TYPE_IPV4)
        row["ttl_protocol"] = (np.int64(p["ttl"]) << 8) | ip.PROTOCOL_TCP
        row["stream"] = k


@part
def forget(s, c):
    """Connection `c` is no more."""
    conn = s["conns"][c]
    for side in range(2):
        addresses = _addresses(conn["lo"][side], conn["lo"][1 - side])
        row = s["recent"][_place(s, addresses, _ports(conn["port"][side], conn["port"][1 - side]))]
        if np.int64(row["stream"]) == 2 * c + side:
            row["mac_type"] = 0  # no frame of type IPv4 has it


@part
def goes_on(s, buf, at, end):
    """Take in the Ethernet frame buf[at:end] if it can go the short way. Returns whether it did."""
    if end - at < LEAST:
        return False
    network, transport = at + 14, at + 34
    addresses, ports = be64(buf, network + 12), be32(buf, transport)
    row = s["recent"][_place(s, addresses, ports)]
    if row["addresses"] != addresses or row["ports"] != ports or row["mac_type"] != be64(buf, at + 6):
        return False
    k = np.uint64(row["stream"])
    cursor = s["cursors"][k]
    conn = s["conns"][k >> np.uint64(1)]
    side = np.int64(k & np.uint64(1))
    offset_flags, window = be16(buf, transport + 12), be16(buf, transport + 14)
    header = (offset_flags >> 12) * 4
    length = be16(buf, network + 2) - 20 - header
    sequence = be32(buf, transport + 4)
    if (
        u8(buf, network) != VERSION_LENGTH
        or be32(buf, network + 6) & FRAGMENT_TTL_PROTOCOL != row["ttl_protocol"]
        or offset_flags & 0xF7 != tcp.ACK
        or header < 20
        or length < 0
        or window == 0
        or cursor["phase"] != Phase.SYNCED
        or cursor["held_count"] > 0
        or cursor["next"] != sequence
        or (length > 0 and length >= cursor["skip"])
        or conn["synack_time"] > 0
        or s["cursors"][k ^ np.uint64(1)]["held_count"] > 0
    ):
        s["control"][Control.LAST_CONN] = np.int64(k >> np.uint64(1))  # the long way looks there first
        return False
    observe(s, np.int64(k), sequence, length, be32(buf, transport + 8), window)
    conn["last"] = s["control"][Control.TIME]
    conn["last_frame"] = s["control"][Control.FRAME]
    conn["frames"][side] += 1
    conn["payload"][side] += length
    cursor["next"] = (sequence + length) & SEQUENCE_MASK
    if length > 0:
        cursor["skip"] -= length
    return True

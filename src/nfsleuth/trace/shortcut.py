"""The short way for the frame that most frames are: it only continues data that nobody wants to see.

A frame takes it if it is Ethernet, IPv4 without options or fragments, and TCP that carries nothing but ACK or PSH, on a
known connection, in order, from the MAC and with the TTL seen before, and if its payload, which may be empty, ends
inside what its stream passes over. For such a frame the long way through `advance` would change these counts and no
more. Every other frame changes nothing here, but where its connection is looked for. The tests compare both ways.
"""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import part
from nfsleuth.trace.flows import observe
from nfsleuth.trace.hashing import mix
from nfsleuth.trace.state import Control, Phase
from nfsleuth.wire import ethernet, ip, tcp
from nfsleuth.wire.fields import be16, be32, u8

LEAST = 14 + 20 + 20  # bytes of the three headers without options


@part
def _place(s, source, destination, ports):
    """Where a stream is looked up; one that shares its place with another takes the long way, which is right too."""
    h = mix((source << np.uint64(32)) | destination, ports << np.uint64(16))
    return (h >> np.uint64(40)) & np.uint64(len(s["recent"]) - 1)


@part
def remember(s, p, k):
    """The TCP packet `p` belongs to stream `k`."""
    if p["version"] == 4:
        ports = (np.uint64(p["source_port"]) << np.uint64(16)) | np.uint64(p["destination_port"])
        low = np.uint64(0xFFFF_FFFF)
        s["recent"][_place(s, p["source_lo"] & low, p["destination_lo"] & low, ports)] = k


@part
def goes_on(s, buf, at, end):
    """Take in the Ethernet frame buf[at:end] if it can go the short way. Returns whether it did."""
    if end - at < LEAST:
        return False
    network, transport = at + 14, at + 34
    plain = be16(buf, at + 12) == ethernet.TYPE_IPV4 and u8(buf, network) == 0x45
    if not plain or u8(buf, network + 9) != ip.PROTOCOL_TCP or be16(buf, network + 6) & 0x3FFF:
        return False
    offset_flags = be16(buf, transport + 12)
    header = (offset_flags >> 12) * 4
    length = be16(buf, network + 2) - 20 - header
    if offset_flags & 0xF7 != tcp.ACK or header < 20 or length < 0 or be16(buf, transport + 14) == 0:
        return False
    source, destination = np.uint64(be32(buf, network + 12)), np.uint64(be32(buf, network + 16))
    ports = np.uint64(be32(buf, transport))
    k = np.uint64(s["recent"][_place(s, source, destination, ports)])
    cursor = s["cursors"][k]
    conn = s["conns"][k >> np.uint64(1)]
    side = k & np.uint64(1)
    other = side ^ np.uint64(1)
    if (
        conn["used"] == 0
        or conn["transport"] != ip.PROTOCOL_TCP
        or conn["lo"][side] != ip.MAPPED | source
        or conn["lo"][other] != ip.MAPPED | destination
        or conn["port"][side] != ports >> np.uint64(16)
        or conn["port"][other] != ports & np.uint64(0xFFFF)
        or conn["hi"][0] != 0
        or conn["hi"][1] != 0
    ):
        return False
    ttl = u8(buf, network + 8)
    if (
        cursor["phase"] != Phase.SYNCED
        or cursor["held_count"] > 0
        or cursor["next"] != be32(buf, transport + 4)
        or (length > 0 and length >= cursor["skip"])
        or (conn["mac_last"][side] >> np.uint64(16)) != np.uint64(be32(buf, at + 6))
        or (conn["mac_last"][side] & np.uint64(0xFFFF)) != np.uint64(be16(buf, at + 10))
        or ttl > conn["ttl_max"][side]
        or ttl < conn["ttl_min"][side]
        or conn["synack_time"] > 0
        or s["cursors"][k ^ np.uint64(1)]["held_count"] > 0
    ):
        s["control"][Control.LAST_CONN] = np.int64(k >> np.uint64(1))  # the long way looks there first
        return False
    sequence, acknowledged = be32(buf, transport + 4), be32(buf, transport + 8)
    observe(s, np.int64(k >> np.uint64(1)), np.int64(side), sequence, length, acknowledged, be16(buf, transport + 14))
    conn["last"] = s["control"][Control.TIME]
    conn["last_frame"] = s["control"][Control.FRAME]
    conn["frames"][side] += 1
    conn["payload"][side] += length
    cursor["next"] = (cursor["next"] + length) & 0xFFFF_FFFF
    if length > 0:
        cursor["skip"] -= length
    return True

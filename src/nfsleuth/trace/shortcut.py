"""The short way for the frame that most frames are: nothing about it is new but its payload.

A frame takes it if it is Ethernet, IPv4 without options or fragments, and TCP that carries nothing but ACK or PSH, in
order, on a known connection, and if its MAC and TTL are those of the last frame of its stream that went the long way.
Often its payload, which may be empty, lies inside what its stream passes over; otherwise it is read as on the long way.
For such a frame the long way through `advance` would do the same, and change no more than these counts besides. Every
other frame changes nothing here, but where its connection is looked for. The tests compare both ways.
"""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import apart, part
from nfsleuth.trace.flows import observe
from nfsleuth.trace.recent import place
from nfsleuth.trace.sequence import SEQUENCE_MASK
from nfsleuth.trace.state import Control, Phase
from nfsleuth.trace.stream import payload
from nfsleuth.wire import tcp
from nfsleuth.wire.fields import be16, be32, be64, u8

NETWORK, TRANSPORT = 14, 14 + 20  # where the headers of a frame begin
LEAST = TRANSPORT + 20  # bytes of the three headers without options
VERSION_LENGTH = 0x45  # IPv4 without options
FRAGMENT_TTL_PROTOCOL = 0x3FFF_FFFF  # of 32 bits, without "don't fragment" and the bit that is reserved
LONG, PASSED, READ = np.int64(0), np.int64(1), np.int64(2)  # what becomes of a frame, see `goes_on`


@part
def _lengths(buf, at):
    """Bytes of the TCP header and of the payload of the frame at buf[at], by the headers."""
    header = (u8(buf, at + TRANSPORT + 12) >> 4) * 4
    return header, be16(buf, at + NETWORK + 2) - 20 - header


@part
def goes_on(s, buf, at, end):
    """Take in the headers of the Ethernet frame buf[at:end] if it can go the short way.

    Returns LONG if it cannot, PASSED if that was all, or READ + stream if its payload is to be read (`read`).
    """
    if end - at < LEAST:
        return LONG
    network, transport = at + NETWORK, at + TRANSPORT
    addresses, ports = be64(buf, network + 12), be32(buf, transport)
    row = s["recent"][place(s, addresses, ports)]
    if row["addresses"] != addresses or row["ports"] != ports or row["mac_type"] != be64(buf, at + 6):
        return LONG
    k = np.uint64(row["stream"])
    cursor = s["cursors"][k]
    conn = s["conns"][k >> np.uint64(1)]
    side = np.int64(k & np.uint64(1))
    header, length = _lengths(buf, at)
    sequence, window = be32(buf, transport + 4), be16(buf, transport + 14)
    if (
        u8(buf, network) != VERSION_LENGTH
        or be32(buf, network + 6) & FRAGMENT_TTL_PROTOCOL != row["ttl_protocol"]
        or u8(buf, transport + 13) & 0xF7 != tcp.ACK
        or header < 20
        or length < 0
        or window == 0
        or cursor["phase"] != Phase.SYNCED
        or cursor["held_count"] > 0
        or cursor["next"] != sequence
        or conn["synack_time"] > 0
        or s["cursors"][k ^ np.uint64(1)]["held_count"] > 0
    ):
        s["control"][Control.LAST_CONN] = np.int64(k >> np.uint64(1))  # the long way looks there first
        return LONG
    observe(s, np.int64(k), sequence, length, be32(buf, transport + 8), window)
    conn["last"] = s["control"][Control.TIME]
    conn["last_frame"] = s["control"][Control.FRAME]
    conn["frames"][side] += 1
    conn["payload"][side] += length
    if length > 0 and length >= cursor["skip"]:
        return READ + np.int64(k)
    cursor["next"] = (sequence + length) & SEQUENCE_MASK
    if length > 0:
        cursor["skip"] -= length
    return PASSED


@apart
def read(s, k, buf, at, end):
    """Take in the payload of the frame buf[at:end], whose headers went the short way, of stream `k`."""
    transport = at + TRANSPORT
    header, length = _lengths(buf, at)
    payload(s, k, buf, transport, transport + header, end, be32(buf, transport + 4), length)

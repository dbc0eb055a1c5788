"""The table by which a frame's stream is known from how the frame begins, for `trace.shortcut`."""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import part
from nfsleuth.trace.hashing import mix
from nfsleuth.wire import ethernet, ip


@part
def place(s, addresses, ports):
    """Where a stream is looked up; one that shares its place with another takes the long way, which is right too."""
    h = mix(addresses, np.uint64(ports) << np.uint64(16))
    return (h >> np.uint64(40)) & np.uint64(len(s["recent"]) - 1)


@part
def remember(s, p, k):
    """The TCP packet `p`, which has been counted, belongs to stream `k`: the next one like it is known by this."""
    if p["version"] == 4:
        addresses = _addresses(p["source_lo"], p["destination_lo"])
        ports = _ports(p["source_port"], p["destination_port"])
        row = s["recent"][place(s, addresses, ports)]
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
        row = s["recent"][place(s, addresses, _ports(conn["port"][side], conn["port"][1 - side]))]
        if np.int64(row["stream"]) == 2 * c + side:
            row["mac_type"] = 0  # no frame of type IPv4 has it


@part
def _addresses(source, destination):
    """Two IPv4 addresses, as they follow each other in the header."""
    low, half = np.uint64(0xFFFF_FFFF), np.uint64(32)
    return ((source & low) << half) | (destination & low)


@part
def _ports(source, destination):
    """Two ports likewise."""
    return (np.int64(source) << 16) | np.int64(destination)

"""The connection table: found by addresses and ports, bounded, least recently used out first.

A connection is a pair of (address, port) ends and a transport. Ports that are used again (a SYN with another sequence
number after data) begin a new one, since behind a NAT that may be another client.
"""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import part
from nfsleuth.trace.flows import clear_flow, end_flow
from nfsleuth.trace.hashing import mix
from nfsleuth.trace.notes import note
from nfsleuth.trace.recent import forget
from nfsleuth.trace.state import NONE, Control, Phase
from nfsleuth.trace.tables import Oddity, Role
from nfsleuth.trace.transfers import READ, WRITE

NFS_PORT = 2049
CANDIDATES = 16  # connections of which the one that was silent longest is dropped
_NO_MAC = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


@part
def end_hash(hi, lo, port, seed):
    """Hash of one end."""
    return mix(mix(mix(seed, hi), lo), np.uint64(port))


@part
def find(s, p):
    """Index of the connection of PACKET row `p` and the side that sent it: 2 * index + side, or NONE."""
    last = s["control"][Control.LAST_CONN]
    if last >= 0:
        side = _side(s["conns"][last], p)
        if side >= 0:
            return 2 * last + side
    c = np.int64(s["buckets"][_hash(s, p) & np.uint64(len(s["buckets"]) - 1)])
    while c >= 0:
        side = _side(s["conns"][c], p)
        if side >= 0:
            s["control"][Control.LAST_CONN] = c
            return 2 * c + side
        c = np.int64(s["conns"][c]["next"])
    return NONE


@part
def _side(conn, p):
    """Which side of `conn` sent `p`: 0, 1, or NONE if `p` belongs to another connection."""
    if conn["used"] == 0 or conn["transport"] != p["protocol"]:
        return NONE
    if conn["lo"][0] == p["source_lo"] and conn["port"][0] == p["source_port"]:
        if (
            conn["lo"][1] == p["destination_lo"]
            and conn["port"][1] == p["destination_port"]
            and conn["hi"][0] == p["source_hi"]
            and conn["hi"][1] == p["destination_hi"]
        ):
            return 0
    if conn["lo"][1] == p["source_lo"] and conn["port"][1] == p["source_port"]:
        if (
            conn["lo"][0] == p["destination_lo"]
            and conn["port"][0] == p["destination_port"]
            and conn["hi"][1] == p["source_hi"]
            and conn["hi"][0] == p["destination_hi"]
        ):
            return 1
    return NONE


@part
def _hash(s, p):
    """The same for both directions: the two ends are added."""
    seed = np.uint64(s["control"][Control.SEED])
    source = end_hash(p["source_hi"], p["source_lo"], p["source_port"], seed)
    destination = end_hash(p["destination_hi"], p["destination_lo"], p["destination_port"], seed)
    return mix(source + destination, np.uint64(p["protocol"]))


@part
def is_full(s):
    """Whether a new connection takes the place of another."""
    return s["control"][Control.FREED] < 0 and s["control"][Control.FREE] >= len(s["conns"])


@part
def create(s, p):
    """A new connection whose side A is the sender of `p`; returns its index. Drops another one if the table is full."""
    c = _take_slot(s)
    conn = s["conns"][c]
    conn["used"] = 1
    conn["transport"] = p["protocol"]
    conn["role"] = Role.GUESS.value
    # The end with the port of NFS is the server, otherwise the one that was spoken to.
    conn["flip"] = 1 if p["source_port"] == NFS_PORT and p["destination_port"] != NFS_PORT else 0
    conn["hi"][0] = p["source_hi"]
    conn["lo"][0] = p["source_lo"]
    conn["port"][0] = p["source_port"]
    conn["hi"][1] = p["destination_hi"]
    conn["lo"][1] = p["destination_lo"]
    conn["port"][1] = p["destination_port"]
    conn["vlan"] = p["vlan"]
    conn["hash"] = _hash(s, p)
    conn["uid"] = s["control"][Control.NEXT_UID]
    s["control"][Control.NEXT_UID] += 1
    reset(s, c)
    bucket = conn["hash"] & np.uint64(len(s["buckets"]) - 1)
    conn["next"] = s["buckets"][bucket]
    s["buckets"][bucket] = c
    s["control"][Control.LAST_CONN] = c
    s["control"][Control.USED] += 1
    return c


@part
def forget_record(cursor):
    """Where in a record `cursor` was is not known, or of no use any more."""
    cursor["done"] = 0
    cursor["tail"] = 0
    cursor["skip"] = 0
    cursor["mark"] = 0
    cursor["mark_have"] = 0
    cursor["fragment_left"] = 0


@part
def reset(s, c):
    """Clear the counts of connection `c` and both its cursors."""
    conn = s["conns"][c]
    for side in range(2):
        conn["mac"][side] = _NO_MAC
        conn["mac_last"][side] = _NO_MAC
        conn["mac_changes"][side] = 0
        conn["ttl_min"][side] = 0
        conn["ttl_max"][side] = 0
        conn["frames"][side] = 0
        conn["payload"][side] = 0
        conn["retransmitted"][side] = 0
        conn["keepalives"][side] = 0
        conn["zero_windows"][side] = 0
        conn["gaps"][side] = 0
        conn["reading"][side] = 0
        conn["busy"][side] = 0  # here the index means READ and WRITE
        conn["busy_floor"][side] = 0
        conn["busy_from"][side] = 0
        conn["busy_until"][side] = 0
        cursor = s["cursors"][2 * c + side]
        cursor["phase"] = Phase.NEW.value
        cursor["ever"] = 0
        cursor["impatient"] = 0
        forget_record(cursor)
        cursor["head"] = NONE
        cursor["head_length"] = 0
        cursor["held"] = NONE
        cursor["held_count"] = 0
        cursor["fruitless"] = 0
    conn["programs"] = 0
    conn["versions"] = 0
    conn["flavors"] = 0
    conn["syn_frame"] = 0
    conn["syns"] = 0
    conn["synack_time"] = 0
    conn["handshake"] = -1
    conn["first"] = s["control"][Control.TIME]
    conn["last"] = s["control"][Control.TIME]
    conn["first_frame"] = s["control"][Control.FRAME]
    conn["last_frame"] = s["control"][Control.FRAME]
    conn["calls"] = 0
    conn["replies"] = 0
    conn["nfs_calls"] = 0
    conn["errors"] = 0
    conn["reads"] = 0
    conn["read_bytes"] = 0
    conn["writes"] = 0
    conn["write_bytes"] = 0
    conn["last_call"] = 0
    conn["untimed"] = 0
    conn["untimed_bytes"] = 0
    conn["names_left"] = s["control"][Control.NAMES]
    conn["clock_next"] = 0
    conn["clock_taken"] = 0
    clear_flow(s, c)


@part
def _take_slot(s):
    """A free slot of `conns`; makes one free if there is none."""
    freed = s["control"][Control.FREED]
    if freed >= 0:
        s["control"][Control.FREED] = np.int64(s["conns"][freed]["next"])
        return freed
    fresh = s["control"][Control.FREE]
    if fresh < len(s["conns"]):
        s["control"][Control.FREE] = fresh + 1
        return fresh
    hand = s["control"][Control.HAND]
    oldest = hand
    for i in range(CANDIDATES):
        c = (hand + i) % len(s["conns"])
        if _worth(s["conns"][c]) < _worth(s["conns"][oldest]):
            oldest = c
    s["control"][Control.HAND] = (hand + CANDIDATES) % len(s["conns"])
    note(s, Oddity.CONNECTIONS_DROPPED)
    close(s, oldest)
    s["control"][Control.FREED] = np.int64(s["conns"][oldest]["next"])
    return oldest


@part
def _worth(conn):
    """What decides who is dropped: connections without RPC first, then the one that was silent longest."""
    return conn["last"] if conn["calls"] > 0 else conn["last"] - np.int64(1 << 40)  # 18 minutes' head start


@part
def close(s, c):
    """Hand out connection `c`, forget it and free its slot."""
    end_flow(s, c)
    emit(s, c)
    release_buffers(s, c)
    conn = s["conns"][c]
    bucket = conn["hash"] & np.uint64(len(s["buckets"]) - 1)
    at = np.int64(s["buckets"][bucket])
    if at == c:
        s["buckets"][bucket] = conn["next"]
    else:
        while at >= 0 and s["conns"][at]["next"] != c:
            at = np.int64(s["conns"][at]["next"])
        if at >= 0:
            s["conns"][at]["next"] = conn["next"]
    forget(s, c)
    conn["used"] = 0
    conn["next"] = s["control"][Control.FREED]
    s["control"][Control.FREED] = c
    s["control"][Control.USED] -= 1
    if s["control"][Control.LAST_CONN] == c:
        s["control"][Control.LAST_CONN] = NONE


@part
def release_buffers(s, c):
    """Give back the message heads and waiting segments of connection `c`."""
    for side in range(2):
        k = 2 * c + side
        cursor = s["cursors"][k]
        if cursor["head"] >= 0:
            s["head_owner"][cursor["head"]] = NONE
            cursor["head"] = NONE
        slot = np.int64(cursor["held"])
        while slot >= 0:
            s["held"][slot]["cursor"] = NONE
            slot = np.int64(s["held"][slot]["after"])
        cursor["held"] = NONE
        cursor["held_count"] = 0


@part
def emit(s, c):
    """Write connection `c` as a CONNECTION row, client first."""
    conn = s["conns"][c]
    n = s["control"][Control.CONNECTIONS]
    s["control"][Control.CONNECTIONS] = n + 1
    row = s["closed"][n]
    client = np.int64(conn["flip"])
    server = 1 - client
    row["uid"] = conn["uid"]
    row["client_hi"] = conn["hi"][client]
    row["client_lo"] = conn["lo"][client]
    row["server_hi"] = conn["hi"][server]
    row["server_lo"] = conn["lo"][server]
    row["client_port"] = conn["port"][client]
    row["server_port"] = conn["port"][server]
    row["transport"] = conn["transport"]
    row["role"] = conn["role"]
    row["vlan"] = conn["vlan"]
    row["client_mac"] = conn["mac"][client]
    row["server_mac"] = conn["mac"][server]
    row["client_mac_last"] = conn["mac_last"][client]
    row["mac_changes"] = conn["mac_changes"][client]
    row["programs"] = conn["programs"]
    row["versions"] = conn["versions"]
    row["flavors"] = conn["flavors"]
    _emit_syn(row, conn, client)
    row["first"] = conn["first"]
    row["last"] = conn["last"]
    row["first_frame"] = conn["first_frame"]
    row["last_frame"] = conn["last_frame"]
    for d in range(2):
        side = client if d == 0 else server
        row["ttl_min"][d] = conn["ttl_min"][side]
        row["ttl_max"][d] = conn["ttl_max"][side]
        row["frames"][d] = conn["frames"][side]
        row["payload"][d] = conn["payload"][side]
        row["retransmitted"][d] = conn["retransmitted"][side]
        row["keepalives"][d] = conn["keepalives"][side]
        row["zero_windows"][d] = conn["zero_windows"][side]
        row["gaps"][d] = conn["gaps"][side]
    row["calls"] = conn["calls"]
    row["replies"] = conn["replies"]
    row["nfs_calls"] = conn["nfs_calls"]
    row["errors"] = conn["errors"]
    row["reads"] = conn["reads"]
    row["read_bytes"] = conn["read_bytes"]
    row["read_busy"] = conn["busy"][READ] + conn["busy_until"][READ] - conn["busy_from"][READ]
    row["writes"] = conn["writes"]
    row["write_bytes"] = conn["write_bytes"]
    row["write_busy"] = conn["busy"][WRITE] + conn["busy_until"][WRITE] - conn["busy_from"][WRITE]
    row["last_call"] = conn["last_call"]
    row["untimed"] = conn["untimed"]
    row["untimed_bytes"] = conn["untimed_bytes"]


@part
def _emit_syn(row, conn, client):
    """The SYN of CONNECTION row `row`, if it was the client that sent it."""
    row["syns"] = conn["syns"]
    row["handshake"] = conn["handshake"]
    if conn["syn_frame"] == 0 or conn["syn_side"] != client:
        row["syn_frame"] = 0
        row["syn_time"] = 0
        row["syn_ttl"] = 0
        row["syn_wscale"] = 0
        row["syn_window"] = 0
        row["syn_mss"] = 0
        row["syn_flags"] = 0
        row["syn_options"] = 0
        return
    row["syn_frame"] = conn["syn_frame"]
    row["syn_time"] = conn["syn_time"]
    row["syn_ttl"] = conn["syn_ttl"]
    row["syn_wscale"] = conn["syn_wscale"]
    row["syn_window"] = conn["syn_window"]
    row["syn_mss"] = conn["syn_mss"]
    row["syn_flags"] = conn["syn_flags"]
    row["syn_options"] = conn["syn_options"]


@part
def observe_frame(s, c, side, p):
    """Count the frame `p` from `side` of connection `c`. True if its MAC or TTL is new there."""
    conn = s["conns"][c]
    conn["last"] = s["control"][Control.TIME]
    conn["last_frame"] = s["control"][Control.FRAME]
    conn["frames"][side] += 1
    conn["payload"][side] += p["payload_length"]
    news = False
    if p["mac"] != conn["mac_last"][side]:
        news = True
        if conn["mac"][side] == _NO_MAC:
            conn["mac"][side] = p["mac"]
        else:
            conn["mac_changes"][side] += 1
        conn["mac_last"][side] = p["mac"]
    ttl = p["ttl"]
    if conn["ttl_max"][side] == 0 or ttl > conn["ttl_max"][side]:
        conn["ttl_max"][side] = ttl
        news = True
    if conn["ttl_min"][side] == 0 or ttl < conn["ttl_min"][side]:
        conn["ttl_min"][side] = ttl
        news = True
    return news

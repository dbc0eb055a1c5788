"""The kernel that goes through a chunk: link, network and transport header of each frame, then its connection's stream.

It stops early when the tables that it writes are nearly full, or when a connection must be handed out whose messages
are not decoded yet; the shell decodes them (`messages.decode_messages`), takes the rows out, and goes on.
"""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import NO, YES, ZERO, apart, entry, part
from nfsleuth.compiled.touch import touch
from nfsleuth.trace import shortcut, stream
from nfsleuth.trace.connections import close, create, emit, find, is_full, observe_frame
from nfsleuth.trace.early import give_up_reply
from nfsleuth.trace.flows import end_flow, observe, window_scale
from nfsleuth.trace.hashing import mix
from nfsleuth.trace.neighbours import HSRP_PORT, meet, meet_arp, meet_llc, meet_other
from nfsleuth.trace.notes import note
from nfsleuth.trace.pending import unanswered
from nfsleuth.trace.recent import remember
from nfsleuth.trace.sequence import ahead
from nfsleuth.trace.state import (
    AHEAD,
    HEAD,
    IN_CHUNK,
    LARGEST_FRAME,
    NONE,
    RESERVE_ARENA,
    RESERVE_CONNECTIONS,
    RESERVE_INTERVALS,
    RESERVE_MESSAGES,
    RESERVE_ROWS,
    RESERVE_TEXT,
    Control,
    Phase,
)
from nfsleuth.trace.tables import Neighbour, Oddity, Role
from nfsleuth.wire import ethernet, ip, rpc, tcp
from nfsleuth.wire.packet import Header

SYN_DF, SYN_ID, SYN_ECN, SYN_BAD_OPTIONS, SYN_TIMESTAMP_ZERO = 1, 2, 4, 8, 16  # CONNECTION.syn_flags
LATE_SYN = 1 << 16  # bytes that may have been seen before the SYN of a connection
TUNNEL_PORTS = (4789, 6081)  # VXLAN (RFC 7348), Geneve (RFC 8926)


@entry
def advance(s, buf, frames, first, ending):
    """Take in frames[first:], or, if `ending`, the segments that still wait, of the connections from number `first` on.

    Returns the index of the first frame (connection) that was not taken in, since messages must be decoded and rows
    taken out before; -1 - index if that frame lies outside the buffer or is longer than LARGEST_FRAME.
    """
    if ending:
        return _end(s, buf, first)
    if _is_nearly_full(s):
        return np.int64(first)
    for n in range(first, len(frames)):
        i = np.uint64(n)  # signed, each index would be asked if it is negative
        if n + AHEAD < len(frames):
            coming = frames[np.uint64(n + AHEAD)]["offset"]
            touch(buf, coming)
            touch(buf, coming + shortcut.LEAST)
        frame = frames[i]
        at = frame["offset"]
        captured = np.int64(frame["captured"])
        if at < 0 or captured < 0 or captured > LARGEST_FRAME or at > len(buf) - captured:
            return np.int64(-1 - n)
        end = at + captured
        s["control"][Control.FRAME] = frame["number"]
        time = frame["time"]
        s["control"][Control.TIME] = time
        way = shortcut.LONG
        if frame["link"] == ethernet.LINK_ETHERNET:
            way = shortcut.goes_on(s, buf, at, end)
        if way >= shortcut.READ:
            shortcut.read(s, way - shortcut.READ, buf, at, end)
        elif way == shortcut.LONG:
            _frame(s, buf, at, end, at + np.int64(frame["wire"]), np.int64(frame["link"]))
            if s["control"][Control.RETRY]:
                s["control"][Control.RETRY] = 0
                return np.int64(n)
        if time < s["control"][Control.LAST_TIME]:
            note(s, Oddity.TIME_BACKWARDS)
        s["control"][Control.LAST_TIME] = time
        # A payload that is passed over adds intervals, and no other rows.
        if _has_many_intervals(s) or (way != shortcut.PASSED and _is_nearly_full(s)):
            return np.int64(n + 1)
    return np.int64(len(frames))


@part
def _is_nearly_full(s):
    """Whether what one more frame may bring could be too much for a table."""
    return (
        s["control"][Control.MESSAGES] > len(s["messages"]) - RESERVE_MESSAGES
        or s["control"][Control.ARENA] > len(s["arena"]) - RESERVE_ARENA
        or s["control"][Control.CONNECTIONS] > len(s["closed"]) - RESERVE_CONNECTIONS
        or s["control"][Control.CLOCKS] >= len(s["clocks"])
        or _has_many_intervals(s)
    )


@part
def _has_many_intervals(s):
    return s["control"][Control.INTERVALS] > len(s["intervals"]) - RESERVE_INTERVALS


@part
def _end(s, buf, first):
    """Nothing more will come: let in what still waits."""
    last = s["control"][Control.FREE]
    for c in range(first, last):
        if _is_nearly_full(s):
            return np.int64(c)
        if s["conns"][c]["used"]:
            for side in range(2):
                cursor = s["cursors"][2 * c + side]
                if cursor["held_count"] > 0:
                    stream.segment(s, 2 * c + side, buf, ZERO, ZERO, cursor["next"], ZERO)
                if cursor["head"] >= 0:
                    stream.lose(s, 2 * c + side)
            end_flow(s, c)
    return last


@apart
def _frame(s, buf, at, end, wire_end, link):
    p = s["packet"][0]
    header = ethernet.read_link(p, buf, at, end, link)
    if header == Header.CUT:
        note(s, Oddity.FRAME_CUT)
        return
    if header == Header.OTHER:
        note(s, Oddity.LINK_UNKNOWN)
        return
    kind = p["ethertype"]
    if kind == ethernet.TYPE_IPV4:
        header = ip.read_ipv4(p, buf, p["network_at"], end, wire_end)
    elif kind == ethernet.TYPE_IPV6:
        header = ip.read_ipv6(p, buf, p["network_at"], end, wire_end)
    else:
        note(s, Oddity.NOT_IP)
        if kind == ethernet.TYPE_ARP:
            meet_arp(s, buf, p["network_at"], end)
        elif kind == ethernet.TYPE_LENGTH:
            meet_llc(s, buf, p["network_at"], end)
        return
    if header != Header.OK:
        note(s, Oddity.FRAME_CUT if header == Header.CUT else Oddity.IP_MALFORMED)
        return
    if p["fragment_at"] > 0:
        _later_fragment(s, p, buf, end)
    elif p["protocol"] == ip.PROTOCOL_TCP:
        _tcp(s, p, buf, end)
    elif p["protocol"] == ip.PROTOCOL_UDP:
        _udp(s, p, buf, end)
    else:
        tunnel = p["protocol"] in (ip.PROTOCOL_GRE, ip.PROTOCOL_IPIP, ip.PROTOCOL_IPV6)
        note(s, Oddity.TUNNEL if tunnel else Oddity.TRANSPORT_OTHER)
        meet_other(s, p, buf, end)


@part
def _created(s, p):
    """A new connection, as `find` returns it; NONE if messages must be decoded first, since another one is dropped."""
    if is_full(s) and s["control"][Control.MESSAGES] > 0:
        s["control"][Control.RETRY] = 1
        return np.int64(NONE)
    return np.int64(2 * create(s, p))


@part
def _tcp(s, p, buf, end):
    header = tcp.read_tcp(p, buf, end)
    if header != Header.OK:
        note(s, Oddity.FRAME_CUT if header == Header.CUT else Oddity.TCP_MALFORMED)
        return
    flags = p["flags"]
    found = find(s, p)
    if found >= 0 and flags & tcp.SYN and flags & tcp.ACK == 0 and _begins_again(s, p, found):
        if s["control"][Control.MESSAGES] > 0:
            s["control"][Control.RETRY] = 1  # its messages must be counted before it is handed out
            return
        close(s, found >> 1)
        found = np.int64(NONE)
    if found < 0:
        found = _created(s, p)
        if found < 0:
            return
    c, side = found >> 1, found & 1
    if flags & tcp.SYN:
        if flags & tcp.ACK:
            _syn_ack(s, c, side, p, buf, end)
        else:
            _syn(s, c, side, p, buf, end)
    if observe_frame(s, c, side, p):
        meet(s, p["mac"], p["source_hi"], p["source_lo"], Neighbour.IP.value, p["ttl"])
    remember(s, p, found)
    conn = s["conns"][c]
    if flags & tcp.ACK:
        stream.acknowledged(s, 2 * c + 1 - side, buf, p["acknowledged"])
        if conn["synack_time"] > 0 and side == conn["syn_side"] and flags & tcp.SYN == 0:
            conn["handshake"] = s["control"][Control.TIME] - conn["synack_time"]
            conn["synack_time"] = NONE
    length = p["payload_length"]
    if p["window"] == 0 and flags & (tcp.SYN | tcp.RST) == 0:
        conn["zero_windows"][side] += 1
    if length <= 1 and flags & (tcp.SYN | tcp.FIN | tcp.RST) == 0:
        cursor = s["cursors"][2 * c + side]
        if cursor["phase"] != Phase.NEW and ahead(p["sequence"], cursor["next"]) == -1:
            conn["keepalives"][side] += 1
            return
    if flags & (tcp.SYN | tcp.RST) == 0 and flags & tcp.ACK:
        observe(s, found, p["sequence"], length, p["acknowledged"], p["window"])
    if length > 0 and flags & (tcp.SYN | tcp.RST) == 0:
        if p["fragment_more"] == 1:
            _remember_fragment(s, p, c, side)
        stream.payload(s, found, buf, p["transport_at"], p["payload_at"], end, p["sequence"], length)


@part
def _begins_again(s, p, found):
    """Whether the SYN `p` is another connection on the ports of one that has carried data."""
    conn = s["conns"][found >> 1]
    if conn["syns"] > 0 and conn["syn_side"] == found & 1 and conn["syn_sequence"] == p["sequence"]:
        return False  # a retransmission, or the same frame captured twice
    cursor = s["cursors"][found]
    if conn["syns"] == 0 and cursor["phase"] != Phase.NEW:
        since = ahead(cursor["next"], p["sequence"] + 1)
        if 0 <= since < LATE_SYN:
            return False  # it began what is known already: the capture has the frames out of order
    if conn["syns"] == 0 and conn["synack_time"] > 0 and conn["payload"][found & 1] == 0:
        return False  # its answer was seen before it, and nothing else of its side
    return conn["payload"][0] + conn["payload"][1] > 0


@part
def _syn(s, c, side, p, buf, end):
    """The first words of a client's TCP."""
    conn = s["conns"][c]
    if conn["syns"] > 0 and conn["syn_side"] == side and conn["syn_sequence"] == p["sequence"]:
        return
    tcp.read_syn_options(p, buf, end)
    conn["syns"] += 1
    conn["syn_side"] = side
    conn["syn_sequence"] = p["sequence"]
    conn["syn_frame"] = s["control"][Control.FRAME]
    conn["syn_time"] = s["control"][Control.TIME]
    conn["syn_ttl"] = p["ttl"]
    conn["syn_window"] = p["window"]
    conn["syn_mss"] = p["mss"]
    conn["syn_wscale"] = p["scale"] if p["scale"] >= 0 else 255
    conn["syn_options"] = p["options"]
    conn["syn_flags"] = (
        (SYN_DF if p["df"] else 0)
        | (SYN_ID if p["fragment_id"] else 0)
        | (SYN_ECN if p["flags"] & (tcp.ECE | tcp.CWR) else 0)
        | (SYN_BAD_OPTIONS if p["options_bad"] else 0)
        | (SYN_TIMESTAMP_ZERO if p["timestamp_zero"] else 0)
    )
    if p["options_bad"]:
        note(s, Oddity.TCP_OPTIONS_MALFORMED)
    if conn["role"] != Role.RPC:
        conn["role"] = Role.SYN.value
        conn["flip"] = side
    conn["synack_time"] = 0
    window_scale(s, c, side, p["scale"], p["options_bad"])
    if conn["payload"][side] == 0:
        stream.begin(s, 2 * c + side, p["sequence"] + 1)


@part
def _syn_ack(s, c, side, p, buf, end):
    conn = s["conns"][c]
    if conn["synack_time"] == 0:
        tcp.read_syn_options(p, buf, end)
        window_scale(s, c, side, p["scale"], p["options_bad"])
        conn["synack_time"] = max(s["control"][Control.TIME], 1)
        conn["handshake"] = NONE
        if conn["syns"] == 0:
            conn["syn_side"] = 1 - side
        if conn["role"] == Role.GUESS:
            conn["role"] = Role.SYN.value
            conn["flip"] = 1 - side
        if conn["payload"][side] == 0:
            stream.begin(s, 2 * c + side, p["sequence"] + 1)


@part
def _udp(s, p, buf, end):
    """A datagram is one RPC message or nothing of ours (RFC 5531 section 10)."""
    header = tcp.read_udp(p, buf, end)
    if header != Header.OK:
        note(s, Oddity.FRAME_CUT if header == Header.CUT else Oddity.IP_MALFORMED)
        return
    at = p["payload_at"]
    length = p["payload_length"]
    readable = min(end - at, length)
    if rpc.plausible_message(buf, at, at + readable) < 0:
        if p["destination_port"] in TUNNEL_PORTS:
            note(s, Oddity.TUNNEL)
        router = p["destination_port"] == HSRP_PORT and p["ttl"] == 1
        meet(
            s,
            p["mac"],
            p["source_hi"],
            p["source_lo"],
            Neighbour.ROUTER.value if router else Neighbour.IP.value,
            p["ttl"],
        )
        return
    found = find(s, p)
    if found < 0:
        found = _created(s, p)
        if found < 0:
            return
    c, side = found >> 1, found & 1
    if observe_frame(s, c, side, p):
        meet(s, p["mac"], p["source_hi"], p["source_lo"], Neighbour.IP.value, p["ttl"])
    cut = YES if readable < length else NO
    if p["fragment_more"] == 1:
        _remember_fragment(s, p, NONE, side)
        cut = YES if readable < HEAD else NO  # the rest comes in other fragments and is not wanted
    cursor = s["cursors"][2 * c + side]
    cursor["message_frame"] = s["control"][Control.FRAME]
    cursor["message_time"] = s["control"][Control.TIME]
    cursor["message_bytes"] = length
    stream.hand_over(s, 2 * c + side, buf, at, min(readable, HEAD), cut, IN_CHUNK)


@part
def _fragment_place(s, p):
    """Key of the datagram that `p` is a part of, never 0 (RFC 791: addresses, protocol, identification)."""
    h = mix(mix(np.uint64(s["control"][Control.SEED]), p["source_hi"]), p["source_lo"])
    h = mix(mix(h, p["destination_hi"]), p["destination_lo"])
    protocol = p["protocol"] if p["version"] == 4 else ZERO  # later fragments of IPv6 need not repeat it
    return mix(mix(h, np.uint64(p["fragment_id"])), np.uint64(protocol)) | np.uint64(1)


@part
def _remember_fragment(s, p, c, side):
    """The first fragment of a datagram has been read: later ones of TCP continue its payload."""
    key = _fragment_place(s, p)
    row = s["fragments"][(key >> np.uint64(8)) & np.uint64(len(s["fragments"]) - 1)]
    row["key"] = key
    row["conn"] = c
    row["uid"] = s["conns"][c]["uid"] if c >= 0 else NONE
    row["side"] = side
    row["sequence"] = p["sequence"]
    row["payload_from"] = p["payload_at"] - p["transport_at"]


@part
def _later_fragment(s, p, buf, end):
    """A fragment that is not the first: payload of a TCP segment goes on at a known place, that of UDP is not
    wanted."""
    key = _fragment_place(s, p)
    row = s["fragments"][(key >> np.uint64(8)) & np.uint64(len(s["fragments"]) - 1)]
    if row["key"] != key:
        note(s, Oddity.IP_FRAGMENT_LATER)
        return
    c = np.int64(row["conn"])
    if c < 0 or s["conns"][c]["used"] == 0 or s["conns"][c]["uid"] != row["uid"]:
        return
    at = p["transport_at"]
    length = p["transport_length"]
    if length <= 0:
        return
    side = np.int64(row["side"])
    s["conns"][c]["frames"][side] += 1
    s["conns"][c]["payload"][side] += length
    sequence = (row["sequence"] + p["fragment_at"] - row["payload_from"]) & 0xFFFF_FFFF
    stream.segment(s, 2 * c + side, buf, at, max(min(end - at, length), 0), sequence, length)


@entry
def abandon_calls(s, first):
    """Hand out the calls that wait for a reply, from place `first` on. Returns the next place, as `advance` does.

    With the last of them go the replies that wait for a call.
    """
    for way in range(first, s["control"][Control.PLACES]):
        if (
            s["control"][Control.TEXT] > len(s["text"]) - RESERVE_TEXT
            or s["control"][Control.CALLS] > len(s["calls"]) - RESERVE_ROWS
        ):
            return np.int64(way)
        if s["pending_keys"][way] != 0:
            unanswered(s, way)
    while s["control"][Control.EARLY_FIRST] < s["control"][Control.EARLY]:
        give_up_reply(s)
    return np.int64(len(s["pending_keys"]))


@entry
def emit_all(s):
    """Hand out every connection that is open, without closing it."""
    for c in range(s["control"][Control.FREE]):
        if s["conns"][c]["used"]:
            emit(s, c)

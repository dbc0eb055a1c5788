"""Where a connection's time goes while it moves file data: frames and RPC messages come in, INTERVAL rows go out.

From the first call on, all time of a connection belongs to what happened in it (`tables.Spent`), judged by what was
outstanding: calls whose reply has not begun, a message that is under way, data that is not acknowledged, room in the
receiver's window. This is the method of T-RAT (Zhang, Breslau, Paxson, Shenker, "On the characteristics and origins of
internet flow rates", SIGCOMM 2002) with RPC's knowledge of who waits for whom.

An interval ends with the call that comes after it has moved `ENOUGH` and lasted `LONG`, or where nothing was
outstanding for `OVER`. One that moved less than `LEAST`, in which nothing was answered or messages are missing, is let
go and counted in its connection. What its parts mean for the client is decided later, over whole intervals
(`clients.rates`).

Everything is judged where the capture was made. Beside the server, waiting for a reply is the server's time alone;
elsewhere the way to it counts as the server's.
"""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import part
from nfsleuth.trace.sequence import SEQUENCE_MASK, ahead
from nfsleuth.trace.state import NONE, Control
from nfsleuth.trace.tables import Pace, Spent
from nfsleuth.wire.ip import PROTOCOL_TCP
from nfsleuth.wire.rpc import CALL, REPLY

ENOUGH = 256 << 10  # bytes
LONG = 50_000_000  # ns: long beside scheduling (4 ms) and timers of TCP (delayed acknowledgment, 40 ms)
LEAST = 64 << 10  # bytes: one READ of a usual size
THINKING = 10_000_000  # ns of nothing outstanding from which on it is the application that wants nothing
OVER = 500_000_000  # ns of nothing outstanding that end an interval
ABANDONED = 2_000_000_000  # ns of silence after which calls without a reply count as lost
# Bytes of two segments. A window with less is full: a sender waits for a whole segment (RFC 9293 section 3.8.6.2.1).
# Of what is not acknowledged, less is no sign of anything: an acknowledgment may wait for a second segment (3.8.6.3).
ROOM = 2 * 1460
NO_SCALE = 255
MOST_SCALE = 14  # RFC 7323 section 2.3
MOST_WAITING = 1 << 20


@part
def clear_flow(s, c):
    """Forget what is known of connection `c`."""
    messages_lost(s, c)
    flow = s["flows"][c]
    flow["ended"] = 0
    flow["paced"] = 0
    for way in range(len(flow["pace_time"])):
        flow["pace_time"][way] = 0
        flow["pace_bytes"][way] = 0
    for side in range(2):
        flow["known"][side] = 0
        flow["scale"][side] = NO_SCALE
        flow["recovering"][side] = 0
    s["so_far"][c]["shortest_ack"] = NONE
    s["so_far"][c]["shortest_wait"] = NONE


@part
def window_scale(s, c, side, scale, unread):
    """The SYN of `side` announced this window scale, -1 none: then neither side scales (RFC 7323 section 2.2).

    unread: 1 if its options were not captured or not understood.
    """
    flow = s["flows"][c]
    if unread:
        flow["scale"][side] = NO_SCALE
    elif scale < 0:
        flow["scale"][0] = 0
        flow["scale"][1] = 0
    else:
        flow["scale"][side] = min(scale, MOST_SCALE)


@part
def observe(s, k, sequence, length, acknowledged, window):
    """A TCP segment of stream `k`, with `length` bytes of payload and an ACK, was seen, before its payload is read."""
    # A side that is worked out like this is seen to be 0 or 1, so that no index is asked whether it is negative.
    c, side = k >> 1, k & 1
    flow = s["flows"][c]
    so_far = s["so_far"][c]
    now = s["control"][Control.TIME]
    client = np.int64(s["conns"][c]["flip"] & 1)
    if flow["open"] == 1:
        _account(s, c, client, now)
    if length > 0:
        _data(flow, so_far, side, client, sequence, length, now)
    other = side ^ 1
    if flow["known"][other] == 1:
        _acknowledge(flow, so_far, other, client, acknowledged, now)
        if window == 0 and side == client:
            so_far["zero_windows"] += 1
        if flow["scale"][side] <= MOST_SCALE:
            flow["room_ends"][other] = acknowledged + (window << np.int64(flow["scale"][side]))
        else:  # a window of 0 is 0 in any scale
            flow["room_ends"][other] = acknowledged if window == 0 else np.int64(NONE)


@part
def _data(flow, so_far, side, client, sequence, length, now):
    """`side` sent bytes from `sequence` on."""
    end = (sequence + length) & SEQUENCE_MASK
    if flow["known"][side] == 0:
        flow["known"][side] = 1
        flow["acked"][side] = sequence
        flow["top"][side] = end
        flow["room_ends"][side] = NONE
    elif ahead(end, flow["top"][side]) > 0:
        flow["top"][side] = end
    else:
        flow["recovering"][side] = 1
        flow["recover"][side] = flow["top"][side]
        so_far["retransmitted"] += 1
    if flow["calling"] == 1 and side == client:
        _pace(flow, so_far, Pace.CALL.value, now - flow["sent"][side], length)
    flow["sent"][side] = now


@part
def _acknowledge(flow, so_far, side, client, number, now):
    """What `side` sent is acknowledged up to `number`."""
    step = ahead(number, flow["acked"][side])
    if step <= 0:
        return
    flow["acked"][side] = number
    if ahead(number, flow["top"][side]) > 0:
        flow["top"][side] = number  # the capture lacks what is acknowledged
    if flow["recovering"][side] == 1 and ahead(number, flow["recover"][side]) >= 0:
        flow["recovering"][side] = 0
    if side == client:
        return
    so_far["acks"] += 1
    so_far["acked"] += step
    if flow["paced"] > 0:
        _pace(flow, so_far, Pace.ACKS.value, now - flow["paced"], step)
    flow["paced"] = now
    if number == flow["top"][side]:
        flow["paced"] = 0
        so_far["drains"] += 1
        wait = now - flow["sent"][side]
        if wait >= 0 and (so_far["shortest_ack"] < 0 or wait < so_far["shortest_ack"]):
            so_far["shortest_ack"] = wait


@part
def _pace(flow, so_far, way, time, octets):
    """So much time passed until so many bytes went on. A link gives each step the same rate; nothing else does."""
    if time < 0 or time > OVER:
        return
    so_far["pace_count"][way] += 1
    so_far["pace_time"][way] += time
    mine, before = time * flow["pace_bytes"][way], flow["pace_time"][way] * octets
    if 4 * mine >= 3 * before and 3 * mine <= 4 * before:
        so_far["pace_steady"][way] += time
    flow["pace_time"][way] = time
    flow["pace_bytes"][way] = octets


@part
def _account(s, c, client, now):
    """Put down the time until `now` to what happened in it. May close the interval."""
    flow = s["flows"][c]
    so_far = s["so_far"][c]
    server = client ^ 1
    time = now - flow["last"]
    if time <= 0:
        return
    unacknowledged = ahead(flow["top"][server], flow["acked"][server]) if flow["known"][server] == 1 else 0
    under_way = unacknowledged > 0
    asked = flow["replying"] == 1 or flow["calling"] == 1 or flow["waiting"] > 0
    if asked or unacknowledged >= ROOM:
        if time > ABANDONED:
            _close(s, c)
            flow["waiting"] = 0
            return
        where = _asked(flow, client, under_way) if asked else _unasked(flow, server)
        so_far["spent"][where] += time
        so_far["waited"] += time * np.int64(flow["waiting"])
        if where == Spent.SERVER.value and flow["waiting"] == so_far["peak"]:
            so_far["at_peak"] += time
        flow["last"] = now
        return
    flow["turn"] += time
    flow["last"] = now
    if flow["turn"] > OVER:
        flow["last"] = now - flow["turn"]
        _close(s, c)


@part
def _asked(flow, client, under_way):
    """What the time goes by with while something is asked for; a Spent."""
    server = client ^ 1
    if flow["calling"] == 1:
        if flow["recovering"][client] == 1:
            return np.int64(Spent.RECOVERY.value)
        return np.int64(Spent.SERVER_WINDOW.value if _is_full(flow, client) else Spent.SEND.value)
    if flow["recovering"][server] == 1 and under_way:
        return np.int64(Spent.RECOVERY.value)
    if flow["known"][server] == 1 and _is_full(flow, server):
        return np.int64(Spent.WINDOW.value)
    return np.int64(Spent.WIRE.value if flow["replying"] == 1 else Spent.SERVER.value)


@part
def _unasked(flow, server):
    """The same while all that was asked for has been sent, and not all of it is acknowledged."""
    return np.int64(Spent.RECOVERY.value if flow["recovering"][server] == 1 else Spent.UNACKED.value)


@part
def _is_full(flow, side):
    """Whether the receiver of what `side` sends has no room for another segment."""
    ends = flow["room_ends"][side]
    return ends >= 0 and ahead(ends & SEQUENCE_MASK, flow["top"][side]) < ROOM


@part
def message_begins(s, k, kind, octets):
    """An RPC message of `octets` bytes begins in stream `k`; `kind` is its msg_type (RFC 5531 section 9)."""
    c = k >> 1
    flow = s["flows"][c]
    so_far = s["so_far"][c]
    if s["conns"][c]["transport"] != PROTOCOL_TCP:
        return
    now = s["control"][Control.TIME]
    from_client = (k & 1) == s["conns"][c]["flip"]
    if kind == CALL and from_client:
        _call(s, c, now)
        _count(so_far, 0, octets)
    elif kind == REPLY and not from_client and flow["open"] == 1:
        if flow["waiting"] == 0:  # its call is missing, or comes later: what is outstanding is not known
            messages_lost(s, c)
            return
        if flow["alone"] > 0:
            wait = now - flow["alone"]
            if wait >= 0 and (so_far["shortest_wait"] < 0 or wait < so_far["shortest_wait"]):
                so_far["shortest_wait"] = wait
        flow["alone"] = 0
        flow["waiting"] -= 1
        flow["replying"] = 1
        so_far["calls"] += 1
        _count(so_far, 1, octets)


@part
def _count(so_far, way, octets):
    """A message of `octets` bytes."""
    so_far["bytes"][way] += octets
    so_far["squares"][way] += np.float64(octets) * np.float64(octets)


@part
def _call(s, c, now):
    """The client asks for something: an interval begins, goes on, or ends in favour of the next one."""
    flow = s["flows"][c]
    so_far = s["so_far"][c]
    if flow["open"] == 1:
        so_far["spent"][Spent.IDLE.value if flow["turn"] > THINKING else Spent.TURN.value] += flow["turn"]
        flow["turn"] = 0
        if so_far["bytes"][0] + so_far["bytes"][1] >= ENOUGH and flow["last"] - so_far["begin"] >= LONG:
            _close(s, c)
    if flow["open"] == 0:
        _open(flow, so_far, now)
    flow["waiting"] = min(flow["waiting"] + 1, MOST_WAITING)
    flow["calling"] = 1
    flow["alone"] = now if flow["waiting"] == 1 and flow["replying"] == 0 else 0
    if flow["waiting"] > so_far["peak"]:
        so_far["peak"] = flow["waiting"]
        so_far["at_peak"] = 0


@part
def message_ends(s, k):
    """The last byte of a message of stream `k` was seen."""
    flow = s["flows"][k >> 1]
    if (k & 1) == s["conns"][k >> 1]["flip"]:
        flow["calling"] = 0
    else:
        flow["replying"] = 0


@part
def messages_lost(s, c):
    """Messages are missing from the capture: what is outstanding is not known, and the interval is spoilt."""
    flow = s["flows"][c]
    if flow["open"] == 1:
        _let_go(s, c)
    flow["open"] = 0
    flow["waiting"] = 0
    flow["calling"] = 0
    flow["replying"] = 0
    flow["alone"] = 0


@part
def end_flow(s, c):
    """Nothing more will come of connection `c`."""
    if s["flows"][c]["open"] == 1:
        _close(s, c)


@part
def _open(flow, so_far, now):
    """An interval begins."""
    flow["open"] = 1
    flow["last"] = now
    flow["turn"] = 0
    so_far["begin"] = now
    so_far["idle"] = now - flow["ended"] if flow["ended"] > 0 else NONE
    so_far["calls"] = 0
    so_far["acks"] = 0
    so_far["acked"] = 0
    so_far["drains"] = 0
    so_far["peak"] = flow["waiting"]
    so_far["at_peak"] = 0
    so_far["waited"] = 0
    so_far["zero_windows"] = 0
    so_far["retransmitted"] = 0
    for i in range(len(so_far["spent"])):
        so_far["spent"][i] = 0
    for way in range(2):
        so_far["bytes"][way] = 0
        so_far["squares"][way] = 0.0
    for way in range(len(so_far["pace_time"])):
        so_far["pace_count"][way] = 0
        so_far["pace_time"][way] = 0
        so_far["pace_steady"][way] = 0


@part
def _close(s, c):
    """The interval ends where its time is accounted for; it is handed out if it moved enough."""
    flow = s["flows"][c]
    so_far = s["so_far"][c]
    flow["open"] = 0
    flow["turn"] = 0
    flow["ended"] = flow["last"]
    so_far["uid"] = s["conns"][c]["uid"]
    so_far["end"] = flow["last"]
    handshake = s["conns"][c]["handshake"]
    if handshake >= 0 and (so_far["shortest_ack"] < 0 or handshake < so_far["shortest_ack"]):
        so_far["shortest_ack"] = handshake  # a client that takes its time with data may be quick without
    n = s["control"][Control.INTERVALS]
    moved = so_far["bytes"][0] + so_far["bytes"][1] >= LEAST and so_far["calls"] > 0 and so_far["end"] > so_far["begin"]
    if moved and n < len(s["intervals"]):
        s["control"][Control.INTERVALS] = n + 1
        s["intervals"][n] = so_far
    else:
        _let_go(s, c)


@part
def _let_go(s, c):
    """No rate is taken of this interval."""
    conn = s["conns"][c]
    so_far = s["so_far"][c]
    conn["untimed"] += 1
    conn["untimed_bytes"] += so_far["bytes"][0] + so_far["bytes"][1]

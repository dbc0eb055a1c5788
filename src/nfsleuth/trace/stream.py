"""One direction of a TCP connection: segments in any order come in, RPC messages go to `messages`.

The cursor knows the next sequence number and how many bytes of the current record are left. Payload that nobody needs is
passed over without being looked at, whether it was captured or not, since lengths come from the headers. A segment that
comes too early waits (bounded); when the hole before it cannot be filled, the stream is searched for the next record
mark with a plausible RPC header behind it (RFC 5531 section 11).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nfsleuth.trace.connections import NFS_PORT
from nfsleuth.trace.messages import BAD, DONE, decode, is_pending
from nfsleuth.trace.notes import note
from nfsleuth.trace.state import HEAD, HELD_BYTES, MOST_HELD, NONE, Control, Phase
from nfsleuth.trace.tables import Flavor, Oddity
from nfsleuth.wire.fields import be32
from nfsleuth.wire.rpc import HEADER_SEEN, LARGEST_RECORD, REPLY, plausible_record

SEQUENCE_MASK = 0xFFFF_FFFF
PATIENCE = 4  # waiting segments after which an acknowledgment of the other side ends the wait
FRUITLESS = 64  # segments searched in vain before a connection on another port than NFS's is given up
HELD_TRIES = 16  # slots looked at for a free one
HEAD_TRIES = 16
FIRST_WANT = 64  # bytes of a message before which decoding is not tried again


@njit(cache=True)
def ahead(sequence, expected):
    """How far `sequence` lies beyond `expected`, modulo 2**32: negative if it lies before (RFC 9293 section 3.4)."""
    delta = (sequence - expected) & SEQUENCE_MASK
    return delta - 0x1_0000_0000 if delta >= 0x8000_0000 else delta


@njit(cache=True)
def begin(s, c, side, sequence):
    """A SYN: the first byte of the stream has the number `sequence`, and a record mark begins there."""
    cursor = s["cursors"][2 * c + side]
    cursor["phase"] = Phase.SYNCED.value
    cursor["next"] = sequence & SEQUENCE_MASK
    cursor["last_fragment"] = 1


@njit(cache=True)
def segment(s, c, side, buf, at, captured, sequence, length):
    """Take in `length` bytes of payload with number `sequence`, of which `captured` lie at buf[at]."""
    cursor = s["cursors"][2 * c + side]
    if cursor["phase"] == Phase.IGNORED:
        return
    if cursor["phase"] == Phase.NEW:
        cursor["phase"] = Phase.LOST.value
        cursor["last_fragment"] = 1
        cursor["next"] = sequence
    delta = ahead(sequence, cursor["next"])
    if delta + length <= 0:
        s["conns"][c]["retransmitted"][side] += 1
        note(s, Oddity.SEGMENT_REPEATED)
        return
    if delta > 0 and cursor["phase"] == Phase.SYNCED and delta > cursor["skip"]:
        if _hold(s, 2 * c + side, buf, at, captured, sequence, length):
            if cursor["held_count"] >= MOST_HELD:
                give_up(s, c, side)
            return
        give_up(s, c, side)
    _deliver(s, c, side, buf, at, captured, sequence, length)
    if cursor["held_count"] > 0:
        _release(s, c, side)


@njit(cache=True)
def _deliver(s, c, side, buf, at, captured, sequence, length):
    """Take in a segment now, whatever is missing before it."""
    cursor = s["cursors"][2 * c + side]
    if cursor["phase"] == Phase.IGNORED:
        return
    delta = ahead(sequence, cursor["next"])
    if delta < 0:
        if delta + length <= 0:
            return
        at -= delta
        captured += delta
        length += delta
    elif delta > 0:
        if cursor["phase"] == Phase.SYNCED:
            if delta <= cursor["skip"]:
                cursor["skip"] -= delta
            else:
                lose(s, c, side)
        cursor["next"] = sequence
    consume(s, c, side, buf, at, captured, length)


@njit(cache=True)
def _release(s, c, side):
    """Take in the waiting segments that are not early any more."""
    k = 2 * c + side
    cursor = s["cursors"][k]
    while cursor["held"] >= 0:
        slot = np.int64(cursor["held"])
        delta = ahead(s["held"][slot]["sequence"], cursor["next"])
        if delta > 0 and cursor["phase"] == Phase.SYNCED and delta > cursor["skip"]:
            return
        _deliver_held(s, c, side)


@njit(cache=True)
def _deliver_held(s, c, side):
    """Take in the first waiting segment, as of the frame that it came in."""
    cursor = s["cursors"][2 * c + side]
    slot = np.int64(cursor["held"])
    held = s["held"][slot]
    cursor["held"] = held["after"]
    cursor["held_count"] -= 1
    frame, time = s["control"][Control.FRAME], s["control"][Control.TIME]
    s["control"][Control.FRAME] = held["frame"]
    s["control"][Control.TIME] = held["time"]
    _deliver(s, c, side, s["held_bytes"], slot * HELD_BYTES, held["captured"], held["sequence"], held["length"])
    s["control"][Control.FRAME] = frame
    s["control"][Control.TIME] = time
    held["cursor"] = NONE


@njit(cache=True)
def give_up(s, c, side):
    """What the waiting segments wait for will not come: take them in with the gaps between them."""
    cursor = s["cursors"][2 * c + side]
    while cursor["held"] >= 0:
        _deliver_held(s, c, side)


@njit(cache=True)
def acknowledged(s, c, side, number):
    """`side` has received all before `number`: nothing of that will be sent again, so stop waiting for it."""
    cursor = s["cursors"][2 * c + 1 - side]
    if cursor["held_count"] >= PATIENCE:
        last = s["held"][cursor["held"]]
        if ahead(number, last["sequence"]) > 0:
            give_up(s, c, 1 - side)


@njit(cache=True)
def _hold(s, k, buf, at, captured, sequence, length):
    """Let a segment wait, in order of sequence. False if there is no room."""
    slot = _free_held(s)
    if slot < 0:
        note(s, Oddity.HELD_DROPPED)
        return False
    before = NONE
    after = np.int64(s["cursors"][k]["held"])
    while after >= 0 and ahead(sequence, s["held"][after]["sequence"]) > 0:
        before = after
        after = np.int64(s["held"][after]["after"])
    if after >= 0 and s["held"][after]["sequence"] == sequence and s["held"][after]["length"] >= length:
        note(s, Oddity.SEGMENT_REPEATED)
        return True
    kept = min(max(captured, 0), HELD_BYTES)
    for i in range(kept):
        s["held_bytes"][slot * HELD_BYTES + i] = buf[at + i]
    held = s["held"][slot]
    held["cursor"] = k
    held["after"] = after
    held["sequence"] = sequence
    held["length"] = length
    held["captured"] = kept
    held["frame"] = s["control"][Control.FRAME]
    held["time"] = s["control"][Control.TIME]
    if before < 0:
        s["cursors"][k]["held"] = slot
    else:
        s["held"][before]["after"] = slot
    s["cursors"][k]["held_count"] += 1
    note(s, Oddity.SEGMENT_HELD)
    return True


@njit(cache=True)
def _free_held(s):
    hand = s["control"][Control.HELD_HAND]
    for i in range(HELD_TRIES):
        slot = (hand + i) & (len(s["held"]) - 1)
        if s["held"][slot]["cursor"] < 0:
            s["control"][Control.HELD_HAND] = slot + 1
            return slot
    s["control"][Control.HELD_HAND] = hand + HELD_TRIES
    return NONE


@njit(cache=True)
def lose(s, c, side):
    """Bytes are missing where a record mark could have been: decode what there is of the message, then search."""
    cursor = s["cursors"][2 * c + side]
    s["conns"][c]["gaps"][side] += 1
    note(s, Oddity.GAP)
    if cursor["head"] >= 0:
        decode(s, c, side, s["heads"], np.int64(cursor["head"]) * HEAD, cursor["head_length"], True, True)
    _search_from_here(s, c, side)


@njit(cache=True)
def _search_from_here(s, c, side):
    cursor = s["cursors"][2 * c + side]
    _free_head(s, cursor)
    cursor["phase"] = Phase.LOST.value
    cursor["parsed"] = 0
    cursor["skip"] = 0
    cursor["mark_have"] = 0
    cursor["fragment_left"] = 0
    cursor["last_fragment"] = 1


@njit(cache=True)
def consume(s, c, side, buf, at, captured, length):
    """Go through `length` bytes of the stream in order; `captured` of them (which may be none) lie at buf[at]."""
    cursor = s["cursors"][2 * c + side]
    cursor["next"] = (cursor["next"] + length) & SEQUENCE_MASK
    while length > 0:
        if cursor["phase"] == Phase.LOST:
            step = _search(s, c, side, buf, at, captured)
        elif cursor["phase"] == Phase.IGNORED:
            return
        elif cursor["skip"] > 0:
            step = min(cursor["skip"], length)
            cursor["skip"] -= step
        elif cursor["fragment_left"] == 0:
            step = _read_mark(s, c, side, buf, at, captured)
        elif cursor["parsed"] == 1:
            cursor["skip"] = cursor["fragment_left"]
            cursor["fragment_left"] = 0
            step = 0
        else:
            step = _read_message(s, c, side, buf, at, captured, length)
        if step < 0:
            return
        at += step
        captured -= step
        length -= step


@njit(cache=True)
def _read_mark(s, c, side, buf, at, captured):
    """Take in a record mark, or the part of it that is here. Returns bytes taken, or NONE to leave the segment."""
    cursor = s["cursors"][2 * c + side]
    if cursor["mark_have"] == 0 and captured >= 4:
        cursor["mark"] = be32(buf, at)
        step = 4
    elif captured <= 0:
        lose(s, c, side)
        return NONE
    else:
        if cursor["mark_have"] == 0:
            cursor["mark"] = 0
        cursor["mark"] = (cursor["mark"] << 8) | np.int64(buf[at])
        cursor["mark_have"] += 1
        if cursor["mark_have"] < 4:
            return 1
        cursor["mark_have"] = 0
        step = 1
    size = cursor["mark"] & 0x7FFF_FFFF
    if size > LARGEST_RECORD:
        if cursor["ever"] == 1:
            note(s, Oddity.RECORD_MARK_INSANE)
        _search_from_here(s, c, side)
        return step
    if cursor["last_fragment"] == 1:
        cursor["parsed"] = 0
        cursor["message_bytes"] = 0
        cursor["message_frame"] = s["control"][Control.FRAME]
        cursor["message_time"] = s["control"][Control.TIME]
    cursor["last_fragment"] = cursor["mark"] >> 31
    cursor["fragment_left"] = size
    cursor["message_bytes"] += size
    if size == 0 and cursor["last_fragment"] == 1 and cursor["head"] >= 0:
        decode(s, c, side, s["heads"], np.int64(cursor["head"]) * HEAD, cursor["head_length"], True, False)
        _free_head(s, cursor)
    return step


@njit(cache=True)
def _read_message(s, c, side, buf, at, captured, length):
    """Decode a message that begins or goes on here. Returns bytes taken."""
    cursor = s["cursors"][2 * c + side]
    step = min(cursor["fragment_left"], length)
    readable = min(step, max(captured, 0))
    cut = readable < step
    complete = cursor["last_fragment"] == 1 and step == cursor["fragment_left"]
    if cursor["head"] < 0:
        result = decode(s, c, side, buf, at, readable, complete or cut or readable >= HEAD, cut)
        if result == BAD:
            _give_up_record(s, c, side)
            return 0
        if result != DONE:
            _begin_head(s, c, side, buf, at, readable)
    else:
        result = _go_on_with_head(s, c, side, buf, at, readable, complete, cut)
        if result == BAD:
            _give_up_record(s, c, side)
            return step
    cursor["fragment_left"] -= step
    if result == DONE:
        cursor["ever"] = 1
        cursor["parsed"] = 1
        cursor["skip"] = cursor["fragment_left"]
        cursor["fragment_left"] = 0
    return step


@njit(cache=True)
def _give_up_record(s, c, side):
    """What the record mark announced is no RPC message."""
    if s["cursors"][2 * c + side]["ever"] == 1:
        note(s, Oddity.RPC_MALFORMED)
    _search_from_here(s, c, side)


@njit(cache=True)
def _begin_head(s, c, side, buf, at, readable):
    """Keep the beginning of a message whose rest comes with a later segment."""
    k = 2 * c + side
    cursor = s["cursors"][k]
    slot = _take_head(s, k)
    cursor["head"] = slot
    cursor["head_length"] = readable
    cursor["head_want"] = max(2 * readable, FIRST_WANT)
    for i in range(readable):
        s["heads"][slot * HEAD + i] = buf[at + i]


@njit(cache=True)
def _go_on_with_head(s, c, side, buf, at, readable, complete, cut):
    """Add bytes to a message's beginning; decode once enough are there, so that many small segments cost little."""
    cursor = s["cursors"][2 * c + side]
    slot = np.int64(cursor["head"])
    have = cursor["head_length"]
    taken = min(readable, HEAD - have)
    for i in range(taken):
        s["heads"][slot * HEAD + have + i] = buf[at + i]
    have += taken
    cursor["head_length"] = have
    final = complete or cut or have == HEAD
    if not final and have < cursor["head_want"]:
        return 0
    result = decode(s, c, side, s["heads"], slot * HEAD, have, final, cut)
    cursor["head_want"] = 2 * have
    if result != 0:
        _free_head(s, cursor)
    return result


@njit(cache=True)
def _take_head(s, k):
    """A slot of `heads`; if all are taken, another connection loses its message."""
    hand = s["control"][Control.HEAD_HAND]
    mask = len(s["head_owner"]) - 1
    slot = hand & mask
    for i in range(HEAD_TRIES):
        if s["head_owner"][(hand + i) & mask] < 0:
            slot = (hand + i) & mask
            break
    s["control"][Control.HEAD_HAND] = slot + 1
    owner = np.int64(s["head_owner"][slot])
    if owner >= 0:
        victim = s["cursors"][owner]
        victim["head"] = NONE
        victim["parsed"] = 1
        note(s, Oddity.RECORD_CUT)
    s["head_owner"][slot] = k
    return slot


@njit(cache=True)
def _free_head(s, cursor):
    if cursor["head"] >= 0:
        s["head_owner"][cursor["head"]] = NONE
        cursor["head"] = NONE


@njit(cache=True)
def _search(s, c, side, buf, at, captured):
    """Look for a record in what was captured of this segment. Returns bytes passed over, or NONE if there is none."""
    cursor = s["cursors"][2 * c + side]
    stop = at + captured
    if cursor["ever"] == 0 and _is_tls(s, c, cursor, buf, at, stop):
        s["conns"][c]["flavors"] |= Flavor.TLS
        note(s, Oddity.TLS)
        ignore(s, c)
        return NONE
    for p in range(at, stop - HEADER_SEEN + 1):
        if buf[p] & 0x80 and buf[p + 8] == 0 and buf[p + 9] == 0 and buf[p + 10] == 0 and buf[p + 11] <= 1:
            kind = plausible_record(buf, p, stop)
            if kind < 0 or (kind == REPLY and not _may_reply(s, c, side, be32(buf, p + 4))):
                continue
            cursor["phase"] = Phase.SYNCED.value
            cursor["fruitless"] = 0
            note(s, Oddity.RESYNCHRONISED)
            return p - at
    cursor["fruitless"] += 1
    conn = s["conns"][c]
    if cursor["ever"] == 0 and cursor["fruitless"] >= FRUITLESS and conn["calls"] == 0:
        if conn["port"][0] != NFS_PORT and conn["port"][1] != NFS_PORT:
            note(s, Oddity.NOT_RPC)
            ignore(s, c)
    return NONE


@njit(cache=True)
def _may_reply(s, c, side, xid):
    """Whether a reply with `xid` can be: if the other direction is followed, a call with it must be outstanding."""
    other = s["cursors"][2 * c + 1 - side]
    return other["ever"] == 0 or is_pending(s, c, xid)


@njit(cache=True)
def _is_tls(s, c, cursor, buf, at, stop):
    """A TLS record (RFC 8446 section 5.1) where NFS would be: a handshake, or data in the third segment in vain."""
    conn = s["conns"][c]
    if stop - at < 5 or conn["calls"] > 0 or (conn["port"][0] != NFS_PORT and conn["port"][1] != NFS_PORT):
        return False
    if buf[at + 1] != 3 or buf[at + 2] > 4 or buf[at + 3] > 0x41:
        return False
    return buf[at] == 0x16 or (buf[at] == 0x17 and cursor["fruitless"] >= 2)


@njit(cache=True)
def ignore(s, c):
    """Stop reading both directions of connection `c`."""
    for side in range(2):
        cursor = s["cursors"][2 * c + side]
        _free_head(s, cursor)
        cursor["phase"] = Phase.IGNORED.value

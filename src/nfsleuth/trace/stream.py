"""One direction of a TCP connection: segments in any order come in, the beginnings of RPC messages go out.

The cursor knows the next sequence number and how many bytes of the current record are left. Of a message, the first
`HEAD` bytes are wanted, which hold all headers and arguments but file data; what follows is passed over without being
looked at, whether it was captured or not, since lengths come from the headers. A segment that comes too early waits
(bounded); when the hole before it cannot be filled, the stream is searched for the next record mark with a plausible
RPC header behind it (RFC 5531 section 11).

Messages are put into a table (MESSAGE) that `messages` reads afterwards: one that lies in one segment stays where it
is, one that crosses segments is put together in the arena.
"""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import NO, YES, ZERO, apart, part
from nfsleuth.trace.clocks import sample
from nfsleuth.trace.connections import NFS_PORT, forget_record
from nfsleuth.trace.flows import message_begins, message_ends, messages_lost
from nfsleuth.trace.notes import note
from nfsleuth.trace.sequence import SEQUENCE_MASK, ahead
from nfsleuth.trace.state import ENDED, HEAD, HELD_BYTES, IN_ARENA, IN_CHUNK, MOST_HELD, NONE, Control, Phase
from nfsleuth.trace.tables import Flavor, Oddity
from nfsleuth.wire.fields import be32, u8
from nfsleuth.wire.rpc import HEADER_SEEN, LARGEST_RECORD, is_message, is_starttls, plausible_record

# An acknowledgment of the other side ends the wait for what it acknowledges: the capture lacks it. But a capture may
# have the frames of the two sides in the wrong order, so not before so many segments wait, or one waited so long (ns).
PATIENCE = 4
PATIENCE_TIME = 100_000
FRUITLESS = 64  # segments searched in vain before a connection on another port than NFS's is given up
HELD_TRIES = 16  # slots looked at for a free one
HEAD_TRIES = 16
LEFT = -1  # the rest of the segment is of no use


@part
def begin(s, k, sequence):
    """A SYN: the first byte of stream `k` has the number `sequence`, and a record mark begins there."""
    cursor = s["cursors"][k]
    cursor["phase"] = Phase.SYNCED.value
    cursor["next"] = sequence & SEQUENCE_MASK
    cursor["last_fragment"] = 1


@part
def payload(s, k, buf, transport_at, at, end, sequence, length):
    """Take in the payload of a TCP packet of stream `k`: `length` bytes with number `sequence`, from buf[at] on.

    Its TCP header begins at buf[transport_at], and it was captured up to buf[end]. Where a client's message begins, the
    client's clock may be looked at.
    """
    met = s["control"][Control.MESSAGES]
    segment(s, k, buf, at, min(end - at, length), sequence, length)
    if k & 1 == s["conns"][k >> 1]["flip"] and s["control"][Control.MESSAGES] > met:
        sample(s, k, buf, transport_at, at, end)


@part
def segment(s, k, buf, at, captured, sequence, length):
    """Take in `length` bytes of payload of stream `k` with number `sequence`; `captured` of them lie at buf[at].

    A segment of length 0 is nobody's: it makes the waiting segments come in, with the gaps between them.
    """
    cursor = s["cursors"][k]
    if cursor["phase"] == Phase.IGNORED:
        if length > 0 and ahead(sequence, cursor["next"]) + length > 0:
            cursor["next"] = (sequence + length) & SEQUENCE_MASK  # keep-alives are still told by it
        return
    if cursor["phase"] == Phase.NEW:
        cursor["phase"] = Phase.LOST.value
        cursor["last_fragment"] = 1
        cursor["next"] = sequence
    if length == 0 or (cursor["impatient"] == 1 and cursor["held_count"] > 0):
        cursor["impatient"] = 1
    if length > 0:
        if ahead(sequence, cursor["next"]) + length <= 0:
            s["conns"][k >> 1]["retransmitted"][k & 1] += 1
            note(s, Oddity.SEGMENT_REPEATED)
            return
        if _is_early(cursor, sequence):
            if not _hold(s, k, buf, at, captured, sequence, length):
                return
            if cursor["held_count"] >= MOST_HELD:
                cursor["impatient"] = 1
        else:
            consume(s, k, buf, at, captured, sequence, length, IN_CHUNK)
    while cursor["held"] >= 0:
        slot = np.int64(cursor["held"])
        held = s["held"][slot]
        if cursor["impatient"] == 0 and _is_early(cursor, held["sequence"]):
            return
        cursor["held"] = held["after"]
        cursor["held_count"] -= 1
        held["cursor"] = NONE
        frame, time = s["control"][Control.FRAME], s["control"][Control.TIME]
        s["control"][Control.FRAME] = held["frame"]
        s["control"][Control.TIME] = held["time"]
        consume(
            s, k, s["held_bytes"][:], slot * HELD_BYTES, held["captured"], held["sequence"], held["length"], IN_ARENA
        )
        s["control"][Control.FRAME] = frame
        s["control"][Control.TIME] = time
    cursor["impatient"] = 0


@part
def _is_early(cursor, sequence):
    """Whether wanted bytes are missing before `sequence`: more than the rest of a record that is passed over."""
    return cursor["phase"] == Phase.SYNCED and ahead(sequence, cursor["next"]) > cursor["skip"]


@part
def acknowledged(s, k, buf, number):
    """The receiver of stream `k` has all before `number`: nothing of that will be sent again, so stop waiting for it.

    What waits is taken in at once, since the frame that acknowledges a call may bring its reply.
    """
    cursor = s["cursors"][k]
    if cursor["held_count"] == 0:
        return
    held = s["held"][cursor["held"]]
    if ahead(number, held["sequence"]) <= 0:
        return
    if cursor["held_count"] >= PATIENCE or s["control"][Control.TIME] - held["time"] >= PATIENCE_TIME:
        segment(s, k, buf, ZERO, ZERO, cursor["next"], ZERO)


@apart
def _hold(s, k, buf, at, captured, sequence, length):
    """Let a segment wait, in order of sequence. False if there is no room or it waits already."""
    slot = _free_held(s)
    if slot < 0:
        note(s, Oddity.HELD_DROPPED)
        return False
    before = np.int64(NONE)
    after = np.int64(s["cursors"][k]["held"])
    while after >= 0 and ahead(sequence, s["held"][after]["sequence"]) > 0:
        before = after
        after = np.int64(s["held"][after]["after"])
    if after >= 0 and s["held"][after]["sequence"] == sequence and s["held"][after]["length"] >= length:
        note(s, Oddity.SEGMENT_REPEATED)
        return False
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


@part
def _free_held(s):
    hand = s["control"][Control.HELD_HAND]
    for i in range(HELD_TRIES):
        slot = (hand + i) & (len(s["held"]) - 1)
        if s["held"][slot]["cursor"] < 0:
            s["control"][Control.HELD_HAND] = slot + 1
            return slot
    s["control"][Control.HELD_HAND] = hand + HELD_TRIES
    return NONE


@part
def consume(s, k, buf, at, captured, sequence, length, where):
    """Take in a segment now, whatever is missing before it, and go through its bytes."""
    cursor = s["cursors"][k]
    delta = ahead(sequence, cursor["next"])
    if delta < 0:
        at -= delta
        captured += delta
        length += delta
    elif delta > 0:
        if cursor["phase"] == Phase.SYNCED:
            if delta <= cursor["skip"]:
                _pass_over(s, k, delta)
            else:
                lose(s, k)
    if length <= 0:
        return
    cursor["next"] = (sequence + max(-delta, 0) + length) & SEQUENCE_MASK
    while length > 0:
        if cursor["skip"] > 0:
            step = min(cursor["skip"], length)
            _pass_over(s, k, step)
        elif cursor["phase"] == Phase.LOST:
            step = _search(s, k, buf, at, captured)
        elif cursor["phase"] == Phase.IGNORED:
            return
        elif cursor["fragment_left"] == 0:
            step = _read_mark(s, k, buf, at, captured)
        else:
            step = _read_message(s, k, buf, at, captured, length, where)
        if step < 0:
            return
        at += step
        captured -= step
        length -= step


@part
def _pass_over(s, k, step):
    """Bytes that nobody wants to see, or that are missing; if a message ends with them, tell when."""
    cursor = s["cursors"][k]
    cursor["skip"] -= step
    if cursor["skip"] > 0 or cursor["tail"] == 0 or cursor["last_fragment"] == 0:
        return
    cursor["tail"] = 0
    message_ends(s, k)
    _begin_row(s, k, ENDED)


@part
def _begin_row(s, k, where):
    """A new row of the table for `messages`; returns its number."""
    n = s["control"][Control.MESSAGES]
    s["control"][Control.MESSAGES] = n + 1
    message = s["messages"][n]
    message["stream"] = k
    message["where"] = where
    message["seen_frame"] = s["control"][Control.FRAME]
    message["seen_time"] = s["control"][Control.TIME]
    return n


@part
def _read_mark(s, k, buf, at, captured):
    """Take in a record mark, or the part of it that is here. Returns bytes taken, or LEFT."""
    cursor = s["cursors"][k]
    if captured <= 0:
        lose(s, k)
        return LEFT
    step = np.int64(1)
    if cursor["mark_have"] == 0 and captured >= 4:
        cursor["mark"] = be32(buf, at)
        step = np.int64(4)
    else:
        cursor["mark"] = ((cursor["mark"] << 8) | u8(buf, at)) & 0xFFFF_FFFF
        cursor["mark_have"] += 1
        if cursor["mark_have"] < 4:
            return step
        cursor["mark_have"] = 0
    size = cursor["mark"] & 0x7FFF_FFFF
    if size > LARGEST_RECORD:
        if cursor["ever"] == 1:
            note(s, Oddity.RECORD_MARK_INSANE)
        search_from_here(s, k)
        return step
    if cursor["last_fragment"] == 1:
        cursor["done"] = 0
        cursor["tail"] = 0
        cursor["message_bytes"] = 0
        cursor["message_frame"] = s["control"][Control.FRAME]
        cursor["message_time"] = s["control"][Control.TIME]
    cursor["last_fragment"] = cursor["mark"] >> 31
    cursor["message_bytes"] += size
    if cursor["done"] == 1:
        cursor["skip"] = size
        return step
    cursor["fragment_left"] = size
    if size == 0 and cursor["last_fragment"] == 1 and cursor["head"] >= 0:
        _hand_over_head(s, k, NO)
    return step


@part
def _read_message(s, k, buf, at, captured, length, where):
    """A message begins or goes on here: hand its beginning over once enough of it is there. Returns bytes taken."""
    cursor = s["cursors"][k]
    step = min(cursor["fragment_left"], length)
    readable = min(step, max(captured, 0))
    cut = YES if readable < step else NO
    complete = cursor["last_fragment"] == 1 and step == cursor["fragment_left"]
    if cursor["head"] < 0:
        if readable >= 12 and not is_message(buf, at):
            give_up_record(s, k)
            return ZERO
        if complete or cut == YES or readable >= HEAD:
            hand_over(s, k, buf, at, min(readable, HEAD), cut, where)
        else:
            _begin_head(s, k)
    if cursor["head"] >= 0 and not _add_to_head(s, k, buf, at, readable, complete, cut):
        give_up_record(s, k)
        return step
    cursor["fragment_left"] -= step
    if cursor["done"] == 1:
        if complete:
            message_ends(s, k)
        cursor["tail"] = 0 if complete else 1
        cursor["skip"] = cursor["fragment_left"]
        cursor["fragment_left"] = 0
    return step


@part
def hand_over(s, k, buf, at, length, cut, where):
    """Put a message's beginning into the table for `messages`; it is copied unless it lies in the chunk."""
    cursor = s["cursors"][k]
    cursor["done"] = 1
    if length >= 12:
        cursor["ever"] = 1
        message_begins(s, k, be32(buf, at + 4), cursor["message_bytes"])
    message = s["messages"][_begin_row(s, k, where)]
    message["length"] = length
    message["cut"] = cut
    message["bytes"] = cursor["message_bytes"]
    message["frame"] = cursor["message_frame"]
    message["time"] = cursor["message_time"]
    if is_starttls(buf, at, at + length):
        ignore(s, k >> 1)
    if where == IN_CHUNK:
        message["at"] = at
        return
    to = s["control"][Control.ARENA]
    message["at"] = to
    s["control"][Control.ARENA] = to + length
    for i in range(length):
        s["arena"][to + i] = buf[at + i]


@apart
def _hand_over_head(s, k, cut):
    """Hand over what has been put together of a message, and free its place."""
    cursor = s["cursors"][k]
    slot = np.int64(cursor["head"])
    hand_over(s, k, s["heads"][:], slot * HEAD, cursor["head_length"], cut, IN_ARENA)
    free_head(s, cursor)


@apart
def lose(s, k):
    """Bytes are missing where a record mark could have been: hand over what there is of the message, then search."""
    cursor = s["cursors"][k]
    s["conns"][k >> 1]["gaps"][k & 1] += 1
    note(s, Oddity.GAP)
    messages_lost(s, k >> 1)
    if cursor["head"] >= 0:
        _hand_over_head(s, k, YES)
    search_from_here(s, k)


@apart
def search_from_here(s, k):
    """The place of the next record mark is not known."""
    cursor = s["cursors"][k]
    free_head(s, cursor)
    cursor["phase"] = Phase.LOST.value
    forget_record(cursor)
    cursor["last_fragment"] = 1


@apart
def give_up_record(s, k):
    """What the record mark announced is no RPC message."""
    if s["cursors"][k]["ever"] == 1:
        note(s, Oddity.RPC_MALFORMED)
    search_from_here(s, k)


@apart
def _add_to_head(s, k, buf, at, readable, complete, cut):
    """`readable` bytes more of a message that is put together; hand it over if that is enough. False if it is none."""
    cursor = s["cursors"][k]
    slot = np.int64(cursor["head"])
    have = cursor["head_length"]
    taken = min(readable, HEAD - have)
    for i in range(taken):
        s["heads"][slot * HEAD + have + i] = buf[at + i]
    have += taken
    cursor["head_length"] = have
    if have >= 12 and not is_message(s["heads"][:], slot * HEAD):
        return False
    if complete or cut == YES or have == HEAD:
        _hand_over_head(s, k, cut)
    return True


@apart
def _begin_head(s, k):
    """A place for the beginning of a message; if all are taken, another connection loses its message."""
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
        _hand_over_head(s, owner, YES)
        victim = s["cursors"][owner]
        victim["skip"] = victim["fragment_left"]
        victim["fragment_left"] = 0
    s["head_owner"][slot] = k
    s["cursors"][k]["head"] = slot
    s["cursors"][k]["head_length"] = 0


@part
def free_head(s, cursor):
    """Give back the place where a message was put together."""
    if cursor["head"] >= 0:
        s["head_owner"][cursor["head"]] = NONE
        cursor["head"] = NONE
        cursor["head_length"] = 0


@apart
def _search(s, k, buf, at, captured):
    """Look for a record in what was captured of this segment. Returns bytes passed over, or LEFT if there is none."""
    cursor = s["cursors"][k]
    conn = s["conns"][k >> 1]
    on_nfs_port = conn["port"][0] == NFS_PORT or conn["port"][1] == NFS_PORT
    never = cursor["ever"] == 0 and s["cursors"][k ^ 1]["ever"] == 0  # not conn["calls"]: decoding is behind
    if never and on_nfs_port and captured >= 5 and _is_tls(cursor, buf, at):
        conn["flavors"] |= Flavor.TLS
        note(s, Oddity.TLS)
        ignore(s, k >> 1)
        return LEFT
    for p in range(at, at + captured - HEADER_SEEN + 1):
        if buf[p] & 0x80 and buf[p + 8] == 0 and buf[p + 9] == 0 and buf[p + 10] == 0 and buf[p + 11] <= 1:
            if plausible_record(buf, p, at + captured) >= 0:
                cursor["phase"] = Phase.SYNCED.value
                cursor["fruitless"] = 0
                note(s, Oddity.RESYNCHRONISED)
                return p - at
    cursor["fruitless"] += 1
    if never and cursor["fruitless"] >= FRUITLESS and not on_nfs_port:
        note(s, Oddity.NOT_RPC)
        ignore(s, k >> 1)
    return LEFT


@part
def _is_tls(cursor, buf, at):
    """A TLS record (RFC 8446 section 5.1) where NFS would be: a handshake, or data in the third segment in vain."""
    if u8(buf, at + 1) != 3 or u8(buf, at + 2) > 4 or u8(buf, at + 3) > 0x41:
        return False
    return u8(buf, at) == 0x16 or (u8(buf, at) == 0x17 and cursor["fruitless"] >= 2)


@apart
def ignore(s, c):
    """Stop reading both directions of connection `c`."""
    for side in range(2):
        cursor = s["cursors"][2 * c + side]
        free_head(s, cursor)
        cursor["phase"] = Phase.IGNORED.value
        cursor["skip"] = 0

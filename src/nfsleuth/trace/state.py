"""The tracker's memory: every table that the kernels work on, allocated once, none of them ever grows.

Kernels receive one record, the state. A connection has two sides, A (the sender of the first frame) and B; which of
them is the client shows later, so per-side fields are indexed by side and put in the order client, server when a row is
handed out.
"""

from __future__ import annotations

import os
from enum import IntEnum
from functools import cache
from typing import Any

import numpy as np
from msgspec import Struct

from nfsleuth.trace import tables
from nfsleuth.wire import marks
from nfsleuth.wire.packet import PACKET

NONE = np.int64(-1)
N_SAID = 4  # so that sessions and the names of machines and files, which most calls bring, do not drive each other out

LINE = 64  # bytes that a processor fetches at a time


def _in_lines(fields: list[Any]) -> np.dtype[np.void]:
    """A row of these fields, as long as it takes to fill whole lines: the first field of each row begins one.

    What every frame and every message needs stands first, so that few lines have to be fetched for it.
    """
    row = np.dtype(fields, align=True)
    assert row.fields is not None
    assert row.names is not None
    places = [row.fields[name] for name in row.names]
    length = -(-row.itemsize // LINE) * LINE
    return np.dtype(
        {"names": row.names, "formats": [p[0] for p in places], "offsets": [p[1] for p in places], "itemsize": length},
        align=True,
    )


CONN = _in_lines(
    [
        # Whose frame it is: two addresses and ports, of side A and B
        ("used", np.uint8),
        ("transport", np.uint8),
        ("flip", np.uint8),  # 1: side B is the client
        ("role", np.uint8),
        ("port", np.uint16, 2),
        ("hi", np.uint64, 2),
        ("lo", np.uint64, 2),
        ("mac_last", np.uint64, 2),
        ("ttl_min", np.uint8, 2),
        ("ttl_max", np.uint8, 2),
        ("next", np.int32),  # in the bucket
        # What each frame changes
        ("last", np.int64),
        ("last_frame", np.int64),
        ("frames", np.int64, 2),
        ("payload", np.int64, 2),
        ("synack_time", np.int64),  # 0 not seen, -1 answered
        # What each message needs
        ("uid", np.int64),
        ("programs", np.uint16),
        ("versions", np.uint8),
        ("flavors", np.uint8),
        ("reading", np.uint8, 2),  # per side: 1 if the last message that it sent answers a READ
        ("calls", np.int64),
        ("replies", np.int64),
        ("nfs_calls", np.int64),
        ("errors", np.int64),
        ("last_call", np.int64),
        ("clock_next", np.int64),  # when the next sample of the client's clock may be taken
        ("clock_taken", np.int64),
        ("said", np.uint64, N_SAID),  # key of the identity that was reported last, by its kind (trace.identities)
        ("reads", np.int64),
        ("read_bytes", np.int64),
        ("writes", np.int64),
        ("write_bytes", np.int64),
        # Stretches of time with transfers outstanding, of READ and of WRITE (trace.transfers):
        ("busy", np.int64, 2),  # ns, in the stretches that are over
        ("busy_floor", np.int64, 2),  # when the last of these ended
        ("busy_from", np.int64, 2),  # the stretch that may still grow
        ("busy_until", np.int64, 2),
        # The rest
        ("hash", np.uint64),
        ("vlan", np.uint16),
        ("mac", np.uint64, 2),
        ("mac_changes", np.int32, 2),
        ("syn_frame", np.int64),
        ("syn_time", np.int64),
        ("syn_side", np.uint8),
        ("syns", np.int32),
        ("syn_sequence", np.int64),
        ("syn_ttl", np.uint8),
        ("syn_wscale", np.uint8),
        ("syn_window", np.uint16),
        ("syn_mss", np.uint16),
        ("syn_flags", np.uint8),
        ("syn_options", np.uint64),
        ("handshake", np.int64),
        ("first", np.int64),
        ("first_frame", np.int64),
        ("retransmitted", np.int64, 2),
        ("keepalives", np.int64, 2),
        ("zero_windows", np.int64, 2),
        ("gaps", np.int64, 2),
        ("untimed", np.int64),
        ("untimed_bytes", np.int64),
        ("names_left", np.int32),  # file names that may still be reported
    ]
)

FLOW = _in_lines(
    [
        ("open", np.uint8),  # 1: an interval is being measured
        # TCP, index is the side that sends the data
        ("known", np.uint8, 2),  # 1: `top` and `acked` are
        ("scale", np.uint8, 2),  # window scale that the side announced in its SYN; 255 unknown
        ("recovering", np.uint8, 2),  # 1: until `recover` is acknowledged
        ("calling", np.uint8),  # 1: inside a call of the client
        ("top", np.int64, 2),  # sequence number behind the last byte that it sent
        ("acked", np.int64, 2),
        ("room_ends", np.int64, 2),  # sequence number behind the receiver's window; -1 unknown
        ("last", np.int64),  # until when the time is accounted for
        ("turn", np.int64),  # ns of nothing outstanding, not yet put down to anything
        ("sent", np.int64, 2),  # time of its last segment with data
        ("alone", np.int64),  # time of the call that is the only one outstanding, 0 if there are others
        ("waiting", np.int32),  # calls of the client whose reply has not begun
        ("replying", np.uint8),  # 1: inside a reply
        ("paced", np.int64),  # time of the client's last acknowledgment while data was under way, 0 none
        ("pace_time", np.int64, len(tables.Pace)),  # ns and bytes of the last step
        ("pace_bytes", np.int64, len(tables.Pace)),
        ("recover", np.int64, 2),
        ("ended", np.int64),  # end of the interval before; 0 none
    ]
)


class Phase(IntEnum):
    """How a direction of a TCP connection is being read."""

    NEW = 0  # nothing seen of it
    LOST = 1  # searching for a record
    SYNCED = 2  # the next record mark's place is known
    IGNORED = 3  # given up: not RPC, or encrypted


CURSOR = _in_lines(
    [
        ("phase", np.uint8),
        ("ever", np.uint8),  # 1: a record was found in it at least once
        ("done", np.uint8),  # 1: the current message's beginning has been handed over, its rest is passed over
        ("impatient", np.uint8),  # 1: do not wait any longer for what is missing
        ("last_fragment", np.uint8),
        ("tail", np.uint8),  # 1: the end of the message that is being passed over is to be told
        ("held", np.int32),  # first of the segments that wait for an earlier one, or NONE
        ("held_count", np.int32),
        ("next", np.int64),  # sequence number expected
        ("skip", np.int64),  # bytes to pass over
        ("fragment_left", np.int64),
        ("message_frame", np.int64),  # where and when the current message began
        ("message_time", np.int64),
        ("message_bytes", np.int64),
        ("mark", np.int64),  # bytes of a record mark that a segment boundary has cut
        ("mark_have", np.int64),
        ("head", np.int32),  # slot in `heads` that holds the beginning of a message, or NONE
        ("head_length", np.int64),
        ("fruitless", np.int32),  # segments searched in vain
    ]
)

SHORTCUT = np.dtype(
    [
        # How a frame begins that may go the short way (trace.shortcut): the one that was met last at this place
        ("addresses", np.uint64),  # source and destination, IPv4
        ("mac_type", np.uint64),  # source MAC and ethertype; 0: no frame
        ("ports", np.uint32),  # source and destination
        ("ttl_protocol", np.uint32),  # 16 bits
        ("stream", np.uint32),  # cursor
    ],
    align=True,
)

HELD = np.dtype(
    [
        ("cursor", np.int32),  # owner, NONE if free
        ("after", np.int32),  # next slot of the same cursor, in order of sequence
        ("sequence", np.int64),
        ("length", np.int64),
        ("captured", np.int64),
        ("frame", np.int64),
        ("time", np.int64),
    ],
    align=True,
)

MESSAGE = np.dtype(
    [
        ("stream", np.int32),  # cursor
        ("where", np.uint8),  # IN_CHUNK or IN_ARENA; ENDED: not a message, but the end of the stream's last one
        ("cut", np.uint8),  # 1: the capture lacks what follows
        ("at", np.int64),  # in the chunk's buffer or the arena
        ("length", np.int64),  # bytes of the message's beginning
        ("bytes", np.int64),  # of the whole message, as far as its record marks have told
        ("frame", np.int64),  # in which the message began
        ("time", np.int64),
        ("seen_frame", np.int64),  # in which its beginning was complete
        ("seen_time", np.int64),
    ],
    align=True,
)
IN_CHUNK, IN_ARENA, ENDED = np.int64(0), np.int64(1), np.int64(2)

FRAGMENT = np.dtype(
    [
        ("key", np.uint64),  # 0 free
        ("conn", np.int32),  # NONE: nothing more is wanted of this datagram
        ("uid", np.int64),
        ("side", np.int32),
        ("sequence", np.int64),  # of the first fragment's payload
        ("payload_from", np.int64),  # offset of the payload in the datagram
    ],
    align=True,
)


class Control(IntEnum):
    """Cells of `State.control`."""

    CONNECTIONS = 0  # rows in `closed`
    IDENTITIES = 1
    CALLS = 2
    TEXT = 3  # bytes used in the arena
    NEIGHBOURS = 4
    NEXT_UID = 5
    USED = 6  # connections in `conns`
    FREE = 7  # first unused slot in `conns` below which all were used once
    HAND = 8  # where eviction looks next
    HEAD_HAND = 9
    HELD_HAND = 10
    FRAME = 11  # the frame that is being read
    TIME = 12
    LAST_TIME = 13
    LAST_CONN = 14
    KEEP_CALLS = 15
    SEED = 16
    FREED = 17  # head of the chain of freed slots
    NAMES = 18  # Budget.names
    MESSAGES = 19  # rows in `messages`
    ARENA = 20  # bytes used in `arena`
    RETRY = 21  # 1: the messages must be decoded before this frame can be taken in
    INTERVALS = 22  # rows in `intervals`
    CLOCKS = 23  # rows in `clocks`
    PLACES = 24  # of `pending` that are in use, see trace.pending
    EARLY = 25  # replies that came before their call, see trace.early
    EARLY_FIRST = 26  # of these, the first that may still wait


N_CONTROL = len(Control)

HEAD = 1024  # bytes of a message that are looked at
HELD_BYTES = 2048  # bytes kept of a segment that waits
MOST_HELD = 32  # segments of one direction that wait
LONGEST_NAME = 256  # bytes of a file name that a CALL row keeps
RECENT = 1 << 14
AHEAD = 8  # frames or messages whose bytes are fetched before it is their turn
FIRST_PLACES = 256  # for calls that wait for their reply, before more are taken into use
LARGEST_FRAME = 262_144  # what a reader hands out at most (MAXIMUM_SNAPLEN of libpcap)


class Budget(Struct, frozen=True):
    """How much a tracker may remember. All sizes are numbers of rows, powers of 2.

    With the defaults the tables take about 150 MB of address space, of which only what is used becomes memory.
    """

    connections: int = 1 << 16
    pending: int = 1 << 16  # calls that wait for their reply
    heads: int = 1 << 11  # messages that lie across segments, at one time
    held: int = 1 << 9  # segments that wait for an earlier one
    early: int = 1 << 10  # replies that wait for their call
    fragments: int = 1 << 10  # IP datagrams in fragments
    neighbours: int = 1 << 14
    seen: int = 1 << 17  # identities that are remembered so as not to be reported again
    messages: int = 1 << 14  # RPC messages found before they are decoded
    identities: int = 1 << 16  # rows before they are handed out
    calls: int = 1 << 16
    intervals: int = 1 << 13
    clocks: int = 1 << 13
    text: int = 1 << 22
    names: int = 256  # file names reported per connection

    def __post_init__(self) -> None:
        for field in ("connections", "pending", "heads", "held", "early", "fragments", "neighbours", "seen"):
            size = getattr(self, field)
            if size < 4 or size & (size - 1):
                raise ValueError(f"Budget.{field} is {size}: it must be a power of 2, at least 4")


# A frame brings at most LARGEST_FRAME bytes, the segments that it releases MOST_HELD * HELD_BYTES more, and a message
# has at least 4 bytes of record mark and, to be handed over, 1 of its own or a segment that ends it: so many messages,
# and so many bytes of messages put together, are in reserve beyond the point where decoding begins.
_MOST_BYTES = LARGEST_FRAME + (MOST_HELD + 1) * HELD_BYTES
RESERVE_MESSAGES = _MOST_BYTES // 4
RESERVE_ARENA = _MOST_BYTES + 2 * HEAD
# Of one message come at most HEAD / 4 identities with HEAD bytes of text, one call with its name, and one call more
# that makes room for it.
RESERVE_ROWS = HEAD // 4
RESERVE_TEXT = HEAD + 2 * LONGEST_NAME
RESERVE_CONNECTIONS = 64
RESERVE_INTERVALS = 256  # of one frame come at most one per message, of 16 bytes at least, and those lie 50 ms apart


@cache  # one object per budget: machine code is bound to it
def state_dtype(budget: Budget, keep_calls: bool) -> np.dtype[np.void]:
    """All tables of a tracker as the fields of one record, so that kernels pass a single pointer between them."""
    n = budget.connections
    return np.dtype(
        [
            # These come first: whole lines, like the state itself (INTERVAL happens to be four lines long).
            ("conns", CONN, n),
            ("flows", FLOW, n),
            ("so_far", tables.INTERVAL, n),  # the interval that is being measured on each connection
            ("cursors", CURSOR, 2 * n),  # side A and B of connection c at 2c and 2c + 1
            ("control", np.int64, N_CONTROL),
            ("packet", PACKET, 1),  # the frame that is being read
            ("call", tables.CALL, 1),  # the call that is being decoded
            ("marks", np.int64, marks.SHAPE),  # for wire.walk
            ("oddities", np.int64, len(tables.Oddity)),
            ("oddity_frames", np.int64, len(tables.Oddity)),
            ("buckets", np.int32, 2 * n),  # first connection of a hash chain
            ("recent", SHORTCUT, RECENT),
            ("pending_keys", np.uint64, budget.pending),  # 0 free
            ("pending", tables.CALL, budget.pending),
            ("pending_names", np.uint8, (budget.pending if keep_calls else 1, LONGEST_NAME)),
            ("heads", np.uint8, budget.heads * HEAD),
            ("head_owner", np.int32, budget.heads),  # cursor or NONE
            ("messages", MESSAGE, budget.messages + RESERVE_MESSAGES),
            ("arena", np.uint8, budget.messages * 256 + RESERVE_ARENA),
            ("held", HELD, budget.held),
            ("held_bytes", np.uint8, budget.held * HELD_BYTES),
            ("early_keys", np.uint64, budget.early),  # 0: waits no longer
            ("early_at", np.int32, budget.early),
            ("early", MESSAGE, budget.early),
            ("early_bytes", np.uint8, budget.early * HEAD),
            ("fragments", FRAGMENT, budget.fragments),
            ("seen", np.uint64, budget.seen),
            ("neighbour_rows", np.int32, 2 * budget.neighbours),  # hash -> row of `neighbours`
            # rows that are handed out
            ("closed", tables.CONNECTION, n + RESERVE_CONNECTIONS),
            ("identities", tables.IDENTITY, budget.identities + RESERVE_ROWS),
            ("calls", tables.CALL, (budget.calls if keep_calls else 1) + RESERVE_ROWS),
            ("neighbours", tables.NEIGHBOUR, budget.neighbours),
            ("intervals", tables.INTERVAL, budget.intervals + RESERVE_INTERVALS),
            ("clocks", tables.CLOCK, budget.clocks),
            ("text", np.uint8, budget.text + RESERVE_TEXT),
        ],
        align=True,
    )


def allocate(budget: Budget, keep_calls: bool) -> np.void:
    """All tables, empty. Pages are zero and untouched, so what is never used costs no memory."""
    dtype = state_dtype(budget, keep_calls)
    room = np.zeros(dtype.itemsize + LINE, np.uint8)
    at = -room.ctypes.data % LINE
    state: np.void = room[at : at + dtype.itemsize].view(dtype)[0]
    state["buckets"][:] = NONE
    state["head_owner"][:] = NONE
    state["neighbour_rows"][:] = NONE
    state["held"]["cursor"] = NONE
    control = state["control"]
    control[Control.KEEP_CALLS] = int(keep_calls)
    control[Control.LAST_CONN] = NONE
    control[Control.FREED] = NONE
    control[Control.NAMES] = budget.names
    control[Control.PLACES] = min(FIRST_PLACES, budget.pending)
    # So that no capture can be made to collide in the hash tables.
    control[Control.SEED] = int.from_bytes(os.urandom(8), "little") >> 2
    return state

"""Replies come in that the capture has before their call; each waits for it, or is counted as one without a call.

Merged taps, and network cards with several queues, put the frames of the two directions in an order that never was.
What is decoded of such a reply is copied, since the chunk that it lies in is soon gone. Replies wait in a ring, so that
they are given up in the order in which they came. Where one waits is found by a place that follows from its connection
and xid; if two have the same, the later one is found.
"""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import apart, part
from nfsleuth.trace.hashing import mix
from nfsleuth.trace.notes import note
from nfsleuth.trace.state import HEAD, NONE, Control
from nfsleuth.trace.tables import Oddity

EARLIEST = 1_000_000_000  # ns before its call; the call of one that is older than that is not in the capture


@apart
def keep_reply(s, c, xid, key, message, buf):
    """Let the reply `message` of connection `c` wait for the call with `key` (`pending.key_of`). Its bytes lie in
    `buf`."""
    if s["control"][Control.EARLY] - s["control"][Control.EARLY_FIRST] == len(s["early_keys"]):
        give_up_reply(s)
    slot = _slot(s, s["control"][Control.EARLY])
    s["control"][Control.EARLY] += 1
    s["early_at"][_place(s, c, xid)] = slot
    s["early_keys"][slot] = key
    s["early"][slot] = message
    s["early"][slot]["at"] = slot * HEAD
    for i in range(message["length"]):
        s["early_bytes"][slot * HEAD + i] = buf[message["at"] + i]


@part
def take_reply(s, c, xid, key, time):
    """Slot of the reply to the call with `key`, made at `time`, which waits no longer. NONE if there is none."""
    if s["control"][Control.EARLY_FIRST] == s["control"][Control.EARLY]:
        return np.int64(NONE)
    slot = np.int64(s["early_at"][_place(s, c, xid)])
    if s["early_keys"][slot] != key or time - s["early"][slot]["time"] > EARLIEST:
        return np.int64(NONE)
    s["early_keys"][slot] = 0
    return slot


@part
def give_up_reply(s):
    """The first reply of the ring waits no longer; if it still did, it is one without a call."""
    slot = _slot(s, s["control"][Control.EARLY_FIRST])
    s["control"][Control.EARLY_FIRST] += 1
    if s["early_keys"][slot] == 0:
        return
    s["early_keys"][slot] = 0
    frame = s["control"][Control.FRAME]
    s["control"][Control.FRAME] = s["early"][slot]["seen_frame"]
    note(s, Oddity.REPLY_UNMATCHED)
    s["control"][Control.FRAME] = frame


@part
def _slot(s, number):
    """Where reply `number`, of all that came early, lies in the ring."""
    return np.int64(number) & (len(s["early_keys"]) - 1)


@part
def _place(s, c, xid):
    """Where in `early_at` the slot of a reply is found. The key's seed would make the counts depend on chance.

    Linux on little-endian machines counts xids in their highest byte, so all bits of them must have a say.
    """
    h = mix(np.uint64(s["conns"][c]["uid"]), np.uint64(xid))
    return np.int64((h >> np.uint64(8)) & np.uint64(len(s["early_at"]) - 1))

"""Replies come in that the capture has before their call; each waits for it, or is counted as one without a call.

Merged taps, and network cards with several queues, put the frames of the two directions in an order that never was.
What is decoded of such a reply is copied, since the chunk that it lies in is soon gone. The place of a reply follows
from its key (`pending.key_of`); if two have the same, the later one takes it.
"""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import part
from nfsleuth.trace.notes import note
from nfsleuth.trace.state import HEAD, NONE, Control
from nfsleuth.trace.tables import Oddity

EARLIEST = 1_000_000_000  # ns before its call; the call of one that is older than that is not in the capture


@part
def keep_reply(s, key, message, buf):
    """Let the reply `message`, whose bytes lie in `buf`, wait for the call with this key."""
    slot = _slot(s, key)
    if s["early_keys"][slot] != 0:
        give_up_reply(s, slot)
    s["early_keys"][slot] = key
    s["control"][Control.EARLY] += 1
    s["early"][slot] = message
    s["early"][slot]["at"] = slot * HEAD
    for i in range(message["length"]):
        s["early_bytes"][slot * HEAD + i] = buf[message["at"] + i]


@part
def take_reply(s, key, time):
    """Slot of the reply to the call with this key, made at `time`; it is free afterwards. NONE if there is none."""
    if s["control"][Control.EARLY] == 0:
        return np.int64(NONE)
    slot = _slot(s, key)
    if s["early_keys"][slot] != key:
        return np.int64(NONE)
    if time - s["early"][slot]["time"] > EARLIEST:
        give_up_reply(s, slot)
        return np.int64(NONE)
    s["early_keys"][slot] = 0
    s["control"][Control.EARLY] -= 1
    return slot


@part
def give_up_reply(s, slot):
    """Count a reply that waits as one without a call, and free its place."""
    frame = s["control"][Control.FRAME]
    s["control"][Control.FRAME] = s["early"][slot]["seen_frame"]
    note(s, Oddity.REPLY_UNMATCHED)
    s["control"][Control.FRAME] = frame
    s["early_keys"][slot] = 0
    s["control"][Control.EARLY] -= 1


@part
def _slot(s, key):
    return np.int64((key >> np.uint64(8)) & np.uint64(len(s["early_keys"]) - 1))

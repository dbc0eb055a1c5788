"""Calls that wait for their reply: a set-associative table keyed by connection and xid (RFC 5531 section 9).

As many places are in use as there were calls to put there: usually few, which stay in the processor's cache. Where the
four places of a key are full, twice as many come into use; if there are no more, the oldest of the four is handed out
as unanswered.
"""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import part
from nfsleuth.trace.hashing import mix
from nfsleuth.trace.notes import note
from nfsleuth.trace.state import LONGEST_NAME, NONE, Control
from nfsleuth.trace.tables import Oddity

WAYS = 4


@part
def key_of(s, c, side, xid):
    """Key of a call that `side` sent, never 0. Both sides of an NFSv4.1 connection call, with xids of their own."""
    h = mix(np.uint64(s["control"][Control.SEED]), np.uint64(s["conns"][c]["uid"]))
    return mix(mix(h, np.uint64(side)), np.uint64(xid)) | np.uint64(1)


@part
def find_pending(s, c, side, xid):
    """Row of the outstanding call with `xid` that `side` of connection `c` sent, or NONE."""
    key = key_of(s, c, side, xid)
    first = _first(s, key)
    for way in range(first, first + WAYS):
        if s["pending_keys"][way] == key:
            return way
    return NONE


@part
def add_pending(s, c, side, xid):
    """Row for a new call with `xid` from `side`, or NONE if it is outstanding already (a retransmission)."""
    key = key_of(s, c, side, xid)
    while True:
        first = _first(s, key)
        free = NONE
        for way in range(first, first + WAYS):
            if s["pending_keys"][way] == key:
                return NONE
            if s["pending_keys"][way] == 0:
                free = way
        if free >= 0:
            break
        if s["control"][Control.PLACES] == len(s["pending_keys"]):
            free = _oldest(s, first)
            note(s, Oddity.CALLS_DROPPED)
            unanswered(s, free)
            break
        _widen(s)
    s["pending_keys"][free] = key
    return free


@part
def _first(s, key):
    """The first of the places of a key."""
    return np.int64((key >> np.uint64(8)) & np.uint64(s["control"][Control.PLACES] - WAYS))


@part
def _oldest(s, first):
    """Of the calls in the places from `first` on, the one that waits longest."""
    oldest = first
    for way in range(first + 1, first + WAYS):
        if s["pending"][way]["call_time"] < s["pending"][oldest]["call_time"]:
            oldest = way
    return oldest


@part
def _widen(s):
    """Use twice as many places. What `_first` now says of a key is the same as before, or lies that many further."""
    places = s["control"][Control.PLACES]
    s["control"][Control.PLACES] = 2 * places
    for way in range(places):
        key = s["pending_keys"][way]
        if key != 0 and _first(s, key) >= places:
            s["pending_keys"][way] = 0
            s["pending_keys"][way + places] = key
            s["pending"][way + places] = s["pending"][way]
            if s["control"][Control.KEEP_CALLS] == 1:
                for i in range(LONGEST_NAME):
                    s["pending_names"][way + places, i] = s["pending_names"][way, i]


@part
def unanswered(s, way):
    """Hand out a call that has no reply, and free its place."""
    note(s, Oddity.CALL_UNANSWERED)
    row = s["pending"][way]
    row["status"] = -1
    row["reply_frame"] = 0
    row["reply_time"] = 0
    row["reply_bytes"] = 0
    row["bytes"] = 0
    hand_out(s, way)


@part
def hand_out(s, way):
    """Copy a pending call to the CALL rows if calls are kept, its name to the arena, and free its place."""
    s["pending_keys"][way] = 0
    if s["control"][Control.KEEP_CALLS] == 0:
        return
    n = s["control"][Control.CALLS]
    s["control"][Control.CALLS] = n + 1
    s["calls"][n] = s["pending"][way]
    at = s["control"][Control.TEXT]
    length = np.int64(s["pending"][way]["name_length"])
    for i in range(length):
        s["text"][at + i] = s["pending_names"][way, i]
    s["control"][Control.TEXT] = at + length
    s["calls"][n]["name_at"] = at

"""IDENTITY rows: what a message says of its sender, reported once per connection."""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import apart, part
from nfsleuth.trace.hashing import mix, mix_bytes
from nfsleuth.trace.notes import note
from nfsleuth.trace.state import N_SAID, Control
from nfsleuth.trace.tables import Identity, Oddity

PLACES = 4  # in which a row that was seen may be remembered, a power of 2


@part
def report(s, c, kind, from_client, buf, at, length, end, a, b):
    """Write an IDENTITY row with `length` bytes of text at buf[at], unless the same was reported before.

    The message was captured up to `end`: text beyond it is missing, and the row says so.
    """
    readable = max(min(length, end - at), 0)
    conn = s["conns"][c]
    if kind == Identity.FILE_NAME and conn["names_left"] <= 0:
        note(s, Oddity.IDENTITIES_DROPPED)
        return
    if _seen_before(s, conn, kind, buf, at, readable, a, b):
        return
    _add(s, conn, kind, from_client, buf, at, readable, length, a, b)


@apart
def _add(s, conn, kind, from_client, buf, at, readable, length, a, b):
    """Write a row with the `readable` first bytes of `length` at buf[at]."""
    if kind == Identity.FILE_NAME:
        conn["names_left"] -= 1
    row = s["identities"][_begin_row(s, conn["uid"], kind, from_client, a, b)]
    row["cut"] = 1 if readable < length else 0
    row["length"] = readable
    _append(s, buf, at, readable)


@apart
def report_pair(s, c, kind, from_client, buf, at, first, second_at, second, end, a):
    """As `report`, for two strings: `first` bytes at buf[at], `second` at buf[second_at]; a NUL joins them."""
    conn = s["conns"][c]
    readable = max(min(second_at + second, end) - at, 0)
    if _seen_before(s, conn, kind, buf, at, readable, a, np.uint64(0)):
        return
    row = s["identities"][_begin_row(s, conn["uid"], kind, from_client, a, np.uint64(0))]
    row["cut"] = 1 if second_at + second > end else 0
    _append(s, buf, at, max(min(first, end - at), 0))
    text_at = s["control"][Control.TEXT]
    s["text"][text_at] = 0
    s["control"][Control.TEXT] = text_at + 1
    _append(s, buf, second_at, max(min(second, end - second_at), 0))
    row["length"] = s["control"][Control.TEXT] - row["at"]


@part
def _begin_row(s, uid, kind, from_client, a, b):
    """A new row, whose text begins where the arena ends; returns its number. `cut` and `length` are still to be set."""
    n = s["control"][Control.IDENTITIES]
    s["control"][Control.IDENTITIES] = n + 1
    row = s["identities"][n]
    row["uid"] = uid
    row["kind"] = kind
    row["from_client"] = from_client
    row["at"] = s["control"][Control.TEXT]
    row["a"] = a
    row["b"] = b
    row["frame"] = s["control"][Control.FRAME]
    row["time"] = s["control"][Control.TIME]
    return n


@part
def _append(s, buf, at, length):
    """Copy bytes to the text arena."""
    to = s["control"][Control.TEXT]
    for i in range(length):
        s["text"][to + i] = buf[at + i]
    s["control"][Control.TEXT] = to + length


@part
def _seen_before(s, conn, kind, buf, at, length, a, b):
    """Whether the same row was reported last on its connection, or is among the last ones in its places of the table
    of rows seen; it is from now on. Most calls of a connection come with one credential: the table is rarely asked.

    SETCLIENTID and EXCHANGE_ID are never left out: that two boot instances of one owner alternate is a sign.
    """
    if kind == Identity.CLIENT_ID or kind == Identity.CLIENT_OWNER:
        return False
    key = mix(mix(np.uint64(s["control"][Control.SEED]), np.uint64(conn["uid"])), np.uint64(kind))
    key = mix_bytes(mix(mix(key, a), b), buf, at, length)
    if conn["said"][kind % N_SAID] == key:
        return True
    conn["said"][kind % N_SAID] = key
    mask = np.uint64(len(s["seen"]) - 1)
    first = (key >> np.uint64(12)) & mask
    place = (first + (key & np.uint64(PLACES - 1))) & mask  # which gives way if no place is free
    for i in range(PLACES):
        other = (first + np.uint64(i)) & mask
        if s["seen"][other] == key:
            return True
        if s["seen"][other] == 0:
            place = other
            break
    s["seen"][place] = key
    return False

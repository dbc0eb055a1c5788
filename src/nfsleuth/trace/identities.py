"""IDENTITY rows: what a message says of its sender, reported once per connection.

While a message is decoded its rows are provisional: they point into the message, and are dropped again if more bytes
must come first. `commit` drops those that were reported before and copies the text of the others to the arena.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nfsleuth.trace.hashing import mix, mix_bytes
from nfsleuth.trace.notes import note
from nfsleuth.trace.state import Control
from nfsleuth.trace.tables import Identity, Oddity

LONGEST_TEXT = 1024  # bytes of a text that are kept: NFS4_OPAQUE_LIMIT, RFC 7531


@njit(cache=True)
def report(s, c, kind, from_client, at, length, end, a, b):
    """A provisional row: `length` bytes of text at `at` of the message, which was captured up to `end`."""
    n = s["control"][Control.IDENTITIES]
    row = s["identities"][n]
    row["uid"] = s["conns"][c]["uid"]
    row["kind"] = kind
    row["from_client"] = from_client
    readable = min(length, end - at, LONGEST_TEXT) if length > 0 else np.int64(0)
    row["cut"] = 1 if readable < length else 0
    row["length"] = max(readable, 0)
    row["at"] = at
    row["a"] = a
    row["b"] = b
    row["frame"] = s["control"][Control.FRAME]
    row["time"] = s["control"][Control.TIME]
    s["control"][Control.IDENTITIES] = n + 1


@njit(cache=True)
def rollback(s):
    """Forget the provisional rows."""
    s["control"][Control.IDENTITIES] = s["control"][Control.IDENTITIES_START]


@njit(cache=True)
def commit(s, c, buf):
    """Keep the provisional rows that are new; their text lies in `buf`."""
    kept = s["control"][Control.IDENTITIES_START]
    for n in range(kept, s["control"][Control.IDENTITIES]):
        row = s["identities"][n]
        if row["kind"] == Identity.FILE_NAME and s["conns"][c]["names_left"] <= 0:
            note(s, Oddity.IDENTITIES_DROPPED)
            continue
        if _seen_before(s, row, buf):
            continue
        if row["kind"] == Identity.FILE_NAME:
            s["conns"][c]["names_left"] -= 1
        _copy_text(s, row, buf)
        if kept != n:
            s["identities"][kept] = row
        kept += 1
    s["control"][Control.IDENTITIES] = kept
    s["control"][Control.IDENTITIES_START] = kept


@njit(cache=True)
def _copy_text(s, row, buf):
    """Move a row's text to the arena. Of two strings, the padding and length between them become one NUL."""
    to = s["control"][Control.TEXT]
    at = row["at"]
    stop = at + np.int64(row["length"])
    row["at"] = to
    kind = row["kind"]
    if kind == Identity.CALLBACK or kind == Identity.IMPLEMENTATION or kind == Identity.SERVER_IMPLEMENTATION:
        first = np.int64(row["b"])
        for i in range(min(first, stop - at)):
            s["text"][to] = buf[at + i]
            to += 1
        s["text"][to] = 0
        to += 1
        at += ((first + 3) & ~3) + 4
    while at < stop:
        s["text"][to] = buf[at]
        to += 1
        at += 1
    row["length"] = to - row["at"]
    s["control"][Control.TEXT] = to


@njit(cache=True)
def _seen_before(s, row, buf):
    """Whether the same row was the last one in its place of the table of rows seen; it is from now on.

    SETCLIENTID and EXCHANGE_ID are never left out: that two boot instances of one owner alternate is a sign.
    """
    if row["kind"] == Identity.CLIENT_ID or row["kind"] == Identity.CLIENT_OWNER:
        return False
    key = mix(mix(np.uint64(s["control"][Control.SEED]), np.uint64(row["uid"])), np.uint64(row["kind"]))
    key = mix_bytes(mix(mix(key, row["a"]), row["b"]), buf, row["at"], np.int64(row["length"]))
    place = (key >> np.uint64(12)) & np.uint64(len(s["seen"]) - 1)
    if s["seen"][place] == key:
        return True
    s["seen"][place] = key
    return False

"""READ and WRITE calls that were answered come in; operations, bytes and the time that they were outstanding are added
up.

A call is outstanding from its first byte to the last byte of its reply. Replies come in the order in which they end, so
of the stretches of time with at least one call outstanding, only the last one grows. A call that is never answered
counts for nothing: it cannot keep a stretch open. The one inexactness: a call that was outstanding since before the
last stretch does not fill pauses that lie before that one.
"""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import part

READ, WRITE = np.int64(0), np.int64(1)
OP_READ, OP_WRITE = 25, 38  # RFC 7531
PROC3_READ, PROC3_WRITE = 6, 7  # RFC 1813; the same numbers mean READ and WRITECACHE in version 2
PROC2_WRITE = 8  # RFC 1094


@part
def is_read(call):
    """Whether an NFS call reads file data."""
    if call["version"] == 4:
        return call["main"] == OP_READ
    return call["procedure"] == PROC3_READ


@part
def is_write(call):
    """Whether an NFS call writes file data."""
    if call["version"] == 4:
        return call["main"] == OP_WRITE
    return call["procedure"] == (PROC3_WRITE if call["version"] == 3 else PROC2_WRITE)


@part
def end_transfer(conn, side, call, end):
    """An NFS call was answered by `side`, with the last of what is known of the reply at `end`: count file data."""
    if is_read(call):
        conn["reads"] += 1
        conn["read_bytes"] += np.int64(call["bytes"])
        conn["reading"][side] = 1
        _outstanding(conn, READ, call["call_time"], end)
    elif is_write(call):
        conn["writes"] += 1
        conn["write_bytes"] += np.int64(call["bytes"])
        _outstanding(conn, WRITE, call["call_time"], end)


@part
def end_message(conn, side, time):
    """The last byte of the last message of `side` came at `time`: if it answers a READ, that ends only now."""
    if conn["reading"][side] == 1:
        conn["reading"][side] = 0
        conn["busy_until"][READ] = max(conn["busy_until"][READ], time)


@part
def _outstanding(conn, kind, begin, end):
    """A call of `kind` was outstanding from `begin` to `end`."""
    if begin > conn["busy_until"][kind]:
        conn["busy"][kind] += conn["busy_until"][kind] - conn["busy_from"][kind]
        conn["busy_floor"][kind] = conn["busy_until"][kind]
        conn["busy_from"][kind] = begin
        conn["busy_until"][kind] = begin
    elif begin < conn["busy_from"][kind]:
        conn["busy_from"][kind] = max(begin, conn["busy_floor"][kind])
    conn["busy_until"][kind] = max(conn["busy_until"][kind], end)

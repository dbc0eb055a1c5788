"""Results and SETATTR arguments come in; of the attributes in them, the file system and the change attribute go out.

NFSv4 has a change attribute that differs whenever the file does (RFC 8881 section 5.8.1.4). NFSv3 has none: there the
time of the last modification stands in for it, as it does for clients (RFC 1813 section 4.6). Both lie near the
beginning of the attributes, so nothing else of them needs to be walked over.
"""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import part
from nfsleuth.trace.hashing import mix, mix_bytes
from nfsleuth.trace.tables import CALL_CHANGE, CALL_FSID
from nfsleuth.wire.fields import be32, be64

PROC3_GETATTR, PROC3_SETATTR, PROC3_LOOKUP, PROC3_ACCESS = 1, 2, 3, 4  # RFC 1813
PROC3_READ, PROC3_WRITE, PROC3_COMMIT = 6, 7, 21
OP_COMMIT, OP_CREATE, OP_GETATTR, OP_GETFH, OP_LOOKUP, OP_LOOKUPP = 5, 6, 9, 10, 15, 16  # RFC 7531
OP_OPEN, OP_OPENATTR, OP_PUTFH, OP_PUTPUBFH, OP_PUTROOTFH, OP_RESTOREFH, OP_SAVEFH, OP_SETATTR = (
    18, 19, 22, 23, 24, 31, 32, 34,
)  # fmt: skip
MOST_HANDLE = 64  # bytes, NFS3_FHSIZE
FATTR3 = 84  # bytes of a fattr3, RFC 1813 section 2.6; of these
FSID3, MTIME3 = 44, 68  # where they lie in it
WCC_ATTR = 24  # bytes
MOST_WORDS = 8  # of a bitmap4; the RFCs use 3
SUPPORTED, TYPE, EXPIRE, CHANGE, SIZE, FSID = 1, 2, 4, 8, 16, 256  # bits of the first word, RFC 8881 section 5.8.1
STATEID = 16  # bytes before the attributes of SETATTR


@part
def hash_handle(buf, at, length):
    """Hash of the file handle at `at`; the same for equal handles of all connections."""
    return mix_bytes(np.uint64(0x4E46_5348), buf, at, length)


@part
def moves(operation):
    """Whether an NFSv4 operation makes another file handle the current one, other than PUTFH and RESTOREFH."""
    return (
        operation == OP_CREATE
        or operation == OP_LOOKUP
        or operation == OP_LOOKUPP
        or operation == OP_OPEN
        or operation == OP_OPENATTR
        or operation == OP_PUTPUBFH
        or operation == OP_PUTROOTFH
    )


@part
def take_attributes3(call, buf, at, end):
    """From NFSv3 results that begin at `at` and have status 0: the attributes of what the call was about or found."""
    procedure = np.int64(call["procedure"])
    at += 4
    if procedure == PROC3_SETATTR or procedure == PROC3_WRITE or procedure == PROC3_COMMIT:  # wcc_data
        if end - at < 4:
            return
        at += 4 + WCC_ATTR * min(be32(buf, at), 1)
    elif procedure == PROC3_LOOKUP:
        length = be32(buf, at) if end - at >= 4 else np.int64(0)
        if length == 0 or length > MOST_HANDLE or end - at - 4 < length:
            return
        call["object"] = hash_handle(buf, at + 4, length)
        at += 4 + ((length + 3) & ~3)
    elif procedure != PROC3_GETATTR and procedure != PROC3_ACCESS and procedure != PROC3_READ:
        return
    if procedure != PROC3_GETATTR:  # post_op_attr
        if end - at < 4 or be32(buf, at) == 0:
            return
        at += 4
    if end - at < FATTR3:
        return
    call["fsid"] = be64(buf, at + FSID3)
    call["change"] = be64(buf, at + MTIME3)
    call["flags"] |= CALL_FSID | CALL_CHANGE


@part
def take_attributes4(call, buf, at, end):
    """From a fattr4 at `at` (RFC 8881 section 3.3.12): values stand in the order of their numbers."""
    if end - at < 8:
        return
    words, mask = be32(buf, at), be32(buf, at + 4)
    at += 8 + 4 * words  # behind the length of the values
    if words < 1 or words > MOST_WORDS or end - at < 4:
        return
    if mask & SUPPORTED:
        at += 4 + 4 * min(be32(buf, at), MOST_WORDS)
    at += 4 * ((mask & TYPE) // TYPE + (mask & EXPIRE) // EXPIRE)
    if mask & CHANGE:
        if end - at < 8:
            return
        call["change"] = be64(buf, at)
        call["flags"] |= CALL_CHANGE
        at += 8
    at += 8 * ((mask & SIZE) // SIZE) + 4 * (((mask >> 5) & 1) + ((mask >> 6) & 1) + ((mask >> 7) & 1))
    if mask & FSID and end - at >= 16:
        call["fsid"] = mix(mix(np.uint64(0), be64(buf, at)), be64(buf, at + 8))
        call["flags"] |= CALL_FSID


@part
def sets_size4(buf, at, end):
    """Whether the SETATTR arguments at `at` set the size of a file. Cut ones may: yes."""
    at += STATEID
    if end - at < 8:
        return True
    return be32(buf, at) > 0 and be32(buf, at + 4) & SIZE != 0


@part
def sets_size3(buf, at, end):
    """Whether a sattr3 at `at` sets the size of a file. Cut ones may: yes."""
    for _ in range(3):  # mode, uid, gid
        if end - at < 4:
            return True
        at += 4 + 4 * min(be32(buf, at), 1)
    return end - at < 4 or be32(buf, at) != 0

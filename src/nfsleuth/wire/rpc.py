"""ONC RPC (RFC 5531): record marks and message headers.

    record mark   | last 1 bit, length 31 bits |                                       RFC 5531 section 11, TCP only
    call          | xid | 0 | rpcvers 2 | prog | vers | proc | cred flavor, length, body | verf flavor, length, body |
    ... reply         | xid | 1 | 0 accepted | verf flavor, length, body | accept_stat | ...
                  | xid | 1 | 1 denied | reject_stat ...

Nothing here advances a stream: `trace.stream` does. `plausible` tells RPC from other bytes where a stream has to be
found in the middle: every field that has few legal values must have one of them.
"""

from __future__ import annotations

from nfsleuth.compiled import part
from nfsleuth.wire.fields import be32

CALL, REPLY = 0, 1
RPC_VERSION = 2
ACCEPTED, DENIED = 0, 1

AUTH_NONE, AUTH_SYS, AUTH_SHORT, AUTH_DH, RPCSEC_GSS, AUTH_TLS = 0, 1, 2, 3, 6, 7
MOST_AUTH = 400  # bytes of a credential or verifier, RFC 5531 section 8.2
GSS_DATA = 0  # gss_proc, RFC 2203 section 5
GSS_NONE, GSS_INTEGRITY, GSS_PRIVACY = 1, 2, 3  # service

PROGRAM_PORTMAP = 100000
PROGRAM_NFS = 100003
PROGRAM_MOUNT = 100005
PROGRAM_NLM = 100021
PROGRAM_NSM = 100024
PROGRAM_NFSACL = 100227
CALLBACK_FIRST, CALLBACK_LAST = 0x40000000, 0x5FFFFFFF  # transient numbers: NFSv4.0 callbacks; 4.1 uses 0x40000000

STARTTLS = (0x53544152, 0x54544C53)  # the verifier that accepts AUTH_TLS, as two words: RFC 9289 section 4.1

LARGEST_RECORD = 16 << 20  # a longer record mark is no RPC: servers take at most some MiB per call
SMALLEST_MESSAGE = 24  # an accepted reply without results; a call is longer
HEADER_SEEN = 28  # record mark and the fields that `plausible` looks at


@part
def is_callback(program):
    """Whether `program` is in the range that NFSv4 clients take for their callback service."""
    return CALLBACK_FIRST <= program <= CALLBACK_LAST


@part
def is_known(program):
    """Whether nfsleuth decodes `program`."""
    return (
        program == PROGRAM_NFS
        or program == PROGRAM_MOUNT
        or program == PROGRAM_NLM
        or program == PROGRAM_NSM
        or program == PROGRAM_NFSACL
        or program == PROGRAM_PORTMAP
        or is_callback(program)
    )


@part
def _is_flavor(flavor, length):
    """Whether an authentication flavor and the length of its body go together."""
    if flavor == AUTH_NONE or flavor == AUTH_TLS:
        return length == 0 or length == 8  # 8: the STARTTLS verifier, RFC 9289 section 4.1
    if flavor == AUTH_SYS or flavor == AUTH_SHORT or flavor == AUTH_DH or flavor == RPCSEC_GSS:
        return length <= MOST_AUTH and length & 3 == 0
    return False


@part
def is_message(buf, at):
    """Whether the 12 bytes at `at` can begin an RPC message: the check where a record mark is known to stand before."""
    kind = be32(buf, at + 4)
    return (kind == CALL and be32(buf, at + 8) == RPC_VERSION) or (kind == REPLY and be32(buf, at + 8) <= DENIED)


@part
def is_starttls(buf, at, end):
    """Whether the message at `at` is the reply after which a connection is encrypted (RFC 9289 section 4.1)."""
    if end - at < 28 or be32(buf, at + 4) != REPLY or be32(buf, at + 8) != ACCEPTED or be32(buf, at + 16) != 8:
        return False
    return be32(buf, at + 20) == STARTTLS[0] and be32(buf, at + 24) == STARTTLS[1]


@part
def plausible_message(buf, at, end):
    """Whether an RPC message header may begin at `at`: CALL, REPLY, or -1. Needs 24 bytes before `end`."""
    if end - at < SMALLEST_MESSAGE:
        return -1
    kind = be32(buf, at + 4)
    if kind == CALL:
        if be32(buf, at + 8) != RPC_VERSION or not is_known(be32(buf, at + 12)):
            return -1
        if be32(buf, at + 16) > 4 or be32(buf, at + 20) > 100:
            return -1
        if end - at >= 32 and not _is_flavor(be32(buf, at + 24), be32(buf, at + 28)):
            return -1
        return CALL
    if kind == REPLY:
        status = be32(buf, at + 8)
        if status == DENIED:
            reject = be32(buf, at + 12)  # RPC_MISMATCH low high, or AUTH_ERROR auth_stat
            return REPLY if reject <= 1 and be32(buf, at + 16) <= 15 else -1
        if status != ACCEPTED or not _is_flavor(be32(buf, at + 12), be32(buf, at + 16)):
            return -1
        if be32(buf, at + 16) == 0 and be32(buf, at + 20) > 5:
            return -1
        return REPLY
    return -1


@part
def plausible_record(buf, at, end):
    """As `plausible_message`, with a record mark before it."""
    if end - at < HEADER_SEEN or buf[at] & 0x80 == 0:
        return -1
    size = be32(buf, at) & 0x7FFFFFFF
    if size < SMALLEST_MESSAGE or size > LARGEST_RECORD:
        return -1
    return plausible_message(buf, at + 4, end)

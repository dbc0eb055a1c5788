"""RPC messages come in, one each; calls and replies are matched, counted, and searched for what gives a client away."""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import NO, YES, apart, entry, part
from nfsleuth.trace.arguments import read_arguments, read_results, read_unmatched
from nfsleuth.trace.early import keep_reply, take_reply
from nfsleuth.trace.identities import report
from nfsleuth.trace.notes import note
from nfsleuth.trace.pending import add_pending, find_pending, hand_out, key_of
from nfsleuth.trace.state import ENDED, HEAD, IN_CHUNK, LONGEST_NAME, RESERVE_ROWS, RESERVE_TEXT, Control
from nfsleuth.trace.tables import (
    CALL_CUT,
    CALL_FROM_SERVER,
    CALL_HIDDEN,
    CALL_REPLY_CUT,
    CALL_RETRANSMITTED,
    MAX_OPS,
    Flavor,
    Identity,
    Oddity,
    Program,
    Role,
    Version,
)
from nfsleuth.trace.transfers import end_message, end_transfer
from nfsleuth.wire import rpc
from nfsleuth.wire.fields import be32
from nfsleuth.wire.walk import CUT, MALFORMED

STATUS_NO_REPLY, STATUS_NOT_DECODED, STATUS_ACCEPT, STATUS_DENIED = -1, -2, -100, -200


@entry
def decode_messages(s, buf, first):
    """Decode the messages from row `first` of the table on; those in the chunk lie in `buf`.

    Returns the row of the first one that was not decoded since the rows that are handed out are full.
    """
    for n in range(first, s["control"][Control.MESSAGES]):
        if (
            s["control"][Control.IDENTITIES] > len(s["identities"]) - RESERVE_ROWS
            or s["control"][Control.TEXT] > len(s["text"]) - RESERVE_TEXT
            or s["control"][Control.CALLS] > len(s["calls"]) - RESERVE_ROWS
        ):
            return n
        message = s["messages"][n]
        c = np.int64(message["stream"]) >> 1
        if s["conns"][c]["used"] == 0:
            continue
        s["control"][Control.FRAME] = message["seen_frame"]
        s["control"][Control.TIME] = message["seen_time"]
        if message["where"] == ENDED:
            end_message(s["conns"][c], np.int64(message["stream"]) & 1, message["seen_time"])
        elif message["where"] == IN_CHUNK:
            _decode(s, c, message, buf)
        else:
            _decode(s, c, message, s["arena"][:])
    return s["control"][Control.MESSAGES]


@part
def _decode(s, c, message, buf):
    """Decode one message; its bytes lie in `buf`."""
    at = message["at"]
    end = at + message["length"]
    s["conns"][c]["reading"][np.int64(message["stream"]) & 1] = 0
    status = CUT
    if end - at >= 12:
        kind = be32(buf, at + 4)
        if kind == rpc.CALL:
            status = _call(s, c, message, buf, at, end)
        elif kind == rpc.REPLY:
            status = _reply(s, c, message, buf, at, end)
        else:
            status = MALFORMED
    _judge(s, message, status)


@part
def _judge(s, message, status):
    """Count what was wrong with a message, if decoding it ended with an error."""
    if status == MALFORMED:
        note(s, Oddity.XDR_MALFORMED)
    elif status == CUT and message["cut"] == 1:
        note(s, Oddity.RECORD_CUT)
    elif status == CUT and message["length"] < HEAD:
        note(s, Oddity.XDR_MALFORMED)  # the record ends before what its header announces


@part
def _call(s, c, message, buf, at, end):
    """A call; returns a status as `walk` does, 0 or more if all is well."""
    if end - at < 24:
        return np.int64(CUT)
    if be32(buf, at + 8) != rpc.RPC_VERSION:
        return np.int64(MALFORMED)
    call = s["call"][0]
    _clear(s, c, message, call)
    call["xid"] = be32(buf, at)
    call["program"] = be32(buf, at + 12)
    call["version"] = be32(buf, at + 16)
    call["procedure"] = be32(buf, at + 20)
    program = np.int64(call["program"])
    from_client = NO if rpc.is_callback(program) else YES
    if from_client == NO:
        call["flags"] |= CALL_FROM_SERVER
    status = _credentials(s, c, call, buf, at + 24, end, from_client)
    if status > 0:
        status = read_arguments(s, c, call, buf, status, end, from_client)
    if status < 0:
        call["flags"] |= CALL_CUT
    _enter(s, c, np.int64(message["stream"]) & 1, call, buf, from_client)
    return status


@part
def _clear(s, c, message, call):
    """An empty CALL row for a message."""
    call["uid"] = s["conns"][c]["uid"]
    call["minor"] = 0
    call["main"] = 0
    call["ops_count"] = 0
    for i in range(MAX_OPS):  # those behind data that is not looked at stay 0
        call["ops"][i] = 0
    call["flavor"] = 0
    call["flags"] = 0
    call["status"] = STATUS_NO_REPLY
    call["handle"] = 0
    call["object"] = 0
    call["fsid"] = 0
    call["change"] = 0
    call["offset"] = 0
    call["count"] = 0
    call["bytes"] = 0
    call["call_bytes"] = min(message["bytes"], 0xFFFF_FFFF)
    call["reply_bytes"] = 0
    call["call_frame"] = message["frame"]
    call["reply_frame"] = 0
    call["call_time"] = message["time"]
    call["reply_time"] = 0
    call["name_at"] = 0
    call["name_length"] = 0


@part
def flavor_bit(flavor):
    """The Flavor of an authentication flavor's number."""
    if flavor == rpc.AUTH_NONE:
        return Flavor.NONE.value
    if flavor == rpc.AUTH_SYS:
        return Flavor.SYS.value
    if flavor == rpc.AUTH_SHORT:
        return Flavor.SHORT.value
    if flavor == rpc.AUTH_DH:
        return Flavor.DH.value
    if flavor == rpc.RPCSEC_GSS:
        return Flavor.GSS.value
    if flavor == rpc.AUTH_TLS:
        return Flavor.TLS.value
    return Flavor.OTHER.value


@part
def _credentials(s, c, call, buf, at, end, from_client):
    """Read credential and verifier from `at`. Returns where the arguments begin, 0 if they are hidden, or a status."""
    if end - at < 8:
        return np.int64(CUT)
    flavor, length = be32(buf, at), be32(buf, at + 4)
    call["flavor"] = flavor_bit(flavor)
    if length > rpc.MOST_AUTH:
        return np.int64(MALFORMED)
    body = at + 8
    stop = min(body + length, end)
    hidden = False
    integrity = False
    if flavor == rpc.AUTH_SYS and stop - body >= 8:
        name = be32(buf, body + 4)
        if name > length:
            return np.int64(MALFORMED)
        after = body + 8 + ((name + 3) & ~3)
        uid = be32(buf, after) if stop - after >= 4 else np.int64(0)
        stamp = np.uint64(be32(buf, body))
        report(s, c, Identity.MACHINE_NAME.value, from_client, buf, body + 8, name, stop, stamp, np.uint64(uid))
    elif flavor == rpc.RPCSEC_GSS and stop - body >= 16:
        data = be32(buf, body + 4) == rpc.GSS_DATA
        service = be32(buf, body + 12)
        integrity = data and service == rpc.GSS_INTEGRITY
        hidden = not data or service == rpc.GSS_PRIVACY
        if data and service == rpc.GSS_PRIVACY:
            call["flags"] |= CALL_HIDDEN
    at = body + ((length + 3) & ~3)
    if end - at < 8:
        return np.int64(CUT)
    if be32(buf, at + 4) > rpc.MOST_AUTH:
        return np.int64(MALFORMED)
    at += 8 + ((be32(buf, at + 4) + 3) & ~3)
    if hidden:
        return np.int64(0)
    if integrity:
        at += 8  # length of databody_integ and its sequence number, RFC 2203 section 5.3.3.4.2
        call["flavor"] |= Flavor.GSS_HIDDEN  # remembered for the reply; cleared before the row is handed out
    return at if at <= end else np.int64(CUT)


@part
def program_bit(program):
    """The Program of an RPC program's number."""
    if program == rpc.PROGRAM_NFS:
        return Program.NFS.value
    if program == rpc.PROGRAM_MOUNT:
        return Program.MOUNT.value
    if program == rpc.PROGRAM_NLM:
        return Program.NLM.value
    if program == rpc.PROGRAM_NSM:
        return Program.NSM.value
    if program == rpc.PROGRAM_NFSACL:
        return Program.NFSACL.value
    if program == rpc.PROGRAM_PORTMAP:
        return Program.PORTMAP.value
    if rpc.is_callback(program):
        return Program.CALLBACK.value
    return Program.OTHER.value


@part
def _enter(s, c, side, call, buf, from_client):
    """Count a decoded call and let it wait for its reply."""
    conn = s["conns"][c]
    program = program_bit(np.int64(call["program"]))
    if program == Program.OTHER:
        note(s, Oddity.RPC_PROGRAM_OTHER)
    if call["flags"] & CALL_HIDDEN:
        note(s, Oddity.BODY_HIDDEN)
        conn["flavors"] |= Flavor.GSS_HIDDEN
    conn["programs"] |= program
    conn["flavors"] |= call["flavor"] & 0xBF  # without GSS_HIDDEN, which is a note to ourselves here
    if from_client == 1:
        conn["calls"] += 1
        conn["last_call"] = max(conn["last_call"], call["call_time"])
        _settle_role(conn, side, program)
        if program == Program.NFS:
            conn["nfs_calls"] += 1
            conn["versions"] |= _version_bit(call)
    xid = np.int64(call["xid"])
    way = add_pending(s, c, side, xid)
    if way < 0:
        note(s, Oddity.CALL_RETRANSMITTED)
        way = find_pending(s, c, side, xid)
        s["pending"][way]["flags"] |= CALL_RETRANSMITTED
        return
    s["pending"][way] = call
    if s["control"][Control.KEEP_CALLS] == 1:
        length = min(np.int64(call["name_length"]), LONGEST_NAME)
        s["pending"][way]["name_length"] = length
        for i in range(length):
            s["pending_names"][way, i] = buf[call["name_at"] + i]
    slot = take_reply(s, c, xid, s["pending_keys"][way], call["call_time"])
    if slot >= 0:
        _answer_early(s, c, 1 - side, s["early"][slot], way)


@apart
def _answer_early(s, c, side, message, way):
    """The call in row `way` was answered by `side` with a message that the capture had before."""
    note(s, Oddity.REPLY_EARLY)
    frame, time = s["control"][Control.FRAME], s["control"][Control.TIME]
    s["control"][Control.FRAME] = message["seen_frame"]
    s["control"][Control.TIME] = message["seen_time"]
    at = message["at"]
    _judge(s, message, _finish(s, c, side, message, s["early_bytes"][:], at, at + message["length"], way))
    s["control"][Control.FRAME] = frame
    s["control"][Control.TIME] = time


@part
def _settle_role(conn, side, program):
    """Who calls NFS is the client, whatever the ports and the SYN seemed to say."""
    if conn["role"] != Role.RPC:
        conn["flip"] = side
        if program != Program.OTHER:
            conn["role"] = Role.RPC.value


@part
def _version_bit(call):
    if call["version"] == 4:
        if call["minor"] == 0:
            # A NULL call, or one that was cut before the minor version, does not tell which
            known = call["procedure"] == 1 and (call["flags"] & (CALL_CUT | CALL_HIDDEN) == 0 or call["ops_count"] > 0)
            return Version.V4_0.value if known else 0
        return Version.V4_1.value if call["minor"] == 1 else Version.V4_2
    if call["version"] == 3:
        return Version.V3.value
    return Version.V2.value if call["version"] == 2 else 0


@part
def _reply(s, c, message, buf, at, end):
    """A reply; returns a status as `_call` does."""
    side = np.int64(message["stream"]) & 1
    xid = be32(buf, at)
    way = find_pending(s, c, 1 - side, xid)
    if way < 0:
        keep_reply(s, c, xid, key_of(s, c, 1 - side, xid), message, buf)
        read_unmatched(s, c, buf, at, end)
        return np.int64(0)
    return _finish(s, c, side, message, buf, at, end, way)


@part
def _finish(s, c, side, message, buf, at, end, way):
    """Decode the reply of `side` to the call in row `way`, and hand the call out. Returns a status."""
    call = s["pending"][way]
    status = _reply_body(s, c, call, buf, at, end)
    if status < 0:
        call["flags"] |= CALL_REPLY_CUT
    _answer(s, c, side, message, way)
    return status


@part
def _reply_body(s, c, call, buf, at, end):
    """Fill in what the reply says. Returns a status."""
    call["status"] = STATUS_NOT_DECODED
    if be32(buf, at + 8) == rpc.DENIED:
        call["status"] = STATUS_DENIED
        return np.int64(1)
    if end - at < 20:
        return np.int64(CUT)
    length = be32(buf, at + 16)
    if length > rpc.MOST_AUTH:
        return np.int64(MALFORMED)
    if rpc.is_starttls(buf, at, end):
        s["conns"][c]["flavors"] |= Flavor.TLS
        note(s, Oddity.TLS)
        call["status"] = 0
        return np.int64(1)
    body = at + 20 + ((length + 3) & ~3)
    if end - body < 4:
        return np.int64(CUT)
    accept = be32(buf, body)
    if accept != 0:
        call["status"] = STATUS_ACCEPT - min(accept, 99)
        return np.int64(1)
    if call["procedure"] == 0:
        call["status"] = 0
        return np.int64(1)
    if call["flags"] & CALL_HIDDEN:
        return np.int64(1)
    body += 4
    if call["flavor"] & Flavor.GSS_HIDDEN:
        body += 8
    if body > end:
        return np.int64(CUT)
    return read_results(s, c, call, buf, body, end)


@part
def _answer(s, c, side, message, way):
    """A reply of `side` was decoded: count it and hand the call out."""
    conn = s["conns"][c]
    call = s["pending"][way]
    call["reply_frame"] = message["frame"]
    call["reply_time"] = message["time"]
    call["reply_bytes"] = min(message["bytes"], 0xFFFF_FFFF)
    call["flavor"] &= 0xBF
    if call["flags"] & CALL_FROM_SERVER == 0:
        conn["replies"] += 1
        if call["status"] > 0:
            conn["errors"] += 1
        if call["program"] == rpc.PROGRAM_NFS:
            end_transfer(conn, side, call, message["seen_time"])
    hand_out(s, way)

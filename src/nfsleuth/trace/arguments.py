"""Arguments and results: the protocol's tables say where things lie, this module takes what is wanted of them.

For a CALL row: operations, file handle, offset, count, name, status, bytes. For IDENTITY rows: everything that a client
says of itself. The walk goes on past what nobody needs; where an operation is unknown, the COMPOUND ends there.
"""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import NO, ZERO, apart, part
from nfsleuth.trace.attributes import (
    OP_GETATTR,
    OP_GETFH,
    OP_OPEN,
    OP_PUTFH,
    OP_RESTOREFH,
    OP_SAVEFH,
    OP_SETATTR,
    PROC3_SETATTR,
    hash_handle,
    moves,
    sets_size3,
    sets_size4,
    take_attributes3,
    take_attributes4,
)
from nfsleuth.trace.identities import report, report_pair
from nfsleuth.trace.notes import note
from nfsleuth.trace.state import LONGEST_NAME, Control
from nfsleuth.trace.tables import CALL_CHANGE, CALL_FSID, CALL_SETS_SIZE, MAX_OPS, Identity, Oddity
from nfsleuth.trace.transfers import OP_WRITE, is_read, is_write
from nfsleuth.wire import rpc
from nfsleuth.wire.fields import be32, be64
from nfsleuth.wire.marks import FOUND, Mark
from nfsleuth.wire.nfs4 import MAIN_RANK
from nfsleuth.wire.programs import ARGS, CODE, RESULTS, Table
from nfsleuth.wire.walk import CUT, MALFORMED, clear, has, walk

UNKNOWN_OPERATION = 1  # the walk ends, nothing is wrong
OP_CREATE_SESSION, OP_EXCHANGE_ID, OP_SETCLIENTID = 43, 42, 35
OP_READDIR, OP_SEQUENCE = 26, 53
MOUNT_MNT = 1  # the only procedure of MOUNT whose results begin with a status, RFC 1813 section 5.2
LARGEST_TAG = 1024
# Whose handle is the current one while the results of a COMPOUND are gone through: the row's `handle`, one that nothing
# has named yet, the row's `object`, one behind these.
OF_HANDLE, OF_UNNAMED, OF_OBJECT, OF_OTHER = np.int64(0), np.int64(1), np.int64(2), np.int64(3)
# Marks, as bits of FOUND, that say nothing of the client; most operations have no others.
OF_THE_CALL = sum(1 << mark for mark in (Mark.STATUS, Mark.HANDLE, Mark.OFFSET, Mark.COUNT))
PUT_RANK = int(MAIN_RANK[OP_PUTFH])  # a COMPOUND that has done no more than this is about the handle put last


@part
def _table(program, version):
    """Row of ARGS and RESULTS for a program's version, -1 if there is none."""
    if program == rpc.PROGRAM_NFS:
        if version == 4:
            return Table.NFS4.value
        if version == 3:
            return Table.NFS3.value
        return Table.NFS2.value if version == 2 else -1
    if program == rpc.PROGRAM_MOUNT:
        return Table.MOUNT3.value if version == 3 else Table.MOUNT1.value
    if program == rpc.PROGRAM_NLM:
        return Table.NLM4.value if version == 4 else Table.NLM3.value
    if program == rpc.PROGRAM_NSM:
        return Table.NSM1.value
    return Table.CALLBACK.value if rpc.is_callback(program) else -1


@part
def _entry(entries, table, number):
    """Where the code of a procedure or operation begins, -1 if the table does not have it."""
    return np.int64(entries[table, number]) if table >= 0 and number < entries.shape[1] else np.int64(-1)


@part
def read_arguments(s, c, call, buf, at, end, from_client):
    """Arguments of `call` from `at`. Returns a status: 0 or more is fine, CUT, MALFORMED."""
    program, version, procedure = np.int64(call["program"]), np.int64(call["version"]), np.int64(call["procedure"])
    if procedure == 0:
        return np.int64(0)
    table = _table(program, version)
    if table == Table.NFS4 or table == Table.CALLBACK:
        return (
            _compound(s, c, call, buf, at, end, from_client, table) if procedure == 1 else np.int64(UNKNOWN_OPERATION)
        )
    entry = _entry(ARGS, table, procedure)
    if entry < 0:
        return np.int64(UNKNOWN_OPERATION)
    clear(s["marks"])
    status = walk(CODE, entry, buf, at, end, s["marks"])
    _take_call(s, call, buf, end)
    _take_identities(s, c, buf, end, from_client, procedure)
    if program == rpc.PROGRAM_NFS and procedure == PROC3_SETATTR:  # the same number in version 2, of fixed layout
        after = s["marks"][Mark.HANDLE, 0] + ((s["marks"][Mark.HANDLE, 1] + 3) & ~3)
        if version == 2 or not has(s["marks"], Mark.HANDLE.value) or sets_size3(buf, after, end):
            call["flags"] |= CALL_SETS_SIZE
    if status == CUT and program == rpc.PROGRAM_NFS and is_write(call) and has(s["marks"], Mark.OFFSET.value):
        return np.int64(0)  # what is missing is the data to be written
    return status


@part
def _compound(s, c, call, buf, at, end, from_client, table):
    """COMPOUND or CB_COMPOUND arguments: tag, minor version, operations (RFC 7531, RFC 5662)."""
    if end - at < 4:
        return np.int64(CUT)
    tag = be32(buf, at)
    if tag > LARGEST_TAG:
        return np.int64(MALFORMED)
    at += 4 + ((tag + 3) & ~3)
    before_count = 4 if from_client == 1 else 8  # CB_COMPOUND: callback_ident stands between (RFC 7531)
    if end - at < before_count + 4:
        return np.int64(CUT)
    call["minor"] = min(be32(buf, at), 255)
    count = be32(buf, at + before_count)
    at += before_count + 4
    call["ops_count"] = min(count, 0xFFFF)
    call["main"] = 0
    rank = -1
    current, saved = np.uint64(0), np.uint64(0)  # file handles, RFC 8881 section 16.2.3.1
    for i in range(count):
        if end - at < 4:
            return np.int64(CUT)
        operation = be32(buf, at)
        if i < MAX_OPS:
            call["ops"][i] = min(operation, 255)
        entry = _entry(ARGS, table, operation)
        if entry < 0:
            note(s, Oddity.OPERATION_UNKNOWN)
            return np.int64(UNKNOWN_OPERATION)
        clear(s["marks"])
        status = walk(CODE, entry, buf, at + 4, end, s["marks"])
        if from_client == 1:
            if operation == OP_PUTFH and has(s["marks"], Mark.HANDLE.value):
                current = _handle(s, buf, end)
            if MAIN_RANK[operation] > rank:
                rank = np.int64(MAIN_RANK[operation])
                call["main"] = operation
                _take_call(s, call, buf, end)
                call["handle"] = current
            elif rank <= PUT_RANK:
                call["handle"] = current
            if operation == OP_SAVEFH:
                saved = current
            elif operation == OP_RESTOREFH:
                current = saved
            elif moves(operation):
                current = np.uint64(0)
            elif operation == OP_SETATTR and sets_size4(buf, at + 4, end):
                call["flags"] |= CALL_SETS_SIZE
            _take_identities(s, c, buf, end, from_client, operation)
        if status < 0:
            if (
                status == CUT
                and operation == OP_WRITE
                and has(s["marks"], Mark.OFFSET.value)
                and has(s["marks"], Mark.COUNT.value)
            ):
                return np.int64(0)
            return status
        at = status
    return np.int64(0)


@apart
def _object(s, call, buf, at, end, operation, whose):
    """Take handle and attributes out of the result of an NFSv4 operation at `at`. Returns whose the next ones are."""
    if operation == OP_GETATTR:
        if (whose == OF_HANDLE or whose == OF_OBJECT) and call["flags"] & CALL_CHANGE == 0 and be32(buf, at + 4) == 0:
            take_attributes4(call, buf, at + 8, end)
        return whose
    if operation == OP_GETFH and whose == OF_UNNAMED and has(s["marks"], Mark.HANDLE.value):
        call["object"] = _handle(s, buf, end)
        call["flags"] &= 0xFF & ~(CALL_CHANGE | CALL_FSID)  # those so far are of another
        return OF_OBJECT
    if operation == OP_PUTFH:
        call["flags"] &= 0xFF & ~(CALL_CHANGE | CALL_FSID)
        return OF_HANDLE if call["object"] == 0 else OF_OTHER
    if moves(operation) or operation == OP_RESTOREFH:
        return OF_UNNAMED if call["object"] == 0 else OF_OTHER
    return whose


@part
def _handle(s, buf, end):
    """Hash of the file handle that was just read, 0 if it was cut."""
    at, length = s["marks"][Mark.HANDLE, 0], s["marks"][Mark.HANDLE, 1]
    if at + length > end:
        return np.uint64(0)
    return hash_handle(buf, at, length)


@part
def _take_call(s, call, buf, end):
    """What a CALL row wants of the marks."""
    marks = s["marks"]
    if has(marks, Mark.HANDLE.value):
        call["handle"] = _handle(s, buf, end)
    if has(marks, Mark.OFFSET.value):
        call["offset"] = np.uint64(marks[Mark.OFFSET, 2])
    if has(marks, Mark.COUNT.value):
        call["count"] = _count(marks)
    if has(marks, Mark.NAME.value):
        call["name_at"] = marks[Mark.NAME, 0]
        call["name_length"] = max(min(marks[Mark.NAME, 1], end - marks[Mark.NAME, 0], LONGEST_NAME), 0)
    elif has(marks, Mark.PATH.value):
        call["name_at"] = marks[Mark.PATH, 0]
        call["name_length"] = max(min(marks[Mark.PATH, 1], end - marks[Mark.PATH, 0], LONGEST_NAME), 0)


@part
def _count(marks):
    """Bytes of a transfer: a number, or the length of the data itself."""
    return min(marks[Mark.COUNT, 2], 0xFFFF_FFFF)


@part
def _number(marks, mark):
    """Value of a marked number as uint64, 0 if it was not reached."""
    return np.uint64(marks[mark, 2]) if has(marks, mark) else np.uint64(0)


@part
def _report_text(s, c, buf, kind, mark, end, from_client, a, b):
    """An IDENTITY row for a marked text, if it was reached."""
    if has(s["marks"], mark):
        report(s, c, kind, from_client, buf, s["marks"][mark, 0], s["marks"][mark, 1], end, a, b)


@part
def _report_strings(s, c, buf, kind, first, second, end, from_client, a):
    """An IDENTITY row for two marked strings, if both were reached."""
    marks = s["marks"]
    if has(marks, first) and has(marks, second):
        report_pair(
            s, c, kind, from_client, buf, marks[first, 0], marks[first, 1], marks[second, 0], marks[second, 1], end, a
        )


@part
def _take_identities(s, c, buf, end, from_client, operation):
    """IDENTITY rows of one operation or procedure."""
    marks = s["marks"]
    if marks[FOUND, 0] & ~OF_THE_CALL == 0:
        return
    zero = np.uint64(0)
    clientid = _number(marks, Mark.CLIENTID)
    if has(marks, Mark.CLIENT_ID.value):
        verifier = _number(marks, Mark.VERIFIER)
        if operation == OP_SETCLIENTID:
            _report_text(s, c, buf, Identity.CLIENT_ID.value, Mark.CLIENT_ID, end, from_client, verifier, zero)
        else:
            flags = _number(marks, Mark.FLAGS)
            _report_text(s, c, buf, Identity.CLIENT_OWNER.value, Mark.CLIENT_ID, end, from_client, verifier, flags)
    if has(marks, Mark.NETID.value):
        program = _number(marks, Mark.CB_PROGRAM)
        _report_strings(s, c, buf, Identity.CALLBACK.value, Mark.NETID, Mark.ADDR, end, from_client, program)
    if has(marks, Mark.IMPL_DOMAIN.value):
        kind = Identity.IMPLEMENTATION.value if from_client == 1 else Identity.SERVER_IMPLEMENTATION.value
        date = _number(marks, Mark.IMPL_DATE)
        _report_strings(s, c, buf, kind, Mark.IMPL_DOMAIN, Mark.IMPL_NAME, end, from_client, date)
    if has(marks, Mark.SEC_MACHINE.value):
        stamp = _number(marks, Mark.SEC_STAMP)
        _report_text(s, c, buf, Identity.SESSION_MACHINE.value, Mark.SEC_MACHINE, end, from_client, stamp, zero)
    if has(marks, Mark.SESSION.value) and marks[Mark.SESSION, 0] + 16 <= end:
        at = marks[Mark.SESSION, 0]
        report(s, c, Identity.SESSION.value, from_client, buf, at, ZERO, end, be64(buf, at), be64(buf, at + 8))
    if has(marks, Mark.OWNER.value) and from_client == 1:
        kind = Identity.OPEN_OWNER.value if operation == OP_OPEN else Identity.LOCK_OWNER.value
        _report_text(s, c, buf, kind, Mark.OWNER, end, from_client, clientid, zero)
    if has(marks, Mark.CLIENTID.value) and clientid != 0:
        report(s, c, Identity.CLIENTID.value, from_client, buf, marks[Mark.CLIENTID, 0], ZERO, end, clientid, zero)
    if has(marks, Mark.EXCL_VERIFIER.value):
        verifier = _number(marks, Mark.EXCL_VERIFIER)
        report(
            s,
            c,
            Identity.EXCLUSIVE_VERIFIER.value,
            from_client,
            buf,
            marks[Mark.EXCL_VERIFIER, 0],
            ZERO,
            end,
            verifier,
            zero,
        )
    _report_text(s, c, buf, Identity.NLM_CALLER.value, Mark.CALLER, end, from_client, _number(marks, Mark.SVID), zero)
    _report_text(s, c, buf, Identity.NLM_OWNER.value, Mark.OH, end, from_client, zero, zero)
    _report_text(s, c, buf, Identity.NSM_NAME.value, Mark.MON_NAME, end, from_client, zero, zero)
    _report_text(s, c, buf, Identity.MOUNT_PATH.value, Mark.PATH, end, from_client, zero, zero)
    if from_client == 1:
        _report_text(s, c, buf, Identity.FILE_NAME.value, Mark.NAME, end, from_client, np.uint64(operation), zero)
        _report_text(s, c, buf, Identity.FILE_NAME.value, Mark.NAME2, end, from_client, np.uint64(operation), zero)


@part
def read_results(s, c, call, buf, at, end):
    """Results of `call` from `at`: status and bytes. Returns a status as `read_arguments` does."""
    program, version, procedure = np.int64(call["program"]), np.int64(call["version"]), np.int64(call["procedure"])
    table = _table(program, version)
    if table == Table.NFS4 or table == Table.CALLBACK:
        return _compound_results(s, c, call, buf, at, end, table)
    mounts = program == rpc.PROGRAM_MOUNT and procedure == MOUNT_MNT
    if program != rpc.PROGRAM_NFS and program != rpc.PROGRAM_NFSACL and not mounts:
        if program != rpc.PROGRAM_NLM and program != rpc.PROGRAM_NSM:
            call["status"] = 0
        return np.int64(0)
    if end - at < 4:
        return np.int64(CUT)
    call["status"] = be32(buf, at)
    if program != rpc.PROGRAM_NFS or call["status"] != 0 or version > 3:
        return np.int64(0)
    if version == 3 and s["control"][Control.KEEP_CALLS] == 1:
        take_attributes3(call, buf, at, end)
    if is_write(call) and version == 2:
        call["bytes"] = call[
            "count"
        ]  # the results do not say it, but all or nothing was written (RFC 1094 section 2.2.9)
        return np.int64(0)
    if not is_read(call) and not is_write(call):
        return np.int64(0)  # nothing in other results is wanted
    entry = _entry(RESULTS, table, procedure)
    if entry < 0:
        return np.int64(UNKNOWN_OPERATION)
    clear(s["marks"])
    status = walk(CODE, entry, buf, at, end, s["marks"])
    if has(s["marks"], Mark.COUNT.value):
        call["bytes"] = _count(s["marks"])
        return np.int64(0)
    return status


@apart
def read_unmatched(s, c, buf, at, end):
    """A reply whose call was not captured: a COMPOUND that began with SEQUENCE tells the session all the same.

    No other results look like that: status 0, an empty tag, a count, operation 53 with status 0, and 16 bytes.
    """
    if end - at < 24 or be32(buf, at + 8) != rpc.ACCEPTED or be32(buf, at + 16) > rpc.MOST_AUTH:
        return
    body = at + 20 + ((be32(buf, at + 16) + 3) & ~3)
    if end - body < 40 or be32(buf, body) != 0 or be32(buf, body + 4) != 0 or be32(buf, body + 8) != 0:
        return
    if be32(buf, body + 16) == OP_SEQUENCE and be32(buf, body + 20) == 0:
        session = body + 24
        high, low = be64(buf, session), be64(buf, session + 8)
        report(s, c, Identity.SESSION.value, NO, buf, session, ZERO, end, high, low)


@part
def _compound_results(s, c, call, buf, at, end, table):
    """COMPOUND results: status, tag, one result per operation that was tried."""
    if end - at < 8:
        return np.int64(CUT)
    call["status"] = be32(buf, at) & 0x7FFF_FFFF
    tag = be32(buf, at + 4)
    if tag > LARGEST_TAG:
        return np.int64(MALFORMED)
    at += 8 + ((tag + 3) & ~3)
    if end - at < 4:
        return np.int64(CUT)
    count = be32(buf, at)
    at += 4
    whose = OF_HANDLE
    counted = False  # what comes behind is wanted for its attributes only: if it is cut, nothing is missing
    for _ in range(count):
        if end - at < 8:
            return np.int64(0 if counted else CUT)
        operation = be32(buf, at)
        entry = _entry(RESULTS, table, operation)
        if entry < 0 or (counted and operation == OP_PUTFH):
            if counted:
                return np.int64(0)
            note(s, Oddity.OPERATION_UNKNOWN)
            return np.int64(UNKNOWN_OPERATION)
        clear(s["marks"])
        status = walk(CODE, entry, buf, at + 4, end, s["marks"])
        if s["control"][Control.KEEP_CALLS] == 1:
            whose = _object(s, call, buf, at, end, operation, whose)
        if operation == call["main"] and has(s["marks"], Mark.COUNT.value):
            call["bytes"] = _count(s["marks"])
            counted = True
            if s["control"][Control.KEEP_CALLS] == 0:
                return np.int64(0)
        if operation in (OP_SETCLIENTID, OP_EXCHANGE_ID, OP_CREATE_SESSION):
            _take_identities(s, c, buf, end, NO, operation)
        if operation == call["main"] and operation == OP_READDIR:
            return np.int64(0)
        if status < 0:
            return np.int64(0) if counted else status
        at = status
    return np.int64(0)

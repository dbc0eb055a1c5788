"""Which file a call is about, and what its replies tell of that file's system and version."""

from __future__ import annotations

import pytest

import packets as p
from nfsleuth.trace.tables import CALL_CHANGE, CALL_FSID, CALL_REPLY_CUT, CALL_SETS_SIZE
from packets import Conversation
from tracking import track

KNOWN = CALL_CHANGE | CALL_FSID
ACCESS, COMMIT, GETATTR, GETFH, OPEN, PUTROOTFH, RESTOREFH, SAVEFH, SETATTR = 3, 5, 9, 10, 18, 24, 31, 32, 34


def fattr3(fsid=7, mtime=(11, 12)):
    """Everything else is filled with what must not be taken for it."""
    return b"\xaa" * 44 + p.u64(fsid) + b"\xbb" * 16 + p.u32(*mtime) + b"\xcc" * 8


def fattr4(change=5, fsid=(1, 2), *, size=None, before=b"", first=0):
    """first: bits of attributes 0 to 2, whose values are `before`."""
    mask = first | 8 * (change is not None) | 16 * (size is not None) | 256 * (fsid is not None)
    values = before + b"".join(p.u64(v) for v in (change, size, *(fsid or ())) if v is not None)
    return p.u32(2, mask, 0x00B0_A23A) + p.opaque(values + b"\xdd" * 8)


def op(number, body=b""):
    return p.u32(number) + body


def done(number, body=b""):
    return p.u32(number, 0) + body


def exchanged(call, reply):
    talk = Conversation().handshake().send(0, p.record(call)).send(1, p.record(reply))
    return track(talk.frames).calls[0]


def asked3(procedure, arguments, results):
    return exchanged(p.call(1, p.NFS, 3, procedure, arguments), p.reply(1, p.u32(0) + results))


def asked4(operations, results, minor=1):
    call = p.call(1, p.NFS, 4, 1, p.compound(*operations, minor=minor))
    return exchanged(call, p.reply(1, p.compound_results(*results)))


def handle_of(name: bytes):
    """The hash of a handle, from a call that plainly has it."""
    return exchanged(p.call(1, p.NFS, 3, 1, p.opaque(name)), p.reply(1, p.u32(70)))["handle"]


@pytest.mark.parametrize(
    ("procedure", "arguments", "results"),
    [
        (1, b"", fattr3()),
        (4, p.u32(1), p.u32(1) + fattr3() + p.u32(1)),
        (6, p.u64(0) + p.u32(4), p.u32(1) + fattr3() + p.u32(4, 1) + p.opaque(b"data")),
        (2, p.u32(0, 0, 0, 0, 0, 0, 0), p.u32(0, 1) + fattr3()),
        (2, p.u32(0, 0, 0, 0, 0, 0, 0), p.u32(1) + bytes(24) + p.u32(1) + fattr3()),
        (7, p.u64(0) + p.u32(4, 2) + p.opaque(b"data"), p.u32(0, 1) + fattr3() + p.u32(4, 2) + bytes(8)),
        (21, p.u64(0) + p.u32(0), p.u32(0, 1) + fattr3() + bytes(8)),
    ],
)
def test_nfs3_attributes(procedure, arguments, results):
    row = asked3(procedure, p.opaque(b"file-1") + arguments, results)
    assert row["flags"] == KNOWN
    assert (row["fsid"], row["change"], row["object"]) == (7, 11 << 32 | 12, 0)
    assert row["handle"] == handle_of(b"file-1")


def test_nfs3_lookup_finds_another_object():
    found = p.opaque(b"file-9.") + p.u32(1) + fattr3() + p.u32(1) + fattr3(8, (1, 1))
    row = asked3(3, p.opaque(b"dir") + p.opaque("name"), found)
    assert (row["flags"], row["fsid"], row["change"]) == (KNOWN, 7, 11 << 32 | 12)
    assert (row["handle"], row["object"]) == (handle_of(b"dir"), handle_of(b"file-9."))


@pytest.mark.parametrize("length", [0, 65, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_a_handle_that_cannot_be_is_none(length):
    row = asked3(3, p.opaque(b"dir") + p.opaque("name"), p.u32(length) + b"x" * 200)
    assert (row["flags"], row["object"]) == (0, 0)


def test_nfs3_attributes_that_are_not_there():
    row = asked3(6, p.opaque(b"file-1") + p.u64(0) + p.u32(4), p.u32(0, 4, 1) + p.opaque(b"data"))
    assert (row["flags"], row["bytes"]) == (0, 4)


@pytest.mark.parametrize("minor", [0, 1])
def test_the_handle_of_a_compound_is_the_current_one(minor):
    """Whatever stands before PUTFH: minor version 1 begins with SEQUENCE."""
    first = ([p.sequence4()], [p.sequence4_result()]) if minor else ([], [])
    operations = [*first[0], p.putfh(b"file-2"), p.read4(0, 9)]
    row = asked4(operations, [*first[1], p.ok(22), p.read4_result(b"123456789")], minor)
    assert (row["main"], row["bytes"], row["handle"]) == (25, 9, handle_of(b"file-2"))


def test_handles_are_saved_and_restored():
    operations = [p.putfh(b"a"), op(SAVEFH), p.putfh(b"b"), op(RESTOREFH), p.read4(0, 9)]
    assert asked4(operations, [p.ok(22)])["handle"] == handle_of(b"a")


def test_a_handle_that_nobody_sent_is_unknown():
    """What LOOKUP found is current, and its handle is nowhere."""
    assert asked4([p.putfh(b"dir"), p.lookup4("name"), p.read4(0, 9)], [p.ok(22)])["handle"] == 0
    assert asked4([op(PUTROOTFH), p.lookup4("name")], [p.ok(PUTROOTFH)])["handle"] == 0


def test_nfs4_attributes_of_the_handle():
    row = asked4([p.putfh(b"f"), op(GETATTR, p.u32(1, 0x118))], [p.ok(22), done(GETATTR, fattr4(size=99))])
    assert (row["flags"], row["change"], row["object"]) == (KNOWN, 5, 0)
    other = asked4([p.putfh(b"f"), op(GETATTR, p.u32(1, 0x118))], [p.ok(22), done(GETATTR, fattr4(fsid=(2, 1)))])
    assert row["fsid"] != other["fsid"]


def test_nfs4_attributes_behind_a_write():
    results = [p.ok(22), p.write4_result(3), done(GETATTR, fattr4())]
    row = asked4([p.putfh(b"f"), p.write4(0, b"abc"), op(GETATTR, p.u32(1, 0x118))], results)
    assert (row["flags"], row["bytes"], row["change"]) == (KNOWN, 3, 5)


def test_what_is_cut_behind_a_write_is_not_missed():
    results = [p.ok(22), p.write4_result(3), p.u32(GETATTR, 0, 2)]
    row = asked4([p.putfh(b"f"), p.write4(0, b"abc"), op(GETATTR, p.u32(1, 0x118))], results)
    assert (row["flags"], row["bytes"]) == (0, 3)


def test_attributes_that_stand_before():
    """supported_attrs has a length of its own; type and fh_expire_type have 4 bytes each."""
    row = asked4(
        [p.putfh(b"f"), op(GETATTR, p.u32(1, 0x11F))],
        [p.ok(22), done(GETATTR, fattr4(first=7, before=p.u32(3, 9, 9, 9, 1, 2), size=3))],
    )
    assert (row["flags"], row["change"]) == (KNOWN, 5)


def test_what_open_found_is_another_object():
    """As Linux 6 opens (4.1), and with the directory's attributes behind (4.0)."""
    opened = p.u32(OPEN) + p.u32(0, 1, 0) + p.u64(1) + p.opaque(b"owner") + p.u32(0, 0) + p.opaque(b"name")
    answer = done(OPEN, bytes(16) + bytes(20) + p.u32(0, 0, 0))
    operations = [p.putfh(b"dir"), op(SAVEFH), opened, op(GETFH), op(GETATTR, p.u32(1, 8)), op(RESTOREFH)]
    results = [p.ok(22), p.ok(SAVEFH), answer, done(GETFH, p.opaque(b"file-3")), done(GETATTR, fattr4(change=77))]
    behind = [p.ok(RESTOREFH), done(GETATTR, fattr4(change=78))]
    row = asked4([*operations, op(GETATTR, p.u32(1, 8))], [*results, *behind], minor=0)
    assert (row["main"], row["change"], row["flags"] & KNOWN) == (OPEN, 77, KNOWN)
    assert (row["handle"], row["object"]) == (handle_of(b"dir"), handle_of(b"file-3"))


@pytest.mark.parametrize(("size", "flag"), [(None, 0), (0, CALL_SETS_SIZE)])
def test_setting_the_size(size, flag):
    settable = p.u32(1, 16 if size is not None else 2) + p.opaque(p.u64(size) if size is not None else b"")
    row = asked4([p.putfh(b"f"), op(SETATTR, bytes(16) + settable)], [p.ok(22), done(SETATTR, p.u32(0))])
    assert (row["main"], row["flags"]) == (SETATTR, flag)
    sattr = p.u32(1, 0o644, 0, 1, 5) + (p.u32(0) if size is None else p.u32(1) + p.u64(size)) + p.u32(0, 0, 0)
    row = asked3(2, p.opaque(b"file") + sattr, p.u32(0, 0))
    assert row["flags"] == flag
    row = exchanged(p.call(1, p.NFS, 2, 2, bytes(32) + bytes(32)), p.reply(1, p.u32(0) + bytes(68)))
    assert row["flags"] == CALL_SETS_SIZE, "NFSv2: not looked at closely"


@pytest.mark.parametrize("cut", range(8, 60, 4))
def test_attributes_cut_short_are_unknown_or_right(cut):
    whole = done(GETATTR, fattr4(size=3))
    row = asked4([p.putfh(b"f"), op(GETATTR, p.u32(1, 0x118))], [p.ok(22), whole[: min(cut, len(whole))]])
    if row["flags"] & CALL_CHANGE:
        assert row["change"] == 5
    assert row["flags"] & CALL_REPLY_CUT or cut >= len(whole)


@pytest.mark.parametrize("words", [0, 1, 8, 9, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_impossible_bitmaps_do_no_harm(words):
    body = done(GETATTR, p.u32(words, 0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF))
    row = asked4([p.putfh(b"f"), op(GETATTR, p.u32(1, 0x118))], [p.ok(22), body])
    assert row["status"] == 0

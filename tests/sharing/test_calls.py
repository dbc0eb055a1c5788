"""Which calls become reads and changes of which files, and what is counted where that cannot be known."""

from __future__ import annotations

import numpy as np
import pytest

import packets as p
from nfsleuth.sharing.calls import COUNTS, ONE_RECORD, End, Reader
from nfsleuth.sharing.tables import Kind
from nfsleuth.trace.tables import CALL, CALL_CHANGE, CALL_FSID, CALL_REPLY_CUT, CALL_SETS_SIZE
from packets import Conversation
from tracking import track

ENDS = {0: End(0, 3, 5)}


def calls(*exchanges, snaplen=1 << 18, **fields):
    """CALL rows of a conversation of (call, reply) pairs."""
    talk = Conversation(**fields).handshake()
    for call, reply in exchanges:
        talk.send(0, p.record(call))
        if reply is not None:
            talk.send(1, p.record(reply))
    return track(talk.frames, snaplen=snaplen).calls


def turned(rows, ends=ENDS, text=b""):
    reader = Reader()
    return reader.events(rows, text, ends), reader


def told(reader):
    """Counts that are not 0."""
    return {name: count for name, count in reader.counts.items() if count}


def read3(xid=1, offset=0, asked=4096, data=b"x" * 4096, handle=b"file"):
    call = p.call(xid, p.NFS, 3, 6, p.opaque(handle) + p.u64(offset) + p.u32(asked))
    return call, p.reply(xid, p.read3_results(data))


def read4(xid=1, offset=0, asked=4096, data=b"x" * 4096, operations=None):
    operations = operations or [p.sequence4(), p.putfh(b"file"), p.read4(offset, asked)]
    results = p.compound_results(p.sequence4_result(), p.ok(22), p.read4_result(data))
    return p.call(xid, p.NFS, 4, 1, p.compound(*operations, minor=1)), p.reply(xid, results)


@pytest.mark.parametrize("exchange", [read3(offset=8192), read4(offset=8192)])
def test_a_read(exchange):
    rows = calls(exchange)
    events, reader = turned(rows)
    [event] = events
    assert (event["kind"], event["host"], event["guest"], event["file"]) == (Kind.READ, 3, 5, 0)
    assert (event["offset"], event["bytes"]) == (8192, 4096)
    assert (event["called"], event["time"]) == (rows["call_time"][0], rows["reply_time"][0])
    assert told(reader) == {"reads": 1}
    assert reader.files == [(0, int(rows["handle"][0]))]


def test_a_short_read_is_as_long_as_its_reply():
    events, _ = turned(calls(read3(asked=65536, data=b"x" * 100)))
    assert events["bytes"].tolist() == [100]


def test_files_are_told_apart_by_server_and_handle():
    rows = np.concatenate([calls(read3(), read3(2, handle=b"other"), read4(3)), calls(read3(4))])
    rows["uid"][-1] = 1
    events, reader = turned(rows, {0: End(0, 0, 0), 1: End(1, 0, 0)})
    assert len(set(events["file"].tolist())) == 3
    assert events["file"][0] == events["file"][2], "NFSv3 and NFSv4 have the same handle here"
    assert reader.files[events["file"][3]][0] == 1


@pytest.mark.parametrize("make", [read3, read4])
def test_a_snaplen_that_keeps_the_lengths_loses_nothing(make):
    for snaplen in range(300, 1514, 100):
        events, reader = turned(calls(make(asked=32768, data=b"x" * 30000), snaplen=snaplen))
        assert events["bytes"].tolist() == [30000]
        assert told(reader) == {"reads": 1}


@pytest.mark.parametrize(("asked", "data", "length"), [(4096, 4096, 4096), (65536, 100, 100 + 0)])
def test_a_reply_cut_before_its_length(asked, data, length):
    """What was asked for, or what the record mark leaves for data: here 128 bytes more than attributes would take."""
    rows = calls(read3(asked=asked, data=b"x" * data))
    rows["flags"] |= CALL_REPLY_CUT
    rows["bytes"] = 0
    events, reader = turned(rows)
    assert events["bytes"].tolist() == [length]
    assert told(reader) == {"reads": 1, "estimated": 1}


def test_a_snaplen_that_keeps_too_little_is_told():
    """48 bytes of the message: the header and nothing of what is read."""
    events, reader = turned(calls(read3(), snaplen=14 + 20 + 20 + 4 + 48))
    assert len(events) == 0
    assert told(reader) == {"cut": 1}


def test_encrypted_calls_are_counted():
    secret = p.call(1, p.NFS, 4, 1, b"\xff" * 64, credential=p.auth_gss(3), verifier=p.auth(6, bytes(28)))
    events, reader = turned(calls((secret, p.reply(1, b"\xff" * 64, verifier=p.auth(6, bytes(28))))))
    assert len(events) == 0
    assert told(reader) == {"hidden": 1}


def test_reads_that_bring_nothing():
    failed = (read3(2)[0], p.reply(2, p.u32(70, 0)))
    lost = (read3(3)[0], None)
    events, reader = turned(calls(read3(1, data=b""), failed, lost))
    assert len(events) == 0
    assert told(reader) == {"empty": 1, "failed": 1, "unanswered": 1}


def test_a_reply_whose_beginning_was_cut_off_brought_what_was_asked_for():
    """Where the server's side has gaps in which a reply can begin; else nothing is known to have come."""
    rows = calls(read3(1), (read3(2, offset=4096, asked=1000)[0], None))
    events, reader = turned(rows, {0: End(0, 3, 5, gaps=True)})
    assert events[["offset", "bytes"]].tolist() == [(0, 4096), (4096, 1000)]
    assert events["time"][1] == rows["call_time"][1]
    assert told(reader) == {"reads": 2, "estimated": 1}
    assert told(turned(rows)[1]) == {"reads": 1, "unanswered": 1}


def test_a_file_that_only_a_lookup_names():
    operations = [p.putfh(b"dir"), p.lookup4("name"), p.read4(0, 4096)]
    events, reader = turned(calls(read4(operations=operations)))
    assert len(events) == 0
    assert told(reader) == {"without_handle": 1}


def test_a_connection_of_nobody():
    events, reader = turned(calls(read3()), {0: End(0)})
    assert len(events) == 0
    assert told(reader) == {"without_client": 1}
    assert len(turned(calls(read3()), {})[0]) == 0


def test_further_reads_of_a_compound_are_counted():
    double = [p.sequence4(), p.putfh(b"file"), p.read4(0, 10), p.read4(10, 10)]
    events, reader = turned(calls(read4(operations=double, data=b"x" * 10)))
    assert events["bytes"].tolist() == [10]
    assert told(reader) == {"reads": 1, "further": 1}


DATA, HOLE = 0, 1


def segment(kind, offset, length):
    """A part of what READ_PLUS brings (RFC 7862 section 15.10.2)."""
    return p.u32(kind) + p.u64(offset) + (p.opaque(b"x" * length) if kind == DATA else p.u64(length))


def plus(*segments, offset=4096, asked=4096, status=0, behind=(), answered=True):
    """A READ_PLUS of a file, and its reply with these segments."""
    call = p.compound(p.sequence4(), p.putfh(b"file"), p.u32(68, 1) + bytes(12) + p.u64(offset) + p.u32(asked), minor=2)
    result = p.u32(68, status) + (p.u32(0, len(segments)) + b"".join(segments) if not status else b"")
    reply = p.compound_results(p.sequence4_result(), p.ok(22), result, *behind, status=status)
    return p.call(1, p.NFS, 4, 1, call), p.reply(1, reply) if answered else None


@pytest.mark.parametrize(
    ("exchange", "ranges", "counted"),
    [
        (plus(segment(DATA, 4096, 4096)), [(4096, 4096)], {"reads": 1}),
        (plus(segment(DATA, 4096, 1001)), [(4096, 1001)], {"reads": 1}),  # the end of the file
        (plus(segment(HOLE, 4096, 4096)), [], {"empty": 1}),
        (plus(), [], {"empty": 1}),  # behind the end of the file
        (plus(segment(DATA, 4096, 1000), segment(HOLE, 5096, 3096)), [], {"read_plus": 1}),
        (plus(segment(HOLE, 4096, 3096), segment(DATA, 7192, 1000)), [], {"read_plus": 1}),
        (plus(segment(DATA, 4096, 400), segment(HOLE, 4496, 96), segment(DATA, 4592, 400)), [], {"read_plus": 1}),
        (plus(segment(DATA, 4096, 1000), behind=(p.ok(22),)), [], {"read_plus": 1}),  # room for what was not seen
        (plus(status=5), [], {"failed": 1}),
        (plus(answered=False), [], {"unanswered": 1}),
    ],
)
def test_read_plus_is_followed_where_it_is_sure_which_bytes_were_sent(exchange, ranges, counted):
    events, reader = turned(calls(exchange))
    assert [(int(e["offset"]), int(e["bytes"])) for e in events] == ranges
    assert told(reader) == counted


@pytest.mark.parametrize("snaplen", [300, 400])
def test_read_plus_of_which_little_was_captured(snaplen):
    events, reader = turned(calls(plus(segment(DATA, 4096, 4096)), snaplen=snaplen))
    assert events["bytes"].tolist() == [4096]
    assert told(reader) == {"reads": 1}


def test_read_plus_without_the_length_of_its_data_or_without_a_reply_is_not_followed():
    rows = calls(plus(segment(DATA, 4096, 4096)))
    rows["flags"] |= CALL_REPLY_CUT
    rows["bytes"] = 0
    events, reader = turned(rows)
    assert len(events) == 0
    assert told(reader) == {"read_plus": 1}
    rows = calls(plus(answered=False))
    events, reader = turned(rows, {0: End(0, 3, 5, gaps=True)})
    assert len(events) == 0
    assert told(reader) == {"read_plus": 1}


def test_more_data_than_the_message_holds_is_not_believed():
    rows = calls(read3(1, asked=0xFFFF_FFFF), read3(2, offset=2**64 - 1))
    rows["bytes"] = 0xFFFF_FFFF, 4096
    events, reader = turned(rows)
    assert told(reader) == {"reads": 1, "impossible": 1}
    assert events["offset"].tolist() == [2**63 - 1], "left out by the tally"
    rows["bytes"] = ONE_RECORD
    assert turned(rows)[0]["bytes"].tolist() == [ONE_RECORD] * 2, "a record may have several fragments"


def write3(xid, offset, size, *, reply=True):
    call = p.call(xid, p.NFS, 3, 7, p.opaque(b"file") + p.u64(offset) + p.u32(size, 2) + p.opaque(b"w" * size))
    return call, p.reply(xid, p.write3_results(size)) if reply else None


def test_writes_change_a_range():
    operations = p.compound(p.sequence4(), p.putfh(b"file"), p.write4(5, b"abc"), minor=1)
    results = p.compound_results(p.sequence4_result(), p.ok(22), p.write4_result(3))
    four = p.call(2, p.NFS, 4, 1, operations), p.reply(2, results)
    events, reader = turned(calls(read3(9), write3(1, 100, 50), four))
    assert events["kind"].tolist() == [Kind.READ, Kind.WRITE, Kind.WRITE]
    assert events[["offset", "bytes"]].tolist()[1:] == [(100, 50), (5, 3)]
    assert told(reader) == {"reads": 1, "writes": 2}


def test_a_write_without_a_reply_may_have_been_done_and_one_that_failed_was_not():
    failed = write3(2, 0, 10)[0], p.reply(2, p.u32(28) + p.u32(0, 0))
    events, _ = turned(calls(write3(1, 100, 50, reply=False), failed))
    assert events[["kind", "offset", "bytes"]].tolist() == [(Kind.WRITE, 100, 50)]


def row(**fields):
    """One CALL row of an answered call of NFSv4."""
    rows = np.zeros(1, CALL)
    fields = {
        "program": p.NFS,
        "version": 4,
        "reply_frame": 1,
        "reply_time": 20,
        "call_time": 10,
        "handle": 77,
    } | fields
    for name, value in fields.items():
        rows[name] = value
    return rows


@pytest.mark.parametrize("main", [59, 60, 62, 70, 71])
def test_operations_that_replace_content(main):
    events, _ = turned(row(main=main))
    assert events["kind"].tolist() == [Kind.CHANGED]


def test_a_new_size_changes_a_file_and_a_new_mode_does_not():
    assert turned(row(main=34, flags=CALL_SETS_SIZE))[0]["kind"].tolist() == [Kind.CHANGED]
    assert len(turned(row(main=34))[0]) == 0
    assert len(turned(row(main=34, flags=CALL_SETS_SIZE, status=13))[0]) == 0


@pytest.mark.parametrize(("version", "sort"), [(4, 1), (3, 2)])
def test_attributes_are_of_the_handle_or_of_what_was_found(version, sort):
    events, reader = turned(row(version=version, procedure=1, flags=CALL_CHANGE | CALL_FSID, change=9, fsid=4))
    assert events[["kind", "known", "change"]].tolist() == [(Kind.SIGHTED, sort, 9)]
    assert reader.systems == {0: 4}
    found = row(version=version, procedure=3, main=15, flags=CALL_CHANGE, change=9, object=88, name_length=4, name_at=2)
    events, reader = turned(found, text=b"..name")
    assert reader.files == [(0, 88)]
    assert reader.names == {0: "name"}


def test_every_count_is_one_of_those_that_are_documented():
    assert tuple(Reader().counts) == COUNTS

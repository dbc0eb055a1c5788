"""The tracker against its naive twin, over conversations of every shape; and what must hold where bytes are missing."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from conversations import SHAPES, Shape, frames_of, said
from hypothesis import example, given, settings
from hypothesis import strategies as st

import naive_tracker
import packets as p
from nfsleuth.trace.tables import CALL_RETRANSMITTED, Identity, Role
from tracking import CHECKED, INTERPRETED, track

REPORTED = (Identity.MACHINE_NAME, Identity.FILE_NAME, Identity.CLIENTID)
HEAD = 1024  # bytes of a message that are looked at


def examples(count):
    return settings(max_examples=max(count // (25 if INTERPRETED else 3 if CHECKED else 1), 3), deadline=None)


def rows_of(seen):
    """CALL rows by xid."""
    return {int(row["xid"]): row for row in seen.calls}


def truth(shape):
    """xid -> (program, version, procedure, bytes of the call), for every call that was made."""
    plain = said(replace(shape, fragments=1))
    return {
        int.from_bytes(r[4:8], "big"): (*(int.from_bytes(r[i : i + 4], "big") for i in (16, 20, 24)), len(r) - 4)
        for side, r in plain
        if side == 0
    }


def compare(frames, seen, *, ordered, timed=False):
    """All that the naive tracker knows; without `ordered`, not in which of several copies a byte came first.

    timed: the bytes of a message came in their order, so that its last one ends it.
    """
    (expected,) = naive_tracker.follow(frames)
    (row,) = seen.connections
    assert (row["calls"], row["replies"], row["errors"]) == (expected.count, expected.replies, expected.errors)
    assert (row["reads"], row["read_bytes"]) == (expected.reads, expected.read_bytes)
    assert (row["client_port"], row["server_port"]) == (expected.ends[0][1], expected.ends[1][1])
    assert row["gaps"].sum() == 0
    assert set(seen.odd) <= {"segment_held", "segment_repeated", "call_retransmitted"}
    found = {
        (int(i["kind"]), text, int(i["a"]), int(i["b"])) for i, text in zip(seen.identities, seen.texts, strict=True)
    }
    assert {f for f in found if f[0] in REPORTED} == expected.identities
    assert len(seen.calls) == len(expected.calls)
    rows = rows_of(seen)
    for call in expected.calls:
        row_of_call = rows[call.xid]
        assert [row_of_call[n] for n in ("program", "version", "procedure")] == [
            call.program, call.version, call.procedure
        ]  # fmt: skip
        assert list(row_of_call["ops"][: row_of_call["ops_count"]]) == call.ops
        assert (row_of_call["status"], row_of_call["bytes"] if call.bytes_read else 0) == (call.status, call.bytes_read)
        assert bool(row_of_call["flags"] & CALL_RETRANSMITTED) == call.retransmitted
        assert row_of_call["call_bytes"] == call.size or call.size > HEAD > 0
        if ordered:
            assert (row_of_call["call_frame"], row_of_call["call_time"]) == (call.frame, call.time)
            assert (row_of_call["reply_frame"], row_of_call["reply_time"]) == (call.reply_frame, call.reply_time)
    if timed:
        assert row["read_busy"] == naive_tracker.busy(expected.busy) <= naive_tracker.union(expected.busy)


@examples(120)
@given(SHAPES, st.lists(st.integers(1, 300), max_size=6))
@example(Shape(segment=1, calls=3, fragments=5), [])
@example(Shape(segment=65_000, calls=12, data=2000), [5])
@example(Shape(seed=7, segment=65_000, calls=9, data=200_000), [])
@example(Shape(start=(2**32 - 1, 2**32 - 5)), [])
def test_any_segments_give_the_same_calls(shape, cuts):
    frames = frames_of(shape)
    compare(frames, track(frames, cuts=cuts), ordered=True, timed=True)


@examples(80)
@given(SHAPES, st.sampled_from([0.1, 0.5]), st.sampled_from([0.0, 0.3]), st.sampled_from([0.0, 0.5]), st.booleans())
def test_disorder_without_loss_is_put_right(shape, swaps, repeats, overlaps, cut):
    shape = replace(shape, swaps=swaps, repeats=repeats, overlaps=overlaps, segment=min(shape.segment, 2000))
    frames = frames_of(shape)
    cuts = range(1, len(frames)) if cut and len(frames) < 60 else ()
    compare(frames, track(frames, cuts=cuts), ordered=not overlaps)


@examples(40)
@given(SHAPES, st.lists(st.integers(1, 200), max_size=8), st.sampled_from([0.0, 0.2]), st.sampled_from([96, 1 << 18]))
def test_chunks_do_not_matter(shape, cuts, loss, snaplen):
    """The same rows, losses or not, wherever the capture's reader happens to end a chunk."""
    rng = random.Random(shape.seed)
    frames = [f for f in frames_of(replace(shape, swaps=0.2)) if rng.random() >= loss]
    if not frames:
        return
    one, many = track(frames, snaplen=snaplen), track(frames, cuts=cuts, snaplen=snaplen)
    assert one.odd == many.odd
    assert str(one.connections.tolist()) == str(many.connections.tolist())
    assert sorted(one.texts) == sorted(many.texts)
    columns = [n for n in one.calls.dtype.names if n != "name_at"]
    assert sorted(map(str, one.calls[columns].tolist())) == sorted(map(str, many.calls[columns].tolist()))


@examples(80)
@given(SHAPES, st.sampled_from([96, 128, 256]), st.booleans())
def test_a_snaplen_loses_calls_but_invents_none(shape, snaplen, whole):
    shape = replace(shape, whole=whole, segment=max(shape.segment, 536 if whole else 1))
    frames = frames_of(shape)
    seen = track(frames, snaplen=snaplen)
    made = truth(shape)
    (row,) = seen.connections
    assert row["calls"] <= len(made)
    assert row["replies"] <= len(made)
    for xid, call in rows_of(seen).items():
        program, version, procedure, size = made[xid]
        assert (call["program"], call["version"], call["procedure"]) == (program, version, procedure)
        assert call["call_bytes"] == size or shape.fragments > 1
    names = {text for side, r in said(replace(shape, fragments=1)) if side == 0 for text in [r]}
    assert all(any(text in record for record in names) for text in seen.texts)


@examples(40)
@given(SHAPES, st.sampled_from([128, 256]))
def test_records_that_begin_a_segment_survive_any_snaplen(shape, snaplen):
    shape = replace(shape, whole=True, segment=100_000, fragments=1)
    frames = frames_of(shape)
    one = [f for f in frames if len(f.data) < 65_000]
    if len(one) < len(frames):
        return
    whole = _one_segment_each(shape)
    (row,) = track(whole, snaplen=snaplen).connections
    assert (row["calls"], row["replies"]) == (shape.calls, shape.calls)


def _one_segment_each(shape):
    talk = p.Conversation(step=1_000_000).handshake()
    for side, record in said(shape):
        talk.raw(side, record)
    return talk.frames


@examples(60)
@given(SHAPES, st.integers(0, 40))
def test_a_start_in_the_middle_invents_nothing(shape, skipped):
    frames = frames_of(replace(shape, syn=False))[skipped:]
    seen = track(frames)
    made = truth(shape)
    assert set(rows_of(seen)) <= set(made)
    for row in seen.connections:
        assert row["calls"] <= len(made)
    for xid, call in rows_of(seen).items():
        assert (call["program"], call["version"], call["procedure"]) == made[xid][:3]


@examples(60)
@given(SHAPES, st.integers(0, 30))
def test_a_start_in_the_middle_finds_every_record_that_begins_a_segment(shape, skipped):
    frames = _one_segment_each(replace(shape, fragments=1))[3:]
    skipped = min(skipped, len(frames) - 1)
    seen = track(frames[skipped:])
    left = [side for side, _ in said(replace(shape, fragments=1))][skipped:]
    (row,) = seen.connections
    assert row["calls"] == left.count(0)
    assert row["replies"] + seen.odd.get("reply_unmatched", 0) == left.count(1)
    assert row["role"] == (Role.RPC if 0 in left else Role.GUESS)
    assert row["server_port"] == 2049


@examples(80)
@given(SHAPES, st.sampled_from([0.02, 0.2, 0.6]), st.sampled_from([0.0, 0.3]))
def test_losses_never_invent_a_call(shape, loss, swaps):
    rng = random.Random(shape.seed)
    frames = [f for f in frames_of(replace(shape, swaps=swaps)) if rng.random() >= loss]
    seen = track(frames)
    made = truth(shape)
    assert set(rows_of(seen)) <= set(made)
    for row in seen.connections:
        assert row["calls"] <= len(made)
        assert row["replies"] <= row["calls"]
        assert row["reads"] <= row["replies"]


@pytest.mark.parametrize("lost", range(4, 40, 5))
def test_after_a_gap_the_next_record_is_found(lost):
    shape = Shape(seed=3, calls=40, outstanding=1, data=600)
    frames = _one_segment_each(shape)
    kept = frames[:lost] + frames[lost + 1 :]
    seen = track(kept)
    (row,) = seen.connections
    call_lost = said(shape)[lost - 3][0] == 0
    assert row["calls"] == 40 - call_lost
    assert row["replies"] == 39
    assert row["gaps"].sum() == 1
    assert (seen.odd["gap"], seen.odd["resynchronised"]) == (1, 1)
    assert seen.odd["reply_unmatched" if call_lost else "call_unanswered"] == 1


def test_a_hole_in_file_data_is_no_gap():
    """Bytes of a READ are passed over, captured or not."""
    talk = p.Conversation().handshake()
    talk.raw(0, p.record(p.call(1, procedure=6, arguments=p.read3())))
    talk.send(1, p.record(p.reply(1, p.read3_results(bytes(20_000)))))
    talk.raw(0, p.record(p.call(2))).raw(1, p.record(p.reply(2)))
    frames = talk.frames[:7] + talk.frames[11:]
    seen = track(frames)
    assert seen.odd == {}
    assert seen.connections["replies"][0] == 2
    assert seen.connections["read_bytes"][0] == 20_000


def test_a_long_segment_that_fills_a_hole_is_read_whole():
    """What waits is kept in part only (HELD_BYTES), what it waited for is not."""
    long, short = (b"".join(p.record(p.call(n)) for n in numbers) for numbers in (range(100), range(100, 110)))
    talk = p.Conversation().handshake().send(0, long, short, size=len(long))
    talk.frames[3:5] = talk.frames[4:2:-1]
    seen = track(talk.frames)
    assert seen.connections["calls"][0] == 110
    assert seen.connections["gaps"][0].sum() == 0
    assert seen.odd["segment_held"] == 1


def test_several_connections_are_told_apart():
    """nconnect: the same xid on each."""
    talks = [p.Conversation(ports=(700 + n, 2049)).handshake() for n in range(4)]
    for xid in range(5):
        for n, talk in enumerate(talks):
            talk.raw(0, p.record(p.call(xid, procedure=3, arguments=p.lookup3(name=f"{n}-{xid}"))))
        for talk in reversed(talks):
            talk.raw(1, p.record(p.reply(xid, p.u32(70 + talk.ports[0] - 700, 0))))
    order = [frame for step in zip(*(t.frames for t in talks), strict=True) for frame in step]
    seen = track(order)
    assert sorted(seen.connections["client_port"]) == [700, 701, 702, 703]
    assert seen.connections["calls"].tolist() == [5] * 4
    for call, name in zip(seen.calls, seen.names, strict=True):
        assert name == f"{call['uid']}-{call['xid']}".encode()
        assert call["status"] == 70 + call["uid"]

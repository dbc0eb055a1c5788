"""Floods: memory is fixed, what is dropped is counted, what matters stays, and time is linear in the bytes."""

from __future__ import annotations

import time

import numpy as np
import pytest
from conversations import Shape, said

import packets as p
from nfsleuth.capture.frames import FRAME, Chunk
from nfsleuth.trace.state import FIRST_PLACES, Budget
from nfsleuth.trace.tables import Identity
from nfsleuth.trace.tracker import Tracker
from packets import Conversation, Frame
from tracking import INTERPRETED, SMALL, Seen, track

FEW = 500 if INTERPRETED else 1  # interpreted, a flood is this many times smaller
small = pytest.mark.slow  # uses SMALL, for which the kernels are compiled anew


def exchange(talk, xid, **call):
    return talk.raw(0, p.record(p.call(xid, **call))).raw(1, p.record(p.reply(xid, p.u32(0, 0))))


def warm_up():
    """Before time is measured: let all kernels be compiled."""
    track(exchange(Conversation().handshake(), 1).frames)


def syns(count):
    """A chunk of SYNs from as many addresses."""
    frame = np.frombuffer(p.ethernet(p.ipv4(p.tcp(flags=p.SYN, options=p.LINUX_SYN))), np.uint8)
    data = np.tile(frame, (count, 1))
    numbers = np.arange(count, dtype=">u4").view(np.uint8).reshape(count, 4)
    data[:, 26:30] = numbers  # source address
    data[:, 26] = 11
    data[:, 38:42] = numbers  # sequence number
    table = np.zeros(count, FRAME)
    table["offset"] = np.arange(count) * len(frame)
    table["captured"] = table["wire"] = len(frame)
    table["link"] = 1
    table["number"] = np.arange(count) + 10
    table["time"] = Conversation().time + np.arange(count) * 1000
    return Chunk(data.ravel(), table)


@small
def test_a_flood_of_syns_does_not_push_out_who_speaks_rpc():
    count = 500_000 // FEW
    talk = exchange(Conversation().handshake(), 1)
    tracker = Tracker(keep_calls=True, budget=SMALL)
    rows = tracker.feed(p.chunk(talk.frames))
    begin = time.monotonic()
    rows += tracker.feed(syns(count))
    took = time.monotonic() - begin
    talk.frames.clear()
    rows += tracker.feed(p.chunk(exchange(talk, 2).frames, first=count + 10))
    rows += tracker.finish()
    seen = Seen(rows, tracker.oddities)
    assert len(seen.connections) == count + 1
    assert seen.odd["connections_dropped"] == count + 1 - SMALL.connections
    (row,) = seen.connections[seen.connections["calls"] > 0]
    assert (row["calls"], row["replies"], row["syns"]) == (2, 2, 1)
    assert took < 20 or INTERPRETED


@small
def test_eviction_while_messages_wait():
    """More connections than there is room for, each of which is pushed out with its calls just found."""
    talks = [Conversation(ports=(1000 + n, 2049)) for n in range(5 * SMALL.connections)]
    for talk in talks:
        exchange(talk.handshake(), 7, procedure=3, arguments=p.lookup3())
    seen = track([f for talk in talks for f in talk.frames], budget=SMALL)
    assert len(seen.connections) == len(talks)
    assert seen.connections["calls"].tolist() == [1] * len(talks)
    assert seen.connections["replies"].tolist() == [1] * len(talks)
    assert sorted(seen.connections["uid"]) == list(range(len(talks)))
    assert len(seen.calls) == len(talks)


@small
def test_calls_without_replies_are_given_up_oldest_first():
    talk = Conversation().handshake()
    count = 10 * SMALL.pending
    for xid in range(count):
        talk.raw(0, p.record(p.call(xid)))
    talk.raw(1, p.record(p.reply(count - 1)))
    seen = track(talk.frames, budget=SMALL)
    assert len(seen.calls) == count
    assert seen.odd["calls_dropped"] >= count - SMALL.pending
    assert seen.odd["call_unanswered"] == count - 1
    assert seen.connections["calls"][0] == count
    assert seen.connections["replies"][0] == 1


def test_as_many_calls_wait_as_there_are():
    """More than there are places in use at first: none is lost when more of them come into use."""
    talk = Conversation().handshake()
    count = 3 * FIRST_PLACES
    for xid in range(count):
        talk.raw(0, p.record(p.call(xid)))
    for xid in range(count):
        talk.raw(1, p.record(p.reply(xid)))
    seen = track(talk.frames, budget=Budget())
    assert sorted(seen.calls["xid"]) == list(range(count))
    assert seen.connections["replies"].tolist() == [count]
    assert seen.odd == {}


@small
def test_messages_that_cross_segments_share_few_places():
    """Twelve clients whose calls all come in halves: with four places some lose their beginning, and it is said."""
    talks = [Conversation(ports=(1000 + n, 2049)).handshake() for n in range(12)]
    for half in (slice(0, 50), slice(50, None)):
        for talk in talks:
            talk.raw(0, p.record(p.call(5, procedure=3, arguments=p.lookup3()))[half])
    frames = [f for talk in talks for f in talk.frames[:3]]
    frames += [f for i in (3, 4) for f in (talk.frames[i] for talk in talks)]
    seen = track(frames, budget=SMALL)
    assert seen.connections["calls"].tolist() == [1] * 12
    assert seen.odd["record_cut"] == 12 - SMALL.heads


@small
def test_segments_that_wait_share_few_places():
    """Holes in many streams: what cannot wait is dropped and counted, later records are found again."""
    talks = [Conversation(ports=(1000 + n, 2049), step=10**6).handshake() for n in range(10)]
    for xid in range(40):
        for talk in talks:
            talk.raw(0, p.record(p.call(xid)), acknowledged=0)
    frames = [f for talk in talks for f in talk.frames[:3]]
    frames += [f for i in range(3, 43) if i != 5 for f in (talk.frames[i] for talk in talks)]
    seen = track(frames, budget=SMALL)
    assert seen.odd["held_dropped"] > 0
    assert seen.connections["calls"].max() <= 39
    assert seen.connections["gaps"].sum() >= 10
    assert len(seen.calls) == seen.connections["calls"].sum()


@small
@pytest.mark.parametrize("kind", ["exchange_id", "lookup", "neighbours"])
def test_floods_of_names(kind):
    talk = Conversation().handshake()
    for n in range(500):
        if kind == "exchange_id":
            operation = p.compound(p.exchange_id(n, f"Linux NFSv4.1 host-{n}"), minor=1)
            exchange(talk, n, version=4, procedure=1, arguments=operation)
        elif kind == "lookup":
            exchange(talk, n, procedure=3, arguments=p.lookup3(name=f"file-{n}"))
        else:
            host = f"10.1.{n // 250}.{n % 250}"
            talk.frames.append(Frame(p.ethernet(p.arp(sender=host), kind=0x0806), talk.time))
    seen = track(talk.frames, budget=SMALL)
    if kind == "exchange_id":
        assert len(seen.of_kind(Identity.CLIENT_OWNER)) == 500
        assert len({text for text, _, _ in seen.of_kind(Identity.CLIENT_OWNER)}) == 500
    elif kind == "lookup":
        assert len(seen.of_kind(Identity.FILE_NAME)) == SMALL.names
        assert seen.odd["identities_dropped"] == 500 - SMALL.names
    else:
        assert len(seen.neighbours) == SMALL.neighbours
        assert seen.odd["neighbours_dropped"] > 0


@small
@pytest.mark.parametrize("seed", range(6))
def test_little_room_gives_the_same_calls(seed):
    """The tables that are emptied on the way are full all the time, but nothing is lost by that."""
    shape = Shape(seed=seed, calls=150, outstanding=1, data=3000, segment=65_000)
    talk = Conversation().handshake()
    for side, record in said(shape):
        talk.raw(side, record)
    seen = track(talk.frames, budget=SMALL)
    assert (seen.connections["calls"][0], seen.connections["replies"][0]) == (150, 150)
    assert len(seen.calls) == 150


@pytest.mark.parametrize("count", [2**32 - 1, 2**31, 70_000])
@pytest.mark.parametrize("operations", [(), (p.renew(1),) * 3, (p.renew(1),) * 200])
def test_a_compound_that_announces_more_than_it_has(count, operations):
    talk = Conversation().handshake()
    warm_up()
    begin = time.monotonic()
    exchange(talk, 1, version=4, procedure=1, arguments=p.compound(*operations, count=count))
    seen = track(talk.frames)
    assert seen.connections["calls"][0] == 1
    assert seen.calls["ops_count"][0] == min(count, 65535)
    assert time.monotonic() - begin < (60 if INTERPRETED else 5)


@pytest.mark.parametrize("mark", [0x80000000 + (2 << 30) - 1, 0x7FFFFFFF, 0x81000001])
def test_record_marks_of_gigabytes_are_not_believed(mark):
    talk = exchange(Conversation(step=10**6).handshake(), 1)
    talk.raw(0, p.u32(mark) + p.call(2))
    exchange(talk, 3)
    seen = track(talk.frames)
    assert seen.odd["record_mark_insane"] == 1
    assert seen.connections["calls"][0] == 2


def test_empty_fragments():
    """RFC 5531 allows them; a thousand in a row take their time, and no more."""
    talk = Conversation().handshake()
    call = p.call(1, procedure=3, arguments=p.lookup3(name="after-many-fragments"))
    empty = p.u32(0)
    talk.send(0, empty * 500 + p.u32(10) + call[:10] + empty * 500 + p.u32(0x80000000 | (len(call) - 10)) + call[10:])
    talk.send(0, p.u32(0x80000000) * 300)
    exchange(talk, 2)
    seen = track(talk.frames)
    assert seen.connections["calls"][0] == 2
    assert b"after-many-fragments" in seen.names


def test_ip_fragments_of_no_length_and_of_nothing():
    later = [p.ipv4(b"", at=1480, identification=n) for n in range(5)] + [p.ipv4(b"x" * 8, at=65528)]
    seen = track([Frame(p.ethernet(packet)) for packet in later])
    assert seen.odd == {"ip_fragment_later": 6}


def test_time_is_linear_in_segments_of_one_byte():
    def seconds(calls):
        frames = Conversation().handshake()
        record = p.record(p.call(1, procedure=7, arguments=p.write3(data=bytes(2000))))
        for _ in range(calls):
            frames.send(0, record, size=1)
        chunk = p.chunk(frames.frames)
        best = 1e9
        for _ in range(3):
            tracker = Tracker(keep_calls=True)
            begin = time.perf_counter()
            tracker.feed(chunk)
            best = min(best, time.perf_counter() - begin)
        return best

    if INTERPRETED:
        pytest.skip("a matter of compiled code")
    seconds(1)
    assert seconds(100) < 30 * seconds(10) + 0.05


def test_time_is_linear_in_bytes_that_look_like_marks():
    """Bytes that nearly begin a record, everywhere: a search looks at each once."""
    if INTERPRETED:
        pytest.skip("a matter of compiled code")
    bait = (p.u32(0x80000100, 1, 0, 2) + b"\0\0\1\0") * 3000
    talk = Conversation()
    for _ in range(200):
        talk.send(0, bait, size=60_000)
    warm_up()
    begin = time.perf_counter()
    seen = track(talk.frames)
    assert time.perf_counter() - begin < 20
    assert seen.connections["calls"][0] == 0


def test_ports_that_are_used_again_begin_a_connection():
    first = exchange(Conversation(start=(1000, 5000)).handshake(), 1)
    again = exchange(Conversation(start=(777_777, 9), time=first.time).handshake(), 1)
    seen = track(first.frames + again.frames)
    assert sorted(seen.connections["uid"]) == [0, 1]
    assert seen.connections["calls"].tolist() == [1, 1]
    assert seen.connections["syns"].tolist() == [1, 1]
    assert set(seen.odd) == set()


def test_ports_that_are_used_again_without_data_before_follow_the_new_numbers():
    """The first attempt was refused after its handshake: the numbers of the second have nothing to do with it."""
    first = Conversation(start=(1000, 4_000_000_000)).handshake()
    again = exchange(Conversation(start=(777_777, 2_000_000_000), time=first.time).handshake(), 1)
    seen = track(first.frames + again.frames)
    (row,) = seen.connections
    assert (row["calls"], row["replies"], row["syns"]) == (1, 1, 2)
    assert row["handshake"] == 1000
    assert seen.odd == {}


def test_a_syn_that_comes_late_is_of_the_same_connection():
    talk = exchange(Conversation().handshake(), 1)
    exchange(talk, 2)
    order = [talk.frames[i] for i in (3, 4, 0, 1, 2, 5, 6)]
    seen = track(order)
    (row,) = seen.connections
    assert (row["calls"], row["replies"], row["syn_frame"]) == (2, 2, 3)


@pytest.mark.parametrize("size", [0, 3, 5, 6])
def test_sizes_of_tables_are_checked(size):
    with pytest.raises(ValueError, match="power of 2"):
        Budget(pending=size)


@pytest.mark.parametrize(
    ("column", "value"), [("offset", -1), ("captured", -1), ("captured", 10**6), ("offset", 1 << 40)]
)
def test_frames_outside_of_the_buffer_are_refused(column, value):
    chunk = p.chunk(Conversation().handshake().frames)
    chunk.frames[column][1] = value
    with pytest.raises(ValueError, match="outside"):
        Tracker(keep_calls=True).feed(chunk)

"""Replies that the capture has before their call: of merged taps, and of network cards with several queues."""

from __future__ import annotations

from dataclasses import replace

from conversations import SHAPES, frames_of
from hypothesis import given
from hypothesis import strategies as st
from test_tracker import compare, examples

import packets as p
from nfsleuth.trace.early import EARLIEST
from nfsleuth.trace.tables import Identity
from nfsleuth.trace.tracker import Tracker
from packets import Conversation, Frame
from tracking import ORDINARY, SMALL, track


def skewed(frames, delay):
    """What two taps make of it if the clock of the client's side is `delay` frames behind."""
    late = [i + (0.5 + delay if f.data[6:12] == p.mac(p.CLIENT_MAC) else 0) for i, f in enumerate(frames)]
    return [frames[i] for i in sorted(range(len(frames)), key=late.__getitem__)]


def read_in_turn(*order):
    """A READ and its reply after a handshake, in that order; 0 is the call."""
    talk = Conversation().handshake()
    talk.raw(0, p.record(p.call(7, procedure=6, arguments=p.read3())))
    talk.raw(1, p.record(p.reply(7, p.read3_results(b"x" * 100))))
    return talk.frames[:3] + [talk.frames[3 + i] for i in order]


@examples(80)
@given(SHAPES, st.integers(1, 9), st.booleans())
def test_two_taps_with_clocks_of_their_own(shape, delay, cut):
    """The same calls as the naive tracker finds, which joins each side's bytes before it looks for calls."""
    frames = skewed(frames_of(replace(shape, segment=max(shape.segment, 100))), delay)
    seen = track(frames, cuts=range(1, len(frames)) if cut and len(frames) < 60 else ())
    early = seen.odd.pop("reply_early", 0)
    backwards = seen.odd.pop("time_backwards", 0)
    assert early <= seen.connections["replies"].sum()
    assert early == 0 or backwards > 0
    compare(frames, seen, ordered=True)


def test_a_reply_waits_for_its_call():
    for cuts in ((), (4,)):  # in one chunk, and in two: the bytes of the first are gone by then
        seen = track(read_in_turn(1, 0), cuts=cuts)
        (row,) = seen.calls
        assert (row["status"], row["bytes"], row["call_frame"], row["reply_frame"]) == (0, 100, 5, 4)
        assert row["reply_time"] - row["call_time"] == 1000
        assert seen.odd == {"reply_early": 1, "time_backwards": 1}
        assert seen.connections[["calls", "replies", "read_bytes"]].tolist() == [(1, 1, 100)]


def test_what_its_results_tell_is_of_its_own_frame():
    talk = Conversation().handshake()
    asked = p.call(1, version=4, procedure=1, arguments=p.compound(p.setclientid(5, "Linux NFSv4.0 web01")))
    talk.raw(1, p.record(p.reply(1, p.compound_results(p.u32(35, 0) + p.u64(77, 8))))).raw(0, p.record(asked))
    seen = track(talk.frames)
    (place,) = [i for i, kind in enumerate(seen.identities["kind"]) if kind == Identity.CLIENTID]
    assert (seen.identities["a"][place], seen.identities["frame"][place]) == (77, 4)


def test_a_datagram_waits_as_well():
    def datagram(message, source, destination, *ends):
        return Frame(p.ethernet(p.ipv4(p.udp(message, source, destination), *ends, protocol=17)))

    first = datagram(p.call(6), 777, 2049)
    late = datagram(p.call(7), 777, 2049)
    reply = datagram(p.reply(7), 2049, 777, "10.0.0.1", "10.0.0.7")
    seen = track([first, reply, late])
    assert seen.connections[["calls", "replies"]].tolist() == [(2, 1)]
    assert seen.odd == {"reply_early": 1, "call_unanswered": 1}


def test_it_does_not_wait_for_ever():
    frames = read_in_turn(1, 0)
    frames[4] = replace(frames[4], time=frames[3].time + EARLIEST + 1)
    assert track(frames).odd == {"reply_unmatched": 1, "call_unanswered": 1}
    frames[4] = replace(frames[4], time=frames[3].time + EARLIEST)
    assert track(frames).odd == {"reply_early": 1}


def test_many_wait_at_a_time():
    """Their xids as Linux makes them: counted in the highest byte (net/sunrpc/xprt.c, on little-endian machines)."""
    talk = Conversation().handshake()
    for xid in range(60):
        talk.raw(1, p.record(p.reply(xid << 24 | 7)))
    for xid in range(60):
        talk.raw(0, p.record(p.call(xid << 24 | 7)))
    assert track(talk.frames).odd == {"reply_early": 60}


def test_replies_without_a_call_are_counted_all_of_them():
    """Those that others drive out at once, the rest at the end."""
    talk = Conversation().handshake()
    for xid in range(100):
        talk.raw(1, p.record(p.reply(xid)))
    for budget in (ORDINARY, SMALL):
        assert track(talk.frames, budget=budget).odd == {"reply_unmatched": 100}


def test_the_first_without_a_call_is_told_by_its_frame():
    """Whether others drive it out or not, and whether those are answered or not."""
    talk = Conversation().handshake()
    for xid in range(20):
        talk.raw(1, p.record(p.reply(xid)))
    talk.raw(0, p.record(p.call(1))).raw(0, p.record(p.call(19)))
    for budget in (ORDINARY, SMALL):
        tracker = Tracker(keep_calls=True, budget=budget)  # as in the other tests: else kernels are compiled anew
        tracker.feed(p.chunk(talk.frames))
        tracker.finish()
        assert tracker.oddities["reply_unmatched"] == (18 if budget is ORDINARY else 19, 4)


def test_what_is_wrong_with_it_is_counted():
    talk = Conversation().handshake()
    short = p.reply(7, p.read3_results(b"x" * 100))[:30]
    talk.raw(1, p.record(short)).raw(0, p.record(p.call(7, procedure=6, arguments=p.read3())))
    assert track(talk.frames).odd == {"reply_early": 1, "xdr_malformed": 1}

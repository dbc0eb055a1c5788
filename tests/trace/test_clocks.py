"""CLOCK rows: the client's TSval where its messages begin, thinned over time."""

from __future__ import annotations

from struct import pack

import packets as p
from nfsleuth.trace.clocks import OCTAVE, STEP
from packets import Conversation
from tracking import track

MS = 1_000_000


def stamped(value: int, echo: int = 0) -> bytes:
    """The options of a Linux segment."""
    return b"\1\1" + pack(">BBII", 8, 10, value & 0xFFFF_FFFF, echo)


def talking(calls: int, apart: int, *, options=stamped, **how) -> Conversation:
    """A client that calls every `apart` ns, with the TSval of a 1000 Hz clock that began at 5000."""
    talk = Conversation(**how).handshake()
    begin = talk.time
    for xid in range(calls):
        talk.time = begin + xid * apart
        value = 5000 + (talk.time - begin) // MS
        talk.raw(0, p.record(p.call(xid, p.NFS, 3, 0, credential=p.auth_sys())), options=options(value))
        talk.raw(1, p.record(p.reply(xid)), options=stamped(99))
    return talk


def test_the_clients_clock_is_sampled_and_not_the_servers():
    talk = talking(5, 100 * MS)
    rows = track(talk.frames).clocks
    assert rows["value"].tolist() == [5000, 5100, 5200, 5300, 5400]
    assert set(rows["port"].tolist()) == {777}
    assert rows["frame"].tolist() == [4, 6, 8, 10, 12]
    assert rows["time"].tolist() == [talk.frames[n - 1].time for n in rows["frame"].tolist()]
    assert set(rows["uid"].tolist()) == {0}


def test_samples_become_rarer():
    rows = track(talking(3 * OCTAVE, 100 * MS).frames).clocks
    apart = [(b - a) // STEP for a, b in zip(rows["time"].tolist(), rows["time"].tolist()[1:], strict=False)]
    assert apart[:OCTAVE] == [2] * OCTAVE  # 100 ms lie between the calls: more than is asked for
    assert apart[OCTAVE : 2 * OCTAVE - 1] == [2] * (OCTAVE - 1)
    assert set(apart[2 * OCTAVE :]) == {4}


def test_chunks_make_no_difference():
    frames = talking(40, 70 * MS).frames
    assert track(frames).clocks.tolist() == track(frames, cuts=range(0, 80, 3)).clocks.tolist()


def test_other_options_and_cut_headers_give_none():
    assert not len(track(talking(5, 100 * MS, options=lambda _: b"").frames).clocks)
    assert not len(track(talking(5, 100 * MS, options=lambda v: b"\1\1\1\1" + stamped(v)).frames).clocks)
    assert not len(track(talking(5, 100 * MS).frames, snaplen=14 + 20 + 20 + 11).clocks)


def test_times_at_the_end_of_the_calendar():
    talk = talking(2, 100 * MS, time=2**63 - 10**9)
    assert len(track(talk.frames).clocks) == 2


def test_ipv6_is_sampled_too():
    assert len(track(talking(3, 100 * MS, client="fd00::7", server="fd00::1").frames).clocks) == 3

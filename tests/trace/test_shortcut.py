"""The short way against the long way: the same frames as Ethernet, which may take both, and as Linux cooked, which
take the long way only, give the same rows."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from conversations import SHAPES, frames_of
from hypothesis import given, settings
from hypothesis import strategies as st

import packets as p
from nfsleuth.trace import shortcut
from nfsleuth.trace.tracker import Tracker
from packets import Conversation
from tracking import CHECKED, INTERPRETED, ORDINARY, SMALL, track

LINK_SLL = 113
TTL, WINDOW, FLAGS, SOURCE_MAC = 22, 48, 47, 6  # bytes of a frame: Ethernet, IPv4 and TCP without options


def cooked(frame):
    """The frame as an interface `any` would have captured it."""
    return replace(frame, data=p.pack(">HHH", 0, 1, 6) + frame.data[6:12] + bytes(2) + frame.data[12:], link=LINK_SLL)


def edited(frame, at, value):
    return replace(frame, data=frame.data[:at] + value + frame.data[at + len(value) :])


def with_acknowledgements(frames, rng):
    """Behind some frames an empty segment of the same side; some of these from elsewhere, or with an odd header."""
    out = []
    for frame in frames:
        out.append(frame)
        if rng.random() < 0.5 and len(frame.data) > 54 and frame.data[12:14] == b"\x08\x00":
            sequence = (int.from_bytes(frame.data[38:42]) + len(frame.data) - 54 - rng.choice([0, 0, 0, 1])) % 2**32
            empty = edited(frame, 16, (40).to_bytes(2))
            empty = edited(replace(empty, data=empty.data[:54], wire=-1), 38, sequence.to_bytes(4))
            at, value = rng.choice(
                [(TTL, b"\x40"), (TTL, b"\x3f"), (WINDOW, b"\0\0"), (SOURCE_MAC, b"\x02\0\0\0\0\x09"), (FLAGS, b"\x11")]
            )
            out.append(edited(empty, at, value) if rng.random() < 0.3 else empty)
    return out


def comparable(seen):
    """Every row, without its place: calls without a reply come in the order of a hash table, whose seed is random."""
    kept = (seen.connections, seen.neighbours, seen.calls, seen.identities, seen.intervals, seen.clocks)
    tables = [t.copy() for t in kept]
    tables[2]["name_at"] = tables[3]["at"] = 0
    rows = [sorted(tuple(map(str, r)) for r in t.tolist()) for t in tables]
    return rows, sorted(seen.texts), sorted(seen.names), seen.odd


@settings(max_examples=25 if INTERPRETED or CHECKED else 100)
@given(SHAPES, st.floats(0, 0.3), st.floats(0, 0.3), st.sampled_from([64, 300, 1 << 18]), st.integers(0, 1 << 30))
def test_both_ways_give_the_same_rows(shape, swaps, repeats, snaplen, seed):
    frames = frames_of(replace(shape, swaps=swaps, repeats=repeats))
    frames = with_acknowledgements(frames, random.Random(seed))
    assert comparable(track(frames, snaplen=snaplen)) == comparable(
        track([cooked(f) for f in frames], snaplen=snaplen + 2)
    )


def test_what_goes_the_short_way():
    """All but the first frame of each side: payload is read where a message begins or ends, and passed over between."""
    talk = Conversation().handshake()
    talk.send(0, p.record(p.call(1, p.NFS, 3, 6, p.read3(count=15_000), credential=p.auth_sys())))
    talk.send(1, p.record(p.reply(1, p.read3_results(b"U" * 15_000))))
    talk.raw(0)
    ways = []
    for i, frame in enumerate(talk.frames):
        tracker, part = Tracker(keep_calls=True, budget=ORDINARY), p.chunk([frame])
        tracker.feed(p.chunk(talk.frames[:i]))
        ways.append(shortcut.goes_on(tracker._state, part.buffer, 0, len(part.buffer)))
    segments = -(-15_000 // 1448)
    client, server = shortcut.READ, shortcut.READ + 1
    opening = [*[shortcut.LONG] * 3, client, server]
    assert ways == [*opening, *[shortcut.PASSED] * (segments - 2), server, shortcut.PASSED]
    row = track(talk.frames).connections[0]
    assert list(row["frames"]) == [3 + 1, 1 + segments]


@pytest.mark.slow
def test_a_connection_that_made_room_for_another_is_not_known_any_more():
    """More conversations than the table holds, in turn: each frame meets rows of connections that are gone."""
    talks = []
    for client in range(24):
        talk = Conversation(client=f"10.0.0.{10 + client}").handshake()
        talk.send(0, p.record(p.call(1, p.NFS, 3, 6, p.read3(count=30_000), credential=p.auth_sys())))
        talk.send(1, p.record(p.reply(1, p.read3_results(b"U" * 30_000))))
        talks.append(talk.frames)
    answered = 5  # frames until no call waits, of which there is not room for so many either
    turns = [*(talk[:answered] for talk in talks), *zip(*(talk[answered:] for talk in talks), strict=True)]
    frames = [replace(f, time=i) for i, f in enumerate(f for turn in turns for f in turn)]
    seen = track(frames, budget=SMALL)
    assert comparable(seen) == comparable(track([cooked(f) for f in frames], budget=SMALL))
    assert seen.odd["connections_dropped"] > 0

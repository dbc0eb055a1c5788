"""NFS conversations of every shape: what was said, how TCP cut it into segments, what the network did to them."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hypothesis import strategies as st

import packets as p
from packets import Conversation, Frame

SEGMENTS = (1, 3, 17, 100, 536, 1448, 8948, 65_000)


@dataclass(frozen=True)
class Shape:
    """How a conversation comes about. The same shape gives the same conversation."""

    seed: int = 0
    calls: int = 6
    segment: int = 1448  # bytes, at most
    whole: bool = False  # segments do not go beyond a record, so that each record begins one
    fragments: int = 1  # of a record, at most
    outstanding: int = 3
    data: int = 3000  # bytes of a READ or WRITE, at most
    swaps: float = 0.0  # share of neighbouring segments of one side that change places
    repeats: float = 0.0  # share of segments that come a second time, later
    overlaps: float = 0.0  # share of segments that begin before the end of the last one
    start: tuple[int, int] = (1000, 900_000)
    syn: bool = True
    v6: bool = False


SHAPES = st.builds(
    Shape,
    seed=st.integers(0, 1 << 32),
    calls=st.integers(1, 12),
    segment=st.sampled_from(SEGMENTS),
    whole=st.booleans(),
    fragments=st.sampled_from([1, 1, 2, 5]),
    outstanding=st.integers(1, 5),
    data=st.sampled_from([0, 100, 2000]),
    start=st.tuples(*[st.sampled_from([0, 1000, 2**31 - 100, 2**32 - 1, 2**32 - 300])] * 2),
    v6=st.booleans(),
)


def said(shape: Shape) -> list[tuple[int, bytes]]:
    """(side, record) in order: calls of the client, replies of the server, never a reply before its call."""
    rng, cutter = random.Random(shape.seed), random.Random(shape.seed + 3)
    waiting, out = [], []
    for xid in range(rng.getrandbits(31), 2**31 + shape.calls):
        if not shape.calls or len([1 for side, _ in out if side == 0]) == shape.calls:
            break
        call, reply = _exchange(rng, xid, rng.randrange(shape.data + 1))
        out.append((0, p.record(call, cutter.randint(1, shape.fragments))))
        waiting.append((1, p.record(reply, cutter.randint(1, shape.fragments))))
        while len(waiting) > rng.randrange(shape.outstanding):
            out.append(waiting.pop(rng.randrange(len(waiting))))
    return out + waiting


def _exchange(rng: random.Random, xid: int, size: int) -> tuple[bytes, bytes]:
    """A call and its reply."""
    data, name = b"U" * size, f"file-{rng.randrange(9)}"
    credential = p.auth_sys(
        rng.choice(["web01", "a", "name-of-a-machine"]), stamp=rng.randrange(3), uid=rng.randrange(2)
    )
    kind = rng.randrange(8)
    if kind == 0:
        return p.call(xid, p.NFS, 3, 0, credential=p.AUTH_NONE), p.reply(xid)
    if kind == 1:
        found = p.u32(0) + p.opaque(b"new-handle") + p.u32(0, 0)
        return p.call(xid, p.NFS, 3, 3, p.lookup3(name=name), credential=credential), p.reply(xid, found)
    if kind == 2:
        return p.call(xid, p.NFS, 3, 3, p.lookup3(name=name), credential=credential), p.reply(xid, p.u32(2, 0))
    if kind == 3:
        return p.call(xid, p.NFS, 3, 6, p.read3(count=size), credential=credential), p.reply(xid, p.read3_results(data))
    if kind == 4:
        arguments = p.write3(data=data)
        return p.call(xid, p.NFS, 3, 7, arguments, credential=credential), p.reply(xid, p.write3_results(size))
    if kind == 5:
        operations = p.compound(p.putfh(), p.lookup4(name), p.read4(0, size))
        results = p.compound_results(p.ok(22), p.ok(15), p.read4_result(data))
    elif kind == 6:
        operations = p.compound(p.renew(rng.randrange(1, 4)))
        results = p.compound_results(p.ok(30))
    else:
        operations = p.compound(p.putfh(), p.write4(0, data), tag="tag")
        results = p.compound_results(p.ok(22), p.write4_result(size), tag="tag")
    return p.call(xid, p.NFS, 4, 1, operations, credential=credential), p.reply(xid, results)


def frames_of(shape: Shape) -> list[Frame]:
    """The conversation as a capture at the server would have it."""
    ends = {"client": "fd00::7", "server": "fd00::1"} if shape.v6 else {}
    talk = Conversation(start=shape.start, **ends)
    if shape.syn:
        talk.handshake()
    for side, offset, data in _disturbed(shape, _segments(shape)):
        talk.raw(side, data, sequence=(shape.start[side] + 1 + offset) & 0xFFFFFFFF, acknowledged=0, flags=p.PSH)
    return talk.frames


def _segments(shape: Shape) -> list[tuple[int, int, bytes]]:
    """(side, offset in its stream, bytes), in an order in which no reply comes before its call.

    A segment may hold bytes of several records: the client's is sent when its first record is, the server's when its last is.
    """
    rng = random.Random(shape.seed + 1)
    events = said(shape)
    placed = []
    for side in (0, 1):
        stream, whose = b"", []
        for event, (speaker, record) in enumerate(events):
            if speaker == side:
                stream += record
                whose += [event] * len(record)
        at = 0
        while at < len(stream):
            end = min(at + rng.randint(1, shape.segment), len(stream))
            if shape.whole:
                end = next((i for i in range(at + 1, end) if whose[i] != whose[at]), end)
            begin = max(at - rng.randrange(40), 0) if rng.random() < shape.overlaps else at
            placed.append((whose[at if side == 0 else end - 1], side, begin, stream[begin:end]))
            at = end
    placed.sort(key=lambda s: s[0])  # stable: each side stays in its order
    return [segment[1:] for segment in placed]


def _disturbed(shape: Shape, segments: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """Segments changed places and repeated; what overtakes is short enough to be kept whole (HELD_BYTES)."""
    rng = random.Random(shape.seed + 2)
    out = list(segments)
    i = 0
    while i + 1 < len(out):
        if out[i][0] == out[i + 1][0] and len(out[i + 1][2]) <= 2048 and rng.random() < shape.swaps:
            out[i], out[i + 1] = out[i + 1], out[i]
            i += 1
        i += 1
    for i in range(len(out) - 1, -1, -1):
        if rng.random() < shape.repeats:
            out.insert(rng.randint(i + 1, min(i + 9, len(out))), out[i])
    return out

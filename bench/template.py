"""The lab capture comes in; pieces of its one connection come out, which can be put together anew.

A piece runs from one clean point to another: no call is outstanding there, and both directions are between two records
(RFC 5531 section 11). So any sequence of pieces, with sequence numbers that follow on each other, is a connection that
could have been. What a piece holds (calls, READs, bytes read) is counted here, by a decoder of a few lines of its own:
the figures that nfsleuth is held against must not come from nfsleuth.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import zstandard

CLIENT_MAC = bytes.fromhex("5254008f21c4")
CLIENT, SERVER = bytes([10, 0, 0, 7]), bytes([10, 0, 0, 1])
CLIENT_PORT, SERVER_PORT = 1005, 2049
CLIENT_TEXT, HOST_NAME = b"10.0.0.7", b"node01"  # as the client writes them: r_addr, AUTH_SYS, nfs_client_id4
OWNER = b"Linux NFSv4.0 "  # how its nfs_client_id4 begins; the verifier4 stands 12 bytes before

MAC_AT, IP_AT, TCP_AT = 0, 14, 34  # in a frame: neither VLAN tags nor IP options
SYN, FIN = 2, 1
LAST_RECORD = 0x8000_0000  # every record of the capture has one fragment
CALL_HEAD, REPLY_HEAD = 44, 72  # bytes with the record mark: to the credential's length; to the count of a READ's reply

# What differs between replayed clients: bytes of a frame that are XORed with the key of the client or connection.
KEY = np.dtype(
    [
        ("xid", np.uint8, 4),
        ("mac", np.uint8, 6),
        ("address", np.uint8, 4),
        ("port", np.uint8, 2),
        ("name", np.uint8, len(HOST_NAME)),
        ("text", np.uint8, len(CLIENT_TEXT)),
        ("verifier", np.uint8, 8),
    ]
)
KEY_AT: dict[str, int] = {name: KEY.fields[name][1] for name in KEY.names or ()} if KEY.fields else {}

FRAME = np.dtype(
    [
        ("at", np.int64),  # where it begins in the arena
        ("length", np.int64),
        ("time", np.int64),  # ns since the first frame of the connection
        ("side", np.int64),  # who sent it: 0 the client, 1 the server
        ("sequence", np.int64),  # relative: the SYN has 0
        ("acknowledged", np.int64),  # relative to the other side
        ("payload", np.int64),  # bytes
        ("flags", np.int64),
        ("patch", np.int64),  # the first of its rows in the patches; they end where those of the next frame begin
    ]
)
PATCH = np.dtype([("at", np.int32), ("key", np.int32)])  # byte of the frame, byte of the KEY


@dataclass(frozen=True)
class Message:
    """An RPC message: where it lies in its direction's stream, its xid, and what it read (-1: it is no READ's
    reply)."""

    start: int
    end: int
    xid: int
    read: int = -1


@dataclass(frozen=True)
class Piece:
    """Frames ``first`` to ``stop`` of the template, which begin at (sequence, sequence) of the two directions."""

    first: int
    stop: int
    begins: tuple[int, int]
    ends: tuple[int, int]
    calls: int
    reads: int
    read_bytes: int
    hidden: int  # messages whose header lies beyond the snaplen

    def __add__(self, later: Piece) -> Piece:
        assert self.stop == later.first
        return Piece(
            self.first, later.stop, self.begins, later.ends, self.calls + later.calls, self.reads + later.reads,
            self.read_bytes + later.read_bytes, self.hidden + later.hidden,
        )  # fmt: skip


@dataclass
class Template:
    """The connection.

    arena: uint8[n], the frames' bytes. frames: FRAME[m + 1], the last row only ends the patches. patches: PATCH[k].
    opening, closing: handshake and teardown. steps: the rest, cut at every clean point, mostly one call each.
    """

    arena: np.ndarray
    frames: np.ndarray
    patches: np.ndarray = field(repr=False)
    opening: Piece
    steps: list[Piece]
    closing: Piece


def load(path: Path, snaplen: int) -> Template:
    """Read the lab capture. snaplen: what `Piece.hidden` is about; nothing is cut here."""
    data = zstandard.ZstdDecompressor().stream_reader(path.read_bytes(), read_across_frames=True).read()
    arena, frames = _connection(data)
    streams = [_stream(arena, frames, side) for side in (0, 1)]
    messages = [_messages(stream) for stream in streams]
    patches = _patches(frames, streams, messages)
    opening, *steps, closing = _cut(frames, messages, snaplen)
    return Template(arena, frames, patches, opening, steps, closing)


def _connection(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Arena and FRAME rows of the TCP frames of a little-endian pcap file with ns."""
    assert data[:4] == bytes.fromhex("4d3cb2a1"), "not a pcap file with nanoseconds"
    rows: list[tuple[int, ...]] = []
    at, begin, initial = 24, 0, [0, 0]
    while at < len(data):
        seconds, ns, captured, wire = struct.unpack_from("<IIII", data, at)
        at += 16
        if data[at + 12 : at + 14] == b"\x08\x00" and data[at + IP_AT + 9] == 6:
            assert captured == wire, "the template must hold whole frames"
            assert data[at + IP_AT] == 0x45, "the template must hold IPv4 without options"
            side = int(data[at + IP_AT + 12 : at + IP_AT + 16] == SERVER)
            sequence, acknowledged, offset, flags = struct.unpack_from("!IIBB", data, at + TCP_AT + 4)
            total = int.from_bytes(data[at + IP_AT + 2 : at + IP_AT + 4], "big")
            if flags & SYN:
                initial[side] = sequence
            begin = begin or seconds * 10**9 + ns
            time = seconds * 10**9 + ns - begin
            relative, other = (sequence - initial[side]) & 0xFFFF_FFFF, (acknowledged - initial[1 - side]) & 0xFFFF_FFFF
            assert captured == IP_AT + total, "the template must hold frames without padding"
            payload = total - (TCP_AT - IP_AT) - (offset >> 4) * 4
            rows.append((at, captured, time, side, relative, other, payload, flags, 0))
        at += captured
    return np.frombuffer(data, np.uint8).copy(), np.array([*rows, (0,) * len(FRAME.names or ())], FRAME)


def _stream(arena: np.ndarray, frames: np.ndarray, side: int) -> bytes:
    """What one side sent. The capture has no retransmission and no gap, which is checked."""
    out = bytearray()
    for row in frames[:-1]:
        if row["side"] == side and row["payload"]:
            assert row["sequence"] == len(out) + 1, "the template must be without gaps"
            end = row["at"] + IP_AT + _total_length(arena, row["at"])
            out += arena[end - row["payload"] : end].tobytes()
    return bytes(out)


def _total_length(arena: np.ndarray, at: int) -> int:
    return int(arena[at + IP_AT + 2]) << 8 | int(arena[at + IP_AT + 3])


def _messages(stream: bytes) -> list[Message]:
    """The RPC messages of a stream (RFC 5531 sections 9 and 11)."""
    found = []
    at = 0
    while at < len(stream):
        mark, xid, kind = struct.unpack_from("!III", stream, at)
        assert mark & LAST_RECORD, "the template must have one fragment per record"
        end = at + 4 + mark - LAST_RECORD
        found.append(Message(at, end, xid, _bytes_read(stream[at:end]) if kind == 1 else -1))
        at = end
    return found


def _bytes_read(reply: bytes) -> int:
    """What a reply brought whose operations begin with PUTFH, READ (as Linux sends them), else -1. RFC 7530 section
    16.23."""
    if len(reply) < REPLY_HEAD:
        return -1
    words = struct.unpack_from("!18I", reply)
    # mark, xid, REPLY, MSG_ACCEPTED, verifier (2), SUCCESS, NFS4_OK, tag length 0, operations, PUTFH, OK, READ, OK, eof
    putfh_read = words[2:9] == (1, 0, 0, 0, 0, 0, 0) and words[10:14] == (22, 0, 25, 0)
    return words[15] if putfh_read else -1


def _patches(frames: np.ndarray, streams: list[bytes], messages: list[list[Message]]) -> np.ndarray:
    """PATCH rows in the order of the frames; fills in `frames["patch"]`."""
    found: list[list[tuple[int, int]]] = [_header_patches(int(side)) for side in frames["side"][:-1]]
    for side in (0, 1):
        spots = [(m.start + 4, "xid") for m in messages[side]]
        if side == 0:
            owners = list(_occurrences(streams[0], OWNER))
            assert owners, "the template must name its client"
            spots += [(at - 12, "verifier") for at in owners]
            spots += [(at, "name") for at in _occurrences(streams[0], HOST_NAME)]
            spots += [(at, "text") for at in _occurrences(streams[0], CLIENT_TEXT)]
        _place(found, frames, side, spots)
    counts = np.array([0, *(len(f) for f in found)])
    frames["patch"] = np.cumsum(counts)
    return np.array([p for f in found for p in f], PATCH)


def _header_patches(side: int) -> list[tuple[int, int]]:
    """MAC, address and port of the client, which is the source or the destination."""
    places = {"mac": (6, 0), "address": (IP_AT + 12, IP_AT + 16), "port": (TCP_AT, TCP_AT + 2)}
    return [(places[name][side] + i, KEY_AT[name] + i) for name in places for i in range(_size(name))]


def _place(found: list[list[tuple[int, int]]], frames: np.ndarray, side: int, spots: list[tuple[int, str]]) -> None:
    """Add the patches for places in a stream to the frames that carry them, byte by byte: fields may be cut."""
    mine = np.flatnonzero((frames["side"][:-1] == side) & (frames["payload"][:-1] > 0))
    starts = frames["sequence"][mine] - 1
    for start, name in spots:
        for i in range(_size(name)):
            at = start + i
            carrier = int(np.searchsorted(starts, at, "right")) - 1
            row = frames[mine[carrier]]
            in_frame = int(row["length"] - row["payload"] + at - starts[carrier])
            found[mine[carrier]].append((in_frame, KEY_AT[name] + i))


def _size(name: str) -> int:
    return int(KEY[name].itemsize)


def _occurrences(stream: bytes, text: bytes) -> list[int]:
    found = []
    at = stream.find(text)
    while at >= 0:
        found.append(at)
        at = stream.find(text, at + 1)
    return found


def _cut(frames: np.ndarray, messages: list[list[Message]], snaplen: int) -> list[Piece]:
    """The connection, cut at every clean point: handshake, steps of at least a call, teardown."""
    hidden = [_hidden(frames, messages, side, snaplen) for side in (0, 1)]
    by_xid = {m.xid: m.read for m in messages[1]}
    assert len(by_xid) == len(messages[0]) == len(messages[1]), "every call must have its reply, and an xid of its own"
    assert len({x & 0xFF for x in by_xid}) == 1, "the last byte of the xids must be free, for repetitions"
    points = _clean_points(frames, messages)
    pieces = []
    for (first, begins, done), (stop, ends, after) in pairwise(points):
        reads = [by_xid[m.xid] for m in messages[0][done:after] if by_xid[m.xid] >= 0]
        unseen = sum(sum(h[done:after]) for h in hidden)
        pieces.append(Piece(first, stop, begins, ends, after - done, len(reads), sum(reads), unseen))
    return pieces


def _clean_points(frames: np.ndarray, messages: list[list[Message]]) -> list[tuple[int, tuple[int, int], int]]:
    """(frame before which to cut, next sequence number of both sides, calls so far), for every clean point."""
    ends = [{m.end: i + 1 for i, m in enumerate(some)} for some in messages]
    points: list[tuple[int, tuple[int, int], int]] = [(0, (0, 0), 0)]
    sent = [0, 0]
    done = -1
    for i, row in enumerate(frames[:-1]):
        if row["payload"]:
            sent[row["side"]] = int(row["sequence"] + row["payload"]) - 1
        elif i >= 2 and done < 0:  # the ACK of the handshake
            done = 0
            points.append((i + 1, (1, 1), 0))
        calls, replies = (ends[side].get(sent[side], -1) for side in (0, 1))
        if calls == replies > max(done, 0):
            points.append((i + 1, (sent[0] + 1, sent[1] + 1), calls))
            done = calls
    fin = int(np.flatnonzero(frames["flags"][:-1] & FIN)[0])
    last = points.pop()
    assert last[2] == len(messages[0]), "the connection must end clean"
    return [*points, (fin, last[1], last[2]), (len(frames) - 1, (last[1][0] + 1, last[1][1] + 1), last[2])]


def _hidden(frames: np.ndarray, messages: list[list[Message]], side: int, snaplen: int) -> list[bool]:
    """Per message of a side: whether its header lies, in part, beyond the snaplen."""
    mine = frames[:-1][(frames["side"][:-1] == side) & (frames["payload"][:-1] > 0)]
    starts = mine["sequence"] - 1
    carriers = np.searchsorted(starts, [m.start for m in messages[side]], "right") - 1
    heads = (mine["length"] - mine["payload"])[carriers] + [m.start for m in messages[side]] - starts[carriers]
    need = np.minimum((CALL_HEAD, REPLY_HEAD)[side], [m.end - m.start for m in messages[side]])
    beyond: list[bool] = (heads + need > np.minimum(snaplen, mine["length"][carriers])).tolist()
    return beyond

"""Pieces of the template come in, a capture of many clients goes out, merged by time and written a block at a time.

Every connection gets its client's MAC, address, name (AUTH_SYS and nfs_client_id4), verifier and r_addr, its own port,
xids and initial sequence numbers. IP checksums are right, TCP checksums are 0, TCP timestamps are the template's.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO

import numpy as np
from numba import njit
from template import (
    CLIENT,
    CLIENT_MAC,
    CLIENT_PORT,
    CLIENT_TEXT,
    HOST_NAME,
    IP_AT,
    KEY,
    KEY_AT,
    TCP_AT,
    Piece,
    Template,
)

FILE_HEADER = struct.pack("<IHHIIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, 1)  # pcap 2.4 with ns, Ethernet
RECORD_HEADER = 16
BEGIN = 1_790_000_000 * 10**9  # ns since 1970: when the first client comes
BLOCK = 1 << 24  # bytes written at once
WINDOW = 1 << 18  # frames, on average, that are merged at once

STEP = np.dtype(
    [
        ("frame", np.int64),  # of the template
        ("time", np.int64),  # ns since the connection's start
        ("sequence", np.int64),  # relative
        ("acknowledged", np.int64),
        ("turn", np.int64),  # how often this piece came before in the connection: goes into the xids
    ]
)
CONNECTION = np.dtype(
    [
        ("script", np.int64),
        ("start", np.int64),  # ns
        ("end", np.int64),
        ("client_isn", np.int64),
        ("server_isn", np.int64),
        ("key", np.uint8, KEY.itemsize),
    ]
)
# MAC prefixes of makers of guests and of machines, so that a capture has clients of several kinds
MAC_PREFIXES = ("525400", "000c29", "005056", "080027", "00163e", "00155d", "1866da", "a0369f", "3cecef", "b8ca3a")
TURNED = (
    KEY_AT["xid"] + 3
)  # the byte of an xid that is the same all through the template: Linux counts in the first ones
MOST_CLIENTS = 9_990  # addresses of the template's length: 10.0.0.2 and on, one digit between the dots


@dataclass(frozen=True)
class Script:
    """A connection that was put together. steps: STEP[n], times and numbers relative to its start."""

    steps: np.ndarray
    calls: int
    reads: int
    read_bytes: int

    @property
    def duration(self) -> int:
        """ns."""
        return int(self.steps["time"][-1])


def script(template: Template, pieces: Sequence[Piece]) -> Script:
    """Join pieces: each begins with the numbers with which the one before has ended."""
    parts = []
    turns: Counter[int] = Counter()
    now, begin = 0, (0, 0)
    for piece in pieces:
        frames = template.frames[piece.first : piece.stop]
        part = np.empty(len(frames), STEP)
        part["frame"] = np.arange(piece.first, piece.stop)
        part["time"] = frames["time"] - frames["time"][0] + now
        mine, other = np.array(piece.begins)[frames["side"]], np.array(piece.begins)[1 - frames["side"]]
        here, there = np.array(begin)[frames["side"]], np.array(begin)[1 - frames["side"]]
        part["sequence"] = frames["sequence"] - mine + here
        # What was acknowledged before the cut was acknowledged in another piece.
        part["acknowledged"] = np.maximum(frames["acknowledged"] - other, 0) + there
        part["turn"] = turns[piece.first]
        turns[piece.first] += 1
        parts.append(part)
        after = template.frames["time"][min(piece.stop, len(template.frames) - 2)]
        now += int(after - frames["time"][0])
        begin = (begin[0] + piece.ends[0] - piece.begins[0], begin[1] + piece.ends[1] - piece.begins[1])
    return Script(
        np.concatenate(parts),
        sum(p.calls for p in pieces),
        sum(p.reads for p in pieces),
        sum(p.read_bytes for p in pieces),
    )


def client_key(number: int, rng: np.random.Generator) -> np.ndarray:
    """KEY of client `number`, from 0; xid and port are those of the template."""
    assert number < MOST_CLIENTS
    digits = f"{number + 2:04}"
    mac = bytes.fromhex(MAC_PREFIXES[number % len(MAC_PREFIXES)]) + struct.pack("!I", number + 0x10_0000)[1:]
    key = np.zeros((), KEY)
    key["mac"] = _xor(CLIENT_MAC, mac)
    key["address"] = _xor(CLIENT, bytes([10 + int(digits[0]), *map(int, digits[1:])]))
    key["name"] = _xor(HOST_NAME, f"c{number:05}".encode())
    key["text"] = _xor(CLIENT_TEXT, f"1{'.'.join(digits)}".encode())
    key["verifier"] = rng.integers(0, 256, 8, np.uint8)
    return key


def connection(
    number: int, made: Script, start: int, key: np.ndarray, port: int, rng: np.random.Generator
) -> np.ndarray:
    """CONNECTION with script `number` of a client with `key`."""
    row, own = np.zeros((), CONNECTION), key.copy()
    own["port"] = _xor(struct.pack("!H", CLIENT_PORT), struct.pack("!H", port))
    own["xid"] = rng.integers(0, 256, 4, np.uint8)
    row["script"], row["start"], row["end"] = number, start, start + made.duration
    row["client_isn"], row["server_isn"] = rng.integers(0, 1 << 32, 2)
    row["key"] = np.frombuffer(own.tobytes(), np.uint8)
    return row


def write(out: BinaryIO, template: Template, scripts: Sequence[Script], connections: np.ndarray, snaplen: int) -> int:
    """Write the capture; returns the number of frames. Needs memory for a window and a block, whatever the size."""
    out.write(FILE_HEADER)
    block = np.empty(BLOCK, np.uint8)
    keys = np.ascontiguousarray(connections["key"])
    numbers = np.stack([connections["client_isn"], connections["server_isn"]], axis=1)
    frames = 0
    for owners, steps in _windows(scripts, connections):
        done = 0
        while done < len(owners):
            done, used = lay_out(
                block, template.arena, template.frames, template.patches, keys, numbers, owners, steps, done, snaplen
            )
            out.write(memoryview(block)[:used])  # type: ignore[arg-type]
        frames += len(owners)
    return frames


def _windows(scripts: Sequence[Script], connections: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(connection of each frame, its STEP with the absolute time), in the order of time, some 100,000 at once."""
    total = sum(len(scripts[c].steps) for c in connections["script"])
    edges = np.linspace(0, connections["end"].max() + 1, max(total // WINDOW, 1) + 1).astype(np.int64)
    for begin, end in pairwise(edges):
        owners, parts = [], []
        for c in np.flatnonzero((connections["start"] < end) & (connections["end"] >= begin)):
            start = connections["start"][c]
            steps = scripts[connections["script"][c]].steps
            low, high = np.searchsorted(steps["time"], (begin - start, end - start))
            part = steps[low:high].copy()
            part["time"] += start
            owners.append(np.full(len(part), c))
            parts.append(part)
        if parts:
            steps = np.concatenate(parts)
            order = np.argsort(steps["time"], kind="stable")
            yield np.concatenate(owners)[order], steps[order]


@njit(cache=True)
def lay_out(
    out: np.ndarray,
    arena: np.ndarray,
    frames: np.ndarray,
    patches: np.ndarray,
    keys: np.ndarray,
    numbers: np.ndarray,
    owners: np.ndarray,
    steps: np.ndarray,
    first: int,
    snaplen: int,
) -> tuple[int, int]:
    """Write the records of steps[first:] until `out` is full; returns (next step, bytes written).

    numbers: int64[connections, 2], initial sequence numbers of both sides. keys: uint8[connections, bytes of KEY].
    """
    used = 0
    for i in range(first, len(steps)):
        step, owner = steps[i], owners[i]
        frame = frames[step["frame"]]
        captured = min(frame["length"], snaplen)
        if used + RECORD_HEADER + captured > len(out):
            return i, used
        time = step["time"] + BEGIN
        _put(out, used, time // 1_000_000_000, 4, False)
        _put(out, used + 4, time % 1_000_000_000, 4, False)
        _put(out, used + 8, captured, 4, False)
        _put(out, used + 12, frame["length"], 4, False)
        used += RECORD_HEADER
        out[used : used + captured] = arena[frame["at"] : frame["at"] + captured]
        for p in range(frame["patch"], frames[step["frame"] + 1]["patch"]):
            if patches[p]["at"] < captured:
                key = patches[p]["key"]
                out[used + patches[p]["at"]] ^= keys[owner, key] ^ (step["turn"] if key == TURNED else 0)
        side = frame["side"]
        _put(out, used + TCP_AT + 4, numbers[owner, side] + step["sequence"], 4, True)
        if frame["flags"] & 16:
            _put(out, used + TCP_AT + 8, numbers[owner, 1 - side] + step["acknowledged"], 4, True)
        _put(out, used + TCP_AT + 16, 0, 2, True)
        _put(out, used + IP_AT + 10, 0, 2, True)
        _put(out, used + IP_AT + 10, _checksum(out, used + IP_AT), 2, True)
        used += captured
    return len(steps), used


@njit(cache=True)
def _put(out: np.ndarray, at: int, value: int, size: int, big: bool) -> None:
    for i in range(size):
        out[at + i] = (value >> (8 * (size - 1 - i if big else i))) & 0xFF


@njit(cache=True)
def _checksum(buf: np.ndarray, at: int) -> int:
    """Of an IPv4 header of 20 bytes whose checksum field is 0 (RFC 791 section 3.1)."""
    total = np.int64(0)
    for i in range(0, 20, 2):
        total += (np.int64(buf[at + i]) << 8) | np.int64(buf[at + i + 1])
    total = (total & 0xFFFF) + (total >> 16)
    return int(~(total + (total >> 16)) & 0xFFFF)


def _xor(old: bytes, new: bytes) -> np.ndarray:
    assert len(old) == len(new)
    return np.frombuffer(old, np.uint8) ^ np.frombuffer(new, np.uint8)

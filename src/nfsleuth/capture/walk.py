"""What the kernels of all formats share: byte readers, what they return, and the oddity counter.

A kernel walks the records in ``buf[at:end]``, fills FRAME rows and returns a `Step`. It never reads at or beyond `end`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from nfsleuth.capture.source import BYTE, COUNT, FRAME_NUMBER
from nfsleuth.compiled import part
from nfsleuth.compiled.words import be32, le32

Order = Literal["little", "big"]
ORDERS: tuple[Order, Order] = ("little", "big")  # indexed by whether it is big-endian

CAPTURED_MOST = 262_144  # bytes of a frame: MAXIMUM_SNAPLEN of libpcap; a record that claims more is damaged

MORE = 0  # `need` bytes from `at` on are needed to go on
FULL = 1  # the table is full: hand it out and call again
DAMAGED = 2  # nothing can be read from `at` on
HEADER = 3  # pcapng only: a section or interface header at `at`, which Python reads


class Step(NamedTuple):
    """What a kernel has done.

    rows: frames in the table. at: where the next record begins; beyond the end of the buffer, that much is to be
    skipped. need: bytes that it needs from there. status: MORE, FULL, DAMAGED or HEADER. number: number of the last
    frame.
    """

    rows: int
    at: int
    need: int
    status: int
    number: int


@part
def u32(buf, at, big):
    """32 bits at `at`, big-endian or not, as int64 (never negative)."""
    return be32(buf, at) if big else le32(buf, at)


@part
def note(tally, odd, number, byte):
    """Count an oddity (an `Odd`) that was met at frame `number` and `byte` of the file."""
    if tally[odd, COUNT] == 0:
        tally[odd, FRAME_NUMBER] = number
        tally[odd, BYTE] = byte
    tally[odd, COUNT] += 1

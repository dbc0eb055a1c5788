"""The bytes of a Solaris snoop file (RFC 1761) come in, FRAME rows come out.

A header of 16 bytes (``snoop``, three NULs, version 2, datalink type), then records, all big-endian::

    offset  0  original length    bytes on the wire
            4  included length    bytes in the file
            8  record length      to the next record, padding included
           12  cumulative drops
           16  seconds, 20 microseconds, then the frame
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from nfsleuth.capture.source import Odd, Source
from nfsleuth.capture.walk import CAPTURED_MOST, DAMAGED, FULL, MORE, Step, note, u32
from nfsleuth.compiled import entry

HEADER_BYTES = 16
MAGIC = b"snoop\0\0\0"
RECORD = 24  # bytes of a record header
PADDING_MOST = 4096  # bytes between a frame and the next record; snoop pads to 4
LINKS = {0: 1, 4: 1}  # IEEE 802.3 and Ethernet -> LINKTYPE_ETHERNET; nothing else is read

INSANE = np.int64(Odd.RECORD_INSANE)


@entry
def index_snoop(buf, at, end, frames, number, base, link, tally, span):
    """Walk the records in ``buf[at:end]``; returns the fields of a `Step`. Arguments as in `pcap.index_pcap`."""
    rows = 0
    status = MORE
    need = RECORD
    first, last = span[0], span[1]
    while at + RECORD <= end:
        if rows == len(frames):
            status = FULL
            break
        wire = u32(buf, at, True)
        captured = u32(buf, at + 4, True)
        length = u32(buf, at + 8, True)
        if captured > CAPTURED_MOST or length < RECORD + captured or length > RECORD + captured + PADDING_MOST:
            note(tally, INSANE, number, base + at)
            status = DAMAGED
            break
        if length > end - at:
            need = length
            break
        time = u32(buf, at + 16, True) * 1_000_000_000 + u32(buf, at + 20, True) * 1000
        number += 1
        frames[rows]["offset"] = at + RECORD
        frames[rows]["time"] = time
        frames[rows]["number"] = number
        frames[rows]["captured"] = captured
        frames[rows]["wire"] = min(max(wire, captured), 0x7FFF_FFFF)
        frames[rows]["link"] = link
        first = min(first, time)
        last = max(last, time)
        rows += 1
        at += length
    span[0] = first
    span[1] = last
    return rows, at, need, status, number


class Snoop(Struct, frozen=True):
    """Walker over one snoop file, behind its header."""

    source: Source
    span: np.ndarray
    link: int

    @classmethod
    def begin(cls, head: bytes, source: Source, span: np.ndarray) -> Snoop | str:
        """The walker for a file with this header (16 bytes), or why there is none: what is wrong, at which byte."""
        version, link = (int.from_bytes(head[i : i + 4], "big") for i in (8, 12))
        if head[:8] != MAGIC or version != 2:
            return f"byte 8: snoop version {version} is not 2; convert it with editcap -F pcapng"
        return cls(source, span, LINKS.get(link, -1))

    def index(self, buf: np.ndarray, at: int, end: int, frames: np.ndarray, number: int, base: int) -> Step:
        """Fill `frames` from ``buf[at:end]``; see `index_snoop`."""
        return Step(*index_snoop(buf, at, end, frames, number, base, self.link, self.source.tally, self.span))

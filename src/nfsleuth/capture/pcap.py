"""The bytes of a pcap file come in, FRAME rows come out.

The format: draft-ietf-opsawg-pcap. A header of 24 bytes, then records::

    offset  0  seconds    1970 UTC, 32 bits
            4  fraction   microseconds or ns, by the magic number
            8  captured   bytes in the file
           12  wire       bytes on the wire
           16  8 bytes more in the "modified" format of Kuznetzov's patch (interface, protocol, type), then the frame
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from nfsleuth.capture.source import Odd, Source
from nfsleuth.capture.walk import CAPTURED_MOST, DAMAGED, FULL, MORE, ORDERS, Step, note, u32
from nfsleuth.compiled import entry
from nfsleuth.compiled.touch import touch

HEADER_BYTES = 24
# magic number in the file's own byte order -> (ns per unit of the fraction, bytes of a record header)
MAGICS = {0xA1B2C3D4: (1000, 16), 0xA1B23C4D: (1, 16), 0xA1B2CD34: (1000, 24)}
RAW_ALIASES = {12: 101, 14: 101}  # DLT_RAW as some systems number it; LINKTYPE_RAW is 101 in files

INSANE = np.int64(Odd.RECORD_INSANE)


@entry
def index_pcap(buf, at, end, frames, number, base, big, unit, header, either, link, tally, span):
    """Walk the records in ``buf[at:end]``; returns the fields of a `Step`.

    frames: FRAME rows to fill. number: of the last frame before. base: byte of the file at which `buf` begins. big:
    byte order. unit: ns per unit of the fraction. header: bytes of a record header. either: the two lengths may be
    swapped. link: for all rows. tally: see `source`. span: int64[2], earliest and latest time, kept up.
    """
    rows = 0
    status = MORE
    need = header
    first, last = span[0], span[1]
    while at + header <= end:
        if rows == len(frames):
            status = FULL
            break
        captured = u32(buf, at + 8, big)
        touch(buf, at + 4 * (header + captured))  # where a header lies if frames are of one length, as many are
        wire = u32(buf, at + 12, big)
        if either and wire < captured:
            captured, wire = wire, captured
        if captured > CAPTURED_MOST:
            note(tally, INSANE, number, base + at)
            status = DAMAGED
            break
        if captured > end - at - header:
            need = header + captured
            break
        time = u32(buf, at, big) * 1_000_000_000 + u32(buf, at + 4, big) * unit  # below 2^63 for any two 32 bits
        number += 1
        frames[rows]["offset"] = at + header
        frames[rows]["time"] = time
        frames[rows]["number"] = number
        frames[rows]["captured"] = captured
        frames[rows]["wire"] = min(max(wire, captured), 0x7FFF_FFFF)
        frames[rows]["link"] = link
        first = min(first, time)
        last = max(last, time)
        rows += 1
        at += header + captured
    span[0] = first
    span[1] = last
    return rows, at, need, status, number


def recognise(magic: bytes) -> tuple[bool, int, int] | None:
    """(big-endian, ns per unit, bytes of a record header) if these 4 bytes begin a pcap file."""
    for big in (False, True):
        known = MAGICS.get(int.from_bytes(magic, ORDERS[big]))
        if known:
            return big, *known
    return None


class Pcap(Struct, frozen=True):
    """Walker over one pcap file, behind its header."""

    source: Source
    span: np.ndarray
    big: bool
    unit: int
    header: int
    either: bool
    link: int

    @classmethod
    def begin(cls, head: bytes, source: Source, span: np.ndarray) -> Pcap | str:
        """The walker for a file with this header (24 bytes), or why there is none: what is wrong, at which byte."""
        form = recognise(head[:4])
        assert form is not None
        big, unit, header = form
        order = ORDERS[big]
        major, minor = (int.from_bytes(head[i : i + 2], order) for i in (4, 6))
        # libpcap reads 2.x and, from an old SGI, 543.0; Wireshark any 2.x
        if major != 2 and (major, minor) != (543, 0):
            return f"byte 4: pcap version {major}.{minor} is not 2.4; write it again with editcap -F pcap"
        field = int.from_bytes(head[20:24], order)
        if field & 0x03FF_0000:  # above are the bits that say how long the frame check sequence is
            source.note(Odd.LINK_RESERVED, 0, 20)
        link = field & 0xFFFF
        # Before version 2.3 the lengths stood the other way round; in 2.3 either way (libpcap's sf-pcap.c).
        return cls(source, span, big, unit, header, major == 2 and minor <= 3, RAW_ALIASES.get(link, link))

    def index(self, buf: np.ndarray, at: int, end: int, frames: np.ndarray, number: int, base: int) -> Step:
        """Fill `frames` from ``buf[at:end]``; see `index_pcap`."""
        return Step(
            *index_pcap(
                buf, at, end, frames, number, base,
                self.big, self.unit, self.header, self.either, self.link, self.source.tally, self.span,
            )
        )  # fmt: skip

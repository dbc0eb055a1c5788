"""The bytes of a pcapng file come in, FRAME rows come out.

The format: draft-ietf-opsawg-pcapng. Sections, each in a byte order of its own, of blocks (section 3.1)::

    offset 0         block type
           4         total length, a multiple of 4, these 12 bytes included
           8         body
           length-4  total length again

A kernel walks the blocks and reads the packet blocks. Section and interface headers are rare: it stops at them, and
Python reads them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nfsleuth.capture.clock import nanoseconds, scale_of
from nfsleuth.capture.source import Odd, Source
from nfsleuth.capture.walk import CAPTURED_MOST, DAMAGED, FULL, HEADER, MORE, ORDERS, Order, Step, note, u32
from nfsleuth.compiled import entry

SECTION, INTERFACE_DESCRIPTION, OBSOLETE_PACKET, SIMPLE_PACKET, ENHANCED_PACKET = 0x0A0D0D0A, 1, 2, 3, 6
NAME_RESOLUTION, STATISTICS, JOURNAL, SECRETS = 4, 5, 9, 10
CUSTOM, CUSTOM_PRIVATE = 0x0BAD, 0x40000BAD
BYTE_ORDER_MAGIC = 0x1A2B3C4D
MAGIC = b"\x0a\x0d\x0d\x0a"
SECTION_LEAST, INTERFACE_LEAST = 28, 20  # bytes of the two header blocks without options
BLOCK_MOST = 1 << 19  # a frame and its options; blocks that are skipped may be longer
INTERFACES_MOST = 1 << 16  # in one section
OPT_END, IF_TSRESOL, IF_TSOFFSET = 0, 9, 14

INTERFACE = np.dtype(
    [
        ("offset", np.int64),  # if_tsoffset, s
        ("scale", np.int64),  # ns per tick where a multiplication is all it takes
        ("most", np.int64),  # ticks up to which it is; -1: never
        ("snaplen", np.int64),  # 0: no limit
        ("link", np.int32),  # LINKTYPE_
        ("power", np.uint8),  # ticks are 10^-power s,
        ("binary", np.uint8),  # or 2^-power s
    ],
    align=True,
)

INSANE = np.int64(Odd.RECORD_INSANE)
UNKNOWN = np.int64(Odd.BLOCK_UNKNOWN)
NO_INTERFACE = np.int64(Odd.LINK_UNKNOWN_INTERFACE)
SATURATED = np.int64(Odd.TIME_SATURATED)


@entry
def index_pcapng(buf, at, end, frames, number, base, big, interfaces, described, tally, span):
    """Walk the blocks in ``buf[at:end]`` up to the next header block; returns the fields of a `Step`.

    interfaces: INTERFACE rows of this section, of which `described` are filled. The others: see `pcap.index_pcap`.
    """
    rows = 0
    status = MORE
    need = 12
    first, last = span[0], span[1]
    while at + 12 <= end:
        if rows == len(frames):
            status = FULL
            break
        kind = u32(buf, at, big)
        if kind in (SECTION, INTERFACE_DESCRIPTION):
            status = HEADER
            break
        length = u32(buf, at + 4, big)
        packet = kind in (ENHANCED_PACKET, SIMPLE_PACKET, OBSOLETE_PACKET)
        least = 12
        if packet:
            least = 16 if kind == SIMPLE_PACKET else 32
        if length < least or length & 3 != 0 or (packet and length > BLOCK_MOST):
            note(tally, INSANE, number, base + at)
            status = DAMAGED
            break
        if not packet:
            # Wireshark gives journal entries and custom blocks a frame number each, though they are not frames
            if kind in (JOURNAL, CUSTOM, CUSTOM_PRIVATE):
                number += 1
            elif kind not in (NAME_RESOLUTION, STATISTICS, SECRETS):
                note(tally, UNKNOWN, number, base + at)
            at += length  # perhaps beyond the end: the caller skips
            continue
        if length > end - at:
            need = length
            break
        offset = at + (12 if kind == SIMPLE_PACKET else 28)
        room = at + length - 4 - offset
        if kind == SIMPLE_PACKET:
            which = np.int64(0)
            wire = u32(buf, at + 8, big)
            captured = min(wire, room)
            if described > 0 and interfaces[0]["snaplen"] > 0:
                captured = min(captured, interfaces[0]["snaplen"])
        else:
            which = u32(buf, at + 8, big)
            if kind == OBSOLETE_PACKET:  # 16 bits of interface, 16 of drops
                which = which >> 16 if big else which & 0xFFFF
            captured = u32(buf, at + 20, big)
            wire = u32(buf, at + 24, big)
        if captured > min(room, CAPTURED_MOST) or u32(buf, at + length - 4, big) != length:
            note(tally, INSANE, number, base + at)
            status = DAMAGED
            break
        number += 1
        link = np.int64(-1)
        time = np.int64(0)
        if which >= described:
            note(tally, NO_INTERFACE, number, base + at)
        else:
            link = np.int64(interfaces[which]["link"])
            if kind != SIMPLE_PACKET:
                high, low = u32(buf, at + 12, big), u32(buf, at + 16, big)
                time = ((high & 0x7FFF_FFFF) << 32) | low
                if high < 1 << 31 and time <= interfaces[which]["most"]:
                    time = time * interfaces[which]["scale"]
                else:
                    time, saturated = nanoseconds(
                        (np.uint64(high) << np.uint64(32)) | np.uint64(low),
                        np.int64(interfaces[which]["power"]),
                        interfaces[which]["binary"] != 0,
                        np.int64(interfaces[which]["offset"]),
                    )
                    if saturated:
                        note(tally, SATURATED, number, base + at)
                first = min(first, time)
                last = max(last, time)
        frames[rows]["offset"] = offset
        frames[rows]["time"] = time
        frames[rows]["number"] = number
        frames[rows]["captured"] = captured
        frames[rows]["wire"] = min(max(wire, captured), 0x7FFF_FFFF)
        frames[rows]["link"] = link
        rows += 1
        at += length
    span[0] = first
    span[1] = last
    return rows, at, need, status, number


class Pcapng:
    """Walker over one pcapng file: the byte order and the interfaces of the section that it is in."""

    def __init__(self, source: Source, span: np.ndarray) -> None:
        self.source = source
        self.span = span
        self.big = False
        self.interfaces = np.zeros(4, INTERFACE)
        self.described = 0

    @classmethod
    def begin(cls, head: bytes, source: Source, span: np.ndarray) -> Pcapng | str:
        """The walker for a file that begins with these 28 bytes, or why there is none: what is wrong, at which byte.

        The section header itself is left to `index`.
        """
        order = byte_order(head[8:12])
        if order is None:
            return f"byte 8: no pcapng byte-order magic ({head[8:12].hex(' ')}); the file is damaged, copy it again"
        major, minor = (int.from_bytes(head[i : i + 2], order) for i in (12, 14))
        if not known_version(major, minor):
            return f"byte 12: pcapng version {major}.{minor} is not 1.0; write it again with editcap -F pcapng"
        return cls(source, span)

    def index(self, buf: np.ndarray, at: int, end: int, frames: np.ndarray, number: int, base: int) -> Step:
        """Fill `frames` from ``buf[at:end]``, reading headers on the way; see `index_pcapng`."""
        while True:
            step = Step(
                *index_pcapng(
                    buf, at, end, frames, number, base,
                    self.big, self.interfaces, self.described, self.source.tally, self.span,
                )
            )  # fmt: skip
            if step.status != HEADER:
                return step
            if step.rows:  # the header is looked at when the caller comes back
                return step._replace(status=FULL)
            at, number = step.at, step.number
            need = self._header(buf, at, end, number, base)
            if need < 0:
                return step._replace(status=DAMAGED)
            if need > end - at:
                return step._replace(status=MORE, need=need)
            at += need

    def _header(self, buf: np.ndarray, at: int, end: int, number: int, base: int) -> int:
        """Read the section or interface header at `at`: its length, of which all must be there; -1 if damaged."""
        section = buf[at : at + 4].tobytes() == MAGIC
        order = byte_order(buf[at + 8 : at + 12].tobytes()) if section else ORDERS[self.big]
        if order is None:
            self.source.note(Odd.RECORD_INSANE, number, base + at)
            return -1
        length = int.from_bytes(buf[at + 4 : at + 8].tobytes(), order)
        if length < (SECTION_LEAST if section else INTERFACE_LEAST) or length & 3 or length > BLOCK_MOST:
            self.source.note(Odd.RECORD_INSANE, number, base + at)
            return -1
        if length > end - at:
            return length
        block = buf[at : at + length].tobytes()
        if block[-4:] != block[4:8]:
            self.source.note(Odd.RECORD_INSANE, number, base + at)
            return -1
        known = self._section(block, order) if section else self._interface(block, order, number, base + at)
        if not known:
            self.source.note(Odd.SECTION_VERSION, number, base + at)
            return -1
        self._check_options(block, order, 24 if section else 16, number, base + at)
        return length

    def _section(self, block: bytes, order: Order) -> bool:
        """Begin a section (section 4.1 of the draft); False if nobody knows its version."""
        self.big = order == "big"
        self.described = 0
        return known_version(*(int.from_bytes(block[i : i + 2], order) for i in (12, 14)))

    def _interface(self, block: bytes, order: Order, number: int, byte: int) -> bool:
        """Add an interface (section 4.2 of the draft)."""
        if self.described == INTERFACES_MOST:
            self.source.note(Odd.INTERFACES_DROPPED, number, byte)
            return True
        power, binary, offset = 6, False, 0
        for code, value in options(block, order, 16):
            if code == IF_TSRESOL and len(value) == 1:
                power, binary = value[0] & 0x7F, value[0] > 0x7F
            elif code == IF_TSOFFSET and len(value) == 8:
                offset = int.from_bytes(value, order, signed=True)
        if self.described == len(self.interfaces):
            self.interfaces = np.concatenate([self.interfaces, np.zeros_like(self.interfaces)])
        row = self.interfaces[self.described]
        row["link"] = int.from_bytes(block[8:10], order)
        row["snaplen"] = int.from_bytes(block[12:16], order)
        row["power"], row["binary"], row["offset"] = power, binary, offset
        row["scale"], row["most"] = scale_of(power, binary, offset)
        self.described += 1
        return True

    def _check_options(self, block: bytes, order: Order, at: int, number: int, byte: int) -> None:
        if any(code < 0 for code, _ in options(block, order, at)):
            self.source.note(Odd.OPTIONS_MALFORMED, number, byte)


def byte_order(magic: bytes) -> Order | None:
    """``little`` or ``big`` by the byte-order magic of a section header, None if it is neither."""
    for order in ORDERS:
        if int.from_bytes(magic, order) == BYTE_ORDER_MAGIC:
            return order
    return None


def known_version(major: int, minor: int) -> bool:
    """1.0, and 1.2, which means the same (section 4.1 of the draft)."""
    return (major, minor) in {(1, 0), (1, 2)}


def options(block: bytes, order: Order, at: int) -> Iterator[tuple[int, bytes]]:
    """(code, value) of the options that begin at `at` of a block; a last code of -1 says that they do not add up."""
    end = len(block) - 4
    while at < end:
        if at + 4 > end:
            yield -1, b""
            return
        code, length = (int.from_bytes(block[i : i + 2], order) for i in (at, at + 2))
        if code == OPT_END:
            return
        if at + 4 + length > end:
            yield -1, b""
            return
        yield code, block[at + 4 : at + 4 + length]
        at += 4 + (length + 3 & ~3)

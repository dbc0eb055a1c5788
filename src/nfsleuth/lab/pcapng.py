"""Captures with remarks: pcap files and comments come in, the same frames as pcapng go out.

The little of pcapng that this takes (draft-ietf-opsawg-pcapng): a section header with a comment per line on who is who,
one interface, one enhanced packet block per frame. Times keep the resolution of the source.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from nfsleuth.errors import Exit, NfsleuthError

SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6  # block types
BYTE_ORDER = 0x1A2B3C4D
UNKNOWN_LENGTH = 0xFFFFFFFFFFFFFFFF
END, COMMENT, NAME, RESOLUTION = 0, 1, 2, 9  # options; 1 is opt_comment, 2 if_name, 9 if_tsresol
MAGICS = {0xA1B2C3D4: 6, 0xA1B23C4D: 9}  # of pcap -> digits of a second's fraction
LONGEST = 1 << 20  # bytes of a frame
HEADER = 24  # bytes in front of the frames of a pcap file


def convert(sources: Sequence[Path], target: Path, comments: Sequence[str], interface: str) -> None:
    """Write the frames of the pcap files `sources` to `target`, with `comments` and the name of the interface.

    The files follow each other and are of one interface. NfsleuthError if one is no little-endian pcap; a last frame
    that is cut short is left out.
    """
    with target.open("wb") as out:
        options = [(COMMENT, text.encode()) for text in comments]
        out.write(_block(SECTION, struct.pack("<IHHQ", BYTE_ORDER, 1, 0, UNKNOWN_LENGTH) + _options(options)))
        for number, source in enumerate(sources):
            with source.open("rb") as given:
                digits, snaplen, link = _header(given.read(HEADER), source)
                if number == 0:
                    named = [(NAME, interface.encode()), (RESOLUTION, bytes([digits]))]
                    out.write(_block(INTERFACE, struct.pack("<HHI", link, 0, snaplen) + _options(named)))
                _frames(given, out, 10**digits)


def join(sources: Sequence[Path], target: Path) -> None:
    """Write the frames of the pcap files `sources`, which follow each other, to the pcap file `target`."""
    with target.open("wb") as out:
        for number, source in enumerate(sources):
            with source.open("rb") as given:
                head = given.read(HEADER)
                _header(head, source)
                out.write(head if number == 0 else b"")
                shutil.copyfileobj(given, out)


def _header(head: bytes, source: Path) -> tuple[int, int, int]:
    """Digits of a second's fraction, snaplen and link type."""
    digits = MAGICS.get(struct.unpack_from("<I", head)[0]) if len(head) == HEADER else None
    if digits is None:
        raise NfsleuthError(f"{source}: not a capture that tcpdump or QEMU made here", Exit.LAB_FAILED)
    snaplen, link = struct.unpack_from("<II", head, 16)
    return digits, snaplen, link & 0xFFFF


def _frames(given: BinaryIO, out: BinaryIO, units: int) -> None:
    while len(head := given.read(16)) == 16:
        seconds, fraction, kept, length = struct.unpack("<IIII", head)
        frame = given.read(min(kept, LONGEST))
        if len(frame) < kept:
            return
        when = seconds * units + fraction
        fixed = struct.pack("<IIIII", 0, when >> 32, when & 0xFFFFFFFF, kept, length)
        out.write(_block(PACKET, fixed + _padded(frame)))


def _block(kind: int, body: bytes) -> bytes:
    length = len(body) + 12
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def _options(options: Sequence[tuple[int, bytes]]) -> bytes:
    told = b"".join(struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options)
    return told + struct.pack("<HH", END, 0)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)

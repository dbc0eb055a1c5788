"""The reader once more, as plain as can be: whole file in memory, `int.from_bytes`, no speed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

SATURATE = (2**63 - 1) // 10**9 - 1


class Frame(NamedTuple):
    time: int
    number: int
    data: bytes
    wire: int
    link: int


@dataclass
class Naive:
    frames: list[Frame] = field(default_factory=list)
    oddities: Counter[str] = field(default_factory=Counter)
    readable: bool = True


def read(data: bytes) -> Naive:
    for order in ("little", "big"):
        magic = int.from_bytes(data[:4], order)
        if magic in (0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34):
            return read_pcap(data, order, 1 if magic == 0xA1B23C4D else 1000, 24 if magic == 0xA1B2CD34 else 16)
    if data[:4] == b"\n\r\r\n":
        return read_pcapng(data)
    if data[:8] == b"snoop\0\0\0" and data[8:12] == b"\0\0\0\2" and len(data) >= 16:
        return read_snoop(data)
    return Naive(readable=False)


def read_pcap(data: bytes, order: str, unit: int, header: int) -> Naive:
    out = Naive()
    major, minor = (int.from_bytes(data[i : i + 2], order) for i in (4, 6))
    if len(data) < 24 or (major != 2 and (major, minor) != (543, 0)):
        out.readable = False
        return out
    link = int.from_bytes(data[20:24], order)
    if link & 0x03FF0000:
        out.oddities["link_reserved"] += 1
    link &= 0xFFFF
    at = 24
    while at < len(data):
        seconds, fraction, captured, wire = (int.from_bytes(data[at + i : at + i + 4], order) for i in (0, 4, 8, 12))
        if len(data) - at < header:
            out.oddities["file_cut"] += 1
            break
        if major == 2 and minor <= 3:
            captured, wire = min(captured, wire), max(captured, wire)
        if captured > 262144:
            out.oddities["record_insane"] += 1
            break
        frame = data[at + header : at + header + captured]
        if len(frame) < captured:
            out.oddities["file_cut"] += 1
            break
        time = seconds * 10**9 + fraction * unit
        wire = min(max(wire, captured), 2**31 - 1)
        out.frames.append(Frame(time, len(out.frames) + 1, frame, wire, {12: 101, 14: 101}.get(link, link)))
        at += header + captured
    return out


def read_snoop(data: bytes) -> Naive:
    out = Naive()
    link = {0: 1, 4: 1}.get(int.from_bytes(data[12:16], "big"), -1)
    at = 16
    while at < len(data):
        wire, captured, length, _, seconds, micro = (
            int.from_bytes(data[at + i : at + i + 4], "big") for i in range(0, 24, 4)
        )
        if len(data) - at < 24:
            out.oddities["file_cut"] += 1
            break
        if captured > 262144 or not 24 + captured <= length <= 24 + captured + 4096:
            out.oddities["record_insane"] += 1
            break
        if length > len(data) - at:
            out.oddities["file_cut"] += 1
            break
        frame = data[at + 24 : at + 24 + captured]
        wire = min(max(wire, captured), 2**31 - 1)
        out.frames.append(Frame(seconds * 10**9 + micro * 1000, len(out.frames) + 1, frame, wire, link))
        at += length
    return out


def options(block: bytes, order: str, at: int) -> tuple[list[tuple[int, bytes]], bool]:
    found = []
    body = block[at:-4]
    while body:
        code, length = int.from_bytes(body[:2], order), int.from_bytes(body[2:4], order)
        if len(body) < 4:
            return found, False
        if code == 0:
            break
        if len(body) < 4 + length:
            return found, False
        found.append((code, body[4 : 4 + length]))
        body = body[4 + (length + 3) // 4 * 4 :]
    return found, True


def clock(ticks: int, resolution: int, offset: int) -> tuple[int, bool]:
    per_second = 2 ** (resolution & 127) if resolution & 128 else 10**resolution
    seconds, rest = divmod(ticks, per_second)
    seconds += offset
    if seconds > SATURATE:
        return 2**63 - 1, True
    if seconds < -SATURATE - 1:
        return -(2**63), True
    return seconds * 10**9 + rest * 10**9 // per_second, False


def read_pcapng(data: bytes) -> Naive:
    out = Naive()
    orders = {b"\x4d\x3c\x2b\x1a": "little", b"\x1a\x2b\x3c\x4d": "big"}
    if len(data) < 28 or data[8:12] not in orders:
        out.readable = False
        return out
    order = orders[data[8:12]]
    if tuple(int.from_bytes(data[i : i + 2], order) for i in (12, 14)) not in ((1, 0), (1, 2)):
        out.readable = False
        return out
    at = 0
    number = 0
    interfaces: list[tuple[int, int, int, int]] = []
    while at < len(data):
        if len(data) - at < 12:
            out.oddities["file_cut"] += 1
            break
        section = data[at : at + 4] == b"\n\r\r\n"
        if section:
            if data[at + 8 : at + 12] not in orders:
                out.oddities["record_insane"] += 1
                break
            order = orders[data[at + 8 : at + 12]]
        kind, length = (int.from_bytes(data[i : i + 4], order) for i in (at, at + 4))
        least = {0x0A0D0D0A: 28, 1: 20, 2: 32, 3: 16, 6: 32}
        if length < least.get(kind, 12) or length % 4 or (kind in least and length > 1 << 19):
            out.oddities["record_insane"] += 1
            break
        if length > len(data) - at:
            if kind in (9, 0xBAD, 0x40000BAD):
                number += 1
            elif kind not in least and kind not in (4, 5, 10):
                out.oddities["block_unknown"] += 1
            out.oddities["file_cut"] += 1
            break
        block = data[at : at + length]
        at += length

        def word(i: int, block: bytes = block, order: str = order) -> int:
            return int.from_bytes(block[i : i + 4], order)

        if kind in least and block[-4:] != block[4:8]:
            out.oddities["record_insane"] += 1
            break
        if section:
            if (word(12) if order == "little" else (word(12) >> 16 | (word(12) & 65535) << 16)) not in (1, 0x20001):
                out.oddities["section_version"] += 1
                break
            interfaces = []
            if not options(block, order, 24)[1]:
                out.oddities["options_malformed"] += 1
        elif kind == 1:
            resolution, offset = 6, 0
            found, sound = options(block, order, 16)
            if not sound:
                out.oddities["options_malformed"] += 1
            for code, value in found:
                if code == 9 and len(value) == 1:
                    resolution = value[0]
                if code == 14 and len(value) == 8:
                    offset = int.from_bytes(value, order, signed=True)
            interfaces.append((int.from_bytes(block[8:10], order), word(12), resolution, offset))
        elif kind == 3:
            number += 1
            captured = min(word(8), length - 16)
            link = -1
            if interfaces:
                link = interfaces[0][0]
                captured = min(captured, interfaces[0][1] or captured)
            else:
                out.oddities["link_unknown_interface"] += 1
            wire = min(max(word(8), captured), 2**31 - 1)
            out.frames.append(Frame(0, number, block[12 : 12 + captured], wire, link))
        elif kind in (2, 6):
            which = word(8) if kind == 6 else int.from_bytes(block[8:10], order)
            captured = word(20)
            if captured > min(length - 32, 262144):
                out.oddities["record_insane"] += 1
                break
            number += 1
            link, time = -1, 0
            if which < len(interfaces):
                link, _, resolution, offset = interfaces[which]
                time, saturated = clock(word(12) << 32 | word(16), resolution, offset)
                out.oddities["time_saturated"] += saturated
            else:
                out.oddities["link_unknown_interface"] += 1
            wire = min(max(word(24), captured), 2**31 - 1)
            out.frames.append(Frame(time, number, block[28 : 28 + captured], wire, link))
        elif kind in (9, 0xBAD, 0x40000BAD):
            number += 1
        elif kind not in (4, 5, 10):
            out.oddities["block_unknown"] += 1
    return out

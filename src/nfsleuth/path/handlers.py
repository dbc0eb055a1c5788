"""Find QEMU's receive handlers in a stripped binary: an `Image` comes in, named functions go out.

Every network client of QEMU, a NIC model or a backend, has a table of functions, `NetClientInfo` (include/net/net.h):

    type, size, receive, receive_raw, receive_iov, can_receive, ...

Version 7.2 put two kinds of clients and three slots in, and receive_raw was taken out by 10.0; see `LAYOUTS`.

The tables are data with pointers, so the relocations of a position-independent binary say where they lie: where a slot
for `receive` holds the start of a function, and the number before it is a known kind of client. Who uses a table tells
a NIC model's name: code that takes the address of the table belongs to the device's `realize`, code that takes that
address to its `class_init`, and the `TypeInfo` of the device holds both `class_init` and the name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nfsleuth.path.image import Image, Segment

VERSION = re.compile(rb"QEMU emulator version (\d{1,3})\.(\d{1,3})\.(\d{1,3})")
# qapi/net.json, enum NetClientDriver. 7.2 put stream and dgram behind socket; what comes later differs by build.
BEFORE_7_2 = ("none", "nic", "user", "tap", "l2tpv3", "socket", "vde", "bridge", "hubport")
SINCE_7_2 = ("none", "nic", "user", "tap", "l2tpv3", "socket", "stream", "dgram", "vde", "bridge", "hubport")
KNOWN = ((5, 1), (10, 0))  # first and last version taken to have one of the layouts, by parts of its sources
CHECKED = ((5, 2), (7, 2), (10, 0))  # those of which Debian's binaries were looked at
NIC = 1  # of both lists
BACKEND_STATE = (300, 1 << 20)  # bytes; the table of a NIC gives the size of NICState alone
NIC_STATE = (24, 64)
LOADS = (0x6F, 0x7E, 0x28, 0x10, 0x16, 0x12)  # movdqa, movq, movaps, movups, movhps, movlps (Intel SDM, volume 2)
DEPTH = 3  # from a table to the class_init of its device: realize, class_init, and one function between
TYPE_NAME = re.compile(r"[A-Za-z0-9][\w.:+-]{1,60}")
FARTHEST = 14  # slots of a TypeInfo before class_init and other functions


@dataclass(frozen=True)
class Layout:
    """How a version's tables are laid out."""

    kinds: tuple[str, ...]  # of clients, by number
    receive: dict[int, str]  # offset of a slot -> its name
    cleanup: int  # offset of cleanup, which every backend has and few NICs


RAW = {16: "receive", 24: "receive_raw", 32: "receive_iov"}
BEFORE = (Layout(BEFORE_7_2, RAW, 48),)
SINCE = (Layout(SINCE_7_2, RAW, 72), Layout(SINCE_7_2, {16: "receive", 24: "receive_iov"}, 64))


@dataclass(frozen=True)
class Handler:
    """A function that takes frames."""

    address: int
    client: str  # "rtl8139", "user", "tap"; "nic" for a model whose name was not found
    slot: str  # "receive", "receive_iov", ...
    table: int  # address of the NetClientInfo
    nic: bool

    @property
    def name(self) -> str:
        """What it is called here: the sources' own names differ from model to model."""
        return f"{self.client}:{self.slot}"


def version(image: Image) -> tuple[int, int, int] | None:
    """QEMU's version as the binary says it, or None."""
    for segment in image.segments:
        if found := VERSION.search(segment.content):
            return int(found[1]), int(found[2]), int(found[3])
    return None


def is_known(number: tuple[int, int, int] | None) -> bool:
    """Whether the layout of the tables is known for a version."""
    return number is not None and KNOWN[0] <= number[:2] <= KNOWN[1]


def find(image: Image) -> list[Handler]:
    """The receive handlers of all NIC models and backends, by table; none if the version is unknown."""
    number = version(image)
    if number is None or not is_known(number):
        return []
    choices = SINCE if number[:2] >= (7, 2) else BEFORE
    # Where a version may have one of several layouts, the right one is that under which backends are seen.
    found, layout = max(((_tables(image, one), one) for one in choices), key=lambda pair: _backends(pair[0]))
    models = _models(image, [table for table, kind in found.items() if kind == NIC])
    handlers = []
    for table, kind in sorted(found.items()):
        nic = kind == NIC
        client = models.get(table, "nic") if nic else layout.kinds[kind]
        for offset, slot in layout.receive.items():
            target = image.pointers.get(table + offset)
            if target is not None and image.is_function(target):
                handlers.append(Handler(target, client, slot, table, nic))
    return handlers


def _tables(image: Image, layout: Layout) -> dict[int, int]:
    """Address of a table -> kind of client."""
    kinds, cleanup = len(layout.kinds), layout.cleanup
    return {place - 16: kind for place in image.pointers if (kind := _kind(image, place, kinds, cleanup))}


def _backends(tables: dict[int, int]) -> int:
    return sum(kind != NIC for kind in tables.values())


def _kind(image: Image, place: int, kinds: int, cleanup: int) -> int:
    """The kind of client in the table whose slot `receive` is at `place`; 0 if there is no table."""
    if not image.is_function(image.pointers[place]):
        return 0
    table = place - 16
    head = image.bytes_at(table, 16)
    # Type and size are numbers, and all slots behind are functions or empty.
    if len(head) < 16 or table in image.pointers or table + 8 in image.pointers:
        return 0
    kind, padding, size = int.from_bytes(head[:4], "little"), head[4:8], int.from_bytes(head[8:], "little")
    low, high = NIC_STATE if kind == NIC else BACKEND_STATE
    if not 1 <= kind < kinds or any(padding) or not low <= size <= high:
        return 0
    for slot in range(table + 24, table + 112, 8):
        target = image.pointers.get(slot)
        if any(image.bytes_at(slot, 8)) if target is None else not image.is_function(target):
            return 0
    return kind if kind == NIC or table + cleanup in image.pointers else 0


def _models(image: Image, tables: list[int]) -> dict[int, str]:
    """Table of a NIC -> the name that its device has in -device."""
    if not tables:
        return {}
    users = _users(image)
    uses: dict[int, set[int]] = {}
    for target, functions in users.items():
        for function in functions:
            uses.setdefault(function, set()).add(target)
    holders: dict[int, list[int]] = {}
    for place, target in image.pointers.items():
        holders.setdefault(target, []).append(place)
    names = {}
    for table in tables:
        level, seen = {table}, {table}
        for _ in range(DEPTH):
            level = {user for target in level for user in users.get(target, ())} - seen
            seen |= level
            held = {_type_name(image, place) for target in level for place in holders.get(target, ())}
            # A function that registers types takes the address of a TypeInfo as well as of class_init.
            taken = {_type_at(image, target) for user in level for target in uses.get(user, ())}
            if found := sorted((held - {None}) or (taken - {None}), key=lambda name: (len(str(name)), str(name))):
                names[table] = str(found[0]).removesuffix("-device").removesuffix("-base")
                break
    return names


def _type_name(image: Image, place: int) -> str | None:
    """The name in the TypeInfo that holds a function at `place`."""
    return next(filter(None, (_type_at(image, place - 8 * back) for back in range(2, FARTHEST))), None)


def _type_at(image: Image, address: int) -> str | None:
    """The name in the TypeInfo at `address`: it begins with two texts, its own name and its parent's."""
    texts = [_text_of(image, address + offset) for offset in (0, 8)]
    return texts[0] if all(texts) else None


def _text_of(image: Image, place: int) -> str | None:
    target = image.pointers.get(place)
    if target is None or image.is_function(target):
        return None
    text = image.text_at(target)
    return text if text and TYPE_NAME.fullmatch(text) else None


def _users(image: Image) -> dict[int, set[int]]:
    """Address -> functions whose code takes it.

    Either as such, `lea disp(%rip), %r64`: REX.W 8D /r with mod 00 and rm 101; or, as gcc 14 stores two pointers at a
    time, out of a table of constants, `movq disp(%rip), %xmm` and the like: 0F, one of LOADS, /r.
    """
    users: dict[int, set[int]] = {}
    for segment in image.segments:
        if not segment.executable or len(segment.content) < 8:
            continue
        code = np.frombuffer(segment.content, np.uint8)
        relative = (code[2:-4] & 0xC7) == 0x05
        taken = np.flatnonzero(((code[:-6] & 0xFB) == 0x48) & (code[1:-5] == 0x8D) & relative)
        for target, function in _targets(image, segment, taken):
            users.setdefault(target, set()).add(function)
        loaded = np.flatnonzero((code[:-6] == 0x0F) & np.isin(code[1:-5], LOADS) & relative)
        for place, function in _targets(image, segment, loaded):
            for held in (image.pointers.get(place), image.pointers.get(place + 8)):
                if held is not None:
                    users.setdefault(held, set()).add(function)
    return users


def _targets(image: Image, segment: Segment, at: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """What instructions of 7 bytes at `at` in a segment point to relative to their ends, and their functions."""
    code = np.frombuffer(segment.content, np.uint8)
    moved = np.stack([code[at + n] for n in range(3, 7)], axis=1).view("<i4").reshape(-1).astype(np.int64)
    places = at + segment.address
    index = np.searchsorted(image.starts, places, side="right") - 1
    inside = (index >= 0) & (places < image.ends[index])
    targets = (places + 7 + moved)[inside]
    yield from zip(targets.tolist(), image.starts[index[inside]].tolist(), strict=True)

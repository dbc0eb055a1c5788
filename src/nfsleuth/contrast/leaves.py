"""A value of a protocol table comes in as bytes, its single fields go out as (path, value), as far as the bytes reach.

`xdr.decode` gives a value whole or not at all. Here every field that is there is wanted, also of a message that the
capture cuts: results longer than the bytes that the tracker keeps, or a small snaplen. The tables are the same ones.

A type that stands at a path is made into a function once, which knows the paths of all its fields: contrast reads
millions of fields, and most of the time would go into walking the tree and putting paths together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import groupby
from struct import Struct as Layout
from typing import TypeAlias

from nfsleuth.contrast.attributes import ATTRIBUTES, attribute_name
from nfsleuth.wire.nfs4 import NFS4
from nfsleuth.wire.xdr import CUT, MALFORMED, Array, Chain, Maybe, Number, Opaque, Struct, Type, XdrError, padded

Scalar: TypeAlias = int | str | bytes
Leaf: TypeAlias = tuple[str, Scalar]
# Appends the fields of a value in buf[at:end] to a list; returns the offset behind the value.
Reader: TypeAlias = Callable[[bytes, int, int, list[Leaf]], int]

BITMAP = NFS4.types["bitmap4"]
FATTR = NFS4.types["fattr4"]
CONTENTS = ("data", "d_data")  # what is in a file is no field of the protocol: its length is

_U32 = Layout(">I").unpack_from
_CODES = {(4, False): "I", (4, True): "i", (8, False): "Q", (8, True): "q"}  # size, signed


def leaves(kind: Type, buf: bytes, at: int, end: int, path: str, out: list[Leaf]) -> int:
    """Append the fields of a value of type `kind` in ``buf[at:end]`` to `out`; returns the offset behind the value.

    Paths begin with `path`. The items of an array share one path that ends in ``[]``, and a field of their number comes
    before them. Raises XdrError as `xdr.decode` does; what came before stays in `out`.
    """
    return reader(kind, path)(buf, at, end, out)


_READERS: dict[tuple[int, str], tuple[Type, Reader]] = {}  # by identity, for which the type must be kept


def reader(kind: Type, path: str) -> Reader:
    """What `leaves` does for `kind` at `path`, as a function."""
    known = _READERS.get((id(kind), path))
    if known is None:
        known = _READERS[id(kind), path] = (kind, _reader(kind, path))
    return known[1]


def _reader(kind: Type, path: str) -> Reader:
    if kind is FATTR:
        return _attributes(path)
    if kind is BITMAP:
        return _bitmap(path)
    if isinstance(kind, Struct):
        return _union(kind, path) if kind.is_union else _struct(kind, path)
    if isinstance(kind, Number):
        return _numbers([(path, kind)])
    if isinstance(kind, Opaque):
        return _opaque(kind, path)
    if isinstance(kind, Maybe):
        return _maybe(kind, path)
    return _array(kind, path) if isinstance(kind, Array) else _chain(kind, path)


def u32(buf: bytes, at: int, end: int) -> int:
    """The number of 4 bytes at `at`. Raises XdrError if it is cut."""
    if end - at < 4:
        raise XdrError(CUT, at)
    value: int = _U32(buf, at)[0]
    return value


def opaque(kind: Opaque, buf: bytes, at: int, end: int) -> tuple[bytes, int]:
    """The bytes of an opaque, and the offset behind it and its padding. Raises XdrError as `xdr.decode` does."""
    length = kind.length
    if not kind.fixed:
        length = u32(buf, at, end)
        if length > kind.length:
            raise XdrError(MALFORMED, at)
        at += 4
    behind = at + padded(length)
    if behind > end:
        raise XdrError(CUT, at)
    return buf[at : at + length], behind


def _numbers(fields: Sequence[tuple[str, Number]]) -> Reader:
    """Numbers that follow one another, read at once."""
    paths = [path for path, _ in fields]
    layout = Layout(">" + "".join(_CODES[kind.size, kind.signed] for _, kind in fields))
    size, unpack = layout.size, layout.unpack_from
    if len(fields) == 1:
        (path,) = paths

        def one(buf: bytes, at: int, end: int, out: list[Leaf]) -> int:
            if end - at < size:
                raise XdrError(CUT, at)
            out.append((path, unpack(buf, at)[0]))
            return at + size

        return one
    singly = [_numbers([field]) for field in fields]

    def some(buf: bytes, at: int, end: int, out: list[Leaf]) -> int:
        if end - at < size:  # those that are there
            for read in singly:
                at = read(buf, at, end, out)
        out.extend(zip(paths, unpack(buf, at), strict=True))
        return at + size

    return some


def _opaque(kind: Opaque, path: str) -> Reader:
    def read(buf: bytes, at: int, end: int, out: list[Leaf]) -> int:
        value, at = opaque(kind, buf, at, end)
        out.append((path, value))
        return at

    return read


def _contents(kind: Opaque, path: str) -> Reader:
    def read(buf: bytes, at: int, end: int, out: list[Leaf]) -> int:
        out.append((path, u32(buf, at, end)))
        return opaque(kind, buf, at, end)[1]

    return read


def _bitmap(path: str) -> Reader:
    def read(buf: bytes, at: int, end: int, out: list[Leaf]) -> int:
        words, at = bitmap(buf, at, end)
        out.append((path, bitmap_text(words)))
        return at

    return read


def _struct(kind: Struct, path: str) -> Reader:
    """The fields of a structure or of an arm, numbers in a row together."""
    steps: list[Reader] = []
    for plain, fields in groupby(kind.fields, key=lambda field: isinstance(field.type, Number)):
        if plain:
            steps.append(_numbers([(f"{path}.{f.name}", f.type) for f in fields if isinstance(f.type, Number)]))
            continue
        for field in fields:
            if field.name in CONTENTS and isinstance(field.type, Opaque):
                steps.append(_contents(field.type, f"{path}.{field.name}.length"))
            else:
                steps.append(reader(field.type, f"{path}.{field.name}"))
    if len(steps) == 1:
        return steps[0]

    def read(buf: bytes, at: int, end: int, out: list[Leaf]) -> int:
        for step in steps:
            at = step(buf, at, end, out)
        return at

    return read


def _union(kind: Struct, path: str) -> Reader:
    """A structure whose last field, a number, chooses the arm."""
    head = _struct(Struct(kind.fields), path)
    arms = {value: reader(arm, path) for value, arm in kind.arms.items()}
    default = None if kind.default is None else reader(kind.default, path)

    def read(buf: bytes, at: int, end: int, out: list[Leaf]) -> int:
        at = head(buf, at, end, out)
        arm = arms.get(int(out[-1][1]), default)
        if arm is None:
            raise XdrError(MALFORMED, at - 4)
        return arm(buf, at, end, out)

    return read


def _maybe(kind: Maybe, path: str) -> Reader:
    item, present = reader(kind.item, path), f"{path}?"

    def read(buf: bytes, at: int, end: int, out: list[Leaf]) -> int:
        there = u32(buf, at, end)
        out.append((present, there))
        return item(buf, at + 4, end, out) if there else at + 4

    return read


def _array(kind: Array, path: str) -> Reader:
    """Every item takes at least 4 bytes, so that the bytes bound the work."""
    item, count, limit = reader(kind.item, f"{path}[]"), f"{path}.count", kind.limit

    def read(buf: bytes, at: int, end: int, out: list[Leaf]) -> int:
        length = u32(buf, at, end)
        out.append((count, length))
        if length > limit:
            raise XdrError(MALFORMED, at)
        at += 4
        for _ in range(length):
            at = item(buf, at, end, out)
        return at

    return read


def _chain(kind: Chain, path: str) -> Reader:
    """A linked list; bounded by the bytes as well."""
    item, count = reader(kind.item, f"{path}[]"), f"{path}.count"

    def read(buf: bytes, at: int, end: int, out: list[Leaf]) -> int:
        length = 0
        while u32(buf, at, end):
            length += 1
            at = item(buf, at + 4, end, out)
        out.append((count, length))
        return at + 4

    return read


def bitmap(buf: bytes, at: int, end: int) -> tuple[tuple[int, ...], int]:
    """The words of a bitmap4, and the offset behind it. Raises XdrError as `xdr.decode` does."""
    assert isinstance(BITMAP, Array)
    count = u32(buf, at, end)
    if count > BITMAP.limit:
        raise XdrError(MALFORMED, at)
    at += 4
    if end - at < 4 * count:
        raise XdrError(CUT, at)
    return tuple(_U32(buf, at + 4 * i)[0] for i in range(count)), at + 4 * count


@lru_cache(maxsize=1 << 12)
def _bits(words: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(32 * i + bit for i, word in enumerate(words) for bit in range(32) if word >> bit & 1)


@lru_cache(maxsize=1 << 12)
def bitmap_text(words: tuple[int, ...]) -> str:
    """A bitmap4 of attribute numbers as names, as in "type size mode"."""
    return " ".join(map(attribute_name, _bits(words))) or "(none)"


def _attributes(path: str) -> Reader:
    """fattr4: the mask, then each attribute by the type that the RFC gives it, in the order of its number."""
    mask = f"{path}.attrmask"
    known: dict[int, Reader] = {}

    def attribute(number: int) -> Reader | None:
        kind = ATTRIBUTES.get(number)
        if kind is None:
            return None
        return known.setdefault(number, reader(kind, f"{path}.{attribute_name(number)}"))

    def read(buf: bytes, at: int, end: int, out: list[Leaf]) -> int:
        words, at = bitmap(buf, at, end)
        out.append((mask, bitmap_text(words)))
        length = u32(buf, at, end)
        place = at + 4
        stop = place + length
        for number in _bits(words):
            item = known.get(number) or attribute(number)
            if item is None:
                break  # its length is not known, so nothing behind it can be read
            try:
                place = item(buf, place, min(stop, end), out)
            except XdrError:
                if stop > end:
                    raise  # the capture ends here
                break  # the attributes contradict their mask: the bytes that their length announces are passed over
        behind = at + 4 + padded(length)
        if behind > end:
            raise XdrError(CUT, at + 4)
        return behind

    return read

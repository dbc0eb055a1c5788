"""A value of a protocol table comes in as bytes, its single fields go out as (path, value), as far as the bytes reach.

`xdr.decode` gives a value whole or not at all. Here every field that is there is wanted, also of a message that the
capture cuts: results longer than the bytes that the tracker keeps, or a small snaplen. The tables are the same ones.
"""

from __future__ import annotations

from typing import TypeAlias

from nfsleuth.contrast.attributes import ATTRIBUTES, attribute_name
from nfsleuth.wire.nfs4 import NFS4
from nfsleuth.wire.xdr import Array, Chain, Maybe, Number, Opaque, Struct, Type, Value, XdrError, decode

Scalar: TypeAlias = int | str | bytes
Leaf: TypeAlias = tuple[str, Scalar]

BITMAP = NFS4.types["bitmap4"]
FATTR = NFS4.types["fattr4"]
CONTENTS = ("data", "d_data")  # what is in a file is no field of the protocol: its length is


def leaves(kind: Type, buf: bytes, at: int, end: int, path: str, out: list[Leaf]) -> int:
    """Append the fields of a value of type `kind` in ``buf[at:end]`` to `out`; returns the offset behind the value.

    Paths begin with `path`. The items of an array share one path that ends in ``[]``, and a field of their number comes
    before them. Raises XdrError as `xdr.decode` does; what came before stays in `out`.
    """
    if isinstance(kind, Struct):
        return _attributes(buf, at, end, path, out) if kind is FATTR else _struct(kind, buf, at, end, path, out)
    if isinstance(kind, Number | Opaque):
        value, at = decode(kind, buf, at, end)
        out.append((path, _scalar(value)))
        return at
    if kind is BITMAP:
        words, at = decode(kind, buf, at, end)
        out.append((path, bitmap_text(words)))
        return at
    if isinstance(kind, Maybe):
        present, at = decode(_BOOL, buf, at, end)
        out.append((f"{path}?", _scalar(present)))
        return leaves(kind.item, buf, at, end, path, out) if present else at
    return _items(kind, buf, at, end, path, out)


_BOOL = Number(4, boolean=True)
_LENGTH = Number(4)


def _scalar(value: Value) -> Scalar:
    return int(value) if isinstance(value, bool) else value


def _struct(kind: Struct, buf: bytes, at: int, end: int, path: str, out: list[Leaf]) -> int:
    chosen: Value = None
    for field in kind.fields:
        if field.name in CONTENTS and isinstance(field.type, Opaque):
            length, _ = decode(_LENGTH, buf, at, end)
            out.append((f"{path}.{field.name}.length", length))
            _, at = decode(field.type, buf, at, end)
        elif kind.is_union and field is kind.fields[-1]:
            chosen, at = decode(field.type, buf, at, end)
            out.append((f"{path}.{field.name}", _scalar(chosen)))
        else:
            at = leaves(field.type, buf, at, end, f"{path}.{field.name}", out)
    if not kind.is_union:
        return at
    arm = kind.arms.get(int(chosen), kind.default)
    if arm is None:
        _, at = decode(kind, buf, at - 4, end)  # says what is wrong
        return at
    return _struct(arm, buf, at, end, path, out)


def _items(kind: Array | Chain, buf: bytes, at: int, end: int, path: str, out: list[Leaf]) -> int:
    """An array or a linked list. Every item takes at least 4 bytes, so that the bytes bound the work."""
    if isinstance(kind, Array):
        count, at = decode(_LENGTH, buf, at, end)
        out.append((f"{path}.count", count))
        if count > kind.limit:
            _, at = decode(kind, buf, at - 4, end)
        for _ in range(count):
            at = leaves(kind.item, buf, at, end, f"{path}[]", out)
        return at
    count = 0
    more, at = decode(_BOOL, buf, at, end)
    while more:
        count += 1
        at = leaves(kind.item, buf, at, end, f"{path}[]", out)
        more, at = decode(_BOOL, buf, at, end)
    out.append((f"{path}.count", count))
    return at


def bitmap_text(words: list[int]) -> str:
    """A bitmap4 of attribute numbers as names, as in "type size mode"."""
    bits = (32 * i + bit for i, word in enumerate(words) for bit in range(32) if word >> bit & 1)
    return " ".join(attribute_name(bit) for bit in bits) or "(none)"


def _attributes(buf: bytes, at: int, end: int, path: str, out: list[Leaf]) -> int:
    """fattr4: the mask, then each attribute by the type that the RFC gives it, in the order of its number."""
    words, at = decode(BITMAP, buf, at, end)
    out.append((f"{path}.attrmask", bitmap_text(words)))
    length, at = decode(_LENGTH, buf, at, end)
    stop = min(at + length, end)
    place = at
    for number in (32 * i + bit for i, word in enumerate(words) for bit in range(32) if word >> bit & 1):
        kind = ATTRIBUTES.get(number)
        if kind is None:
            break  # its length is not known, so nothing behind it can be read
        try:
            place = leaves(kind, buf, place, stop, f"{path}.{attribute_name(number)}", out)
        except XdrError:
            if stop < at + length:
                raise  # the capture ends here
            break  # the attributes contradict their mask: the bytes that their length announces are passed over
    _, at = decode(Opaque(length, fixed=True), buf, at, end)
    return at

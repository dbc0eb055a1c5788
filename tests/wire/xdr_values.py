"""Random values of any type of the protocol tables, and an encoder that also says where the marked fields come to lie.

Written against the tree only, so that the compiled code and the decoder have something to agree with.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np

from nfsleuth.wire.marks import N_MARKS, SHAPE, Mark
from nfsleuth.wire.programs import ARGS, CODE, PROTOCOLS, RESULTS
from nfsleuth.wire.walk import clear, has, walk
from nfsleuth.wire.xdr import ENTRIES, Array, Chain, Maybe, Number, Opaque, Struct, Type, Value

Found = dict[int, tuple[int, int, int]]  # mark -> offset, length, value


def items() -> Iterator[tuple[str, Struct, int]]:
    """(name, type, entry) of the arguments and results of every procedure of every table."""
    for row, protocol in enumerate(PROTOCOLS):
        for number, procedure in protocol.procedures.items():
            if number < ENTRIES:
                name = f"{protocol.title} {procedure.name}"
                yield f"{name} arguments", procedure.args, int(ARGS[row, number])
                yield f"{name} results", procedure.results, int(RESULTS[row, number])


ITEMS = list(items())


def make(kind: Type, rng: random.Random) -> Value:
    """A value of the type, short but for the odd opaque."""
    if isinstance(kind, Number):
        if kind.boolean:
            return rng.random() < 0.5
        bits = 8 * kind.size
        value = rng.choice([rng.randrange(4), rng.getrandbits(bits), (1 << bits) - 1])
        return value - (1 << bits) if kind.signed and value >> (bits - 1) else value
    if isinstance(kind, Opaque):
        return rng.randbytes(kind.length if kind.fixed else min(kind.length, rng.choice([0, 1, 3, 4, 7, 40])))
    if isinstance(kind, Maybe):
        return make(kind.item, rng) if rng.random() < 0.5 else None
    if isinstance(kind, Array | Chain):
        most = kind.limit if isinstance(kind, Array) else 3
        return [make(kind.item, rng) for _ in range(min(most, rng.randrange(4)))]
    value = {field.name: make(field.type, rng) for field in kind.fields}
    if kind.is_union:
        strangers = [n for n in (0, 1, 2, 77, 10_099, 2**32 - 1) if n not in kind.arms]
        choice = rng.choice([*kind.arms, *([rng.choice(strangers)] if kind.default is not None else [])])
        value[kind.fields[-1].name] = choice
        value |= make(kind.arms.get(choice, kind.default), rng)
    return value


def encode(kind: Type, value: Value, out: bytearray, found: Found, mark: int = -1) -> None:
    """Append `value` to `out`, and what `walk` should report to `found`."""
    if isinstance(kind, Struct):
        for field in kind.fields:
            encode(field.type, value[field.name], out, found, mark if mark >= 0 else field.mark)
            mark = -1
        if kind.is_union:
            encode(kind.arms.get(value[kind.fields[-1].name], kind.default), value, out, found)
    elif isinstance(kind, Number):
        if mark >= 0:
            wanted = int(value) - (1 << 64) if kind.size == 8 and value >= 1 << 63 else int(value)
            wanted = wanted & 0xFFFFFFFF if kind.size == 4 else wanted
            found.setdefault(mark, (len(out), kind.size, wanted))
        out += int(value).to_bytes(kind.size, "big", signed=kind.signed)
    elif isinstance(kind, Opaque):
        out += b"" if kind.fixed else len(value).to_bytes(4, "big")
        if mark >= 0:
            number = int.from_bytes(value, "big", signed=True) if kind.fixed and kind.length == 8 else 0
            found.setdefault(mark, (len(out), len(value), number if kind.fixed else len(value)))
        out += value + bytes(-len(value) % 4)
    elif isinstance(kind, Maybe):
        out += bool(value is not None).to_bytes(4, "big")
        if value is not None:
            encode(kind.item, value, out, found)
    elif isinstance(kind, Array):
        out += len(value).to_bytes(4, "big")
        for item in value:
            encode(kind.item, item, out, found)
    else:
        for item in value:
            out += b"\0\0\0\1"
            encode(kind.item, item, out, found)
        out += bytes(4)


def walked(entry: int, data: bytes, end: int | None = None) -> tuple[int, Found]:
    """What `walk` returns and finds in `data`."""
    marks = np.empty(SHAPE, np.int64)
    clear(marks)
    buf = np.frombuffer(data, np.uint8)
    result = walk(CODE, entry, buf, 0, len(data) if end is None else end, marks)
    return int(result), {m: tuple(int(x) for x in marks[m]) for m in range(N_MARKS) if has(marks, m)}


def named(found: Found) -> dict[str, tuple[int, int, int]]:
    """`found` with the names of the marks, to read better in a failure."""
    return {Mark(m).name: row for m, row in found.items()}

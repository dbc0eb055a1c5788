"""The interpreter of the compiled protocol tables: bytes of one item come in, its end and the marked fields come out.

One kernel serves every protocol. It follows the code that `xdr.Compiler` made, jumps over what nobody asked for, and
writes down where marked fields lie. It allocates nothing, does not recurse, and reads each byte at most once.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from nfsleuth.compiled import entry, part
from nfsleuth.wire.fields import be32
from nfsleuth.wire.marks import FOUND
from nfsleuth.wire.programs import NFS_CB, NFS_CB_LAST, Table
from nfsleuth.wire.xdr import (
    CUT,
    END,
    HYPER,
    JUMP,
    MALFORMED,
    MAYBE,
    NEXT,
    NUMBER,
    OPAQUE,
    SKIP,
    SWITCH,
    WIDTH,
    WORDS,
    ZERO,
)

Integer: TypeAlias = int | np.int64  # int64 once compiled


_CALLBACK = int(Table.CALLBACK)


@entry
def row_of(versions: np.ndarray, program: Integer, version: Integer) -> Integer:
    """Row of `programs.ARGS` and RESULTS for a version of an RPC program, or -1. versions: `programs.VERSIONS`."""
    if NFS_CB <= program <= NFS_CB_LAST:
        return _CALLBACK
    for row in range(len(versions)):
        if versions[row, 0] == program and versions[row, 1] == version:
            return np.int64(versions[row, 2])
    return -1


@entry
def clear(marks: np.ndarray) -> None:
    """Forget all marks: before an item whose marks are to be told from those of the item before."""
    marks[FOUND, 0] = 0


@part
def has(marks: np.ndarray, mark: Integer) -> bool:
    """Whether a mark (a `Mark`) was found."""
    return (marks[FOUND, 0] >> mark) & 1 != 0


@part
def _store(marks: np.ndarray, mark: Integer, at: Integer, length: Integer, value: Integer) -> None:
    """Write a mark down, unless the item had one of this kind before."""
    if not has(marks, mark):
        marks[FOUND, 0] |= 1 << mark
        marks[mark, 0] = at
        marks[mark, 1] = length
        marks[mark, 2] = value


@part
def _word(code: np.ndarray, pc: Integer) -> np.int64:
    """The word of the code at `pc`, which is never negative: nobody need see to an index from the end."""
    return np.int64(code[np.uint64(pc)])


@entry
def walk(code: np.ndarray, entry: Integer, buf: np.ndarray, at: Integer, end: Integer, marks: np.ndarray) -> Integer:
    """Go over one item, that is the arguments or the results of one procedure or operation.

    code: int32[n], `programs.CODE`. entry: where the item's code begins; below 0 is MALFORMED. buf: uint8[m].
    at, end: the item begins at `at` (at least 0), and nothing at or behind `end` (at most m) is read.
    marks: int64[N_MARKS + 1, 3], a row per `Mark`: offset of the content, its length in bytes, and its value. The value
    of a number is the number (64 bits in two's complement), that of variable-length bytes is their length, that of
    other bytes 0 (but 8 bytes are read as a number). `has` tells which were found; a row that was found before is left
    as it is, so that the first of several wins, until `clear` forgets all.

    Returns the offset behind the item, CUT if `end` came first, or MALFORMED. Marks of fields that came before the end
    are kept in both cases, also of bytes of which only the length was still there.

    Time is linear in the bytes walked over: each turn of a loop takes at least 4 of them (`xdr` sees to that).
    """
    if entry < 0:
        return MALFORMED
    pc = np.int64(entry)
    remaining: Integer = 0  # items left of the array that is being walked,
    outer: Integer = 0  # and of the array around it: xdr.NESTING is 2
    while True:
        opcode = _word(code, pc)
        a = _word(code, pc + 1)
        b = _word(code, pc + 2)
        pc += WIDTH
        if opcode < NUMBER:
            if opcode == SKIP:
                at += a
                if at > end:
                    return CUT
            elif opcode == END:
                return at
            elif opcode == JUMP:
                pc = a
            elif opcode == NEXT:
                remaining -= 1
                if remaining > 0:
                    pc = a
                else:
                    remaining = outer
                    outer = 0
            elif opcode == HYPER:
                if end - at < 8:
                    return CUT
                _store(marks, a, at, 8, (be32(buf, at) << 32) | be32(buf, at + 4))
                at += 8
            else:
                if end - at < b:
                    return CUT
                _store(marks, a, at, b, 0)
                at += b
            continue

        if end - at < 4:
            return CUT
        number = be32(buf, at)
        at += 4
        if opcode == OPAQUE:
            if number > b:
                return MALFORMED
            if a >= 0:
                _store(marks, a, at, number, number)
            at += (number + 3) & -4
            if at > end:
                return CUT
        elif opcode == ZERO:
            if a >= 0:
                _store(marks, a, at - 4, 4, number)
            if number != 0:
                pc = b
        elif opcode == NUMBER:
            _store(marks, a, at - 4, 4, number)
        elif opcode == WORDS:
            if number > b:
                return MALFORMED
            at += number * a
            if at > end:
                return CUT
        elif opcode == MAYBE:
            if number > 1:
                return MALFORMED
            if number == 0:
                pc = a
        elif opcode == SWITCH:
            if a >= 0:
                _store(marks, a, at - 4, 4, number)
            target = _word(code, pc)
            for arm in range(pc + 1, pc + 1 + 2 * b, 2):
                if _word(code, arm) == number:
                    target = _word(code, arm + 1)
                    break
            if target < 0:
                return MALFORMED
            pc = target
        else:
            if number > b:
                return MALFORMED
            if number == 0:
                pc = a
            else:
                outer = remaining
                remaining = number

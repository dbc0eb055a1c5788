"""A place in a byte buffer comes in, the number that lies there goes out: with one load, and without a check.

Numba reads a byte at a time, and LLVM makes one load of them only where it sees all of them put together at once: if a
bit is asked for before, or the byte order only then, it stays with the bytes. A frame takes tens of such reads. So they
are said to LLVM as what they are. Where reads are checked (NUMBA_BOUNDSCHECK) and in interpreted kernels it is the same
byte by byte, which the tests compare.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from nfsleuth.compiled import MODE, part

Word = Callable[[Any, Any], Any]
CHECKED = os.environ.get("NUMBA_BOUNDSCHECK", "0") not in ("", "0")

_1, _2, _3, _4 = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)


def _word(bits: int, order: Literal["little", "big"], result: str) -> Word:
    """A function (uint8[n], index) that Numba builds into its callers: a load from any address, and a byte swap."""
    ir: Any = importlib.import_module("llvmlite.ir")
    types: Any = importlib.import_module("numba").types
    intrinsic: Any = importlib.import_module("numba.extending").intrinsic
    word, register = ir.IntType(bits), ir.IntType(64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.bitcast(builder.gep(array.data, [arguments[1]]), word.as_pointer())
        value = builder.load(place, align=1)
        if order != sys.byteorder:
            value = builder.bswap(value)
        return value if bits == register.width else builder.zext(value, register)

    def typed(_context: Any, buf: Any, at: Any) -> Any:  # noqa: ARG001 - Numba looks at the names
        return getattr(types, result)(buf, types.int64), generate

    made: Word = intrinsic(typed)
    return made


if MODE in ("numba", "build") and not CHECKED:
    be16 = _word(16, "big", "int64")
    be32 = _word(32, "big", "int64")
    be64 = _word(64, "big", "uint64")
    le32 = _word(32, "little", "int64")
else:
    # Values are widened before they are shifted, so that compiled and interpreted code agree (NumPy 2 keeps `uint8` in
    # ``buf[at] << 8``). Indices are unsigned, since for a signed one Numba tests whether it counts from the end.

    @part
    def be16(buf: Any, at: Any) -> Any:
        """Big-endian 16 bits at `at`, as int64."""
        i = np.uint64(at)
        return (np.int64(buf[i]) << 8) | np.int64(buf[i + _1])

    @part
    def be32(buf: Any, at: Any) -> Any:
        """Big-endian 32 bits at `at`, as int64 (never negative)."""
        i = np.uint64(at)
        high = (np.int64(buf[i]) << 24) | (np.int64(buf[i + _1]) << 16)
        return high | (np.int64(buf[i + _2]) << 8) | np.int64(buf[i + _3])

    @part
    def be64(buf: Any, at: Any) -> Any:
        """Big-endian 64 bits at `at`, as uint64."""
        i = np.uint64(at)
        return (np.uint64(be32(buf, i)) << np.uint64(32)) | np.uint64(be32(buf, i + _4))

    @part
    def le32(buf: Any, at: Any) -> Any:
        """Little-endian 32 bits at `at`, as int64 (never negative)."""
        i = np.uint64(at)
        low = np.int64(buf[i]) | (np.int64(buf[i + _1]) << 8)
        return low | (np.int64(buf[i + _2]) << 16) | (np.int64(buf[i + _3]) << 24)

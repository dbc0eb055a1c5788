"""A place that a kernel will read comes in, nothing goes out: the processor fetches it meanwhile.

A kernel that goes through a block of a capture reads a few bytes of each frame. Where they lie is not known early
enough to have them when they are needed, and what has just been read from a file lies in a cache that answers ten times
later than the nearest. Interpreted kernels leave it out: it changes nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from nfsleuth.compiled import MODE


def _touch() -> Callable[[Any, Any], None]:
    """`touch`, as Numba compiles it: LLVM's intrinsic for it, in a function that Numba builds into its callers."""
    ir: Any = importlib.import_module("llvmlite.ir")
    types: Any = importlib.import_module("numba").types
    intrinsic: Any = importlib.import_module("numba.extending").intrinsic
    pointer, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
    prefetch = ir.FunctionType(ir.VoidType(), [pointer, flag, flag, flag])

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], prefetch)
        # to read it, into all caches, as data
        builder.call(function, [builder.gep(array.data, [arguments[1]]), flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    def typed(_context: Any, buf: Any, at: Any) -> Any:  # noqa: ARG001 - Numba looks at the names
        return types.void(buf, types.int64), generate

    made: Callable[[Any, Any], None] = intrinsic(typed)
    return made


if MODE in ("numba", "build"):
    touch = _touch()
else:

    def touch(buf: Any, at: Any) -> None:
        """Have the 64 bytes around buf[at] fetched, a uint8[n]. Harmless where there are none."""

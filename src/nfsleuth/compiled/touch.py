"""A row that a kernel will need comes in, nothing goes out: the processor fetches it while the kernel does other things.

A kernel that goes through a capture meets connections in any order; with some hundred of them, their rows lie in a
cache that answers ten times later than the nearest, or in memory. Interpreted kernels leave it out: it changes nothing.
"""

from __future__ import annotations

from typing import Any

from nfsleuth.compiled import MODE

if MODE in ("numba", "build"):
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    @intrinsic
    def touch(_context: Any, table: Any, row: Any, offset: Any) -> Any:
        """Fetch the 64 bytes around byte `offset` of ``table[row]``. Harmless where there is no such row."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, arguments[0])
            byte = ir.IntType(8).as_pointer()
            size = context.get_abi_sizeof(context.get_data_type(signature.args[0].dtype))
            at = builder.add(builder.mul(arguments[1], arguments[1].type(size)), arguments[2])
            place = builder.gep(builder.bitcast(array.data, byte), [at])
            flag = ir.IntType(32)
            prefetch = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
            function = cgutils.get_or_insert_function(builder.module, prefetch, "llvm.prefetch.p0")
            builder.call(function, [place, flag(0), flag(3), flag(1)])  # to read, into all caches, data
            return context.get_dummy_value()

        return types.void(table, types.int64, types.int64), generate

else:

    def touch(table: Any, row: Any, offset: Any) -> None:
        """Fetch the 64 bytes around byte `offset` of ``table[row]``. Harmless where there is no such row."""

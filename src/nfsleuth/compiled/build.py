"""The child process that compiles kernels: a list of jobs comes in on standard input, machine code goes out.

Numba makes a C function of each kernel (`numba.cfunc`), whose LLVM code, already optimised, becomes an object file. The
C function takes pointers and lengths instead of arrays, and writes what the kernel returns to an int64 array. Where it
can be, the object file is linked here (`flatten`), so that a command need not load LLVM for it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nfsleuth.compiled import APART, image, lean
from nfsleuth.compiled.flatten import UnsuitableError, flatten
from nfsleuth.digest import blake2b


def dtype_of(spelled: Any) -> np.dtype[Any]:
    """The dtype that `load.spelled` wrote down."""
    if isinstance(spelled, str):
        return np.dtype(spelled)
    if spelled[0] == "array":
        return np.dtype((dtype_of(spelled[1]), tuple(spelled[2])))
    _, size, fields, aligned = spelled
    return np.dtype(
        {
            "names": [f[0] for f in fields],
            "offsets": [f[1] for f in fields],
            "formats": [dtype_of(f[2]) for f in fields],
            "itemsize": size,
        },
        align=aligned,
    )


def adapter_source(kinds: list[list[Any]], returns: int | None) -> str:
    """Python source of the function with C types around a kernel. returns: None, 0 for one, or a number."""
    parameters, arguments = ["out"], []
    for i, (kind, _, _, dimensions) in enumerate(kinds):
        name = f"a{i}"
        parameters.append(name)
        if kind == "array":
            sizes = [f"{name}_{d}" for d in range(dimensions)]
            parameters += sizes
            arguments.append(f"carray({name}, ({', '.join(sizes)},))")
        else:
            arguments.append(f"carray({name}, (1,))[0]" if kind == "record" else name)
    lines = [f"def adapter({', '.join(parameters)}):", f"    result = kernel({', '.join(arguments)})"]
    if returns is not None:
        lines.append(f"    values = carray(out, ({max(returns, 1)},))")
        if returns == 0:
            lines.append("    values[0] = result")
        lines += [f"    values[{i}] = result[{i}]" for i in range(returns)]
    return "\n".join(lines) + "\n"


def compile_kernel(
    kernel: Any, kinds: list[list[Any]], stem: Path, optimise: Callable[[Any, Any], None] | None
) -> None:
    """Compile one kernel for one set of argument types and write its two files. optimise: see `lean.strip`."""
    import llvmlite.binding as llvm

    numba: Any = importlib.import_module("numba")
    from_dtype: Any = importlib.import_module("numba.np.numpy_support").from_dtype
    types = numba.types
    kernel_types: list[Any] = []
    c_types: list[Any] = [types.CPointer(types.int64)]
    for kind, spelled, _, dimensions in kinds:
        if kind == "array":
            item = from_dtype(dtype_of(spelled))
            kernel_types.append(types.Array(item, dimensions, "C"))
            c_types += [types.CPointer(item)] + [types.int64] * dimensions
        elif kind == "record":
            item = from_dtype(dtype_of(spelled))
            kernel_types.append(item)
            c_types.append(types.CPointer(item))
        else:
            kernel_types.append(types.boolean if kind == "bool" else types.int64)
            c_types.append(kernel_types[-1])
    kernel.compile(tuple(kernel_types))
    result = kernel.overloads[tuple(kernel_types)].signature.return_type
    returns = None if result == types.none else len(result) if isinstance(result, types.BaseTuple) else 0
    names: dict[str, Any] = {"carray": numba.carray, "kernel": kernel}
    exec(compile(adapter_source(kinds, returns), "<adapter>", "exec"), names)  # noqa: S102 - our own text, from above
    compiled = numba.cfunc(types.void(*c_types))(names["adapter"])

    module = llvm.parse_assembly(compiled.inspect_llvm())
    symbol = compiled.native_name
    apart = {overload.fndesc.llvm_func_name for kept in APART for overload in kept.overloads.values()}
    for value in module.functions:
        if value.name in apart and not value.is_declaration:
            value.add_function_attribute("noinline")
    # Numba names a part after a number that it gave to its record type in this process. In another object file the same
    # name may stand for another layout, so no name but the entry's leaves this one.
    for value in (*module.functions, *module.global_variables):
        if not value.is_declaration and value.name != symbol:
            value.linkage = "internal"
    if optimise is not None:  # now that no part is called from elsewhere: one that has one caller becomes part of it
        optimise(compiled._library, module)
    missing = [f.name for f in module.functions if f.is_declaration and f.name.startswith(("numba_", "NRT_"))]
    ending, code, about = machine_code(llvm, module, symbol, missing)
    _write(stem.with_name(stem.name + ending), code)
    about |= {"file": stem.name + ending, "digest": blake2b(code).hexdigest(), "returns": returns}
    _write(stem.with_name(stem.name + ".json"), json.dumps(about).encode())


def machine_code(llvm: Any, module: Any, symbol: str, never_called: list[str]) -> tuple[str, bytes, dict[str, Any]]:
    """Machine code for this processor: an image where one can be made, otherwise an object file for LLVM to link.

    never_called: functions outside that only the path of an exception would need. Returns the ending of the file, its
    content, and what `load` must know of it. This is the one place where it is decided which of the two ways it is.
    """
    why_not = "images are not made on this system"
    if image.suits_here():
        try:
            # Position-independent code: all that lies in the image is reached by its distance.
            made = flatten(_object_code(llvm, module, "pic", "small"), symbol, [*image.KNOWN, *never_called])
        except UnsuitableError as reason:
            why_not = str(reason)
        else:
            return ".image", made.code, {"image": {"entry": made.entry, "outside": made.outside}}
    about = {"object": {"symbol": symbol, "never_called": never_called}, "why_not_image": why_not}
    return ".o", _object_code(llvm, module, "default", "jitdefault"), about


def _object_code(llvm: Any, module: Any, reloc: str, codemodel: str) -> bytes:
    """An object file with machine code for this processor."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        reloc=reloc,
        codemodel=codemodel,
        jit=codemodel == "jitdefault",
    )
    code: bytes = machine.emit_object(module)
    return code


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing: another process may look at the same time."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(path)


def main() -> int:
    """Compile what standard input asks for: [module, [[kernel, kinds, stem], ...]]."""
    module_name, jobs = json.load(sys.stdin)
    optimise = lean.strip(importlib.import_module("numba"))
    module = importlib.import_module(module_name)
    for name, kinds, stem in jobs:
        compile_kernel(getattr(module, name), kinds, Path(stem), optimise)
    return 0


if __name__ == "__main__":
    sys.exit(main())

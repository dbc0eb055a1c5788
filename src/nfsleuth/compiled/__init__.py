"""How kernels are compiled and called: Python functions over arrays come in, machine code goes out.

A kernel is an `entry`, which Python calls, or a `part`, which kernels call. Numba compiles an entry with all its parts
once per machine, in a process of its own (`build`); afterwards only the machine code is loaded (`load`), so that a
command starts without Numba: importing it and reading its cache takes longer than going through a gigabyte of packets.

Compiling takes about 0.1 s of a core per part and set of argument types. So a part is always called with the same
types: flags as int64 (`YES`, `NO`, `ZERO`: Numba types a literal by its value), and byte tables of the state through
``[:]``, which gives them the type of any other byte array. Kernels never raise and never allocate.

The environment variable NFSLEUTH_KERNELS chooses: ``object`` (the default, as above), ``numba`` (Numba compiles in this
process: tests; ``build`` is the same for the builder), ``python`` (not compiled; also with NUMBA_DISABLE_JIT=1).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any, TypeVar

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])

MODE = os.environ.get("NFSLEUTH_KERNELS", "object")
if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
    MODE = "python"

NO, YES = np.int64(0), np.int64(1)
ZERO = np.int64(0)

APART: list[Any] = []  # what `apart` has compiled


def apart(function: F) -> F:
    """A part that stays a function of its own, for what is seldom gone through.

    LLVM builds a function that is called from one place into that place, where the processor's few registers are then
    shared out among what is done often and what is not.
    """
    kept = part(function)
    APART.append(kept)
    return kept


def build_all(calls: Sequence[tuple[Callable[..., Any], Sequence[Any]]]) -> None:
    """Compile the kernels of `calls`, pairs of an entry and arguments like those it will get, side by side if missing.

    Without this each is compiled when it is first called. Nothing is called, and in other modes nothing is done.
    """
    if MODE == "object":
        from nfsleuth.compiled.load import Entry, build_missing, kind_of

        build_missing([(e, [kind_of(a) for a in arguments]) for e, arguments in calls if isinstance(e, Entry)])


def kernel(module: str, name: str) -> Callable[..., Any]:
    """The entry `name` of `module`. Where machine code takes its place, its source is not even imported: that would
    take a fifth of the time in which a command starts."""
    if MODE == "object":
        from nfsleuth.compiled.load import Entry

        return Entry(module, name)
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found


if MODE in ("numba", "build"):
    import numba

    _for_python = MODE == "numba"  # tests call any kernel, and often; what is built is linked once
    # Division by zero gives a value instead of an exception, as in NumPy: kernels check before they divide. They own no
    # memory, so in what is built nobody counts who does: Numba calls a function whenever a view comes or goes.
    _njit: Any = partial(numba.njit, error_model="numpy", no_cfunc_wrapper=True, _nrt=_for_python)

    def part(function: F) -> F:
        """A kernel that only kernels call."""
        compiled: F = _njit(cache=_for_python, no_cpython_wrapper=not _for_python)(function)
        return compiled

    def entry(function: F) -> F:
        """A kernel that Python calls."""
        compiled: F = _njit(cache=_for_python)(function)
        return compiled

elif MODE == "object":
    from nfsleuth.compiled.load import Entry

    def part(function: F) -> F:
        """A kernel that only kernels call; here it stays as it is written."""
        return function

    def entry(function: F) -> F:
        """A kernel that Python calls: machine code takes its place at the first call."""
        return Entry(function.__module__, function.__name__)  # type: ignore[return-value]

elif MODE == "python":

    def part(function: F) -> F:
        """A kernel that only kernels call; here it stays as it is written."""
        return function

    def entry(function: F) -> F:
        """A kernel that Python calls; here it stays as it is written, but wraps around silently as machine code
        does."""

        def run(*args: Any) -> Any:
            with np.errstate(over="ignore"):
                return function(*args)

        return run  # type: ignore[return-value]

else:
    raise ValueError(f"NFSLEUTH_KERNELS is {MODE!r}: it must be object, numba or python")

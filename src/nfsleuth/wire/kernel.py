"""How the kernels are compiled.

An `entry` is called from Python: it gets the wrappers that this takes, and is kept in numba's cache with all that it calls.
A `part` is called by kernels only and has none. LLVM optimises a function again in every function above it that calls it,
so a deep tree of parts compiles slowly: an `inlined` part has one caller and is merged into it before it is typed, and
is not compiled by itself at all. To call a part from Python, wrap it in an `entry`, as the tests do.
"""

from __future__ import annotations

from numba import njit

entry = njit(cache=True)
part = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)
inlined = njit(inline="always")

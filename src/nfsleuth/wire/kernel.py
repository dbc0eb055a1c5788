"""How the kernels are compiled.

An `entry` is called from Python: it gets the wrappers that this takes, and is kept in numba's cache with all that it
calls. A `part` is called by kernels only and has none; to call one from Python, wrap it in an entry, as the tests do.

Compiling takes about 0.2 s of a core per part and set of argument types. So a part is always called with the same
types: flags as int64 (`YES`, `NO`, `ZERO`: numba types a literal by its value), and byte tables of the state through
``[:]``, which gives them the type of any other byte array.
"""

from __future__ import annotations

import numpy as np
from numba import njit

entry = njit(cache=True)
part = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)

NO, YES = np.int64(0), np.int64(1)
ZERO = np.int64(0)

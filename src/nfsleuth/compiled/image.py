"""An image of machine code comes in, the address at which it can be run goes out. `flatten` makes images.

Nothing is linked here: an image is right wherever it lies, but for the addresses of functions outside it. The pages are
written first and made executable after: at no time can they be both.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from functools import cache
from typing import Any

from nfsleuth.errors import Exit, NfsleuthError

# Functions outside that LLVM calls by itself, for assignments of records and loops over bytes.
KNOWN = ("memcpy", "memmove", "memset")
ADDRESS = 8  # bytes
OFFSET = ctypes.c_long(0)  # off_t: in no file
FAILED = ctypes.c_void_p(-1).value  # MAP_FAILED


def suits_here() -> bool:
    """Whether images are made and loaded on this system: Linux on x86-64, where this was measured and is tested."""
    return sys.platform == "linux" and os.uname().machine == "x86_64" and sys.maxsize > 2**32


def load(code: bytes, outside: dict[str, int], others: int) -> int:
    """Put an image into memory; returns the address of its first byte.

    outside: where in `code` the addresses of functions outside go, by name. others: the address that those get which
    are not of `KNOWN`. Raises `NfsleuthError` where the system runs no code that was not in a file.
    """
    content = bytearray(code)
    for name, at in outside.items():
        found = address(getattr(_system(), name)) if name in KNOWN else others
        content[at : at + ADDRESS] = found.to_bytes(ADDRESS, "little")
    size = ctypes.c_size_t(len(content))
    # Never unmapped: a thread may be at work in it when Python ends.
    start = _system().mmap(
        None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, OFFSET
    )
    if start == FAILED:
        raise _refused()
    ctypes.memmove(start, bytes(content), len(content))
    if _system().mprotect(ctypes.c_void_p(start), size, mmap.PROT_READ | mmap.PROT_EXEC):
        raise _refused()
    return int(start)


def _refused() -> NfsleuthError:
    return NfsleuthError(
        f"this system does not let compiled kernels be run ({os.strerror(ctypes.get_errno())}); "
        "NFSLEUTH_KERNELS=python in the environment does without them, slowly",
        Exit.UNREADABLE,
    )


@cache
def _system() -> Any:
    """The C library of this process."""
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    return library


def address(function: Any) -> int:
    """Where a C function, or one that C can call, begins."""
    begin = ctypes.cast(function, ctypes.c_void_p).value
    assert begin is not None
    return begin

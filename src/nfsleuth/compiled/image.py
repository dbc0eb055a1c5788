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

_LOADED: list[mmap.mmap] = []  # what is mapped stays until the process ends: anybody may hold a function of it


def suits_here() -> bool:
    """Whether images are made and loaded on this system: Linux on x86-64, where this was measured and is tested."""
    return sys.platform == "linux" and os.uname().machine == "x86_64" and sys.maxsize > 2**32


def load(code: bytes, outside: dict[str, int], others: int) -> int:
    """Put an image into memory; returns the address of its first byte.

    outside: where in `code` the addresses of functions outside go, by name. others: the address that those get which
    are not of `KNOWN`. Raises `NfsleuthError` where the system runs no code that was not in a file.
    """
    room = mmap.mmap(-1, len(code), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    room.write(code)
    for name, at in outside.items():
        found = address(getattr(_system(), name)) if name in KNOWN else others
        room[at : at + ADDRESS] = found.to_bytes(ADDRESS, "little")
    start = ctypes.addressof(ctypes.c_char.from_buffer(room))
    if _system().mprotect(ctypes.c_void_p(start), ctypes.c_size_t(len(code)), mmap.PROT_READ | mmap.PROT_EXEC):
        raise NfsleuthError(
            f"this system does not let compiled kernels be run ({os.strerror(ctypes.get_errno())}); "
            "NFSLEUTH_KERNELS=python in the environment does without them, slowly",
            Exit.UNREADABLE,
        )
    _LOADED.append(room)
    return start


@cache
def _system() -> Any:
    """The C library of this process."""
    return ctypes.CDLL(None, use_errno=True)


def address(function: Any) -> int:
    """Where a C function, or one that C can call, begins."""
    begin = ctypes.cast(function, ctypes.c_void_p).value
    assert begin is not None
    return begin

"""The timed loop: a ``readinto`` and a buffer come in, seconds go out.

It is Python, and as fast as ``dd``: `io.FileIO.readinto` is one system call into a buffer that is allocated once, the
loop around it (``sum``, ``map``, ``repeat``) runs in C, and what both add is less than dd's second system call per
block, the write to /dev/null. A test holds it to 70 % of dd's rate on a cached file, and each run notes what the loop
reaches in memory (`ceiling`).
"""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Callable
from itertools import repeat
from time import perf_counter_ns

PIECE = 1 << 20  # bytes between two looks at whether to report; so often costs nothing measurable
CEILING_BYTES = 32 << 20

ReadInto = Callable[[mmap.mmap], int]
Tick = Callable[[int], None]


class FileEndedError(Exception):
    """The file ended before it should; `at` is where."""

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self.at = at


def buffer(block: int) -> mmap.mmap:
    """Memory for one block, aligned to a page as O_DIRECT needs it, and touched, so that no page fault is timed."""
    memory = mmap.mmap(-1, block)
    memory.write(b"\1" * block)
    return memory


def read_through(read: ReadInto, into: mmap.mmap, size: int, tick: Tick) -> float:
    """Seconds that reading `size` bytes takes. `tick` is told the bytes read after each `PIECE`.

    Raises FileEndedError if they are not there, OSError as `read` does.
    """
    left, block = size, len(into)
    start = perf_counter_ns()
    while left > 0:
        got = sum(map(read, repeat(into, -(-min(left, PIECE) // block))))
        if not got:
            raise FileEndedError(size - left)
        left -= got
        tick(size - left)
    return max(perf_counter_ns() - start, 1) / 1e9


def ceiling(block: int) -> float | None:
    """MB/s of the loop on a file in memory: the best of three. None where the system has no such files."""
    if not hasattr(os, "memfd_create"):
        return None
    into = buffer(block)
    best = 0.0
    with io.FileIO(os.memfd_create("nfsleuth-bench"), "r+") as file:
        piece = bytes(1 << 20)
        for _ in range(CEILING_BYTES >> 20):
            file.write(piece)
        for _ in range(3):
            file.seek(0)
            best = max(best, CEILING_BYTES / read_through(file.readinto, into, CEILING_BYTES, lambda _: None) / 1e6)
    return best

"""What is known of one capture file while it is read and afterwards: counts, times, and what was odd about it."""

from __future__ import annotations

from enum import IntEnum
from functools import cached_property

import numpy as np
from msgspec import Struct


class Odd(IntEnum):
    """What can be odd about a file, as opposed to what it captured. Counted and shown, never raised."""

    FILE_CUT = 0  # the file ends inside a record; what came before was used
    RECORD_INSANE = 1  # a record that cannot be; reading stopped there
    BLOCK_UNKNOWN = 2  # pcapng block of an unknown type, skipped
    LINK_UNKNOWN_INTERFACE = 3  # frame of an interface that was never described: its link is -1, its time 0
    OPTIONS_MALFORMED = 4  # options of a section or an interface that do not add up; those before were used
    SECTION_VERSION = 5  # a later section in a version that nobody knows; reading stopped there
    TIME_SATURATED = 6  # a time beyond what int64 ns can hold (years 1677 to 2262)
    LINK_RESERVED = 7  # reserved bits in the link field of a pcap header, ignored
    INTERFACES_DROPPED = 8  # interfaces above INTERFACES_MOST in one section
    COMPRESSION_CUT = 9  # the compressed stream ends early; what came out was used
    COMPRESSION_DAMAGED = 10  # the compressed stream is damaged; what came out before was used
    COMPRESSION_REST = 11  # bytes behind the compressed stream, ignored


# A tally is int64[len(Odd), 3]: how often, at which frame first, at which byte first. Kernels add to it, too.
COUNT, FRAME_NUMBER, BYTE = 0, 1, 2


def new_tally() -> np.ndarray:
    """An empty tally, int64[len(Odd), 3]."""
    return np.zeros((len(Odd), 3), np.int64)


class Source(Struct, dict=True):
    """One file of a trace. Filled while it is read, final when the trace has ended.

    path: as given, ``-`` for standard input. format: ``pcap``, ``pcapng`` or ``snoop``, with `` (gz)``, `` (zst)``,
    `` (lz4)``, `` (xz)`` or `` (bz2)`` behind it where it was compressed. frames: those handed out. bytes: size as
    stored; of a pipe, what has come so far. first, last: earliest and latest time, ns since 1970 UTC; None before the
    first frame with a time.
    """

    path: str
    format: str = ""
    frames: int = 0
    bytes: int = 0
    first: int | None = None
    last: int | None = None

    @cached_property
    def tally(self) -> np.ndarray:
        """What was odd, int64[len(Odd), 3]: see `new_tally`."""
        return new_tally()

    @property
    def oddities(self) -> dict[str, int]:
        """How often each thing was odd, by lower-case name of `Odd`."""
        return self._column(COUNT)

    @property
    def oddity_frames(self) -> dict[str, int]:
        """Where each was met first: the frame's number in this file, or that of the last frame before it."""
        return self._column(FRAME_NUMBER)

    @property
    def oddity_bytes(self) -> dict[str, int]:
        """Where each was met first: the byte in this file, decompressed."""
        return self._column(BYTE)

    def note(self, odd: Odd, frame: int, byte: int) -> None:
        """Count one oddity; `frame` and `byte` say where, as in `oddity_frames` and `oddity_bytes`."""
        if self.tally[odd, COUNT] == 0:
            self.tally[odd, FRAME_NUMBER] = frame
            self.tally[odd, BYTE] = byte
        self.tally[odd, COUNT] += 1

    def _column(self, column: int) -> dict[str, int]:
        return {odd.name.lower(): int(self.tally[odd, column]) for odd in Odd if self.tally[odd, COUNT]}

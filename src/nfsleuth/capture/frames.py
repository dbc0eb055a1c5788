"""The shape in which every capture reaches the rest of nfsleuth: one byte buffer and a table of frames.

A reader yields `Chunk`s. A chunk is good until the next one is asked for: whoever wants to keep bytes copies them.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct

FRAME = np.dtype(
    [
        ("offset", np.int64),  # where the frame's first byte lies in the chunk's buffer
        ("time", np.int64),  # ns since 1970-01-01 UTC; 0 where the capture gives none (simple packet block)
        ("number", np.int64),  # Wireshark's frame number: from 1, counted through all files of a trace in order
        ("captured", np.int32),  # bytes in the buffer
        ("wire", np.int32),  # bytes that were on the wire (at least `captured`)
        ("link", np.int32),  # LINKTYPE_ value of the interface (https://www.tcpdump.org/linktypes.html)
    ],
    align=True,
)


class Chunk(Struct, frozen=True):
    """Some frames in the order of the capture.

    buffer: uint8[n], holds every frame of the chunk. frames: FRAME[m]. source: which of the trace's paths
    most of these frames are from.
    """

    buffer: np.ndarray
    frames: np.ndarray
    source: int = 0

"""Hashes for the tracker's tables: seeded, so that a capture cannot be made to fill one bucket."""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import part
from nfsleuth.wire.fields import be64, u8

_GOLDEN = np.uint64(0x9E37_79B9_7F4A_7C15)  # 2**64 / golden ratio, odd
_SHIFT = np.uint64(29)


@part
def mix(state, value):
    """Stir `value` into `state`; both uint64."""
    state = (state ^ value) * _GOLDEN
    return state ^ (state >> _SHIFT)


@part
def mix_bytes(state, buf, at, length):
    """Stir `length` bytes from buf[at] into `state` (uint64)."""
    stop = at + length
    while at + 8 <= stop:
        state = mix(state, be64(buf, at))
        at += 8
    rest = np.uint64(0)
    while at < stop:
        rest = (rest << np.uint64(8)) | np.uint64(u8(buf, at))
        at += 1
    return mix(mix(state, rest), np.uint64(length))

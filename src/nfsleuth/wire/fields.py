"""Bytes come in, integers go out: the only place that touches the bytes of a frame.

Every reader takes ``(buf, at)`` and reads from `at` on. None checks the length: the caller has, once per header. Values
are widened before they are shifted, so that compiled and interpreted code agree (NumPy 2 keeps `uint8` in
``buf[at] << 8``).
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def be16(buf, at):
    """Big-endian 16 bits at `at`, as int64."""
    return (np.int64(buf[at]) << 8) | np.int64(buf[at + 1])


@njit(cache=True)
def be32(buf, at):
    """Big-endian 32 bits at `at`, as int64 (never negative)."""
    return (
        (np.int64(buf[at]) << 24)
        | (np.int64(buf[at + 1]) << 16)
        | (np.int64(buf[at + 2]) << 8)
        | np.int64(buf[at + 3])
    )


@njit(cache=True)
def be48(buf, at):
    """Big-endian 48 bits at `at`, as uint64: a MAC."""
    return (np.uint64(be16(buf, at)) << np.uint64(32)) | np.uint64(be32(buf, at + 2))


@njit(cache=True)
def be64(buf, at):
    """Big-endian 64 bits at `at`, as uint64."""
    return (np.uint64(be32(buf, at)) << np.uint64(32)) | np.uint64(be32(buf, at + 4))


@njit(cache=True)
def le32(buf, at):
    """Little-endian 32 bits at `at`, as int64 (never negative): the NULL link type writes its own byte order."""
    return (
        np.int64(buf[at])
        | (np.int64(buf[at + 1]) << 8)
        | (np.int64(buf[at + 2]) << 16)
        | (np.int64(buf[at + 3]) << 24)
    )

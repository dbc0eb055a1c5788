"""Bytes come in, integers go out: the only place that touches the bytes of a frame.

Every reader takes ``(buf, at)`` and reads from `at` on, which is not negative. None checks the length: the caller has,
once per header. Values are widened before they are shifted, so that compiled and interpreted code agree (NumPy 2 keeps
`uint8` in ``buf[at] << 8``). Indices are unsigned, since for a signed one numba tests whether it counts from the end.
"""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import part

_1, _2, _3 = np.uint64(1), np.uint64(2), np.uint64(3)


@part
def u8(buf, at):
    """The byte at `at`, as int64."""
    return np.int64(buf[np.uint64(at)])


@part
def be16(buf, at):
    """Big-endian 16 bits at `at`, as int64."""
    i = np.uint64(at)
    return (np.int64(buf[i]) << 8) | np.int64(buf[i + _1])


@part
def be32(buf, at):
    """Big-endian 32 bits at `at`, as int64 (never negative)."""
    i = np.uint64(at)
    return (
        (np.int64(buf[i]) << 24) | (np.int64(buf[i + _1]) << 16) | (np.int64(buf[i + _2]) << 8) | np.int64(buf[i + _3])
    )


@part
def be48(buf, at):
    """Big-endian 48 bits at `at`, as uint64: a MAC."""
    return (np.uint64(be16(buf, at)) << np.uint64(32)) | np.uint64(be32(buf, at + 2))


@part
def be64(buf, at):
    """Big-endian 64 bits at `at`, as uint64."""
    return (np.uint64(be32(buf, at)) << np.uint64(32)) | np.uint64(be32(buf, at + 4))


@part
def le32(buf, at):
    """Little-endian 32 bits at `at`, as int64 (never negative): the NULL link type writes its own byte order."""
    i = np.uint64(at)
    return (
        np.int64(buf[i]) | (np.int64(buf[i + _1]) << 8) | (np.int64(buf[i + _2]) << 16) | (np.int64(buf[i + _3]) << 24)
    )

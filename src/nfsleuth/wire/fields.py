"""Bytes come in, integers go out: the only place that touches the bytes of a frame.

Every reader takes ``(buf, at)`` and reads from `at` on, which is not negative. None checks the length: the caller has,
once per header. 16 and 32 bits come as int64, never negative, 48 and 64 as uint64.
"""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import part
from nfsleuth.compiled.words import be16, be32, be64, le32

__all__ = ["be16", "be32", "be48", "be64", "le32", "u8"]


@part
def u8(buf, at):
    """The byte at `at`, as int64."""
    return np.int64(buf[np.uint64(at)])


@part
def be48(buf, at):
    """Big-endian 48 bits at `at`, as uint64: a MAC."""
    return (np.uint64(be16(buf, at)) << np.uint64(32)) | np.uint64(be32(buf, at + 2))

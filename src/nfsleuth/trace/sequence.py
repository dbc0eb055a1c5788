"""Sequence numbers of TCP: 32 bits that wrap around (RFC 9293 section 3.4)."""

from __future__ import annotations

from nfsleuth.compiled import part

SEQUENCE_MASK = 0xFFFF_FFFF
_SIGN = 0x8000_0000


@part
def ahead(sequence, expected):
    """How far `sequence` lies beyond `expected`, modulo 2**32: negative if it lies before."""
    # The sign of 32 bits, in words that LLVM knows: one instruction.
    return (((sequence - expected) & SEQUENCE_MASK) ^ _SIGN) - _SIGN

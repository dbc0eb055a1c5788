"""Sequence numbers of TCP: 32 bits that wrap around (RFC 9293 section 3.4)."""

from __future__ import annotations

from nfsleuth.compiled import part

SEQUENCE_MASK = 0xFFFF_FFFF


@part
def ahead(sequence, expected):
    """How far `sequence` lies beyond `expected`, modulo 2**32: negative if it lies before."""
    delta = (sequence - expected) & SEQUENCE_MASK
    return delta - 0x1_0000_0000 if delta >= 0x8000_0000 else delta

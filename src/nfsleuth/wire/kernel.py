"""Moved to `nfsleuth.compiled`."""

from nfsleuth.compiled import NO, YES, ZERO, entry, part

__all__ = ["NO", "YES", "ZERO", "entry", "part"]

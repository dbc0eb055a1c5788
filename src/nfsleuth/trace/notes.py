"""Counting what was odd: one place, so that nothing is skipped without a trace."""

from __future__ import annotations

from nfsleuth.compiled import part
from nfsleuth.trace.state import Control


@part
def note(s, oddity):
    """Count `oddity` for the frame that is being read, and remember where it was first seen."""
    if s["oddities"][oddity] == 0:
        s["oddity_frames"][oddity] = s["control"][Control.FRAME]
    s["oddities"][oddity] += 1

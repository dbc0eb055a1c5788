"""Clients come in, out go the fields in which two labels have nothing in common: what differs at all, chance or not.

For few clients, where nothing can be concluded. Fields that stayed the same within every client come first; of a field
that was seen once nobody knows whether it would be the same in the next run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nfsleuth.contrast.questions import could_show
from nfsleuth.contrast.rank import generality
from nfsleuth.contrast.sketch import Profile


@dataclass(frozen=True, slots=True)
class Difference:
    """A field of which no value is common to two labels. steady: it was seen repeatedly, and was always the same."""

    path: str
    steady: bool
    masked: bool


def differences(clients: Sequence[Profile], masked: set[str]) -> list[Difference]:
    """All such fields, steady ones first, then by how well they carry over."""
    labels = sorted({c.label for c in clients})
    found = []
    for path in sorted({p for c in clients for p in c.fields}):
        sets = []
        steady = True
        for label in labels:
            mine = [c for c in clients if c.label == label and could_show(c, path)]
            if not mine:
                break
            sketches = [c.fields.get(path) for c in mine]
            sets.append({v for s in sketches for v in (s.values if s else (None,))})
            steady &= all(
                s is None or (len(s.values) == 1 and (s.seen > 1 or path in c.derived))
                for s, c in zip(sketches, mine, strict=True)
            )
        if len(sets) == len(labels) and sum(map(len, sets)) == len(set().union(*sets)):
            found.append(Difference(path, steady, path in masked))
    return sorted(found, key=lambda d: (d.masked, not d.steady, generality(d.path, d.masked)))

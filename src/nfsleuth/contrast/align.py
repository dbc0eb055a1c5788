"""The operations of two clients come in, pairs go out: equal, changed, only on the left, only on the right.

Alignment is that of the longest common runs (Ratcliff and Obershelp, `difflib`), which keeps runs of equal operations
together, as people read them. Where a run of operations was replaced by another, they are paired by their main
operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum

from nfsleuth.contrast.sketch import Step

MOST = 512  # operations of each client


class Change(StrEnum):
    """What became of an operation from left to right."""

    SAME = "same"
    CHANGED = "changed"
    DELETED = "deleted"  # on the left only
    INSERTED = "inserted"  # on the right only


@dataclass(frozen=True, slots=True)
class Pair:
    """A row of the aligned view."""

    change: Change
    left: Step | None
    right: Step | None


def align(left: Sequence[Step], right: Sequence[Step]) -> list[Pair]:
    """The two sequences side by side; each step is in exactly one pair, in its order."""
    left, right = left[:MOST], right[:MOST]
    a, b = [_key(s) for s in left], [_key(s) for s in right]
    pairs: list[Pair] = []
    for tag, i, j, k, m in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag == "equal":
            pairs += [Pair(Change.SAME, x, y) for x, y in zip(left[i:j], right[k:m], strict=True)]
        elif tag == "replace":
            pairs += _replaced(left[i:j], right[k:m])
        else:
            pairs += [Pair(Change.DELETED, x, None) for x in left[i:j]]
            pairs += [Pair(Change.INSERTED, None, y) for y in right[k:m]]
    return pairs


def _key(step: Step) -> tuple[str, str]:
    return step.text, step.status


def _replaced(left: Sequence[Step], right: Sequence[Step]) -> list[Pair]:
    """Steps of two stretches that differ: those of one procedure, or that share an operation, are changed."""
    pairs: list[Pair] = []
    place = 0
    for step in left:
        partner = next((n for n in range(place, len(right)) if alike(step, right[n])), None)
        if partner is None:
            pairs.append(Pair(Change.DELETED, step, None))
            continue
        pairs += [Pair(Change.INSERTED, None, s) for s in right[place:partner]]
        pairs.append(Pair(Change.CHANGED, step, right[partner]))
        place = partner + 1
    return pairs + [Pair(Change.INSERTED, None, s) for s in right[place:]]


def alike(one: Step, other: Step) -> bool:
    """Whether two steps do nearly the same: half of their operations are common."""
    mine, theirs = set(one.text.partition(".")[2].split()), set(other.text.partition(".")[2].split())
    return 2 * len(mine & theirs) >= max(len(mine), len(theirs), 1)


def summary(pairs: Sequence[Pair]) -> dict[Change, int]:
    """How many pairs there are of each kind."""
    return {change: sum(p.change is change for p in pairs) for change in Change}

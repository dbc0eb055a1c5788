"""Clients that fell silent together while others went on.

What it sees: gaps of 0.25 to 5 s in two clients' transfers that begin and end together, within 67 ms, while a third
client moved data.
Why it tells hosts apart: a host that is out of memory, out of CPU or cut off holds up all its guests.
Known confusions: programs that pause by the clock; a server or a switch that holds up some of its clients. What
coincides by chance is taken off.
Example: two clients both still from 14:00:07.2 to 14:00:08.0, twice.
Source: a prior.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise, product

import numpy as np

from nfsleuth.hosts.model import Scene, Tie, Weight
from nfsleuth.hosts.signs.timelines import busiest, moments

RULE = "joint_stall"
EACH, CAP = 1.0, 3.0
WEIGHTS = {"each gap, from two on": Weight(EACH, "prior"), "at most": Weight(CAP, "prior")}
FINE = 27  # binary logarithm of the ns of a moment, 134 ms: coarser time lines do not tell
SHORTEST, LONGEST = 3, 40  # moments of silence
FEWEST = 2
NEAR = tuple(product((-1, 0, 1), repeat=2))  # places (begin and end, one moment either way) at which two gaps agree

Gap = tuple[int, int]


def find(scene: Scene) -> Iterator[Tie]:
    """A tie per pair of busy clients with gaps in common."""
    lines = {n: sorted(line) for n in busiest(scene) if (line := moments(scene.members[n], FINE))}
    gaps = {n: [(a, b) for a, b in pairwise(line) if SHORTEST < b - a <= LONGEST] for n, line in lines.items()}
    for (a, b), count in sorted(_shared(gaps, _witnessed(lines, gaps)).items()):
        if count < FEWEST or scene.members[a].facts.address == scene.members[b].facts.address:
            continue
        span = max(lines[a][-1], lines[b][-1]) - min(lines[a][0], lines[b][0]) + 1
        by_chance = len(gaps[a]) * len(gaps[b]) * len(NEAR) / (span * (LONGEST - SHORTEST))
        nats = min(CAP, EACH * (count - by_chance))
        if nats > 0:
            seen = f"{count} gaps, {by_chance:.1f} expected by chance"
            yield Tie(a, b, RULE, "fell silent together", Weight(nats, "prior"), seen)


def _witnessed(lines: dict[int, list[int]], gaps: dict[int, list[Gap]]) -> set[Gap]:
    """Gaps throughout which somebody moved data: the server and the capture were well."""
    all_ = sorted({gap for some in gaps.values() for gap in some})
    begins, ends = np.array(all_, np.int64).reshape(-1, 2).T
    found = np.zeros(len(all_), np.bool_)
    for line in lines.values():
        inside = np.searchsorted(line, ends) - np.searchsorted(line, begins, "right")
        found |= inside == ends - begins - 1
    return {gap for gap, witnessed in zip(all_, found.tolist(), strict=True) if witnessed}


def _shared(gaps: dict[int, list[Gap]], witnessed: set[Gap]) -> Counter[tuple[int, int]]:
    """How many of its witnessed gaps each client shares with each that comes after it."""
    at: defaultdict[Gap, list[int]] = defaultdict(list)
    for n, some in gaps.items():
        for gap in some:
            at[gap].append(n)
    shared: Counter[tuple[int, int]] = Counter()
    for n, some in gaps.items():
        for begin, end in witnessed.intersection(some):
            others = {m for early, late in NEAR for m in at.get((begin + early, end + late), ()) if m > n}
            shared.update((n, m) for m in others)
    return shared

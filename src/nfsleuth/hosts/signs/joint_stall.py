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
from itertools import product

import numpy as np

from nfsleuth.clients.columns import distinct
from nfsleuth.hosts.model import Scene, Tie, Weight
from nfsleuth.hosts.signs.timelines import busiest, busy

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
    lines = {n: line for n in busiest(scene) if len(line := busy(scene.members[n], FINE))}
    gaps = {n: _gaps(line) for n, line in lines.items()}
    for (a, b), count in sorted(_shared(gaps, _witnessed(lines, gaps)).items()):
        if count < FEWEST or scene.members[a].facts.address == scene.members[b].facts.address:
            continue
        span = int(max(lines[a][-1], lines[b][-1]) - min(lines[a][0], lines[b][0])) + 1
        by_chance = len(gaps[a]) * len(gaps[b]) * len(NEAR) / (span * (LONGEST - SHORTEST))
        nats = min(CAP, EACH * (count - by_chance))
        if nats > 0:
            seen = f"{count} gaps, {by_chance:.1f} expected by chance"
            yield Tie(a, b, RULE, "fell silent together", Weight(nats, "prior"), seen)


def _gaps(line: np.ndarray) -> np.ndarray:
    """int64[m, 2] the silences in int64[n] moments: the last one before, the first one after."""
    lengths = line[1:] - line[:-1]
    before = np.flatnonzero((lengths > SHORTEST) & (lengths <= LONGEST))
    return np.column_stack([line[before], line[before + 1]])


def _witnessed(lines: dict[int, np.ndarray], gaps: dict[int, np.ndarray]) -> set[Gap]:
    """Gaps throughout which somebody moved data: the server and the capture were well."""
    if not gaps:
        return set()
    begins, ends = np.concatenate(list(gaps.values())).T
    _, some = distinct(begins, ends)
    begins, ends = begins[some], ends[some]
    found = np.zeros(len(some), np.bool_)
    for line in lines.values():
        inside = line.searchsorted(ends) - line.searchsorted(begins, "right")
        found |= inside == ends - begins - 1
    return set(zip(begins[found].tolist(), ends[found].tolist(), strict=True))


def _shared(gaps: dict[int, np.ndarray], witnessed: set[Gap]) -> Counter[tuple[int, int]]:
    """How many of its witnessed gaps each client shares with each that comes after it."""
    shared: Counter[tuple[int, int]] = Counter()
    if not witnessed:
        return shared
    at: defaultdict[Gap, list[int]] = defaultdict(list)
    own = {n: [(begin, end) for begin, end in some.tolist()] for n, some in gaps.items()}
    for n, mine in own.items():
        for gap in mine:
            at[gap].append(n)
    for n, mine in own.items():
        for begin, end in witnessed.intersection(mine):
            others = {m for early, late in NEAR for m in at.get((begin + early, end + late), ()) if m > n}
            shared.update((n, m) for m in others)
    return shared

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

from collections.abc import Iterator
from itertools import combinations, pairwise

from nfsleuth.hosts.model import Scene, Tie, Weight
from nfsleuth.hosts.signs.timelines import busiest, moments

RULE = "joint_stall"
EACH, CAP = 1.0, 3.0
WEIGHTS = {"each gap, from two on": Weight(EACH, "prior"), "at most": Weight(CAP, "prior")}
FINE = 27  # binary logarithm of the ns of a moment, 134 ms: coarser time lines do not tell
SHORTEST, LONGEST = 3, 40  # moments of silence
FEWEST = 2
AGREE = 9  # places (begin and end, one moment either way) at which two gaps agree


def find(scene: Scene) -> Iterator[Tie]:
    """A tie per pair of busy clients with gaps in common."""
    lines = {n: moments(scene.members[n], FINE) for n in busiest(scene)}
    lines = {n: line for n, line in lines.items() if line}
    gaps = {n: _gaps(sorted(line)) for n, line in lines.items()}
    for a, b in combinations(sorted(lines), 2):
        if not gaps[a] or not gaps[b] or scene.members[a].facts.address == scene.members[b].facts.address:
            continue
        shared = [g for g in gaps[a] if any(abs(g[0] - h[0]) <= 1 and abs(g[1] - h[1]) <= 1 for h in gaps[b])]
        witnessed = [g for g in shared if _witness(lines, (a, b), g)]
        seen_at = lines[a].keys() | lines[b].keys()
        span = max(seen_at) - min(seen_at) + 1
        by_chance = len(gaps[a]) * len(gaps[b]) * AGREE / (span * (LONGEST - SHORTEST))
        nats = min(CAP, EACH * (len(witnessed) - by_chance))
        if len(witnessed) >= FEWEST and nats > 0:
            seen = f"{len(witnessed)} gaps, {by_chance:.1f} expected by chance"
            yield Tie(a, b, RULE, "fell silent together", Weight(nats, "prior"), seen)


def _gaps(times: list[int]) -> list[tuple[int, int]]:
    return [(a, b) for a, b in pairwise(times) if SHORTEST < b - a <= LONGEST]


def _witness(lines: dict[int, dict[int, int]], pair: tuple[int, int], gap: tuple[int, int]) -> bool:
    """Whether somebody else moved data throughout the gap: the server and the capture were well."""
    inner = range(gap[0] + 1, gap[1])
    return any(n not in pair and all(at in line for at in inner) for n, line in lines.items())

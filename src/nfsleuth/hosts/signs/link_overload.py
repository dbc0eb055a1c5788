"""Two clients that moved more at once than one host's cable carries.

What it sees: moments in which two clients together moved more than the speed given with `--link-speed`, the fastest
cable of any host.
Why it tells hosts apart: guests of one host share its cable.
Known confusions: bonded cables; guests on the machine that is the server itself, whose frames cross no cable. Without
`--link-speed` nothing is said.
Example: 95 and 88 MB/s in the same second, with --link-speed 1gbit.
Source: a prior.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from nfsleuth.hosts.model import Scene, Tie, Weight
from nfsleuth.hosts.signs.timelines import busiest, moments

RULE = "link_overload"
WEIGHTS = {"too fast": Weight(-4.0, "prior")}
FINENESS = 30  # binary logarithm of the ns of a moment: 1.07 s
FEWEST = 3  # moments
MARGIN = 1.05  # of the speed: moments round


def find(scene: Scene) -> Iterator[Tie]:
    """A tie per pair of busy clients that were too fast together."""
    if not scene.link_speed:
        return
    most = scene.link_speed * MARGIN / 8 * (1 << FINENESS) / 1e9  # bytes of a moment
    lines = {n: line for n in busiest(scene) if (line := moments(scene.members[n], FINENESS))}
    for a, b in combinations(sorted(lines), 2):
        sums = [lines[a][at] + lines[b][at] for at in lines[a].keys() & lines[b].keys()]
        above = [s for s in sums if s > most]
        if len(above) >= FEWEST:
            seen = f"{max(above) * 8e3 / (1 << FINENESS):.0f} Mbit/s together, in {len(above)} moments"
            yield Tie(a, b, RULE, "too fast for one cable", WEIGHTS["too fast"], seen)

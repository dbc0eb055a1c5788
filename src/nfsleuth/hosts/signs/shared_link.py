"""Two clients that share one rate between them.

What it sees: over the moments in which both moved data, what one had more the other had less, and their sum was nearly
constant, while the rate of all clients together was not.
Why it tells hosts apart: guests of one host share its cable.
Known confusions: another link that only these two share; a server's limit shows as a constant rate of all clients, and
counts for nothing.
Example: 70 and 47 MB/s, then 30 and 87, sum 117 within 5 % over 60 moments, while a third client comes and goes.
Source: a prior.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations

import numpy as np

from nfsleuth.hosts.model import Scene, Tie, Weight
from nfsleuth.hosts.signs.timelines import busiest, moments

RULE = "shared_link"
WEIGHTS = {"constant sum": Weight(1.0, "prior")}
FINENESS = 30  # binary logarithm of the ns of a moment: 1.07 s
FEWEST = 20  # moments in common
CONSTANT = 0.1  # coefficient of variation of a sum that is one link's rate
OPPOSED = -0.5  # correlation


def find(scene: Scene) -> Iterator[Tie]:
    """A tie per pair of busy clients whose rates add up to a constant."""
    lines = {n: line for n in busiest(scene) if (line := moments(scene.members[n], FINENESS))}
    long = sorted(n for n, line in lines.items() if len(line) >= FEWEST)
    whole: Counter[int] = Counter()
    for line in lines.values() if len(long) > 1 else ():
        whole.update(line)
    for a, b in combinations(long, 2):
        common = sorted(lines[a].keys() & lines[b].keys())
        if len(common) < FEWEST:
            continue
        one, other, all_ = (np.array([line[at] for at in common], float) for line in (lines[a], lines[b], whole))
        if min(one.std(), other.std()) == 0 or _varies(one + other) > CONSTANT or _varies(all_) <= 2 * CONSTANT:
            continue
        opposed = float(np.corrcoef(one, other)[0, 1])
        if opposed <= OPPOSED:
            rate = float((one + other).mean()) * 1e3 / (1 << FINENESS)
            seen = f"correlation {opposed:.2f}, together {rate:.1f} MB/s over {len(common)} moments"
            yield Tie(a, b, RULE, "share one rate", WEIGHTS["constant sum"], seen)


def _varies(values: np.ndarray) -> float:
    return float(values.std() / values.mean()) if values.mean() else 0.0

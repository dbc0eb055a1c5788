"""Evidence rows in, the most likely hypervisor or cloud out.

Platforms are asked for only where the client is a guest or a hypervisor: a container engine or a card's maker is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from nfsleuth.evidence.model import Evidence, Group, State
from nfsleuth.verdict.fuse import Belief, together
from nfsleuth.verdict.model import Platform

# Nats of "some other platform, or one that left no sign": a hint of 1.5 alone names nothing, a prefix of 4 does.
OTHER = 1.5
MOST = 18.0  # nats: beyond it a sum says no more
LEAST_PROBABILITY = 0.5  # of the platform, given that the client has one
LEAST_VIRTUAL = 0.5  # probability that the client has a platform at all


def platform_of(rows: Iterable[Evidence], belief: Belief) -> Platform | None:
    """The platform, with its probability given that the client is a guest or a hypervisor; None if none stands out."""
    has_one = belief.virtual + belief.states[State.HYPERVISOR]
    if has_one < LEAST_VIRTUAL:
        return None
    pulls: dict[str, dict[Group, list[float]]] = {}
    for row in rows:
        for name, nats in row.platform.items() if row.counted else ():
            if name and math.isfinite(nats):
                pulls.setdefault(name, {}).setdefault(row.group, []).append(nats)
    if not pulls:
        return None
    scores = {name: math.fsum(together(n) for n in groups.values()) for name, groups in pulls.items()}
    likelihoods = {name: math.exp(min(score, MOST)) for name, score in scores.items()}
    whole = math.fsum(likelihoods.values()) + math.exp(OTHER)
    name = min(likelihoods, key=lambda n: (-likelihoods[n], n))
    probability = min(0.9999, likelihoods[name] / whole)
    return Platform(name, probability) if probability >= LEAST_PROBABILITY else None

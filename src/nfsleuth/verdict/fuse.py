"""Evidence rows and priors in, one `Belief` out: a probability per state, and what stands behind it.

Weights add up as log-likelihood ratios, with three restraints. Signs of one group share a cause: of those that pull a
state the same way the strongest counts whole and the rest 0.3 of their weight. A group moves a state by at most 7 nats,
all together by at most 9. And no probability comes within 1 in 10,000 of certainty. The order of rows does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nfsleuth.evidence.model import HYPOTHESES, Evidence, Group, State
from nfsleuth.verdict.priors import Priors

REST = 0.3  # of the weight of a group's further signs (survey section 8.3)
GROUP_CAP = 7.0  # nats
TOTAL_CAP = 9.0  # nats: e^9 is odds of 8,000, about what the least floor below allows anyway
FLOOR = 1e-4 / 5  # least probability of a state: what a spoofed capture or a wrong table leaves possible

# An answer needs three things; lacking one it is `unknown`.
# 1. The leading state is more likely than the others together by a margin: below .6 it would be wrong in 4 of 10.
LEAST_PROBABILITY = 0.6
# 2. The capture, not the prior, makes the difference: one fair sign (odds of 7 to 1) against what one would have said
#    unseen. Otherwise every silent client would be called what most clients of the site are.
LEAST_EVIDENCE = 2.0  # nats
# 3. Groups do not contradict each other: then the answer is `conflict`.
CONFLICT = 8.0  # nats between two groups that pull the two leading states apart
CONFLICT_EACH = 3.0  # nats that each of the two must bring: one strong sign and a weak one are no contradiction

# Nothing on the wire tells a machine from a guest with a passed-through card, so signs that a machine merely does not
# lack (a maker's MAC, a reserved port, a full TTL) never make "native" surer than this.
NATIVE_WITHOUT_PROOF = 0.9
NATIVE_PROOF = 2.0  # nats for native over a bridged guest from other groups than LINK that lift the limit

Groups = dict[Group, dict[State, float]]


@dataclass(frozen=True, slots=True)
class Belief:
    """What the evidence comes to. `groups`: nats per group and state after the restraints of a group."""

    states: dict[State, float]
    groups: Groups
    leading: State
    answer: State
    virtual: float


def fuse(rows: Iterable[Evidence], priors: Priors) -> Belief:
    """The belief that `priors` and the counted rows lead to. `priors`: every hypothesis, summing to 1."""
    counted = [row for row in rows if row.counted]
    groups = by_group(counted)
    states = _posterior(groups, priors)
    ranked = sorted(HYPOTHESES, key=lambda s: (-states[s], HYPOTHESES.index(s)))
    leading = ranked[0]
    return Belief(states, groups, leading, _answer(groups, states, ranked, priors), _virtual(counted, states))


def by_group(rows: Iterable[Evidence]) -> Groups:
    """Nats per group and state; rows that were set aside count nothing."""
    pulls: dict[Group, dict[State, list[float]]] = {}
    for row in rows:
        for state, nats in row.toward.items() if row.counted else ():
            if state in HYPOTHESES and math.isfinite(nats):
                pulls.setdefault(row.group, {}).setdefault(state, []).append(nats)
    return {
        group: {state: together(pulls[group].get(state, ())) for state in HYPOTHESES}
        for group in Group
        if group in pulls
    }


def together(nats: Iterable[float]) -> float:
    """Signs of one group on one state: each direction's strongest whole, its rest by `REST`, the sum capped.

    Opposite signs cannot be the same evidence twice, so a small one is not lost beside a large one.
    """
    values = sorted(nats)
    up, down = [v for v in reversed(values) if v > 0], [v for v in values if v < 0]
    total = math.fsum(side[0] + REST * math.fsum(side[1:]) for side in (up, down) if side)
    return max(-GROUP_CAP, min(GROUP_CAP, total))


def _totals(groups: Groups) -> dict[State, float]:
    sums = {state: math.fsum(nats[state] for nats in groups.values()) for state in HYPOTHESES}
    return {state: max(-TOTAL_CAP, min(TOTAL_CAP, nats)) for state, nats in sums.items()}


def _posterior(groups: Groups, priors: Priors) -> dict[State, float]:
    totals = _totals(groups)
    scores = {s: math.log(priors[s]) + totals[s] for s in HYPOTHESES}
    highest = max(scores.values())
    likelihoods = {s: math.exp(score - highest) for s, score in scores.items()}
    whole = math.fsum(likelihoods.values())
    states = {s: FLOOR + (1 - FLOOR * len(HYPOTHESES)) * p / whole for s, p in likelihoods.items()}
    return _doubt_native(groups, states)


def _doubt_native(groups: Groups, states: dict[State, float]) -> dict[State, float]:
    """Keep "native" at most `NATIVE_WITHOUT_PROOF`, and give what it loses to the bridged guest that looks the same."""
    proof = math.fsum(
        nats[State.NATIVE] - nats[State.BRIDGED] for group, nats in groups.items() if group is not Group.LINK
    )
    excess = states[State.NATIVE] - NATIVE_WITHOUT_PROOF
    if excess <= 0 or proof >= NATIVE_PROOF:
        return states
    return {**states, State.NATIVE: NATIVE_WITHOUT_PROOF, State.BRIDGED: states[State.BRIDGED] + excess}


def _answer(groups: Groups, states: Mapping[State, float], ranked: list[State], priors: Priors) -> State:
    first, second = ranked[0], ranked[1]
    apart = [nats[first] - nats[second] for nats in groups.values()]
    forth, back = max(apart, default=0.0), min(apart, default=0.0)
    if forth - back > CONFLICT and forth >= CONFLICT_EACH and back <= -CONFLICT_EACH:
        return State.CONFLICT
    totals = _totals(groups)
    usual = max((s for s in HYPOTHESES if s is not first), key=lambda s: priors[s])
    if states[first] < LEAST_PROBABILITY or totals[first] - totals[usual] < LEAST_EVIDENCE:
        return State.UNKNOWN
    return first


def _virtual(rows: list[Evidence], states: Mapping[State, float]) -> float:
    """P(guest): bridged and user-mode guests, and of kernel NAT the share that its evidence gives to guests.

    Without such evidence it is even: containers and home routers are as common there as guests.
    """
    share = 1 / (1 + math.exp(-_guest_nats(rows)))
    return min(1.0, states[State.BRIDGED] + states[State.USER_NAT] + share * states[State.KERNEL_NAT])


def _guest_nats(rows: list[Evidence]) -> float:
    pulls: dict[Group, list[float]] = {}
    for row in rows:
        if row.virtual and math.isfinite(row.virtual):
            pulls.setdefault(row.group, []).append(row.virtual)
    total = math.fsum(together(nats) for nats in pulls.values())
    return max(-TOTAL_CAP, min(TOTAL_CAP, total))

"""Evidence rows and priors in, one `Belief` out: a probability per state, and what stands behind it.

Weights add up as log-likelihood ratios, with three restraints. Signs of one group share a cause: of those that pull a
state the same way the strongest counts whole and the rest 0.3 of their weight. A group moves a state by at most 7 nats,
all together by at most 9. And no probability comes within 1 in 10,000 of certainty. The order of rows does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from msgspec import Struct

from nfsleuth.evidence.model import HYPOTHESES, Evidence, Group, State
from nfsleuth.verdict.priors import Priors

REST = 0.3  # of the weight of a group's further signs: a prior, since causes are shared, but not wholly
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
# lack (a maker's MAC, a reserved port, a full TTL) never make "native" surer than this against a bridged guest. So it
# is never surer than this at all, and the probability of a guest does not vanish for want of a sign.
NATIVE_WITHOUT_PROOF = 0.9
NATIVE_PROOF = 2.0  # nats for native over a bridged guest from other groups than LINK that lift the limit

# What a row weighs: its group, nats per state, nats for "a guest". Rows that were set aside weigh nothing.
Word = tuple[Group, tuple[tuple[State, float], ...], float]
# The working form of weights and probabilities: one number per hypothesis, in the order of HYPOTHESES.
Nats = tuple[float, ...]
Pulls = dict[Group, Nats]
Groups = Mapping[Group, Mapping[State, float]]

GROUPS = tuple(Group)
NUMBER = {state: number for number, state in enumerate(HYPOTHESES)}
NATIVE, BRIDGED = NUMBER[State.NATIVE], NUMBER[State.BRIDGED]


class Belief(Struct, frozen=True):
    """What the evidence comes to. `groups`: nats per group and state after the restraints of a group. `without`: each
    group, and what would be said of all the others together."""

    states: Mapping[State, float]
    groups: Groups
    leading: State
    answer: State
    virtual: float
    without: tuple[tuple[Group, Leaning], ...] = ()


class Leaning(Struct, frozen=True):
    """The part of a belief that groups alone decide. `sure`: probability of the leading state."""

    leading: State
    answer: State
    sure: float


def fuse(rows: Iterable[Evidence], priors: Priors) -> Belief:
    """The belief that `priors` and the counted rows lead to. `priors`: every hypothesis, summing to 1."""
    return _fused(_words(rows), _in_order(priors))[0]


def fuse_each(rows: Sequence[Evidence], priors: Priors) -> tuple[Belief, list[float]]:
    """The belief, and the nats by which each row alone moves the odds of its leading state; 0 of those set aside."""
    belief, alone = _fused(_words(rows), _in_order(priors))
    moved = iter(alone)
    return belief, [next(moved) if row.counted else 0.0 for row in rows]


def by_group(rows: Iterable[Evidence]) -> Groups:
    """Nats per group and state; rows that were set aside count nothing."""
    return _named(_pulls(_words(rows)))


def _words(rows: Iterable[Evidence]) -> tuple[Word, ...]:
    return tuple([(row.group, tuple(row.toward.items()), row.virtual) for row in rows if row.counted])


def _pulls(words: tuple[Word, ...]) -> Pulls:
    """Nats per group, in the order of `Group`."""
    signs: dict[Group, dict[State, list[float]]] = {}
    for group, toward, _ in words:
        for state, nats in toward:
            if state in NUMBER and math.isfinite(nats):
                signs.setdefault(group, {}).setdefault(state, []).append(nats)
    return {
        group: tuple([together(signs[group][state]) if state in signs[group] else 0.0 for state in HYPOTHESES])
        for group in GROUPS
        if group in signs
    }


def _named(pulls: Pulls) -> Groups:
    return {group: dict(zip(HYPOTHESES, nats, strict=True)) for group, nats in pulls.items()}


def together(nats: Iterable[float]) -> float:
    """Signs of one group on one state: each direction's strongest whole, its rest by `REST`, the sum capped.

    Opposite signs cannot be the same evidence twice, so a small one is not lost beside a large one.
    """
    values = sorted(nats)
    if len(values) == 1:
        return max(-GROUP_CAP, min(GROUP_CAP, values[0]))
    up, down = [v for v in reversed(values) if v > 0], [v for v in values if v < 0]
    total = math.fsum(side[0] + REST * math.fsum(side[1:]) for side in (up, down) if side)
    return max(-GROUP_CAP, min(GROUP_CAP, total))


def _totals(pulls: Pulls) -> list[float]:
    """Nats per hypothesis of all groups together."""
    if not pulls:
        return [0.0] * len(HYPOTHESES)
    return [max(-TOTAL_CAP, min(TOTAL_CAP, math.fsum(nats))) for nats in zip(*pulls.values(), strict=True)]


def _in_order(priors: Priors) -> Nats:
    return tuple([priors[state] for state in HYPOTHESES])


# These are worked out once for the clients of one kind: they leave the same signs.


@lru_cache(maxsize=1024)
def _fused(words: tuple[Word, ...], priors: Nats) -> tuple[Belief, tuple[float, ...]]:
    """The belief, and the nats by which each word alone moves the odds of its leading state."""
    pulls = _pulls(words)
    items = tuple(pulls.items())
    states = dict(zip(HYPOTHESES, _probabilities(items, priors), strict=True))
    led = _leaning(items, priors)
    without = tuple((group, _leaning(tuple(p for p in items if p[0] is not group), priors)) for group in pulls)
    belief = Belief(states, _named(pulls), led.leading, led.answer, _virtual(words, states), without)
    before = _odds(led.leading, (), priors)
    return belief, tuple([_odds(led.leading, (word,), priors) - before for word in words])


@lru_cache(maxsize=4096)
def _odds(state: State, words: tuple[Word, ...], priors: Nats) -> float:
    """Nats for `state` against all the others."""
    probability = _probabilities(tuple(_pulls(words).items()), priors)[NUMBER[state]]
    return math.log(probability) - math.log1p(-probability)


@lru_cache(maxsize=4096)
def _probabilities(pulls: tuple[tuple[Group, Nats], ...], priors: Nats) -> Nats:
    scores = [math.log(prior) + nats for prior, nats in zip(priors, _totals(dict(pulls)), strict=True)]
    highest = max(scores)
    likelihoods = [math.exp(score - highest) for score in scores]
    whole = math.fsum(likelihoods)
    return _doubt_native(dict(pulls), [FLOOR + (1 - FLOOR * len(HYPOTHESES)) * p / whole for p in likelihoods])


@lru_cache(maxsize=4096)
def _leaning(pulls: tuple[tuple[Group, Nats], ...], priors: Nats) -> Leaning:
    probabilities = _probabilities(pulls, priors)
    ranked = sorted(range(len(HYPOTHESES)), key=lambda number: -probabilities[number])  # the order of equal ones stays
    answer = _answer(dict(pulls), probabilities, ranked, priors)
    return Leaning(HYPOTHESES[ranked[0]], answer, probabilities[ranked[0]])


def _doubt_native(pulls: Pulls, probabilities: list[float]) -> Nats:
    """Keep "native" at `NATIVE_WITHOUT_PROOF` at most of what it has together with a bridged guest, its look-alike."""
    both = probabilities[NATIVE] + probabilities[BRIDGED]
    proof = math.fsum(nats[NATIVE] - nats[BRIDGED] for group, nats in pulls.items() if group is not Group.LINK)
    if probabilities[NATIVE] <= NATIVE_WITHOUT_PROOF * both or proof >= NATIVE_PROOF:
        return tuple(probabilities)
    doubted = probabilities.copy()
    doubted[NATIVE] = NATIVE_WITHOUT_PROOF * both
    doubted[BRIDGED] = both - doubted[NATIVE]
    return tuple(doubted)


def _answer(pulls: Pulls, probabilities: Nats, ranked: list[int], priors: Nats) -> State:
    first, second = ranked[0], ranked[1]
    apart = [nats[first] - nats[second] for nats in pulls.values()]
    forth, back = max(apart, default=0.0), min(apart, default=0.0)
    if forth - back > CONFLICT and forth >= CONFLICT_EACH and back <= -CONFLICT_EACH:
        return State.CONFLICT
    totals = _totals(pulls)
    usual = max((number for number in range(len(HYPOTHESES)) if number != first), key=lambda number: priors[number])
    if probabilities[first] < LEAST_PROBABILITY or totals[first] - totals[usual] < LEAST_EVIDENCE:
        return State.UNKNOWN
    return HYPOTHESES[first]


def _virtual(words: tuple[Word, ...], states: Mapping[State, float]) -> float:
    """P(guest): bridged and user-mode guests, and of kernel NAT the share that its evidence gives to guests.

    Without such evidence it is even: containers and home routers are as common there as guests.
    """
    share = 1 / (1 + math.exp(-_guest_nats(words)))
    return min(1.0, states[State.BRIDGED] + states[State.USER_NAT] + share * states[State.KERNEL_NAT])


def _guest_nats(words: tuple[Word, ...]) -> float:
    pulls: dict[Group, list[float]] = {}
    for group, _, virtual in words:
        if virtual and math.isfinite(virtual):
            pulls.setdefault(group, []).append(virtual)
    total = math.fsum(together(nats) for nats in pulls.values())
    return max(-TOTAL_CAP, min(TOTAL_CAP, total))

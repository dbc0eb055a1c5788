"""Signed weights of pairs come in, groups go out: correlation clustering.

Correlation clustering (N. Bansal, A. Blum, S. Chawla, Machine Learning 56, 2004) looks for the partition that maximises
the sum of the weights of all pairs inside groups. It weighs what speaks against a pair as well, which transitive
closure does not: a chain of likely pairs falls apart where its ends are surely on two machines. The best partition is
NP-hard to find, so:

- In the best partition every group hangs together by pairs of positive weight (else splitting it would gain). Each
  connected component of such pairs is therefore solved by itself.
- A component of at most `EXACT` clients is solved exactly, by dynamic programming over its subsets.
- A larger one by local search: clients are placed one after the other where they gain most; then single clients move
  and whole groups merge as long as that gains. It ends where no such step gains (or after `ROUNDS`): a local optimum,
  never below all clients alone, without a guarantee of its distance from the best. (The pivot methods that have one,
  factor 3 for weights of one size: N. Ailon, M. Charikar, A. Newman, J. ACM 55(5), 2008, have none for weights of many
  sizes, as these are.)

No randomness: the order of the clients decides between equals.

Weights come as cliques, since most signs are about what clients have in common: 10,000 clients behind one address are
50 million pairs, but one clique. Time is about clients x their cliques x the groups that these touch.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from heapq import nsmallest

from msgspec import Struct, field

EXACT = 10  # clients: 3^10 steps
SPLIT = 256  # clients of a component whose pairs are all looked at
NEAR = 64  # groups of a clique that a client is tried in, the largest ones
ROUNDS = 100  # of local search
GAIN = 1e-9  # that counts: below lies rounding


def log_odds(probability: float) -> float:
    """ln(p / (1 - p))."""
    return math.log(probability / (1 - probability))


def probability(nats: float) -> float:
    """The inverse of `log_odds`."""
    return 1 / (1 + math.exp(-nats)) if nats > 0 else math.exp(nats) / (1 + math.exp(nats))


class Clique(Struct, frozen=True):
    """`members` with a share each: every pair in it weighs `same` times both shares, or `differ` times both if their
    labels differ, which is at most 0. labels: of each member; one for all if empty. stronger: in place of `same`."""

    members: Mapping[int, float]
    same: float
    differ: float = 0.0
    labels: Mapping[int, Hashable] = field(default_factory=dict)
    stronger: Mapping[Hashable, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.differ > 0:
            raise ValueError(f"{self.differ} nats for one host at different places: only what is alike can join")

    def weight(self, a: int, b: int) -> float:
        """Of the pair; 0 if they are not both members."""
        if a not in self.members or b not in self.members:
            return 0.0
        label = self.labels.get(a)
        nats = self.stronger.get(label, self.same) if label == self.labels.get(b) else self.differ
        return nats * self.members[a] * self.members[b]


class Weights(Struct, dict=True):
    """The weight of every pair of `count` clients: `base` + all cliques that they share + `pairs`.

    base: of any pair, at most 0. pairs: (a, b) with a < b.
    """

    count: int
    base: float
    cliques: Sequence[Clique] = ()
    pairs: Mapping[tuple[int, int], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.base > 0:
            raise ValueError(f"a base of {self.base}: without any sign two clients are not one host's")
        self._of: list[list[int]] = [[] for _ in range(self.count)]
        for number, clique in enumerate(self.cliques):
            for member in clique.members:
                self._of[member].append(number)
        self._tied: list[dict[int, float]] = [{} for _ in range(self.count)]
        for (a, b), nats in self.pairs.items():
            self._tied[a][b] = self._tied[b][a] = nats

    def pair(self, a: int, b: int) -> float:
        """Weight of one pair."""
        shared = sum(self.cliques[number].weight(a, b) for number in self._of[a])
        return self.base + shared + self._tied[a].get(b, 0.0)

    def cliques_of(self, member: int) -> list[int]:
        """Numbers of the cliques that it is in."""
        return self._of[member]

    def tied(self, member: int) -> Mapping[int, float]:
        """Others that it makes a pair with, with the weight."""
        return self._tied[member]

    def components(self) -> list[list[int]]:
        """Clients that hang together by what could be positive: more than by positive pairs, never less."""
        parent = list(range(self.count))

        def root(a: int) -> int:
            while parent[a] != a:
                parent[a] = parent[parent[a]]
                a = parent[a]
            return a

        def join(a: int, b: int) -> None:
            low, high = sorted((root(a), root(b)))
            parent[high] = low

        for clique in self.cliques:
            heads: dict[Hashable, int] = {}
            for member, share in clique.members.items():
                label = clique.labels.get(member)
                if clique.stronger.get(label, clique.same) * share > 0:
                    join(heads.setdefault(label, member), member)
        for (a, b), nats in self.pairs.items():
            if nats > 0:
                join(a, b)
        found: defaultdict[int, list[int]] = defaultdict(list)
        for member in range(self.count):
            found[root(member)].append(member)
        return list(found.values())


def total(weights: Weights, groups: Iterable[Sequence[int]]) -> float:
    """What is maximised: the sum over all pairs inside groups."""
    return sum(weights.pair(a, b) for group in groups for i, a in enumerate(group) for b in group[:i])


def cluster(weights: Weights) -> list[list[int]]:
    """The groups, each in order, by their first member; every client is in one."""
    groups = []
    for component in (part for loose in weights.components() for part in _parts(weights, loose)):
        if len(component) == 1:
            groups.append(component)
        elif len(component) <= EXACT:
            groups += _exactly(weights, component)
        else:
            groups += _Search(weights, component).groups()
    return sorted(groups)


def _parts(weights: Weights, loose: list[int]) -> list[list[int]]:
    """`loose` split where no pair of positive weight holds it together; one of more than `SPLIT` is left whole."""
    if len(loose) == 1 or len(loose) > SPLIT:
        return [loose]
    left, parts = dict.fromkeys(loose), []
    while left:
        first = next(iter(left))
        del left[first]
        part, queue = [first], [first]
        while queue:
            a = queue.pop()
            near = [b for b in left if weights.pair(a, b) > 0]
            part += near
            queue += near
            for b in near:
                del left[b]
        parts.append(sorted(part))
    return parts


def _exactly(weights: Weights, members: list[int]) -> list[list[int]]:
    """The best partition. Subsets are bits; the best of a set is its lowest member's group and the best of the rest."""
    n = len(members)
    inside = [0.0] * (1 << n)  # sum of the weights inside a subset
    for subset in range(1, 1 << n):
        low = (subset & -subset).bit_length() - 1
        rest = subset & (subset - 1)
        others = (i for i in range(low + 1, n) if rest >> i & 1)
        inside[subset] = inside[rest] + sum(weights.pair(members[low], members[i]) for i in others)
    best, group_of = [0.0] * (1 << n), [0] * (1 << n)
    for subset in range(1, 1 << n):
        low = subset & -subset
        rest = subset ^ low
        group_of[subset], best[subset] = low, best[rest]
        more = rest
        while more:  # every subset of `rest` that is not empty
            gain = inside[low | more] + best[rest ^ more]
            if gain > best[subset] + GAIN:
                group_of[subset], best[subset] = low | more, gain
            more = (more - 1) & rest
    groups, left = [], (1 << n) - 1
    while left:
        groups.append([members[i] for i in range(n) if group_of[left] >> i & 1])
        left ^= group_of[left]
    return groups


class _Search:
    """Local search over one component."""

    def __init__(self, weights: Weights, members: list[int]) -> None:
        self.weights = weights
        self.members = members
        self.group: dict[int, int] = {}  # of each member
        self.inside: dict[int, dict[int, None]] = {}  # members of each group, in the order in which they came
        # Per clique, the shares in each group: of all, and by label; and the groups with members at each label.
        self.shares: defaultdict[int, defaultdict[int, float]] = defaultdict(lambda: defaultdict(float))
        self.labelled: defaultdict[int, defaultdict[tuple[int, Hashable], float]] = defaultdict(
            lambda: defaultdict(float)
        )
        self.at: defaultdict[tuple[int, Hashable], dict[int, int]] = defaultdict(dict)
        self._next = 0

    def groups(self) -> list[list[int]]:
        """The partition at which no step gains."""
        for member in self.members:
            self._place(member)
        for _ in range(ROUNDS):
            moved = sum(self._move(member) for member in self.members)
            if not moved and not self._merge():
                break
        return [sorted(group) for group in self.inside.values()]

    def _place(self, member: int) -> None:
        target, gain = self._best(member)
        if gain <= GAIN:
            target, self._next = self._next, self._next + 1
        self._put(member, target)

    def _move(self, member: int) -> bool:
        """Put `member` where it gains most; whether that is another place than before."""
        before = self.group[member]
        alone = len(self.inside[before]) == 1
        self._take(member)
        here = 0.0 if alone else self._gain(member, before)
        target, gain = self._best(member)
        if gain <= max(here, 0.0) + GAIN:
            target = before if here > -GAIN or alone else self._next
            self._next += target == self._next
        self._put(member, target)
        return target != before

    def _merge(self) -> bool:
        """Join each group, in order, with the one where it gains most; False if none gains."""
        merged = False
        for group in sorted(self.inside):
            members = list(self.inside.get(group, ()))  # none: it was joined with an earlier one
            others = sorted({other for member in members for other in self._near(member)} - {group})
            gains = ((sum(self._gain(member, other) for member in members), -other) for other in others)
            gain, other = max(gains, default=(0.0, 1))
            if gain > GAIN:
                merged = True
                for member in members:
                    self._take(member)
                    self._put(member, -other)
        return merged

    def _near(self, member: int) -> set[int]:
        """Groups that `member` could gain in."""
        near: set[int] = set()
        for number in self.weights.cliques_of(member):
            clique = self.weights.cliques[number]
            label = clique.labels.get(member)
            if clique.stronger.get(label, clique.same) > 0:
                here = self.at[number, label]
                near.update(here if len(here) <= NEAR else nsmallest(NEAR, here, key=lambda g: (-here[g], g)))
        near.update(self.group[b] for b, nats in self.weights.tied(member).items() if nats > 0 and b in self.group)
        return near

    def _best(self, member: int) -> tuple[int, float]:
        """The group where `member`, which is in none, gains most, and how much; (-1, 0) if there is none."""
        gains = ((self._gain(member, group), -group) for group in self._near(member))
        gain, group = max(gains, default=(0.0, 1))
        return -group, gain

    def _gain(self, member: int, group: int) -> float:
        """Weights of the pairs of `member` with all of `group`."""
        gain = self.weights.base * len(self.inside[group])
        for number in self.weights.cliques_of(member):
            clique = self.weights.cliques[number]
            label = clique.labels.get(member)
            alike = self.labelled[number].get((group, label), 0.0)
            unlike = self.shares[number].get(group, 0.0) - alike
            weighed = clique.stronger.get(label, clique.same) * alike + clique.differ * unlike
            gain += weighed * clique.members[member]
        for other, nats in self.weights.tied(member).items():
            if self.group.get(other) == group:
                gain += nats
        return gain

    def _put(self, member: int, group: int) -> None:
        self.group[member] = group
        self.inside.setdefault(group, {})[member] = None
        self._count(member, group, 1)

    def _take(self, member: int) -> None:
        group = self.group.pop(member)
        del self.inside[group][member]
        self._count(member, group, -1)
        if not self.inside[group]:
            del self.inside[group]

    def _count(self, member: int, group: int, way: int) -> None:
        for number in self.weights.cliques_of(member):
            clique = self.weights.cliques[number]
            label = clique.labels.get(member)
            self.shares[number][group] += way * clique.members[member]
            self.labelled[number][group, label] += way * clique.members[member]
            here = self.at[number, label]
            here[group] = here.get(group, 0) + way
            if not here[group]:
                del here[group]

"""Clients with their verdicts come in, a `Grouping` goes out: which of them share a physical host, how likely, and why.

The weight of a pair is `PRIOR` and all signs about it, added up: signs have causes of their own (an address, a MAC, a
cable, a clock, a boot). `clustering` finds the groups. The *probability* of a group is that of its weakest joint: its
clients are joined one after the other, each by its surest pair with one who is in already (a maximum spanning tree),
and the least sure of these pairs counts; less, where all signs between a client and the rest of its group together say
less. Probabilities end at `SUREST`, as those of verdicts do. It is not the product over the pairs: they share their
causes, and where one address is wrong all pairs behind it are wrong together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, combinations

from nfsleuth.clients.facts import Household
from nfsleuth.evidence.rules import Rules
from nfsleuth.hosts import signs
from nfsleuth.hosts.clustering import Clique, Weights, cluster, probability
from nfsleuth.hosts.imports.known import Known
from nfsleuth.hosts.model import PRIOR, Grouping, Host, Member, Pair, Pairs, Scene, Sign, Tie
from nfsleuth.hosts.signs.switch_port import uplinks

SUREST = 0.9999  # as `verdict.fuse`
MOST_PAIRS = 20_000  # that are listed, and per sign looked at for the list
JOINED = 64  # members of a group whose pairs are all looked at for its probability
MOST_NOTES = 20


def group(
    members: Iterable[Member], around: Household, rules: Rules, known: Known | None = None, link_speed: int = 0
) -> Grouping:
    """The hosts of `members`, which come in the order in which they are shown.

    known: imported tables. link_speed: bits per second that no host's cable exceeds, 0 if that is not known.
    """
    scene = Scene(tuple(members), around, rules, known or Known(), link_speed)
    found = list(signs.found(scene))
    placed = [sign for sign in found if isinstance(sign, Sign) and sign.places]
    tied = [tie for tie in found if isinstance(tie, Tie)]
    weights = weigh(len(scene.members), placed, tied)
    groups = [one for one in cluster(weights) if len(one) > 1]
    ids = [member.id for member in scene.members]
    hosts = tuple(
        Host(f"host-{n}", tuple(ids[m] for m in one), _sureness(weights, one), _because(one, placed, tied))
        for n, one in enumerate(groups, 1)
    )
    return Grouping(hosts, Pairs(partial(_pairs, ids, weights, placed, tied)), tuple(_notes(scene)))


def weigh(count: int, placed: Sequence[Sign], tied: Sequence[Tie]) -> Weights:
    """Signs as the weights of `count` clients."""
    cliques = [
        Clique(
            members={n: place.share for n, place in sign.places.items()},
            same=sign.same.nats,
            differ=sign.differ.nats,
            labels={n: place.name for n, place in sign.places.items()},
            stronger={name: weight.nats for name, weight in sign.stronger.items()},
        )
        for sign in placed
    ]
    pairs: Counter[tuple[int, int]] = Counter()
    for tie in tied:
        pairs[tie.a, tie.b] += tie.weight.nats  # type: ignore[assignment] # counts of a Counter may be any number
    return Weights(count, PRIOR, cliques, pairs)


def _sureness(weights: Weights, members: Sequence[int]) -> float:
    """Probability of the weakest joint."""
    first, rest = members[:JOINED], members[JOINED:]
    best = {m: weights.pair(first[0], m) for m in first[1:]}
    weakest = float("inf")
    while best:
        member = max(best, key=lambda m: (best[m], -m))
        weakest = min(weakest, best.pop(member))
        best = {other: max(nats, weights.pair(member, other)) for other, nats in best.items()}
    for member in rest:
        weakest = min(weakest, max(weights.pair(member, other) for other in first))
    for member in members:
        weakest = min(weakest, sum(weights.pair(member, other) for other in first if other != member))
    return min(SUREST, max(1 - SUREST, probability(weakest)))


def _because(members: Sequence[int], placed: Sequence[Sign], tied: Sequence[Tie]) -> tuple[str, ...]:
    """What holds the group together, the strongest first, and what speaks against it."""
    inside, reasons = set(members), []
    for sign in placed:
        here = {n: sign.places[n] for n in members if n in sign.places}
        at = Counter(place.name for place in here.values())
        what = Counter(((p.words or sign.alike).format(place=p.name), p.name) for p in here.values() if at[p.name] > 1)
        reasons += [
            (sign.weight(name).nats, f"{n} {words}") for (words, name), n in what.items() if sign.weight(name).nats > 0
        ]
        if len(at) > 1 and sign.differ.nats < 0:
            reasons.append((sign.differ.nats, f"against it: {sign.unlike}"))
    ties = [tie for tie in tied if tie.a in inside and tie.b in inside]
    for says in dict.fromkeys(tie.says for tie in ties):
        these = [tie for tie in ties if tie.says == says]
        strongest = max(these, key=lambda tie: abs(tie.weight.nats))
        many = f"{len(these)} pairs, such as " if len(these) > 1 else ""
        against = "against it: " if strongest.weight.nats < 0 else ""
        reasons.append((strongest.weight.nats, f"{against}{says} ({many}{strongest.seen})"))
    return tuple(words for _, words in sorted(reasons, key=lambda r: -r[0]))


def _pairs(
    ids: Sequence[str], weights: Weights, placed: Sequence[Sign], tied: Sequence[Tie]
) -> tuple[tuple[Pair, ...], int]:
    """Pairs with a sign, the surest first; and how many are not listed."""
    by_pair: dict[tuple[int, int], list[Tie]] = {}
    for tie in tied:
        by_pair.setdefault((tie.a, tie.b), []).append(tie)
    wanted: dict[tuple[int, int], None] = dict.fromkeys(by_pair)
    left = 0
    for sign in placed:
        for n, pair in enumerate(_alike(sign)):
            if n >= MOST_PAIRS:
                left += _count(sign) - MOST_PAIRS
                break
            wanted[pair] = None
    rows = []
    for a, b in wanted:
        said = [s for sign in placed if (s := sign.between(a, b)) is not None] + [
            t.sign() for t in by_pair.get((a, b), ())
        ]
        nats = weights.pair(a, b)
        sure = min(SUREST, max(1 - SUREST, probability(nats)))
        signs_ = tuple(sorted(said, key=lambda s: (-abs(s.weight), s.rule)))
        rows.append(((-nats, a, b), Pair(ids[a], ids[b], nats, sure, signs_)))
    listed = [pair for _, pair in sorted(rows, key=lambda row: row[0])]
    return tuple(listed[:MOST_PAIRS]), left + max(len(listed) - MOST_PAIRS, 0)


def _alike(sign: Sign) -> Iterator[tuple[int, int]]:
    """Pairs of members at one place; of a sign that joins nobody, all pairs at two places."""
    at: dict[str, list[int]] = {}
    for n, place in sorted(sign.places.items()):
        at.setdefault(place.name, []).append(n)
    joins = [combinations(numbers, 2) for name, numbers in at.items() if sign.weight(name).nats > 0]
    apart = combinations(sorted(sign.places), 2) if sign.differ.nats < 0 else ()
    return chain(*joins, (pair for pair in apart if sign.places[pair[0]].name != sign.places[pair[1]].name))


def _count(sign: Sign) -> int:
    """How many pairs `_alike` has."""
    at = Counter(place.name for place in sign.places.values())
    joined = sum(n * (n - 1) // 2 for name, n in at.items() if sign.weight(name).nats > 0)
    everyone = len(sign.places) * (len(sign.places) - 1) // 2
    apart = everyone - sum(n * (n - 1) // 2 for n in at.values()) if sign.differ.nats < 0 else 0
    return joined + apart


def _notes(scene: Scene) -> Iterator[str]:
    """What was passed over in imported tables, and ports that were not taken for a host's."""
    notes = [*scene.known.notes]
    notes += [
        f"port {port} of {switch} is not one host's: {why}" for switch, port, why in uplinks(scene.known, scene.rules)
    ]
    yield from notes[:MOST_NOTES]
    if len(notes) > MOST_NOTES:
        yield f"and {len(notes) - MOST_NOTES} more remarks on imported tables"

"""What the search for hosts works on: clients, signs that two of them share a host or do not, and hosts.

Weights are nats, natural logarithms of P(seen | one host) / P(seen | two hosts), for a pair of clients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple, overload

from msgspec import Struct, field

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.model import Evidence, State
from nfsleuth.evidence.rules import Rules
from nfsleuth.hosts.imports.known import Known

# Nats for any two clients of one server, before any sign: that they share a host, one time in 20. A prior: with 20
# hosts and more, few of all pairs do.
PRIOR = -3.0


class Weight(NamedTuple):
    """nats, and where they come from: "lab", "prior", or a citation."""

    nats: float
    source: str


NOTHING = Weight(0.0, "prior")


class Member(Struct, frozen=True):
    """A client, and what the verdict about it says. The fields are those of `verdict.model.Verdict`."""

    id: str
    facts: Facts
    states: Mapping[State, float]
    virtual: float
    evidence: tuple[Evidence, ...] = ()

    def hints(self) -> set[str]:
        """Hosts that the evidence gives away."""
        return {row.host for row in self.evidence if row.counted and row.host}


class Scene(Struct, frozen=True):
    """Everything that a sign may look at. known: imported tables. link_speed: bits per second that no host's cable
    exceeds, 0 if nobody said."""

    members: Sequence[Member]
    around: Household
    rules: Rules
    known: Known = field(default_factory=Known)
    link_speed: int = 0


def by_address(scene: Scene) -> dict[str, list[int]]:
    """Numbers of the members at each source address."""
    found: dict[str, list[int]] = {}
    for number, member in enumerate(scene.members):
        found.setdefault(member.facts.address, []).append(number)
    return found


class Place(Struct, frozen=True):
    """Where a sign puts one client. Pairs at one `name` are moved by the sign's `same`, others by its `differ`.

    share: 0..1, how much the sign holds for this client; a pair's weight is scaled by both. seen: the raw observation.
    words: what the client is there, in place of the sign's `alike`.
    """

    name: str
    seen: str
    share: float = 1.0
    frames: tuple[int, ...] = ()
    words: str = ""


class Sign(Struct, frozen=True):
    """One heuristic's word on all clients that it can place: by number of the member.

    same, differ: for pairs at one place and at two. stronger: places whose pairs get another weight than `same`.
    alike: what those at one place have in common, in words, with "{place}" for its name; unlike: for two places.
    """

    rule: str
    places: Mapping[int, Place]
    same: Weight
    alike: str
    differ: Weight = NOTHING
    unlike: str = ""
    stronger: Mapping[str, Weight] = field(default_factory=dict)

    def weight(self, place: str) -> Weight:
        """For a pair at `place`."""
        return self.stronger.get(place, self.same)

    def between(self, a: int, b: int) -> PairSign | None:
        """What the sign says of two members; None if nothing."""
        here, there = self.places.get(a), self.places.get(b)
        if here is None or there is None:
            return None
        one = here.name == there.name
        weight = self.weight(here.name) if one else self.differ
        nats = weight.nats * here.share * there.share
        if not nats:
            return None
        says = self.alike.format(place=here.name) if one else self.unlike
        seen = here.seen if here.seen == there.seen else f"{here.seen}; {there.seen}"
        return PairSign(self.rule, says, nats, seen, _frames(here, there), weight.source)


def _frames(*places: Place) -> tuple[int, ...]:
    return tuple(sorted({frame for place in places for frame in place.frames}))[:4]


class Tie(Struct, frozen=True):
    """One heuristic's word on one pair of members: what a place cannot say, such as that two clocks run alike."""

    a: int
    b: int
    rule: str
    says: str
    weight: Weight
    seen: str
    frames: tuple[int, ...] = ()

    def sign(self) -> PairSign:
        """As a row."""
        return PairSign(self.rule, self.says, self.weight.nats, self.seen, self.frames, self.weight.source)


class PairSign(Struct, frozen=True):
    """A piece of evidence about two clients: rule, what it means, nats (negative: two hosts), the raw observation."""

    rule: str
    says: str
    weight: float
    seen: str
    frames: tuple[int, ...]
    source: str


class Pair(Struct, frozen=True):
    """Two clients that some sign is about. weight: nats in all, what is likely beforehand included."""

    a: str  # ids
    b: str
    weight: float
    probability: float
    signs: tuple[PairSign, ...]


class Pairs(Sequence[Pair]):  # noqa: PLW1641 - holds what is not hashable
    """Pairs of clients that some sign is about, the surest first. They are made when they are first looked at: there
    are many, and few commands show them.

    make: the pairs, and how many more there are that are not listed.
    """

    def __init__(self, make: Callable[[], tuple[tuple[Pair, ...], int]] | None = None) -> None:
        self._make = make

    @cached_property
    def _made(self) -> tuple[tuple[Pair, ...], int]:
        return self._make() if self._make is not None else ((), 0)

    @property
    def left(self) -> int:
        """Pairs that are not listed."""
        return self._made[1]

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Pair, ...]: ...
    def __getitem__(self, index: int | slice) -> Pair | tuple[Pair, ...]:
        return self._made[0][index]

    def __len__(self) -> int:
        return len(self._made[0])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pairs) and self._made == other._made

    def __repr__(self) -> str:
        return f"Pairs{self._made}"


class Host(Struct, frozen=True):
    """Clients that run on one physical machine."""

    id: str
    clients: tuple[str, ...]  # Verdict.id
    probability: float
    because: tuple[str, ...]


class Grouping(Struct, frozen=True):
    """What was found. pairs: those that some sign is about, the surest first.

    notes: what a user should know about imported tables, in words.
    """

    hosts: tuple[Host, ...] = ()
    pairs: Pairs = field(default_factory=Pairs)
    notes: tuple[str, ...] = ()

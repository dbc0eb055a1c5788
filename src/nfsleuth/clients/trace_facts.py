"""What one trace, or several added up, tells of everybody: strands of connections, the link, and what was left out.

A strand is the connections of one source address that carry the same identity. `gather` makes strands out of rows,
`split` makes clients out of strands. In between, `TraceFacts` of files, threads and machines add up: ``a + b`` is
associative and commutative, also where budgets cut in: what survives depends only on the union of what was seen.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

from msgspec import Struct, field

from nfsleuth.clients.facts import Facts, Link, Seen
from nfsleuth.digest import blake2b

# Strands kept. A strand takes some 10 kB: this many are more clients than one NFS server has.
MOST_STRANDS = 8192
# Strands kept that are no clients by themselves: portmapper, NSM, and TCP without RPC.
MOST_BYSTANDERS = 2048
# Pairs of MAC and address whose TTLs are kept; the pairs themselves are counted in `Link.neighbours`.
MOST_TTLS = 8192
UNLIMITED = 1 << 62


class Kind(IntEnum):
    """What the connections of a strand were for."""

    CLIENT = 0  # NFS, NFSACL or MOUNT calls, or traffic with port 2049 that could not be read
    LOCK = 1  # NLM and nothing above: calls of a client, or call-backs (NLM_GRANTED) of a server
    HELPER = 2  # portmapper and NSM only
    SILENT = 3  # TCP without readable RPC, to another port than 2049


class StrandKey(NamedTuple):
    """What the connections of a strand have in common. Those without any identity differ by `when` or `server`."""

    address: str  # of the client
    kind: Kind
    names: tuple[str, ...] = ()  # AUTH_SYS machine names, NLM caller names
    boots: tuple[tuple[bytes, int], ...] = ()  # (owner, verifier) of SETCLIENTID and EXCHANGE_ID
    sessions: tuple[str, ...] = ()  # only where `boots` is empty: a boot has many sessions, one after the other
    clientids: tuple[int, ...] = ()  # likewise
    when: int = 0  # start in units of `gather.TOGETHER`, of a strand without identity
    server: tuple[str, int] = ("", 0)  # address and port of a SILENT strand's server

    @property
    def anonymous(self) -> bool:
        """Whether nothing says who the client is."""
        return not (self.names or self.boots or self.sessions or self.clientids)


class Strand(Struct):
    """The facts of a strand's connections, and until when (ns since 1970) its client was alive for certain."""

    facts: Facts
    alive: int = 0

    def __add__(self, other: Strand) -> Strand:
        return Strand(self.facts + other.facts, max(self.alive, other.alive))


class Pool(Struct):
    """Strands within a budget.

    budget: the most strands. level: the most strands of one address; it starts unlimited and only ever sinks, as more
    is seen than fits. dropped: connections whose strands were let go.
    """

    budget: int
    strands: dict[StrandKey, Strand] = field(default_factory=dict)
    level: int = UNLIMITED
    dropped: int = 0

    def __add__(self, other: Pool) -> Pool:
        merged = dict(self.strands)
        for key, strand in other.strands.items():
            merged[key] = merged[key] + strand if key in merged else strand
        both = Pool(self.budget, merged, min(self.level, other.level), self.dropped + other.dropped)
        kept, both.level = both.fit(merged)
        for key in merged.keys() - kept:
            both.dropped += merged.pop(key).facts.connections
        return both

    def fit(self, keys: Iterable[StrandKey]) -> tuple[set[StrandKey], int]:
        """Which of `keys` fit, and the level at which they do.

        Addresses get equal shares, and what one leaves over goes to the others, so a flood from one address costs the
        others nothing. Within an address identified strands go before anonymous ones; beyond that a hash decides, which
        nobody can choose. More keys only ever lower the level, so trimming early and trimming late come to the same.
        """
        keys = set(keys)
        if self.level == UNLIMITED and len(keys) <= self.budget:
            return keys, UNLIMITED
        by_address: defaultdict[str, list[StrandKey]] = defaultdict(list)
        for key in keys:
            by_address[key.address].append(key)
        addresses: Iterable[str] = by_address
        if len(by_address) > self.budget:
            addresses = sorted(by_address, key=_lot)[: self.budget]
        level = min(self.level, _level([len(by_address[a]) for a in addresses], self.budget))
        kept: set[StrandKey] = set()
        for address in addresses:
            here = by_address[address]
            kept.update(here if len(here) <= level else sorted(here, key=lambda k: (k.anonymous, _lot(k)))[:level])
        return kept, level


def _level(counts: list[int], budget: int) -> int:
    """The largest level at which ``sum(min(count, level))`` is within `budget`; at most `budget` counts, none 0."""
    left = budget
    for i, count in enumerate(sorted(counts)):
        share = left // (len(counts) - i)
        if count > share:
            return share
        left -= count
    return UNLIMITED


def _lot(value: object) -> bytes:
    """A fixed pseudo-random place in a queue (Python's own hash of a `str` differs from process to process)."""
    return blake2b(repr(value).encode("utf-8", "surrogatepass"), digest_size=12).digest()


class TraceFacts(Struct):
    """Everything that is known before clients are told apart.

    clients: strands of kinds CLIENT and LOCK. bystanders: of kinds HELPER and SILENT. endpoints: (address, port) that
    NFS or MOUNT calls went to. counts: connections by what they carried (`batch.COUNTS`). lost: identity rows let go
    because too many connections were open at once.
    """

    clients: Pool = field(default_factory=lambda: Pool(MOST_STRANDS))
    bystanders: Pool = field(default_factory=lambda: Pool(MOST_BYSTANDERS))
    link: Link = field(default_factory=Link)
    endpoints: Seen[tuple[str, int]] = field(default_factory=Seen)
    counts: Counter[str] = field(default_factory=Counter)
    lost: int = 0

    def __add__(self, other: TraceFacts) -> TraceFacts:
        link = self.link + other.link
        if len(link.ttls) > MOST_TTLS:
            link.ttls = {pair: link.ttls[pair] for pair in sorted(link.ttls, key=_lot)[:MOST_TTLS]}
        return TraceFacts(
            self.clients + other.clients,
            self.bystanders + other.bystanders,
            link,
            self.endpoints + other.endpoints,
            self.counts + other.counts,
            self.lost + other.lost,
        )

    @property
    def dropped(self) -> dict[str, int]:
        """What the budgets cost: connections of strands that were let go, and identity rows."""
        costs = {
            "client connections": self.clients.dropped,
            "other connections": self.bystanders.dropped,
            "identities": self.lost,
        }
        return {name: count for name, count in costs.items() if count}

"""`TraceFacts` come in, a `Household` goes out: strands of connections become NFS clients, one `Facts` each.

Strands are only ever joined at one source address. A client with an IPv4 and an IPv6 address is two rows.

Certain joins, whatever else differs:

- the same owner and verifier: a verifier is one boot of one client (RFC 7530 section 16.33, RFC 8881 section 18.35);
- the same session: it belongs to one client, and nconnect spreads it over connections;
- the same clientid4 from the same server.

Joins unless both were alive at one time with different boots (`_apart`):

- the same machine name in AUTH_SYS or NLM: reconnects, reboots, mounts of several versions, NFSv3 with nconnect. Where
  one connection carries an AUTH_SYS name and another NLM caller name, both are names of one client;
- the same Linux verifier: Linux takes the time in ns at which the client's network namespace began, equal for all its
  mounts and minor versions, so a host that was renamed keeps it. Clones of one memory image share it too, but live at
  the same time under different names;
- the same owner, where a name is missing (RPCSEC_GSS carries none).

What keeps equal names apart is proof that both lived at the same time:

- A introduces itself, then B, then A again. A reboot never alternates;
- B introduces itself while A is still talking;
- B booted, says its verifier, before A fell silent, or so soon after that no machine could have restarted;
- both are from before the capture, with sessions of their own that overlap, of one minor version at one server. A Linux
  client has one session per server and minor version. Clients of other makes may have one per mount: no proof there.

Different names are different clients: guests and containers behind one address. Not told apart: programs that all give
one name and have no boot in common, such as those with the default name of libnfs, and strands without any identity.

Strands without identity (NULL calls, TLS, replies alone, portmapper) join the only client of their address, or the one
that opened a connection next, within `NEXT`, as a mount does; failing that, the one nearest in time. Portmapper and NSM
alone make no client, and neither does NLM from the address of a server (NLM_GRANTED).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from ipaddress import ip_address

from msgspec import Struct, field

from nfsleuth.clients.facts import Facts, Household, merged
from nfsleuth.clients.trace_facts import Kind, Strand, StrandKey, TraceFacts

SECOND = 1_000_000_000
NEXT = 2 * SECOND  # a mount asks portmapper and mountd at most this long before it connects to NFS
RESTART = SECOND  # between the last words of a machine and the NFS start of its next boot lies more than this
YEAR_2000, YEAR_2100 = 946_684_800 * SECOND, 4_102_444_800 * SECOND  # a verifier in between may be a time in ns
PURGE = 0xFFFF_FFFF_FFFF_FFFF  # the verifier by which Linux discards its own state: says nothing about a boot
MOST_COMPARED = 16  # clients of one name, and boots of one client, that a strand is compared with: bounds the work
LINUX = re.compile(rb"Linux NFSv4\.\d (.*)", re.DOTALL)
HOST_UUID = re.compile(rb".*([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\Z", re.DOTALL)  # FreeBSD: mount id, host UUID
LINUX_OPEN_OWNER = b"open id:"


def household(facts: TraceFacts) -> Household:
    """The clients of a trace, by address, then by when they were first seen."""
    strands: defaultdict[str, list[tuple[StrandKey, Strand]]] = defaultdict(list)
    for pool in (facts.clients, facts.bystanders):
        for key, strand in pool.strands.items():
            strands[key.address].append((key, strand))
    clients = [
        client
        for address in sorted(strands, key=_numeric)
        for client in _clients_at(strands[address], facts, address in facts.link.servers)
    ]
    return Household(clients, facts.link)


def _numeric(address: str) -> tuple[int, int]:
    parsed = ip_address(address)
    return parsed.version, int(parsed)


_NO_ALIASES: Mapping[str, frozenset[str]] = {}


class _Life(Struct):
    """Strands that are certainly one client in one boot."""

    strands: list[Strand]
    names: frozenset[str]
    boots: frozenset[tuple[bytes, int]]
    sessions: frozenset[str]
    servers: frozenset[str]
    minors: frozenset[str]
    first: int
    last: int
    alive: int
    introductions: tuple[int, ...]  # times of SETCLIENTID or EXCHANGE_ID, ascending
    linux: bool | None  # None: not known
    owners: frozenset[bytes] = frozenset()  # what the owners have in common over mounts and minor versions
    verifiers: frozenset[int] = frozenset()  # of Linux owners
    tokens: frozenset[Hashable] = frozenset()  # names, owners and verifiers: what another life of its client may share

    @classmethod
    def of(cls, strands: list[Strand], aliases: Mapping[str, frozenset[str]] = _NO_ALIASES) -> _Life:
        all_facts = [s.facts for s in strands]
        ids = [i for f in all_facts for i in f.client_ids if i.verifier != PURGE]
        boots = frozenset((i.owner, i.verifier) for i in ids)
        names = frozenset(a for f in all_facts for n in _names(f) for a in aliases.get(n, (n,)))
        owners = frozenset(_common_owner(owner) for owner, _ in boots if owner)
        verifiers = frozenset(verifier for owner, verifier in boots if LINUX.match(owner))
        return cls(
            strands,
            names,
            boots,
            frozenset().union(*(f.sessions.sightings for f in all_facts)),
            frozenset().union(*(f.servers.sightings for f in all_facts)),
            frozenset().union(*(f.versions.sightings for f in all_facts)) & {"4.1", "4.2"},
            min(f.first for f in all_facts),
            max(f.last for f in all_facts),
            max(s.alive for s in strands),
            tuple(sorted(i.time for i in ids)),
            _is_linux(all_facts),
            owners,
            verifiers,
            frozenset(
                [*(("name", n) for n in names), *(("owner", o) for o in owners), *(("verifier", v) for v in verifiers)]
            ),
        )

    @property
    def starts(self) -> list[int]:
        """When its NFS connections, or failing these any, began (ns)."""
        found = {s.first for strand in self.strands for s in strand.facts.nfs_ports.sightings.values()} or {
            strand.facts.first for strand in self.strands
        }
        return sorted(found)


def _names(facts: Facts) -> list[str]:
    return [*facts.names.sightings, *facts.nlm_callers.sightings]


def _is_linux(all_facts: list[Facts]) -> bool | None:
    owners = [o for f in all_facts for o in f.open_owners.sightings]
    ids = [i.owner for f in all_facts for i in f.client_ids]
    if not owners and not ids:
        return None
    return any(o.startswith(LINUX_OPEN_OWNER) for o in owners) or any(LINUX.match(o) for o in ids)


def _common_owner(owner: bytes) -> bytes:
    for pattern in (LINUX, HOST_UUID):
        if found := pattern.fullmatch(owner):
            return found[1]
    return owner


def _apart(x: _Life, y: _Life) -> bool:
    """Whether two lives cannot be one client because both were alive at the same time."""
    if x.first > y.first:
        x, y = y, x
    if x.boots & y.boots or x.sessions & y.sessions:
        return False
    if x.verifiers & y.verifiers:  # one boot, unless names say that it was cloned
        return _strangers(x, y) and y.first < x.last
    if x.boots and y.boots:
        same_make = bool(x.verifiers and y.verifiers) or not {o for o, _ in x.boots}.isdisjoint(o for o, _ in y.boots)
        return same_make and (_overlap(x, y) or _booted_too_soon(x, y))
    return not x.boots and not y.boots and _sessions_apart(x, y)


def _strangers(x: _Life, y: _Life) -> bool:
    return bool(x.names) and bool(y.names) and x.names.isdisjoint(y.names)


def _overlap(x: _Life, y: _Life) -> bool:
    """Whether one introduced itself while the other was talking; A B A is a case of it."""
    early, late = (x, y) if x.introductions[0] <= y.introductions[0] else (y, x)
    return late.introductions[0] < max(early.alive, early.introductions[-1])


def _booted_too_soon(x: _Life, y: _Life) -> bool:
    early, late = (x, y) if x.introductions[0] <= y.introductions[0] else (y, x)
    return any(
        YEAR_2000 < v <= late.introductions[0] + SECOND and v < early.alive + RESTART
        for v in late.verifiers
        if v < YEAR_2100
    )


def _sessions_apart(x: _Life, y: _Life) -> bool:
    if not (x.sessions and y.sessions) or x.servers.isdisjoint(y.servers) or y.first >= x.last:
        return False
    if x.linux is False or y.linux is False:
        return False
    return not (x.minors and y.minors) or not x.minors.isdisjoint(y.minors)


class _Client(Struct):
    """Lives that were put together."""

    lives: list[_Life] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    owners: set[bytes] = field(default_factory=set)
    strands: list[Strand] = field(default_factory=list)

    def take(self, life: _Life) -> None:
        self.lives.append(life)
        self.names |= life.names
        self.owners |= life.owners
        self.strands += life.strands

    def welcomes(self, life: _Life) -> bool:
        """Whether nothing speaks against `life` being of this client."""
        if any(_apart(mine, life) for mine in self.lives[-MOST_COMPARED:]):
            return False
        if self.names and life.names:
            verifiers = {v for mine in self.lives[-MOST_COMPARED:] for v in mine.verifiers}
            return not self.names.isdisjoint(life.names) or not verifiers.isdisjoint(life.verifiers)
        return not (self.owners and life.owners) or not self.owners.isdisjoint(life.owners)

    def distance(self, life: _Life) -> int:
        """ns between the start of `life` and the nearest start of this client."""
        return min(abs(mine.first - life.first) for mine in self.lives[-MOST_COMPARED:])


class _Place:
    """The clients of one address, in the making."""

    def __init__(self) -> None:
        self.clients: list[_Client] = []
        self.by_token: defaultdict[Hashable, list[_Client]] = defaultdict(list)

    def settle(self, life: _Life, candidates: Iterable[_Client]) -> None:
        """Give `life` to the nearest candidate that welcomes it, or make it a client."""
        welcoming = [c for c in candidates if c.welcomes(life)]
        client = min(welcoming, key=lambda c: c.distance(life), default=None)
        if client is None:
            client = _Client()
            self.clients.append(client)
        client.take(life)
        for token in life.tokens:
            known = self.by_token[token]
            if client not in known[-MOST_COMPARED:]:
                known.append(client)

    def kin(self, life: _Life) -> list[_Client]:
        """The clients that share a token with `life`, in the order in which they came."""
        found = {id(c): c for token in sorted(life.tokens, key=repr) for c in self.by_token[token][-MOST_COMPARED:]}
        return list(found.values())

    def attach(self, strands: list[tuple[StrandKey, Strand]]) -> None:
        """Give each strand to a client: by its name, or by time. There is at least one client."""
        starts = sorted((start, i) for i, c in enumerate(self.clients) for life in c.lives for start in life.starts)
        found = [(self._whose(key, strand, starts), strand) for key, strand in strands]
        for client, strand in found:
            client.strands.append(strand)

    def _whose(self, key: StrandKey, strand: Strand, starts: list[tuple[int, int]]) -> _Client:
        for name in key.names:
            if named := self.by_token.get(("name", name)):
                return named[0] if len(named) == 1 else min(named, key=lambda c: c.distance(_Life.of([strand])))
        if len(self.clients) == 1:
            return self.clients[0]
        at = bisect_left(starts, (strand.facts.first, -1))
        if at < len(starts) and starts[at][0] - strand.facts.first <= NEXT:
            return self.clients[starts[at][1]]
        near = starts[max(at - 1, 0) : at + 1]
        return self.clients[min(near, key=lambda s: abs(s[0] - strand.facts.first))[1]]


def _clients_at(strands: list[tuple[StrandKey, Strand]], facts: TraceFacts, serves: bool) -> list[Facts]:
    """The clients of one address. serves: NFS was served from it."""
    strands = sorted(strands, key=lambda s: (s[1].facts.first, s[0]))
    telling: list[tuple[StrandKey, Strand]] = []
    anonymous: list[tuple[StrandKey, Strand]] = []
    helpers: list[tuple[StrandKey, Strand]] = []
    for key, strand in strands:
        if key.kind is Kind.HELPER or (key.kind is Kind.LOCK and serves):
            helpers.append((key, strand))
        elif key.kind is Kind.SILENT:
            anonymous += [(key, strand)] if key.server in facts.endpoints else []
        else:
            (anonymous if key.anonymous else telling).append((key, strand))
    if len(telling) + len(anonymous) == 1:  # as most addresses are: nothing to tell apart
        return [merged([strand.facts for _, strand in (*telling, *anonymous, *helpers)])]
    lives = _lives(telling)
    place = _Place()
    for life in lives:
        if life.tokens:
            place.settle(life, place.kin(life))
    for life in lives:
        if not life.tokens:
            place.settle(life, place.clients[-MOST_COMPARED:])
    if not place.clients and anonymous:
        place.settle(_Life.of([strand for _, strand in anonymous]), [])
    elif anonymous:
        place.attach(anonymous)
    if place.clients and helpers:
        place.attach(helpers)
    clients = [merged([strand.facts for strand in client.strands]) for client in place.clients]
    return sorted(clients, key=lambda c: (c.first, tuple(c.ports), tuple(c.names))) if len(clients) > 1 else clients


def _lives(strands: list[tuple[StrandKey, Strand]]) -> list[_Life]:
    """Strands joined by what is certain: owner and verifier, session, clientid4 of a server."""
    parent = list(range(len(strands)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first_with: dict[Hashable, int] = {}
    for i, (_, strand) in enumerate(strands):
        for mark in _marks(strand.facts):
            j = root(first_with.setdefault(mark, i))
            parent[max(root(i), j)] = min(root(i), j)
    together: defaultdict[int, list[Strand]] = defaultdict(list)
    for i, (_, strand) in enumerate(strands):
        together[root(i)].append(strand)
    aliases = _aliases(_names(strand.facts) for _, strand in strands)
    return [_Life.of(together[i], aliases) for i in sorted(together)]


def _aliases(together: Iterable[list[str]]) -> dict[str, frozenset[str]]:
    """For each name the names that go with it, itself included: `together` gives those that one strand carries."""
    groups: dict[str, set[str]] = {}
    for names in together:
        group = set(names).union(*(groups.get(name, ()) for name in names))
        if len(group) > 1:
            groups |= dict.fromkeys(group, group)
    return {name: frozenset(group) for name, group in groups.items()}


def _marks(facts: Facts) -> Iterable[Hashable]:
    yield from (("boot", i.owner, i.verifier) for i in facts.client_ids if i.verifier != PURGE and i.owner)
    yield from (("session", s) for s in facts.sessions.sightings)
    if len(facts.servers) == 1:  # else it is not known which server gave the clientid
        yield from (("clientid", server, c) for server in facts.servers.sightings for c in facts.clientids.sightings)

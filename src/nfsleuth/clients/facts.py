"""What is known of one NFS client: values that were seen, how often, in which frames. No judgement here.

Facts merge: ``a + b`` is what one would know after reading both captures. Merging is associative and commutative, so
files, threads and machines add up in any order. Everything is bounded (`MOST`): beyond it, counts go on, values do not.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import cached_property, reduce
from operator import add, attrgetter
from typing import Any, Generic, TypeVar

from msgspec import Struct, field
from msgspec.structs import fields

from nfsleuth.clients.clock import Clock
from nfsleuth.clients.rates import Rates

SAMPLES = 4  # frame numbers kept per value
MOST = 512  # distinct values kept per kind

V = TypeVar("V", bound=Hashable)
T = TypeVar("T")


class Sighting(Struct, frozen=True, gc=False):  # numbers, of which there are many: nothing for the garbage collector
    """How often a value was seen, and where first. Values that were always seen together may have one in common."""

    count: int = 0
    frames: tuple[int, ...] = ()  # the smallest SAMPLES frame numbers
    first: int = 0  # ns since 1970
    last: int = 0

    def __add__(self, other: Sighting) -> Sighting:
        if not self.count:
            return other
        if not other.count:
            return self
        return Sighting(
            self.count + other.count,
            _smallest(self.frames, other.frames),
            self.first if self.first < other.first else other.first,
            self.last if self.last > other.last else other.last,
        )


def _smallest(frames: tuple[int, ...], others: tuple[int, ...]) -> tuple[int, ...]:
    """The smallest SAMPLES of both, ascending as both are. What comes later in a trace adds nothing."""
    if len(frames) == SAMPLES and (not others or frames[-1] <= others[0]):
        return frames
    if len(others) == SAMPLES and (not frames or others[-1] <= frames[0]):
        return others
    return tuple(sorted({*frames, *others})[:SAMPLES])


class Seen(Struct, Generic[V], gc=False):  # 27 of each client; values are text and numbers, so no cycles
    """A bounded multiset of values, each with its `Sighting`. Iterates over values, most often seen first.

    At most `MOST` values are kept, the smallest ones by their text (an order that does not depend on who merges what
    when); `others` counts sightings of values that were let go.
    """

    sightings: dict[V, Sighting] = field(default_factory=dict)
    others: int = 0

    def see(self, value: V, frame: int = 0, time: int = 0, count: int = 1) -> None:
        """Add `count` sightings of `value` in `frame` (0: frame not known) at `time` (ns)."""
        sighting = Sighting(count, (frame,) if frame else (), time, time)
        have = self.sightings.get(value)
        self.sightings[value] = sighting if have is None else have + sighting
        if len(self.sightings) > 2 * MOST:
            self._bound()

    def _bound(self) -> None:
        for value in sorted(self.sightings, key=repr)[MOST:]:
            self.others += self.sightings.pop(value).count

    def __add__(self, other: Seen[V]) -> Seen[V]:
        return _all_seen((self, other), _Sums())

    def __iter__(self) -> Iterator[V]:
        if len(self.sightings) < 2:
            return iter(tuple(self.sightings))
        return iter(sorted(self.sightings, key=lambda v: (-self.sightings[v].count, repr(v))))

    def __len__(self) -> int:
        return len(self.sightings)

    def __contains__(self, value: object) -> bool:
        return value in self.sightings

    def frames(self, *values: V) -> tuple[int, ...]:
        """Frame numbers of `values` (all values if none are given), smallest first."""
        wanted = values or tuple(self.sightings)
        if len(wanted) == 1:  # as mostly: nothing to put together
            sighting = self.sightings.get(wanted[0])
            return sighting.frames if sighting else ()
        found = {f for v in wanted if v in self.sightings for f in self.sightings[v].frames}
        return tuple(sorted(found))[:SAMPLES]

    def count(self, value: V) -> int:
        """How often `value` was seen."""
        sighting = self.sightings.get(value)
        return sighting.count if sighting else 0

    @property
    def total(self) -> int:
        """Sightings of all values."""
        return sum(s.count for s in self.sightings.values()) + self.others


class _Sums(dict[tuple[Sighting, Sighting], Sighting]):
    """Two sightings added up, once for all values that have them in common."""

    def __missing__(self, pair: tuple[Sighting, Sighting]) -> Sighting:
        self[pair] = total = pair[0] + pair[1]
        return total


def _all_seen(parts: Sequence[Seen[V]], sums: _Sums) -> Seen[V]:
    """One or more added up."""
    told = [part for part in parts if part.sightings or part.others]
    if len(told) < 2:  # as mostly
        return told[0] if told else parts[0]
    sightings = told[0].sightings.copy()
    for part in told[1:]:
        more = part.sightings
        if sightings.keys().isdisjoint(more):  # as ports: nothing to add up
            sightings.update(more)
        else:
            for value, sighting in more.items():
                sightings[value] = sums[sightings[value], sighting] if value in sightings else sighting
    total = Seen(sightings, sum([part.others for part in told]))
    if len(sightings) > MOST:
        total._bound()
    return total


class Syn(Struct, frozen=True):
    """A client's SYN, the first words of its TCP (layout in the terms of p0f)."""

    ttl: int  # as captured, not rounded up
    window: int
    mss: int  # 0: no option
    scale: int  # window scale, -1: no option
    layout: str  # option kinds in order: mss, nop, ws, sok, sack, ts, eol, ?N
    df: bool

    def __str__(self) -> str:
        scale = "*" if self.scale < 0 else str(self.scale)
        window = f"mss*{self.window // self.mss}" if self.mss and self.window % self.mss == 0 else str(self.window)
        return f"{self.ttl}:{self.mss or '*'}:{window},{scale}:{self.layout}:{'df' if self.df else ''}"


class ClientId(Struct, frozen=True):
    """One SETCLIENTID or EXCHANGE_ID: who the client says it is, and its boot instance."""

    owner: bytes  # nfs_client_id4.id or co_ownerid
    verifier: int  # 8 bytes, big endian
    minor: int  # 0 SETCLIENTID, 1 EXCHANGE_ID (also of 4.2)
    time: int  # ns
    frame: int


class Traffic(Struct):
    """Counts of one kind of operation."""

    calls: int = 0
    bytes: int = 0
    busy: int = 0  # ns with at least one outstanding

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.calls + other.calls, self.bytes + other.bytes, self.busy + other.busy)


CLOCKS_KEPT = 8  # Clock records kept, the best known ones
CLIENT_IDS_KEPT = 64  # ClientId records kept, the earliest ones: enough to see verifiers alternate


class Facts(Struct):
    """Everything seen of one client (or, before `clients.split`, of one strand of connections that must be one client).

    Text is `str` decoded from what the client sent with `surrogateescape`-free replacement and NOT made safe for a
    terminal: `report` escapes it.
    """

    address: str  # source address that the server sees
    connections: int = 0  # TCP connections and UDP flows
    ports: Seen[int] = field(default_factory=Seen)  # source ports of all connections
    nfs_ports: Seen[int] = field(default_factory=Seen)  # of connections that carried NFS calls over TCP or UDP
    mount_ports: Seen[int] = field(default_factory=Seen)  # of connections that carried MOUNT calls
    server_ports: Seen[int] = field(default_factory=Seen)
    servers: Seen[str] = field(default_factory=Seen)  # addresses of the servers
    transports: Seen[str] = field(default_factory=Seen)  # "tcp", "udp"
    macs: Seen[str] = field(default_factory=Seen)  # source MACs "52:54:00:12:34:56"; empty without a link layer
    ttls: Seen[int] = field(default_factory=Seen)  # TTL or hop limit as captured, of NFS and MOUNT connections
    syns: Seen[Syn] = field(default_factory=Seen)
    versions: Seen[str] = field(default_factory=Seen)  # "2", "3", "4.0", "4.1", "4.2"
    programs: Seen[str] = field(default_factory=Seen)  # "nfs", "mount", "nlm", "portmap", ...
    flavors: Seen[str] = field(default_factory=Seen)  # "none", "sys", "gss", "gss-hidden", "tls"
    names: Seen[str] = field(default_factory=Seen)  # AUTH_SYS machinename
    stamps: Seen[tuple[str, int]] = field(default_factory=Seen)  # (machinename, AUTH_SYS stamp)
    session_machines: Seen[tuple[str, int]] = field(default_factory=Seen)  # CREATE_SESSION csa_sec_parms
    nlm_callers: Seen[str] = field(default_factory=Seen)
    nlm_owners: Seen[bytes] = field(default_factory=Seen)
    client_ids: tuple[ClientId, ...] = ()  # in order of time, the earliest CLIENT_IDS_KEPT
    client_ids_count: int = 0
    callbacks: Seen[tuple[str, str]] = field(default_factory=Seen)  # (r_netid, r_addr) of SETCLIENTID
    implementations: Seen[tuple[str, str]] = field(default_factory=Seen)  # (nii_domain, nii_name)
    sessions: Seen[str] = field(default_factory=Seen)  # sessionid, 32 hex digits
    clientids: Seen[int] = field(default_factory=Seen)  # clientid4 given by the server
    open_owners: Seen[bytes] = field(default_factory=Seen)
    lock_owners: Seen[bytes] = field(default_factory=Seen)
    exclusive_verifiers: Seen[int] = field(default_factory=Seen)
    mount_paths: Seen[str] = field(default_factory=Seen)
    file_names: Seen[str] = field(default_factory=Seen)
    calls: int = 0
    nfs_calls: int = 0
    errors: int = 0
    reads: Traffic = field(default_factory=Traffic)
    writes: Traffic = field(default_factory=Traffic)
    rates: Rates = field(default_factory=Rates)  # how fast it moved data, and what limited it
    clocks: tuple[Clock, ...] = ()  # of its connections, the best known CLOCKS_KEPT
    mac_changes: int = 0  # times that frames of a connection began to come from another MAC
    untimed: int = 0  # stretches of RPC that are too short for a rate, or of which messages are missing
    untimed_bytes: int = 0  # of the messages in them
    frames_sent: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    retransmitted: int = 0  # segments, both directions
    keepalives: int = 0  # sent by the client
    reused_ports: int = 0  # further SYNs from a source port that was used before
    first: int = 0  # ns
    last: int = 0

    def __add__(self, other: Facts) -> Facts:
        """What is known after both; `address` stays that of the left operand."""
        return merged((self, other))


_SEEN = tuple(f.name for f in fields(Facts) if f.default_factory is Seen)
_APART = {*_SEEN, "address", "client_ids", "clocks", "first", "last"}
_ADDED = tuple(f.name for f in fields(Facts) if f.name not in _APART)
_seen_of, _parts_of = attrgetter(*_SEEN), attrgetter(*_ADDED)


def merged(parts: Sequence[Facts]) -> Facts:
    """One or more added up, faster than one after the other; `address` is that of the first."""
    if len(parts) == 1:
        return parts[0]
    sums = _Sums()
    seen = [_all_seen(values, sums) for values in zip(*map(_seen_of, parts), strict=True)]
    added = [reduce(add, values) for values in zip(*map(_parts_of, parts), strict=True)]
    known: dict[str, Any] = dict(zip(_SEEN + _ADDED, seen + added, strict=True))
    total = Facts(parts[0].address, **known)
    ids = {i for part in parts for i in part.client_ids}
    total.client_ids = tuple(sorted(ids, key=lambda c: (c.time, c.frame, c.owner, c.verifier))[:CLIENT_IDS_KEPT])
    total.clocks = tuple(sorted({clock for part in parts for clock in part.clocks})[:CLOCKS_KEPT])
    timed = [part for part in parts if part.last]
    total.first = min((part.first for part in timed), default=0)
    total.last = max((part.last for part in timed), default=0)
    return total


class Neighbour(Struct, frozen=True):
    """An address that a MAC sent from."""

    mac: str
    address: str  # "" for a bridge id
    kind: str  # "ip", "arp", "nd", "bridge", "router"


def _grouped(items: Iterable[T], key: Callable[[T], str]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


class Link(Struct, dict=True):
    """What was seen below NFS, of everybody: which MAC speaks for which addresses.

    Needed to know whose MAC one sees. Look-ups are for a link that is complete: they make an index once.
    """

    neighbours: Seen[Neighbour] = field(default_factory=Seen)
    ttls: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)  # (mac, address) -> smallest, largest
    servers: Seen[str] = field(default_factory=Seen)  # addresses that answered NFS or MOUNT calls
    server_macs: Seen[str] = field(default_factory=Seen)

    def __add__(self, other: Link) -> Link:
        ttls = dict(self.ttls)
        for key, (low, high) in other.ttls.items():
            mine = ttls.get(key, (low, high))
            ttls[key] = (min(low, mine[0]), max(high, mine[1]))
        return Link(
            self.neighbours + other.neighbours, ttls, self.servers + other.servers, self.server_macs + other.server_macs
        )

    def of_mac(self, mac: str) -> list[Neighbour]:
        """What `mac` was seen as."""
        return self._of_mac.get(mac, [])

    def at_address(self, address: str) -> list[Neighbour]:
        """Who was seen to send from `address`."""
        return self._at.get(address, [])

    def addresses_of(self, mac: str) -> list[str]:
        """Addresses that `mac` sent from, without duplicates, in order."""
        return sorted({n.address for n in self.of_mac(mac) if n.address})

    @cached_property
    def _of_mac(self) -> dict[str, list[Neighbour]]:
        return _grouped(self.neighbours, attrgetter("mac"))

    @cached_property
    def _at(self) -> dict[str, list[Neighbour]]:
        return _grouped(self.neighbours, attrgetter("address"))


class Household(Struct, dict=True):
    """The clients of a trace and what surrounds them: all that evidence ever sees."""

    clients: list[Facts] = field(default_factory=list)
    link: Link = field(default_factory=Link)

    @cached_property
    def memo(self) -> dict[str, Any]:
        """What heuristics worked out once: goes with this household, and is no part of what it says."""
        return {}

    def at_address(self, address: str) -> list[Facts]:
        """Clients that share `address`."""
        return list(self._at.get(address, ()))

    @cached_property
    def _at(self) -> dict[str, list[Facts]]:
        return _grouped(self.clients, attrgetter("address"))

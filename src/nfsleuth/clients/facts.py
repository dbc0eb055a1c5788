"""What is known of one NFS client: values that were seen, how often, in which frames. No judgement here.

Facts merge: ``a + b`` is what one would know after reading both captures. Merging is associative and commutative, so
files, threads and machines add up in any order. Everything is bounded (`MOST`): beyond it, counts go on, values do not.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Generic, TypeVar

from nfsleuth.clients.clock import Clock
from nfsleuth.clients.rates import Rates

SAMPLES = 4  # frame numbers kept per value
MOST = 512  # distinct values kept per kind

V = TypeVar("V", bound=Hashable)


@dataclass(slots=True)
class Sighting:
    """How often a value was seen, and where first."""

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
            min(self.first, other.first),
            max(self.last, other.last),
        )


def _smallest(frames: tuple[int, ...], others: tuple[int, ...]) -> tuple[int, ...]:
    """The smallest SAMPLES of both, ascending as both are. What comes later in a trace mostly adds nothing."""
    if len(frames) == SAMPLES and (not others or frames[-1] <= others[0]):
        return frames
    return tuple(sorted({*frames, *others}))[:SAMPLES]


class Seen(Generic[V]):  # noqa: PLW1641 - mutable, so not hashable
    """A bounded multiset of values, each with its `Sighting`. Iterates over values, most often seen first.

    At most `MOST` values are kept, the smallest ones by their text (an order that does not depend on who merges what
    when); `others` counts sightings of values that were let go.
    """

    __slots__ = ("others", "sightings")

    def __init__(self, sightings: dict[V, Sighting] | None = None, others: int = 0) -> None:
        self.sightings: dict[V, Sighting] = sightings if sightings is not None else {}
        self.others = others

    def see(self, value: V, frame: int = 0, time: int = 0, count: int = 1) -> None:
        """Add `count` sightings of `value` in `frame` (0: frame not known) at `time` (ns)."""
        have = self.sightings.get(value)
        frames = (frame,) if frame else ()
        if have is None:
            self.sightings[value] = Sighting(count, frames, time, time)
            if len(self.sightings) > 2 * MOST:
                self._bound()
            return
        have.count += count
        if frame and len(have.frames) < SAMPLES and frame not in have.frames:
            have.frames = tuple(sorted((*have.frames, frame)))
        have.first, have.last = min(have.first, time), max(have.last, time)

    def _bound(self) -> None:
        for value in sorted(self.sightings, key=repr)[MOST:]:
            self.others += self.sightings.pop(value).count

    def __add__(self, other: Seen[V]) -> Seen[V]:
        if not other.sightings and not other.others:
            return self
        if not self.sightings and not self.others:
            return other
        merged = self.sightings | other.sightings
        for value in self.sightings.keys() & other.sightings.keys():
            merged[value] = self.sightings[value] + other.sightings[value]
        result = Seen(merged, self.others + other.others)
        if len(merged) > MOST:
            result._bound()
        return result

    def __iter__(self) -> Iterator[V]:
        if len(self.sightings) < 2:
            return iter(tuple(self.sightings))
        return iter(sorted(self.sightings, key=lambda v: (-self.sightings[v].count, repr(v))))

    def __len__(self) -> int:
        return len(self.sightings)

    def __contains__(self, value: object) -> bool:
        return value in self.sightings

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Seen) and self.sightings == other.sightings and self.others == other.others

    def __repr__(self) -> str:
        return f"Seen({self.sightings!r}, {self.others})"

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


@dataclass(frozen=True, slots=True)
class Syn:
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


@dataclass(frozen=True, slots=True)
class ClientId:
    """One SETCLIENTID or EXCHANGE_ID: who the client says it is, and its boot instance."""

    owner: bytes  # nfs_client_id4.id or co_ownerid
    verifier: int  # 8 bytes, big endian
    minor: int  # 0 SETCLIENTID, 1 EXCHANGE_ID (also of 4.2)
    time: int  # ns
    frame: int


@dataclass(slots=True)
class Traffic:
    """Counts of one kind of operation."""

    calls: int = 0
    bytes: int = 0
    busy: int = 0  # ns with at least one outstanding

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.calls + other.calls, self.bytes + other.bytes, self.busy + other.busy)


CLOCKS_KEPT = 8  # Clock records kept, the best known ones
CLIENT_IDS_KEPT = 64  # ClientId records kept, the earliest ones: enough to see verifiers alternate


@dataclass(slots=True)
class Facts:
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
    handshakes: Seen[int] = field(default_factory=Seen)  # ns SYN-ACK to ACK
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
        merged = Facts(self.address, **{name: getattr(self, name) + getattr(other, name) for name in _ADDED})
        both = sorted({*self.client_ids, *other.client_ids}, key=lambda c: (c.time, c.frame, c.owner, c.verifier))
        merged.client_ids = tuple(both[:CLIENT_IDS_KEPT])
        merged.clocks = tuple(sorted({*self.clocks, *other.clocks})[:CLOCKS_KEPT])
        seen = [f for f in (self, other) if f.last]
        merged.first = min((f.first for f in seen), default=0)
        merged.last = max((f.last for f in seen), default=0)
        return merged


_ADDED = tuple({f.name for f in fields(Facts)} - {"address", "client_ids", "clocks", "first", "last"})


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An address that a MAC sent from."""

    mac: str
    address: str  # "" for a bridge id
    kind: str  # "ip", "arp", "nd", "bridge", "router"


@dataclass(slots=True)
class Link:
    """What was seen below NFS, of everybody: which MAC speaks for which addresses.

    Needed to know whose MAC one sees. Look-ups are for a link that is complete: they make an index once.
    """

    neighbours: Seen[Neighbour] = field(default_factory=Seen)
    ttls: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)  # (mac, address) -> smallest, largest
    servers: Seen[str] = field(default_factory=Seen)  # addresses that answered NFS or MOUNT calls
    server_macs: Seen[str] = field(default_factory=Seen)
    _of_mac: dict[str, list[Neighbour]] | None = field(default=None, compare=False, repr=False)
    _at: dict[str, list[Neighbour]] = field(default_factory=dict, compare=False, repr=False)

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
        return self._index().get(mac, [])

    def at_address(self, address: str) -> list[Neighbour]:
        """Who was seen to send from `address`."""
        self._index()
        return self._at.get(address, [])

    def addresses_of(self, mac: str) -> list[str]:
        """Addresses that `mac` sent from, without duplicates, in order."""
        return sorted({n.address for n in self.of_mac(mac) if n.address})

    def _index(self) -> dict[str, list[Neighbour]]:
        if self._of_mac is None:
            self._of_mac = {}
            for neighbour in self.neighbours:
                self._of_mac.setdefault(neighbour.mac, []).append(neighbour)
                self._at.setdefault(neighbour.address, []).append(neighbour)
        return self._of_mac


@dataclass(slots=True)
class Household:
    """The clients of a trace and what surrounds them: all that evidence ever sees."""

    clients: list[Facts] = field(default_factory=list)
    link: Link = field(default_factory=Link)
    memo: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)  # what heuristics worked out once

    def at_address(self, address: str) -> list[Facts]:
        """Clients that share `address`."""
        if "at_address" not in self.memo:
            found = self.memo["at_address"] = {}
            for client in self.clients:
                found.setdefault(client.address, []).append(client)
        return list(self.memo["at_address"].get(address, ()))

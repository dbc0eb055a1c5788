"""Connections that have ended come in, with their identities; one batch of `TraceFacts` goes out.

Which connections count (`trace.tables.Program` bits, then the port):

- NFS, NFSACL or MOUNT calls: a client.
- No RPC that could be read, port 2049 at the server's end, and payload or a finished handshake: a client too. So
  connections encrypted by TLS (RFC 9289) and captures of replies alone still list who is there.
- The same over TCP to another port: a bystander, since only the whole trace says whether NFS was served there.
- NLM without NFS: kept as such, since servers call clients as well (NLM_GRANTED).
- Portmapper and NSM only: bystanders, which `split` attaches to a client if there is one.
- NFSv4 call-backs only: counted; the one that calls is a server.

Everything is counted by column (`tally`), so that a connection costs little Python.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from msgspec import Struct

from nfsleuth.clients.clock import Clock
from nfsleuth.clients.columns import Column, Some, begins, combined, distinct, is_ordered, ordered, places, starts_of
from nfsleuth.clients.facts import CLIENT_IDS_KEPT, CLOCKS_KEPT, ClientId, Facts, Seen, Sighting, Syn, Traffic
from nfsleuth.clients.rates import Rates
from nfsleuth.clients.sayings import BOOTS, Held, Numbers, Said
from nfsleuth.clients.tally import tally
from nfsleuth.clients.text import address_text, decode, decode_pair, mac_text, session_text
from nfsleuth.clients.trace_facts import Kind, Strand, StrandKey, TraceFacts
from nfsleuth.trace.tables import CLIENT, NO_MAC, SERVER, Flavor, Identity, Program, Version
from nfsleuth.wire.tcp import layout

NFS_PORT = 2049
TCP = 6
SYN_DF = 1  # bit of CONNECTION.syn_flags
NO_SCALE = 255  # CONNECTION.syn_wscale without the option
TOGETHER = 1 << 32  # ns, 4.3 s: connections without identity that start this close together are one strand
SOON = 10_000_000_000  # ns: well below the idle timeouts of NFS servers (minutes)
MOST_IN_KEY = 8  # identities of one kind that tell strands apart; a connection with more is one of a flood

# What `TraceFacts.counts` counts: each connection once.
COUNTS = ("nfs", "mount", "unread", "lock", "portmap", "callback", "silent", "other")
NFS, MOUNT, UNREAD, LOCK, PORTMAP, CALLBACK, SILENT, OTHER = range(len(COUNTS))
KINDS = {NFS: Kind.CLIENT, MOUNT: Kind.CLIENT, UNREAD: Kind.CLIENT, LOCK: Kind.LOCK}
BYSTANDERS = {PORTMAP: Kind.HELPER, SILENT: Kind.SILENT}

ANSWERED = Program.NFS | Program.NFSACL | Program.MOUNT
PROGRAMS = {
    Program.PORTMAP: "portmap",
    Program.NFS: "nfs",
    Program.MOUNT: "mount",
    Program.NLM: "nlm",
    Program.NSM: "nsm",
    Program.NFSACL: "nfsacl",
    Program.CALLBACK: "callback",
    Program.OTHER: "other",
}
VERSIONS = {Version.V2: "2", Version.V3: "3", Version.V4_0: "4.0", Version.V4_1: "4.1", Version.V4_2: "4.2"}
FLAVORS = {
    Flavor.NONE: "none",
    Flavor.SYS: "sys",
    Flavor.SHORT: "short",
    Flavor.DH: "dh",
    Flavor.GSS: "gss",
    Flavor.TLS: "tls",
    Flavor.GSS_HIDDEN: "gss-hidden",
    Flavor.OTHER: "other",
}

V = TypeVar("V", bound=Hashable)
Known = dict[str, list[Any]]  # fields of the `Facts` of each strand, by name
Meaning = Callable[[Said], Hashable]
# Identity rows that tell strands apart: which field of StrandKey each feeds, and with what.
TELLING: dict[int, tuple[str, Meaning]] = {
    Identity.MACHINE_NAME: ("names", lambda i: decode(i.text)),
    Identity.NLM_CALLER: ("names", lambda i: decode(i.text)),
    Identity.CLIENT_ID: ("boots", lambda i: (i.text, i.a)),
    Identity.CLIENT_OWNER: ("boots", lambda i: (i.text, i.a)),
    Identity.SESSION: ("sessions", lambda i: session_text(i.a, i.b)),
    Identity.CLIENTID: ("clientids", lambda i: i.a),
}
# Which fields of Facts an identity row feeds, and with what.
FIELDS: dict[Identity, tuple[tuple[str, Meaning], ...]] = {
    Identity.MACHINE_NAME: (("names", lambda i: decode(i.text)), ("stamps", lambda i: (decode(i.text), i.a))),
    Identity.CALLBACK: (("callbacks", lambda i: decode_pair(i.text)),),
    Identity.IMPLEMENTATION: (("implementations", lambda i: decode_pair(i.text)),),
    Identity.SESSION_MACHINE: (("session_machines", lambda i: (decode(i.text), i.a)),),
    Identity.SESSION: (("sessions", lambda i: session_text(i.a, i.b)),),
    Identity.CLIENTID: (("clientids", lambda i: i.a),),
    Identity.OPEN_OWNER: (("open_owners", lambda i: i.text),),
    Identity.LOCK_OWNER: (("lock_owners", lambda i: i.text),),
    Identity.NLM_CALLER: (("nlm_callers", lambda i: decode(i.text)),),
    Identity.NLM_OWNER: (("nlm_owners", lambda i: i.text),),
    Identity.MOUNT_PATH: (("mount_paths", lambda i: decode(i.text)),),
    Identity.FILE_NAME: (("file_names", lambda i: decode(i.text)),),
    Identity.EXCLUSIVE_VERIFIER: (("exclusive_verifiers", lambda i: i.a),),
}


class _Columns(Struct, dict=True):
    """What every count over connections needs, int64[n] each: strand, ascending from 0, frame and the span of time."""

    strand: Column
    frame: Column
    first: Column
    last: Column

    @cached_property
    def starts(self) -> Column:
        """int64[m]: where each strand begins."""
        return starts_of(self.strand)

    @cached_property
    def whole(self) -> list[Sighting]:
        """All connections of each strand: how often and where a value was seen that they have in common."""
        counted = tally(self.strand, np.zeros_like(self.strand), self.frame, self.first, self.last)
        return list(counted.sightings(np.arange(len(self.starts))))

    def seen(self, meaning: Callable[[int], V], *parts: tuple[Column, Column]) -> list[Seen[V]]:
        """What each strand has seen; each part is (bool[n] which rows, n values). meaning: see `Tally.seen`."""
        some = [(np.flatnonzero(which), column) for which, column in parts]
        some = [(rows, column[rows].astype(np.int64)) for rows, column in some if len(rows)]
        if not some:
            return [Seen() for _ in self.starts]
        if len(some) == 1 and len(some[0][0]) == len(self.strand):  # as mostly
            values = some[0][1]
            low, high = (bound.reduceat(values, self.starts) for bound in (np.minimum, np.maximum))
            if (low == high).all():
                return self._common(low, lambda value: (meaning(value),))
            counted = tally(self.strand, values, self.frame, self.first, self.last)
        else:
            rows, values = (np.concatenate(columns) for columns in zip(*some, strict=True))
            counted = tally(self.strand[rows], values, self.frame[rows], self.first[rows], self.last[rows])
        return counted.seen(len(self.starts), meaning)

    def seen_bits(self, names: Mapping[Any, V], column: Column) -> list[Seen[V]]:
        """The same for each bit that is set in `column`, by its name."""
        low, high = (bound.reduceat(column, self.starts) for bound in (np.bitwise_and, np.bitwise_or))
        if (low == high).all():
            return self._common(low, lambda value: [name for bit, name in names.items() if value & bit])
        there = int(np.bitwise_or.reduce(high))
        parts = ((column & bit != 0, np.full(len(column), bit)) for bit in names if there & bit)
        return self.seen(names.__getitem__, *parts)

    def _common(self, values: Column, meanings: Callable[[int], Iterable[V]]) -> list[Seen[V]]:
        """What each strand has seen whose connections all have the same value, int64[m] `values`: nothing to count."""
        said = values.tolist()
        meant = {value: tuple(meanings(value)) for value in set(said)}
        return [Seen(dict.fromkeys(meant[value], sighting)) for value, sighting in zip(said, self.whole, strict=True)]


class Batch:
    """Connections that have ended, in order of their uids, and their identities, on the way to `TraceFacts`."""

    def __init__(
        self,
        connections: np.ndarray,
        identities: Held,
        sayings: list[Said],
        rates: Mapping[int, Rates],
        clocks: Mapping[int, Clock],
    ) -> None:
        self.rates = rates  # by uid
        self.clocks = clocks  # by uid
        self.connections = connections
        frames = identities.frame
        self.identities = identities if is_ordered(frames) else identities.rows(ordered(frames))
        self.sayings = sayings
        self.kinds = np.array([said.kind for said in sayings], np.int64)  # of each number of a saying
        self.of = places(self.identities.uid, self.connections["uid"])  # row of each identity's connection
        self.carried = _carried(self.connections)
        self.client, self.clients = _addresses(self.connections, "client")
        self.server, self.servers = _addresses(self.connections, "server")

    def facts(self) -> TraceFacts:
        """The batch as a value of its own."""
        counts = np.bincount(self.carried, minlength=len(COUNTS)).tolist()
        total = TraceFacts(counts=Counter({name: n for name, n in zip(COUNTS, counts, strict=True) if n}))
        self._serve(total)
        keys, strand = self._strands()
        for pool, kinds in ((total.clients, KINDS), (total.bystanders, BYSTANDERS)):
            of_kind = {key for key in keys if key.kind in kinds.values()}
            kept, pool.level = pool.fit(of_kind)
            rows = _rows_of(kept, keys, strand)
            pool.dropped = len(_rows_of(of_kind, keys, strand)) - len(rows)
            if len(rows):
                pool.strands = self._describe(keys, strand, rows)
        return total

    def _serve(self, total: TraceFacts) -> None:
        """Note which addresses and MACs served NFS, and at which ports."""
        c = self.connections
        asked = c["programs"] & ANSWERED != 0
        replied = (c["replies"] > 0) | (c["frames"][:, SERVER] == 0)  # a capture of calls alone shows no replies
        served = asked & replied | (self.carried == UNREAD) & (c["payload"][:, SERVER] > 0)
        columns = _Columns(np.zeros(len(c), np.int64), c["first_frame"], c["first"], c["last"])
        ports, rows = distinct(self.server, c["server_port"])
        where = [
            (self.servers[i], port)
            for i, port in zip(self.server[rows].tolist(), c["server_port"][rows].tolist(), strict=True)
        ]
        macs = (served & (c["server_mac"] != NO_MAC), c["server_mac"])
        (total.link.servers,) = columns.seen(self.servers.__getitem__, (served, self.server))
        (total.link.server_macs,) = columns.seen(mac_text, macs)
        (total.endpoints,) = columns.seen(where.__getitem__, (asked, ports))

    def _strands(self) -> tuple[list[StrandKey], Column]:
        """The keys of the batch, and int64[n] the number of each connection's key (-1: it counts for nothing)."""
        c = self.connections
        kinds = np.array([{**KINDS, **BYSTANDERS}.get(carried, -1) for carried in range(len(COUNTS))])[self.carried]
        signature, signatures = self._signatures()
        silent = kinds == Kind.SILENT
        port = np.where(silent, c["server_port"], 0)
        server = np.where(silent, self.server, 0)
        signature = np.where(silent, 0, signature)
        when = np.where(silent | (signature > 0), 0, c["first"] // TOGETHER)
        columns = (self.client, kinds, signature, when, server, port)
        number, rows = distinct(*columns)
        told = {i: (TELLING[s.kind][0], TELLING[s.kind][1](s)) for i, s in enumerate(self.sayings) if s.kind in TELLING}
        keys: dict[StrandKey, int] = {}
        of_number = np.full(len(rows), -1, np.int64)
        for i, (client, kind, sign, start, at, end) in enumerate(
            zip(*(column[rows].tolist() for column in columns), strict=True)
        ):
            if kind >= 0:
                endpoint = (self.servers[at], end) if kind == Kind.SILENT else ("", 0)
                key = _key(self.clients[client], Kind(kind), map(told.__getitem__, signatures[sign]), start, endpoint)
                of_number[i] = keys.setdefault(key, len(keys))
        return list(keys), of_number[number]

    def _signatures(self) -> tuple[Column, list[list[int]]]:
        """int64[n] number of each connection's set of telling identities, and the sets (of indices of `sayings`)."""
        telling = np.isin(self.kinds, [*TELLING])[self.identities.said]
        of, said = self.of[telling], self.identities.said[telling]
        _, pairs = distinct(of, said)
        of, said = of[pairs], said[pairs]
        bounds = np.append(starts_of(of), len(of))
        # As bytes, which are cut out and looked up by C: there is a set for each connection, and few differ.
        sets = map(said.tobytes().__getitem__, map(slice, (8 * bounds[:-1]).tolist(), (8 * bounds[1:]).tolist()))
        numbers = Numbers({b"": 0})
        signature = np.zeros(len(self.connections), np.int64)
        signature[of[bounds[:-1]]] = np.fromiter(map(numbers.__getitem__, sets), np.int64, len(bounds) - 1)
        return signature, [np.frombuffer(one, np.int64).tolist() for one in numbers]

    def _describe(self, keys: list[StrandKey], strand: Column, rows: Column) -> dict[StrandKey, Strand]:
        """Strands out of the connections `rows`, whose key is ``keys[strand[row]]``."""
        rows = rows[ordered(combined((strand[rows], self.connections["first_frame"][rows])))]
        new = begins(strand[rows])
        place = np.cumsum(new) - 1
        starts = np.flatnonzero(new)
        place_of = np.full(len(self.connections), -1, np.int64)
        place_of[rows] = place
        of_identities = place_of[self.of]
        mine = of_identities >= 0
        identities, of_identities = self.identities.rows(mine), of_identities[mine]
        described = [keys[n] for n in strand[rows[starts]].tolist()]
        known: Known = {
            "address": [key.address for key in described],
            **self._describe_connections(starts, place, rows),
            **self._describe_identities(len(starts), of_identities, identities),
            **self._describe_client_ids(len(starts), of_identities, identities),
            **self._describe_speed(len(starts), place, self.connections["uid"][rows]),
        }
        alive = np.maximum(np.maximum.reduceat(self._alive()[rows], starts), 0).tolist()
        facts = map(Facts, *(known[name] for name in Facts.__struct_fields__))
        return dict(zip(described, map(Strand, facts, alive), strict=True))

    def _describe_connections(self, starts: Column, place: Column, rows: Column) -> Known:
        """Counts over the connections `rows`, of the strand with the number `place`; each begins at one of `starts`."""
        c = Some(self.connections, rows)
        columns = _Columns(place, c["first_frame"], c["first"], c["last"])
        every = np.ones(len(rows), np.bool_)
        carried, port = c["programs"], c["client_port"]
        nfs = (carried & Program.NFS != 0) | (self.carried[rows] == UNREAD)
        told = nfs | (carried & ANSWERED != 0)
        low, high, syn_ttl = c["ttl_min"][:, CLIENT], c["ttl_max"][:, CLIENT], c["syn_ttl"]
        mac, mac_last = c["client_mac"], c["client_mac_last"]
        macs = (mac != NO_MAC, mac), ((mac_last != mac) & (mac_last != NO_MAC), mac_last)
        ttls = (
            (told & (low > 0), low),
            (told & (high != low), high),
            (told & (syn_ttl > 0) & (syn_ttl != low) & (syn_ttl != high), syn_ttl),
        )
        # They may be those of NFS as well: nothing changes what was counted.
        ports = columns.seen(int, (every, port))
        return {
            "ports": ports,
            "nfs_ports": ports if nfs.all() else columns.seen(int, (nfs, port)),
            "mount_ports": columns.seen(int, (carried & Program.MOUNT != 0, port)),
            "server_ports": columns.seen(int, (every, c["server_port"])),
            "servers": columns.seen(self.servers.__getitem__, (every, self.server[rows])),
            "transports": columns.seen(lambda t: "tcp" if t == TCP else "udp", (every, c["transport"])),
            "macs": columns.seen(mac_text, *macs),
            "ttls": columns.seen(int, *ttls),
            "programs": columns.seen_bits(PROGRAMS, carried),
            "versions": columns.seen_bits(VERSIONS, c["versions"]),
            "flavors": columns.seen_bits(FLAVORS, c["flavors"]),
            "syns": _syns(len(starts), place, self.connections, rows),
            **_sums(c, starts),
        }

    def _describe_identities(self, strands: int, places: Column, rows: Held) -> Known:
        counted = tally(places, rows.said, rows.frame, rows.time, rows.time)
        kinds = self.kinds[counted.values]
        return {
            name: counted.seen(strands, self._reader(meaning), kinds == kind)
            for kind, fields in FIELDS.items()
            for name, meaning in fields
        }

    def _reader(self, meaning: Meaning) -> Callable[[int], Hashable]:
        return lambda number: meaning(self.sayings[number])

    def _describe_client_ids(self, strands: int, places: Column, rows: Held) -> Known:
        boots = np.isin(self.kinds, BOOTS)[rows.said]
        places, rows = places[boots], rows.rows(boots)
        verifiers = np.array([said.a for said in self.sayings], np.uint64)[rows.said]
        order = np.lexsort((verifiers, rows.frame, rows.time, places))
        _, said, frames, times = (column[order].tolist() for column in rows)
        counts = np.bincount(places, minlength=strands)
        known: list[tuple[ClientId, ...]] = []
        for start, count in zip((np.cumsum(counts) - counts).tolist(), counts.tolist(), strict=True):
            few = slice(start, start + min(count, CLIENT_IDS_KEPT))
            ids = set(map(self._client_id, said[few], times[few], frames[few]))
            known.append(tuple(sorted(ids, key=lambda i: (i.time, i.frame, i.owner, i.verifier))))
        return {"client_ids": known, "client_ids_count": counts.tolist()}

    def _client_id(self, number: int, time: int, frame: int) -> ClientId:
        kind, owner, verifier, _ = self.sayings[number]
        return ClientId(owner, verifier, int(kind == Identity.CLIENT_OWNER), time, frame)

    def _describe_speed(self, strands: int, place: Column, uids: Column) -> Known:
        rates, clocks = [Rates() for _ in range(strands)], [()] * strands
        told = np.flatnonzero(np.isin(uids, [*self.rates, *self.clocks]))  # of most connections little is known
        for n, uid in zip(place[told].tolist(), uids[told].tolist(), strict=True):
            if uid in self.rates:
                rates[n] += self.rates[uid]
            if uid in self.clocks:
                clocks[n] = tuple(sorted({*clocks[n], self.clocks[uid]})[:CLOCKS_KEPT])
        return {"rates": rates, "clocks": clocks}

    def _alive(self) -> Column:
        """int64[n] ns: until when each connection's client was certainly alive.

        That is its last call or identity, or its last frame where that came soon after and the server retransmitted and
        probed nothing: a server that retransmits, probes or closes an idle connection may do so to a machine that is
        gone, and what answers (RST) may be its next boot.
        """
        c = self.connections
        spoke = np.maximum(c["first"], c["last_call"])
        later = self.identities.time > spoke[self.of]  # few: what is said is said in calls, or in answers to them
        np.maximum.at(spoke, self.of[later], self.identities.time[later])
        quiet = (c["retransmitted"][:, SERVER] == 0) & (c["keepalives"][:, SERVER] == 0)
        return np.where(quiet & (c["last"] - spoke <= SOON), c["last"], spoke)


def _key(
    address: str, kind: Kind, told: Iterable[tuple[str, Hashable]], when: int, server: tuple[str, int]
) -> StrandKey:
    """The key of connections that told this. told: field of the key, and value; not sorted, perhaps more than once."""
    of: dict[str, set[Any]] = {"names": set(), "boots": set(), "sessions": set(), "clientids": set()}
    for field, value in told:
        of[field].add(value)
    if of["boots"]:
        of["sessions"] = of["clientids"] = set()
    names, boots, sessions, clientids = (tuple(sorted(values)[:MOST_IN_KEY]) for values in of.values())
    return StrandKey(address, kind, names, boots, sessions, clientids, when, server)


def _rows_of(wanted: set[StrandKey], keys: list[StrandKey], strand: Column) -> Column:
    """Rows whose strand is one of `wanted`; -1 in `strand` finds the False at the end."""
    return np.flatnonzero(np.array([*(key in wanted for key in keys), False], np.bool_)[strand])


def _carried(c: np.ndarray) -> Column:
    """int64[n], index into `COUNTS`: the most telling that each connection carried."""
    programs = c["programs"]
    live = (c["payload"].sum(axis=1) > 0) | (c["handshake"] >= 0)
    unread = (programs == 0) & live
    cases = (
        (programs & (Program.NFS | Program.NFSACL) != 0, NFS),
        (programs & Program.MOUNT != 0, MOUNT),
        (programs & Program.NLM != 0, LOCK),
        (programs & (Program.PORTMAP | Program.NSM) != 0, PORTMAP),
        (programs == Program.CALLBACK, CALLBACK),
        (unread & (c["server_port"] == NFS_PORT), UNREAD),
        (unread & (c["transport"] == TCP), SILENT),
    )
    return np.select([case for case, _ in cases], [number for _, number in cases], OTHER)


def _addresses(c: np.ndarray, end: str) -> tuple[Column, list[str]]:
    """int64[n] number of each connection's address, and the addresses."""
    hi, lo = c[f"{end}_hi"], c[f"{end}_lo"]
    numbers, rows = distinct(hi, lo)
    return numbers, list(map(address_text, hi[rows].tolist(), lo[rows].tolist()))


def _syns(strands: int, place: Column, table: np.ndarray, rows: Column) -> list[Seen[Syn]]:
    syns = np.flatnonzero((table["transport"][rows] == TCP) & (table["syn_frame"][rows] > 0))
    c = Some(table, rows[syns])
    df = c["syn_flags"] & SYN_DF
    columns = (c["syn_ttl"], c["syn_window"], c["syn_mss"], c["syn_wscale"], c["syn_options"], df)
    numbers, rows = distinct(*columns)
    kept = [
        Syn(ttl, window, mss, -1 if scale == NO_SCALE else scale, layout(options), bool(df))
        for ttl, window, mss, scale, options, df in zip(*(column[rows].tolist() for column in columns), strict=True)
    ]
    return tally(place[syns], numbers, c["syn_frame"], c["syn_time"], c["syn_time"]).seen(strands, kept.__getitem__)


def _sums(c: Some, starts: Column) -> Known:
    """Sums and spans over the connections `c` of each strand: from one of `starts` up to the next."""
    sums = {
        "connections": np.ones(len(c), np.int64),
        "calls": c["calls"],
        "nfs_calls": c["nfs_calls"],
        "errors": c["errors"],
        "untimed": c["untimed"],
        "untimed_bytes": c["untimed_bytes"],
        "frames_sent": c["frames"][:, CLIENT],
        "bytes_sent": c["payload"][:, CLIENT],
        "bytes_received": c["payload"][:, SERVER],
        "retransmitted": c["retransmitted"].sum(axis=1),
        "keepalives": c["keepalives"][:, CLIENT],
        "mac_changes": c["mac_changes"].astype(np.int64),
        "reused_ports": np.maximum(c["syns"].astype(np.int64) - 1, 0),
    }
    known: Known = {name: np.add.reduceat(column, starts).tolist() for name, column in sums.items()}
    for name in ("read", "write"):
        columns = (c[f"{name}s"], c[f"{name}_bytes"], c[f"{name}_busy"])
        known[f"{name}s"] = list(map(Traffic, *(np.add.reduceat(column, starts).tolist() for column in columns)))
    known["first"] = np.minimum.reduceat(c["first"], starts).tolist()
    known["last"] = np.maximum.reduceat(c["last"], starts).tolist()
    return known

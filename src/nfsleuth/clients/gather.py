"""Rows of a tracker come in, `TraceFacts` go out: connections with one address and one identity become one strand.

Identities of a connection are held until its CONNECTION row comes; then `batch` counts both. Memory is bounded: what
does not fit in the budgets is let go and counted (`TraceFacts.dropped`).
"""

from __future__ import annotations

import numpy as np

from nfsleuth.clients import clock, facts
from nfsleuth.clients.batch import FIELDS, Batch
from nfsleuth.clients.columns import Column, is_ordered, ordered, starts_of
from nfsleuth.clients.facts import Link, Sighting
from nfsleuth.clients.rates import Rates, measured
from nfsleuth.clients.sayings import BOOTS, Held, Said, Sayings
from nfsleuth.clients.text import address_text, mac_text
from nfsleuth.clients.trace_facts import TraceFacts
from nfsleuth.trace.rows import Rows, joined
from nfsleuth.trace.tables import CLOCK, CONNECTION, INTERVAL, Identity, Neighbour

BATCH = 1 << 14  # connections that are counted at once
MOST_PENDING = 1 << 18  # identity rows held for connections that have not ended
MOST_UNREAD = 1 << 20  # bytes of identity rows, and of what they say, that wait to be looked at
MOST_INTERVALS = 1 << 14  # that wait to be added up, 5 MB
MOST_SAMPLES = 1 << 18  # of clocks of connections that have not ended, 8 MB

# Identity rows that the server sends as well, and that are believed from it.
FROM_BOTH = (Identity.SESSION, Identity.CLIENTID)
WANTED = np.zeros((2, len(Identity) + 1), np.bool_)  # [from_client, kind]: which identity rows are held
WANTED[1, [*FIELDS, *BOOTS]] = WANTED[0, FROM_BOTH] = True
# Rows that are let go first where too many are held: they describe a client, but do not tell it from others.
DESCRIBING = (Identity.FILE_NAME, Identity.OPEN_OWNER, Identity.LOCK_OWNER, Identity.EXCLUSIVE_VERIFIER)
NEIGHBOURS = {
    Neighbour.IP: "ip",
    Neighbour.ARP: "arp",
    Neighbour.ND: "nd",
    Neighbour.BRIDGE: "bridge",
    Neighbour.ROUTER: "router",
}


class Gatherer:
    """Collects the rows of one trace. Feed it every `Rows` of a tracker (or one snapshot) and ask for `facts`."""

    def __init__(self) -> None:
        self._total = TraceFacts()
        self._unread: list[tuple[np.ndarray, bytes]] = []  # identity rows, and the text that they refer to
        self._bytes = 0  # in `_unread`
        self._sayings = Sayings()
        self._pending: list[Held] = []
        self._held = 0  # rows in `_pending`
        self._ended: list[np.ndarray] = []
        self._endings = 0  # rows in `_ended`
        self._intervals: list[np.ndarray] = []
        self._waiting = 0  # rows in `_intervals`
        self._rates: dict[int, Rates] = {}  # of connections that have not ended
        self._clocks: list[np.ndarray] = []
        self._sampled = 0  # rows in `_clocks`

    def add(self, rows: Rows) -> None:
        """Take in all rows but CALL. They are kept as they are, and must not be changed afterwards."""
        if len(rows.identities):
            self._unread.append((rows.identities, rows.text))
            self._bytes += rows.identities.nbytes + len(rows.text)
            if self._bytes > MOST_UNREAD:
                self._hold()
        if len(rows.intervals):
            self._intervals.append(rows.intervals)
            self._waiting += len(rows.intervals)
            if self._waiting >= MOST_INTERVALS:
                self._measure()
        if len(rows.clocks):
            self._clocks.append(rows.clocks)
            self._sampled += len(rows.clocks)
            if self._sampled > MOST_SAMPLES:
                self._thin()
        if len(rows.connections):
            self._ended.append(rows.connections)
            self._endings += len(rows.connections)
        if len(rows.neighbours):
            self._total += TraceFacts(link=_link(rows.neighbours))
        if self._endings >= BATCH or self._held > MOST_PENDING:
            self._digest()

    def facts(self) -> TraceFacts:
        """What is known of the connections that have ended."""
        self._digest()
        return self._total

    def _hold(self) -> None:
        """Take from the identity rows that wait what is wanted: of many at a time, since tables are small."""
        held = self._sayings.read([rows for rows, _ in self._unread], [text for _, text in self._unread], WANTED)
        self._unread, self._bytes = [], 0
        self._pending.append(held)
        self._held += len(held.uid)

    def _measure(self) -> None:
        """Add up the intervals that wait: many at a time, since each connection among them costs some Python."""
        rows = joined(self._intervals, INTERVAL)
        self._intervals, self._waiting = [], 0  # the memory is soon used again
        for uid, rates in measured(rows).items():
            self._rates[uid] = self._rates[uid] + rates if uid in self._rates else rates

    def _thin(self) -> None:
        """Keep every other sample of each connection, and its first."""
        rows = joined(self._clocks, CLOCK)
        rows = rows.take(ordered(rows["uid"]))
        starts = starts_of(rows["uid"])
        place = np.arange(len(rows)) - np.repeat(starts, np.diff(starts, append=len(rows)))
        rows = rows.take(np.flatnonzero(place % 2 == 0))
        self._clocks, self._sampled = [rows], len(rows)

    def _clocks_of(self, ended: np.ndarray) -> dict[int, clock.Clock]:
        """The clocks of the connections `ended`, whose samples are of no use afterwards."""
        rows = joined(self._clocks, CLOCK)
        others = rows.take(np.flatnonzero(np.isin(rows["uid"], ended["uid"], invert=True)))
        self._clocks, self._sampled = [others], len(others)
        return clock.measured(rows, ended["uid"], ended["client_port"])

    def _digest(self) -> None:
        """Count the connections that have ended, with their identities; keep the other identities."""
        self._hold()
        self._measure()
        ended = self._ended[0] if len(self._ended) == 1 else joined(self._ended, CONNECTION)
        if not is_ordered(ended["uid"]):
            ended = ended.take(ordered(ended["uid"]))
        held = Held(*map(np.concatenate, zip(*self._pending, strict=True)))
        self._pending = []  # the memory is soon used again
        mine = np.isin(held.uid, ended["uid"])
        sayings = [Said(*said) for said in self._sayings]
        if len(ended):
            rates = {uid: self._rates.pop(uid) for uid in self._rates.keys() & ended["uid"].tolist()}
            self._total += Batch(ended, held.rows(mine), sayings, rates, self._clocks_of(ended)).facts()
        held = held.rows(~mine)
        if len(held.uid) > MOST_PENDING:
            held = self._forget(held, np.array([said.kind for said in sayings]))
        kept, numbers = np.unique(held.said, return_inverse=True)
        self._sayings = Sayings((sayings[number], i) for i, number in enumerate(kept.tolist()))
        self._pending, self._held = [held._replace(said=numbers)], len(numbers)
        self._ended, self._endings = [], 0

    def _forget(self, held: Held, kinds: Column) -> Held:
        """The half of the budget that is worth most: what tells clients apart, then what came first.

        kinds: int64[m] Identity of each number of a saying.
        """
        order = np.argsort(np.isin(kinds, DESCRIBING)[held.said], kind="stable")
        keep = np.sort(order[: MOST_PENDING // 2])
        self._total.lost += len(order) - len(keep)
        return held.rows(keep)


def _link(rows: np.ndarray) -> Link:
    """`Link` from NEIGHBOUR rows."""
    link = Link()
    for mac, hi, lo, kind, low, high, frames, frame in rows.tolist():
        address = "" if kind == Neighbour.BRIDGE else address_text(hi, lo)
        neighbour = facts.Neighbour(mac_text(mac), address, NEIGHBOURS[Neighbour(kind)])
        sighting = Sighting(frames, (frame,) if frame else ())
        seen = link.neighbours.sightings
        seen[neighbour] = seen[neighbour] + sighting if neighbour in seen else sighting
        if kind == Neighbour.IP and high:
            pair = (neighbour.mac, address)
            before = link.ttls.get(pair, (low, high))
            link.ttls[pair] = (min(low, before[0]), max(high, before[1]))
    return link

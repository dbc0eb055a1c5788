"""Captures come in, what hosts were sent more than once goes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from nfsleuth.api.reading import PathLike, Progress, Reading, gathered, twice
from nfsleuth.api.tables import ENDS_KEPT
from nfsleuth.api.verdicts import conclude
from nfsleuth.errors import NfsleuthError
from nfsleuth.verdict.model import Report

if TYPE_CHECKING:
    import numpy as np

    from nfsleuth.evidence.rules import Rules
    from nfsleuth.sharing.calls import End
    from nfsleuth.sharing.result import Named, Sharing
    from nfsleuth.trace.rows import Rows

MOST_EXACT = 1 << 26  # blocks, 11 GB


def sharing(
    *paths: PathLike,
    block: int = 4096,
    sample: float | Literal["exact"] | None = None,
    seed: int = 1813,
    rules: Rules | PathLike | None = None,
    progress: Progress | None = None,
) -> Sharing:
    """Say which bytes each host was sent more than once, and what a cache on it would have saved.

    Which clients share a host is what `identify` finds. Reads the captures twice: at first, to know that.

    paths: captures that together are one trace; files, since a pipe cannot be read twice. block: bytes, a power of 2
    from 512 to 16 MiB: what a cache takes in and gives up as one. sample: share of the blocks that is looked at; None:
    all of them as long as the memory that is set aside for them is enough, then fewer; "exact": all, whatever memory
    that takes (about 170 bytes per block). seed: another one is another sample. rules: as for `identify`. Raises
    NfsleuthError as `identify` does, and with `WRONG_USE` for a block or a sample that cannot be.
    """
    from nfsleuth.sharing.calls import Reader
    from nfsleuth.sharing.result import Sharing, files_of, hosts_of
    from nfsleuth.sharing.tally import Budget, Tally, check

    half, rest = twice(paths, progress)
    rate = sample if isinstance(sample, (int, float)) else 1.0
    try:
        check(block, rate)
    except ValueError as error:
        raise NfsleuthError(str(error)) from error
    first = Reading(paths, progress=half)
    report = conclude(gathered(first), first.captures, rules=rules)
    reading, reader = Reading(paths, keep_calls=True, progress=rest), Reader()
    ends = _Ends(reading, report)
    budget = Budget(blocks=MOST_EXACT) if sample == "exact" else Budget()
    tally = Tally(block=block, rate=rate, hosts=ends.readers, budget=budget, seed=seed)
    for rows in reading:
        known = ends.of(rows)
        if len(rows.calls):
            tally.feed(reader.events(rows.calls, rows.text, known))
    if sample == "exact" and tally.rate < 1:
        raise NfsleuthError(f"there are more than {MOST_EXACT:,} blocks; leave --sample away, or take larger blocks")
    return Sharing(
        captures=reading.captures,
        block=block,
        rate=tally.rate,
        hosts=hosts_of(tally, ends.named),
        files=files_of(tally, ends.named, list(ends.servers), reader.files, reader.systems, reader.names),
        counts=reader.counts,
        clients=sum(v.facts.nfs_calls > 0 for v in report.clients),
        encrypted=ends.encrypted,
        hidden_changes=tally.hidden_changes,
        unaligned=tally.unaligned,
        left_out=tally.left_out,
    )


class _Ends:
    """Whose each connection is, while a trace is read.

    named: the hosts by number: those of the report, and each client of which no others are known; those that read most
    come first. readers: how many of them read at all. servers: addresses, by number, as the keys of a dict. encrypted:
    connections under TLS.
    """

    def __init__(self, reading: Reading, report: Report) -> None:
        from nfsleuth.contrast.whose import owners
        from nfsleuth.sharing.result import Named

        grouped = {client for host in report.hosts for client in host.clients}
        self.named: list[Named] = [Named(h.id, h.clients, True, h.probability) for h in report.hosts]
        self.named += [Named(v.id, (v.id,)) for v in report.clients if v.id not in grouped]
        brought = {v.id: v.facts.reads.bytes for v in report.clients}
        self.named.sort(key=lambda host: -sum(brought[client] for client in host.clients))
        self.readers = sum(any(brought[client] for client in host.clients) for host in self.named)
        self.servers: dict[str, int] = {}
        self.encrypted = 0
        self._hosts = {client: number for number, host in enumerate(self.named) for client in host.clients}
        self._reading, self._clients = reading, [v.id for v in report.clients]
        self._owners = owners(v.facts for v in report.clients)
        self._known: dict[int, End] = {}

    def of(self, rows: Rows) -> dict[int, End]:
        """The ends of all connections that the calls in `rows` are of; more, too."""
        from nfsleuth.trace.tables import Flavor

        if len(self._known) > ENDS_KEPT:
            self._known = dict(list(self._known.items())[ENDS_KEPT // 2 :])  # the others are asked for again
        self.encrypted += int(((rows.connections["flavors"] & Flavor.TLS) != 0).sum())
        self._add(rows.connections)
        unanswered = bool((rows.calls["reply_frame"] == 0).any())  # then it matters which gaps there are by now
        if unanswered or not set(rows.calls["uid"].tolist()) <= self._known.keys():
            self._add(self._reading.open_connections())
        return self._known

    def _add(self, connections: np.ndarray) -> None:
        from nfsleuth.clients.text import address_text
        from nfsleuth.sharing.calls import End
        from nfsleuth.trace.tables import SERVER

        names = ("uid", "client_hi", "client_lo", "client_port", "server_hi", "server_lo", "gaps")
        columns = (connections[name].tolist() for name in names)
        for uid, hi, lo, port, server_hi, server_lo, gaps in zip(*columns, strict=True):
            server = self.servers.setdefault(address_text(server_hi, server_lo), len(self.servers))
            owner = self._owners.get((hi, lo, port), self._owners.get((hi, lo, 0)))
            if owner is None:
                self._known[uid] = End(server)
            else:
                self._known[uid] = End(server, self._hosts[self._clients[owner]], owner, gaps[SERVER] > 0)

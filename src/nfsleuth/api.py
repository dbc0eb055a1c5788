"""The library: captures come in; verdicts, facts, or tables as Polars frames go out.

Everything here reads files and nothing else: it prints nothing and writes nothing. All functions raise
`NfsleuthError` with ``exit_code`` `UNREADABLE` for a capture that cannot be read at all (what is odd inside a
readable one is counted, never raised), and with `WRONG_USE` for rules or priors that make no sense.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.verdict.model import Capture, Report

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from nfsleuth.bandwidth.profile import Label, Profile
    from nfsleuth.capture import Source
    from nfsleuth.capture.frames import Chunk
    from nfsleuth.clients.facts import Facts
    from nfsleuth.clients.trace_facts import TraceFacts
    from nfsleuth.contrast import sketch
    from nfsleuth.evidence.rules import Rules
    from nfsleuth.sharing.calls import End
    from nfsleuth.sharing.result import Named, Sharing
    from nfsleuth.trace.rows import Rows
    from nfsleuth.trace.tracker import Tracker

PathLike = str | os.PathLike[str]
Progress = Callable[[int, int | None], None]
Method = Literal["evidence", "paper"]


def identify(
    *paths: PathLike,
    rules: Rules | PathLike | None = None,
    priors: str | None = None,
    method: Method = "evidence",
    profile: Profile | PathLike | None = None,
    link: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Say who each NFS client in a trace is, and why. Needs bounded memory, whatever the size of the captures.

    paths: captures that together are one trace; ``-`` is standard input. rules: `Rules`, or a folder of TOML files with
    rules of your own that are added to the built-in ones. priors: what is likely beforehand, see `verdict.priors`.
    method: "evidence", or "paper" for the two rules of the 2013 study alone. profile: how fast clients of known kinds
    read at this site (`bandwidth.profile`), or a TOML file of it; link: which of its links this is, None if it has
    one only. progress: called while reading with the
    stored bytes read so far and the stored bytes in all (None if that is not known).
    """
    tables = _rules(rules, profile, link)
    reading = _Reading(paths, progress=progress)
    found = _gathered(reading)
    return conclude(found, reading.captures, rules=tables, priors=priors, method=method)


def facts(*paths: PathLike, progress: Progress | None = None) -> TraceFacts:
    """What a trace tells of its clients, before any verdict. Facts of traces that were read apart add up with ``+``.

    Adding is associative and commutative, so files, threads and machines may be added in any order. Arguments as for
    `identify`.
    """
    return _gathered(_Reading(paths, progress=progress))


def conclude(
    known: TraceFacts,
    captures: Sequence[Capture] = (),
    *,
    rules: Rules | PathLike | None = None,
    priors: str | None = None,
    method: Method = "evidence",
    profile: Profile | PathLike | None = None,
    link: str | None = None,
) -> Report:
    """The verdicts that follow from facts: what `identify` does after reading.

    known: of one trace, or the sum of several. captures: what was read, only to be shown in the report.
    """
    from nfsleuth.clients.split import household
    from nfsleuth.verdict import conclude as weigh
    from nfsleuth.verdict import priors as beforehand

    return weigh(
        household(known),
        tuple(captures),
        rules=_rules(rules, profile, link),
        priors=None if priors is None else beforehand.parse(priors),
        method=method,
    )


def read(*paths: PathLike, calls: bool = True, progress: Progress | None = None) -> TraceTables:
    """Read a trace into tables. Keeps every row in memory, about 150 bytes per call; `identify` does not.

    calls: keep the table of calls; without it `TraceTables.calls` is empty. Other arguments as for `identify`.
    """
    from nfsleuth.clients.gather import Gatherer

    reading = _Reading(paths, keep_calls=calls, progress=progress)
    gatherer, rows = Gatherer(), []
    for some in reading:
        gatherer.add(some)
        rows.append(some)
    return TraceTables(gatherer.facts(), reading.captures, reading.oddities, rows)


def calls(*paths: PathLike, progress: Progress | None = None) -> Iterator[pl.DataFrame]:
    """The calls of a trace, some thousand at a time, in bounded memory.

    Yields frames with the columns of `TraceTables.calls`. Calls come when they are finished: in the order of their
    replies, those without a reply last and in no order.
    """
    import polars as pl

    from nfsleuth.report import tables

    reading = _Reading(paths, keep_calls=True, progress=progress)
    ends = pl.DataFrame(schema={"uid": pl.Int64, "client": pl.String, "client_port": pl.UInt16, "server": pl.String})
    for rows in reading:
        if len(rows.connections):
            ended = tables.connections(rows.connections).select(ends.columns)
            ends = pl.concat([ends, ended]).unique("uid", keep="last")
        if len(rows.calls):
            if not set(rows.calls["uid"].tolist()) <= set(ends["uid"]):
                still_open = reading.open_connections()
                ends = pl.concat([ends, tables.connections(still_open).select(ends.columns)]).unique("uid", keep="last")
            yield tables.calls(rows.calls, rows.text, ends)
        if len(ends) > ENDS_KEPT:
            ends = ends.sort("uid").tail(ENDS_KEPT // 2)  # the others are asked for again if they are needed


def profiles(
    *paths: PathLike, nfs: Collection[str] = (), rules: Rules | PathLike | None = None, progress: Progress | None = None
) -> list[tuple[Facts, sketch.Profile]]:
    """Every field that each NFS client of a trace shows, for `nfsleuth.contrast`. Reads the captures twice.

    paths: captures that together are one trace; files, since a pipe cannot be read twice. nfs: count only connections
    of these NFS versions ("3", "4.0", ...), with "2" or "3" what goes with them (MOUNT, NLM, portmapper); none: all.
    rules: as for `identify`. Raises NfsleuthError as `identify` does.
    """
    from nfsleuth.capture import open_trace
    from nfsleuth.clients.split import household
    from nfsleuth.contrast.derive import derive
    from nfsleuth.contrast.observe import Observer
    from nfsleuth.contrast.whose import Versions, blank, owners
    from nfsleuth.trace.tracker import Tracker

    _twice_readable(paths)
    from nfsleuth.clients.gather import Gatherer

    reading, gatherer, versions = _Reading(paths, keep_calls=True, progress=progress), Gatherer(), Versions(nfs)
    for rows in reading:
        gatherer.add(rows)
        versions.add(rows.connections)
    clients = [c for c in household(gatherer.facts()).clients if versions.has(c)]
    found = [blank(c, os.fspath(paths[0]), versions) for c in clients]
    observer = Observer(found, owners(clients), versions.skipped())
    tracker = Tracker(keep_calls=True, watch=observer.watch)
    with open_trace([os.fspath(p) for p in paths], progress=progress) as trace:
        chunk: Chunk
        for chunk in trace:
            observer.chunk(chunk)
            for rows in tracker.feed(chunk):
                observer.rows(rows)
        for rows in tracker.finish():
            observer.rows(rows)
    observer.finish()
    known, servers = _rules(rules), {s for c in clients for s in c.servers}
    for number, (client, profile) in enumerate(zip(clients, found, strict=True)):
        derive(profile, client, observer.ledgers[number], observer.steps(number), servers, known)
    return list(zip(clients, found, strict=True))


def labelled_profiles(
    *files: PathLike,
    by: str,
    only: Collection[str] = (),
    nfs: Collection[str] = (),
    rules: Rules | PathLike | None = None,
    progress: Progress | None = None,
) -> tuple[list[sketch.Profile], list[str]]:
    """The profiles of the clients in labelled captures, with their labels; and what was left out, in words.

    files: label files (``NAME.labels.json``), their captures beside them. by: the key whose value is the label, see
    `contrast.labels`. only: labels that are wanted. Captures that were made out of others are left out: they are no
    samples of their own. Other arguments as for `profiles`. Raises NfsleuthError for a file that is no label file, a
    key that no client has, and a capture that cannot be read.
    """
    from nfsleuth.contrast import labels

    read, found, notes = [], [], []
    for file in map(Path, files):
        try:
            content = _label_document(file)
        except OSError as error:
            raise NfsleuthError(
                f"{file}: cannot be read ({error.strerror}); name label files", Exit.UNREADABLE
            ) from error
        except (ValueError, RecursionError) as error:
            raise NfsleuthError(f"{file}: is no label file: JSON is expected") from error
        read.append((file, labels.parse(os.fspath(file), content)))
    if not any(labels.label_of(f, c, by) for _, f in read for c in f.clients):
        raise NfsleuthError(
            f"no client in the label files has the key {by}; there are {', '.join(labels.keys(f for _, f in read))}"
        )
    derived = sum(f.derived for _, f in read)
    if derived:
        notes.append(f"{derived} captures left out that were made from others")
    for place, labelled in read:
        if labelled.derived:
            continue
        of_capture = profiles(place.parent / labelled.capture, nfs=nfs, rules=rules, progress=progress)
        mine, missed = labels.labelled(labelled, by, of_capture, only)
        found += mine
        if not nfs:  # else clients of other versions would be called missing
            notes += [f"{labelled.capture}: {what}" for what in missed]
    return found, notes


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
    from nfsleuth.sharing.tally import Budget, Tally

    _twice_readable(paths)
    try:
        budget = Budget(blocks=MOST_EXACT) if sample == "exact" else Budget()
        rate = sample if isinstance(sample, (int, float)) else 1.0
        tally = Tally(block=block, rate=rate, budget=budget, seed=seed)
    except ValueError as error:
        raise NfsleuthError(str(error)) from error
    first = _Reading(paths, progress=progress)
    report = conclude(_gathered(first), first.captures, rules=rules)
    reading, reader = _Reading(paths, keep_calls=True, progress=progress), Reader()
    ends = _Ends(reading, report)
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


def _twice_readable(paths: Sequence[PathLike]) -> None:
    """Complain about what cannot be read twice."""
    for path in paths:
        if os.fspath(path) == "-" or (Path(path).exists() and not Path(path).is_file()):
            raise NfsleuthError(f"{path}: is read twice here, which a pipe cannot be; save it to a file first")


MOST_EXACT = 1 << 26  # blocks, 11 GB
MOST_LABELS = 1 << 24  # bytes of a label file that are read
ENDS_KEPT = 1 << 16  # connections whose addresses `calls` remembers


@dataclass
class TraceTables:
    """The tables of a trace as Polars frames, made when they are first asked for.

    Common to all: `uid` is the number of a connection in this trace, from 0. Frame numbers are Wireshark's, from 1,
    counted through all captures. Times are ``Datetime[ns, UTC]``. MACs are text like ``52:54:00:12:34:56``. null
    means that there was none. Text is as the sender wrote it: escape it (`nfsleuth.report.escape.visible`) before it
    is printed.

    facts: what `conclude` needs. captures: what was read. found_odd: name -> (count, first frame), of the whole trace.
    """

    facts: TraceFacts
    captures: tuple[Capture, ...]
    found_odd: dict[str, tuple[int, int]]
    _rows: list[Rows] = field(repr=False)

    @cached_property
    def connections(self) -> pl.DataFrame:
        """TCP connections and UDP flows, one row each.

        - `uid` i64, `client`, `server` text: addresses; `client_port`, `server_port` u16
        - `transport` "tcp" or "udp"; `role`: how it is known which end is the client: "guess", "syn", "rpc"
        - `vlan` u16: innermost 802.1Q VLAN
        - `client_mac`, `server_mac`: source of the first frame of that side; `client_mac_last`: of the client's last
          frame; `mac_changes` i32: times that the client's changed
        - `programs`, `versions`, `flavors` lists of text: RPC programs ("nfs", "mount", ...), NFS versions ("3",
          "4.1", ...) and credential flavours ("sys", "gss", ...) seen
        - `ttl_min_client`, `ttl_max_client`, `ttl_min_server`, `ttl_max_server` u8: TTL or hop limit as captured
        - `syn_frame` i64, `syn_time`: the client's first SYN; `syns` i32: SYNs with sequence numbers of their own
        - `syn_ttl` u8, `syn_window` u16 (bytes, not scaled), `syn_wscale` u8 (bits), `syn_mss` u16 (bytes),
          `syn_flags` list of "df", "id_nonzero", "ecn", "malformed", "timestamp_zero", `syn_options` u64 (as in
          `wire.tcp.layout`): its TCP
        - `handshake` i64: ns from SYN-ACK to the client's ACK
        - `first`, `last`: times of the first and last frame; `first_frame`, `last_frame` i64
        - `last_call`: time of the last RPC call of the client, null where there was none
        - per side (`_client`: sent by the client, `_server`: by the server), i64: `frames_`; `payload_` bytes above
          TCP or UDP, retransmissions included; `retransmitted_` segments that brought nothing new; `keepalives_`;
          `zero_windows_`; `gaps_` times that bytes were missing where a record could have begun
        - `calls` i64: RPC calls decoded, callbacks not included; `replies`: of these, answered; `nfs_calls`: calls of
          the NFS program; `errors`: replies with an NFS status other than 0
        - `reads` i64: READs answered; `read_bytes`: bytes that they brought; `read_busy`: ns with at least one
          outstanding; `writes`, `write_bytes`, `write_busy` likewise
        """
        from nfsleuth.report import tables
        from nfsleuth.trace.tables import CONNECTION

        return tables.connections(_stacked([r.connections for r in self._rows], CONNECTION))

    @cached_property
    def calls(self) -> pl.DataFrame:
        """RPC calls with their replies, one row each, in the order in which they were finished.

        - `time`: when the call's first byte was captured
        - `client`, `server` text: addresses; `client_port` u16; `uid` i64: connection; `xid` u32
        - `program` text: "nfs", "mount", "nlm", ...; `version` u32; `minor` u8: minor version of NFSv4
        - `operation` text: the procedure, or what a COMPOUND is about; `operations` list of text: the first 16
          operations of a COMPOUND, or the procedure alone; `operations_count` u16: operations that the COMPOUND
          announces
        - `flavor` text: credential flavour
        - `name` text: the file name; `handle` text: 16 hex digits, a hash of the file handle
        - `offset` u64, `count` u32: bytes, as asked for by READ, WRITE, COMMIT; `bytes` u32: read or written, by the
          reply
        - `status` i32: NFS status; null without a decoded reply; `status_name` text: its name in the RFC, or "no
          reply", "not decoded", "DENIED", or the accept_stat of RFC 5531
        - `latency` i64: ns from the call's first byte to the reply's
        - `call_bytes`, `reply_bytes` u32: lengths of the RPC messages; `call_frame`, `reply_frame` i64: where they
          begin; `reply_time`
        - `from_server` bool: a callback; `cut`, `reply_cut`: arguments, results not captured or not decoded to their
          end; `hidden`: protected by RPCSEC_GSS; `retransmitted`: the same xid was outstanding before
        """
        import polars as pl

        from nfsleuth.report import tables
        from nfsleuth.trace.tables import CALL

        ends = self.connections
        frames = [tables.calls(r.calls, r.text, ends) for r in self._rows if len(r.calls)]
        return pl.concat(frames) if frames else tables.calls(_stacked([], CALL), b"", ends)

    @cached_property
    def identities(self) -> pl.DataFrame:
        """Names, ids and owners that were sent, one row per sighting that was kept.

        - `uid` i64: connection; `kind`: what it is, the names of `trace.tables.Identity` in small letters
        - `text`: as UTF-8, or else Latin-1; two texts in one are separated by a space; `raw`: its bytes; `cut` bool:
          the text is longer than what was captured
        - `a`, `b` u64: the numbers that belong to the kind, such as a verifier
        - `from_client` bool; `frame` i64; `time`
        """
        import polars as pl

        from nfsleuth.report import tables
        from nfsleuth.trace.tables import IDENTITY

        frames = [tables.identities(r.identities, r.text) for r in self._rows if len(r.identities)]
        return pl.concat(frames) if frames else tables.identities(_stacked([], IDENTITY), b"")

    @cached_property
    def neighbours(self) -> pl.DataFrame:
        """Which MAC sent from which address, one row per pair.

        - `mac`, `address` text (null for a bridge); `kind`: "ip", "arp", "nd", "bridge" or "router"
        - `ttl_min`, `ttl_max` u8; `frames` i64: how many; `first_frame` i64
        """
        from nfsleuth.report import tables
        from nfsleuth.trace.tables import NEIGHBOUR

        # Each hand-out has all neighbours so far, so the last one that has any has them all.
        latest = next((r.neighbours for r in reversed(self._rows) if len(r.neighbours)), _stacked([], NEIGHBOUR))
        return tables.neighbours(latest)

    @cached_property
    def oddities(self) -> pl.DataFrame:
        """What was skipped or odd in the whole trace: `name`, `count`, `first_frame` i64, the most frequent first."""
        from nfsleuth.report import tables

        return tables.oddities(self.found_odd)

    @cached_property
    def sources(self) -> pl.DataFrame:
        """The captures: `path`, `format`, `frames`, `bytes` i64 as stored, times of the `first` and `last` frame."""
        import polars as pl

        columns = {"path": pl.String, "format": pl.String, "frames": pl.Int64, "bytes": pl.Int64}
        columns |= {"first": pl.Int64, "last": pl.Int64}
        rows = [[getattr(c, name) for name in columns] for c in self.captures]
        return pl.DataFrame(rows, schema=columns, orient="row").with_columns(
            pl.col("first", "last").cast(pl.Datetime("ns", "UTC"))
        )


class _Reading:
    """The rows of a trace while it is read; afterwards what was read, and what was odd. Iterable once."""

    def __init__(
        self, paths: Sequence[PathLike], *, keep_calls: bool = False, progress: Progress | None = None
    ) -> None:
        self._paths, self._keep_calls, self._progress = paths, keep_calls, progress
        self._sources: list[Source] = []
        self._tracker: Tracker | None = None
        self._odd: list[dict[str, tuple[int, int]]] = []  # of the traffic, per source

    def __iter__(self) -> Iterator[Rows]:
        from nfsleuth.capture import open_trace
        from nfsleuth.trace.tracker import Tracker

        tracker = self._tracker = Tracker(keep_calls=self._keep_calls)
        with open_trace([os.fspath(p) for p in self._paths], progress=self._progress) as trace:
            self._sources = trace.sources
            self._odd = [{} for _ in trace.sources]
            source = 0
            chunk: Chunk
            for chunk in trace:
                source = chunk.source
                yield from tracker.feed(chunk)
                self._blame(source)
            yield from tracker.finish()
            self._blame(source)

    def open_connections(self) -> np.ndarray:
        """CONNECTION[n] of the connections that are open now."""
        assert self._tracker is not None, "read first"
        return self._tracker.snapshot().connections

    @property
    def oddities(self) -> dict[str, tuple[int, int]]:
        """Name -> (count, first frame) of the traffic and of the files."""
        found = dict(self._tracker.oddities) if self._tracker else {}
        for source in self._sources:
            for name, count in source.oddities.items():
                found[name] = (found.get(name, (0, 0))[0] + count, source.oddity_frames.get(name, 0))
        return found

    @property
    def captures(self) -> tuple[Capture, ...]:
        """What has been read so far."""
        return tuple(_capture(s, odd) for s, odd in zip(self._sources, self._odd, strict=True))

    def _blame(self, source: int) -> None:
        """Put down what has become odd since the last chunk to the file that most of this chunk's frames came from.

        That is exact where files do not overlap in time; where they do, the sum is.
        """
        assert self._tracker is not None
        mine = self._odd[source]
        for name, (count, frame) in self._tracker.oddities.items():
            before = sum(odd.get(name, (0, 0))[0] for odd in self._odd)
            if count > before:
                had, first = mine.get(name, (0, frame if before == 0 else 0))
                mine[name] = (had + count - before, first)


class _Ends:
    """Whose each connection is, while a trace is read.

    named: the hosts by number: those of the report, then each client of which no others are known. servers: addresses,
    by number, as the keys of a dict. encrypted: connections under TLS.
    """

    def __init__(self, reading: _Reading, report: Report) -> None:
        from nfsleuth.contrast.whose import owners
        from nfsleuth.sharing.result import Named

        grouped = {client for host in report.hosts for client in host.clients}
        self.named: list[Named] = [Named(h.id, h.clients, True, h.probability) for h in report.hosts]
        self.named += [Named(v.id, (v.id,)) for v in report.clients if v.id not in grouped]
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
        for uid, hi, lo, port, server_hi, server_lo, gaps in zip(
            *(connections[n].tolist() for n in names), strict=True
        ):
            server = self.servers.setdefault(address_text(server_hi, server_lo), len(self.servers))
            owner = self._owners.get((hi, lo, port), self._owners.get((hi, lo, 0)))
            if owner is None:
                self._known[uid] = End(server)
            else:
                self._known[uid] = End(server, self._hosts[self._clients[owner]], owner, gaps[SERVER] > 0)


def _capture(source: Source, odd: dict[str, tuple[int, int]]) -> Capture:
    counts = dict(source.oddities)
    frames = dict(source.oddity_frames)
    for name, (count, frame) in odd.items():
        counts[name] = counts.get(name, 0) + count
        frames.setdefault(name, frame)
    return Capture(
        source.path,
        source.format,
        source.frames,
        source.bytes,
        source.first,
        source.last,
        counts,
        {name: frame for name, frame in frames.items() if frame},
    )


def _gathered(reading: _Reading) -> TraceFacts:
    from nfsleuth.clients.gather import Gatherer

    gatherer = Gatherer()
    for rows in reading:
        gatherer.add(rows)
    return gatherer.facts()


def read_profile(place: PathLike) -> Profile:
    """The profile in a TOML file. Raises NfsleuthError if it cannot be read, or is of another version."""
    from nfsleuth.bandwidth.profile import from_toml

    try:
        text = Path(place).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NfsleuthError(f"{place}: cannot be read as a profile ({error}); give a TOML file in UTF-8") from error
    return from_toml(text, str(place))


def learn(
    labelled: Iterable[tuple[str | None, PathLike]],
    *,
    link: str = "",
    client: str | None = None,
    progress: Progress | None = None,
) -> tuple[Profile, list[str]]:
    """Learn from captures how fast clients of known kinds read.

    labelled: (label, capture), each capture a trace of its own; label: as `bandwidth.profile.parse_label` takes it, or
    None to take it from NAME.labels.json beside the capture, as the lab writes them. link: name of the wire. client:
    only this address. Returns the profile, and what was not learnt from and why, in words.
    """
    from nfsleuth.bandwidth import profile as profiles
    from nfsleuth.clients.split import household
    from nfsleuth.verdict.conclude import named

    rows: list[profiles.Learnt] = []
    lacks: list[str] = []
    for label, path in labelled:
        known = None if label is None else profiles.parse_label(label)
        labels = _labels_beside(path) if known is None else {}
        clients = named(household(facts(path, progress=progress)).clients)
        addresses = [one.address for _, one in clients]
        for name, one in clients:
            called = known or labels.get(one.address)
            if client not in (None, one.address) or not one.nfs_calls:
                continue
            source = f"{Path(path).name} {name}"
            if called is None or (known is None and addresses.count(one.address) > 1):
                lacks.append(f"{source}: its labels do not say what it is")
                continue
            learnt, lacking = profiles.learn(one.rates, called, link, source)
            rows += learnt
            lacks += lacking
    return profiles.Profile() + profiles.Profile(rows), lacks


def _label_document(file: Path) -> Any:  # noqa: ANN401 - whatever JSON holds
    """The JSON of a label file, of which no more than MOST_LABELS bytes are read. Raises OSError, ValueError,
    RecursionError."""
    import json

    with file.open("rb") as stream:
        return json.loads(stream.read(MOST_LABELS))


_ENDINGS = {".zst", ".gz", ".xz", ".lz4", ".bz2", ".pcap", ".pcapng", ".cap", ".snoop"}


def _labels_beside(path: PathLike) -> dict[str, Label]:
    """What NAME.labels.json says of each address; nothing of clients that only stand in for others.

    Raises NfsleuthError if there is no such file, or if it cannot be read.
    """
    from nfsleuth.bandwidth.profile import STATES, Label

    place = Path(path)
    while place.suffix in _ENDINGS:
        place = place.with_suffix("")
    place = place.with_name(f"{place.name}.labels.json")
    try:
        document = _label_document(place)
        found: dict[str, Label] = {}
        for client in document["clients"]:
            if client["state"] in STATES and not client.get("standin_for_native"):
                words = [client["state"]] if client["state"] == "native" else [client.get("nic"), client.get("backend")]
                found[client["address"]] = Label(" ".join(filter(None, words)), client["state"])
    except FileNotFoundError as error:
        raise NfsleuthError(f"{path}: what is in it? Put --label NAME before it, or {place.name} beside it") from error
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise NfsleuthError(f"{place}: holds no labels ({error!r}); see --label") from error
    return {} if document.get("derived_from") else found


def _rules(given: Rules | PathLike | None, profile: Profile | PathLike | None = None, link: str | None = None) -> Rules:
    """The built-in rules, with those of a TOML file or of a folder of them, and with a profile."""
    from nfsleuth.bandwidth.profile import Profile

    rules = _tables(given)
    if profile is None:
        return rules
    return rules.with_profile(profile if isinstance(profile, Profile) else read_profile(profile), link)


def _tables(given: Rules | PathLike | None) -> Rules:
    from nfsleuth.evidence.rules import Rules

    if isinstance(given, Rules):
        return given
    rules = Rules.builtin()
    if given is None:
        return rules
    place = Path(given)
    files = sorted(place.glob("*.toml")) if place.is_dir() else [place]
    if not files:
        raise NfsleuthError(f"{place}: no rules there; put files that end in .toml into it", Exit.WRONG_USE)
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise NfsleuthError(f"{file}: cannot be read as rules ({error}); give a TOML file in UTF-8") from error
        rules = rules.with_user(text, str(file))
    return rules


def _stacked(arrays: Sequence[np.ndarray], dtype: np.dtype) -> np.ndarray:
    import numpy as np

    return np.concatenate([*arrays, np.empty(0, dtype)])

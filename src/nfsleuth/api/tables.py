"""Captures come in, their rows go out as Polars frames."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from nfsleuth.api.reading import PathLike, Progress, Reading
from nfsleuth.verdict.model import Capture

if TYPE_CHECKING:
    import polars as pl

    from nfsleuth.clients.trace_facts import TraceFacts
    from nfsleuth.trace.rows import Rows

ENDS_KEPT = 1 << 16  # connections whose addresses are remembered while calls are read


def read(*paths: PathLike, calls: bool = True, progress: Progress | None = None) -> TraceTables:
    """Read a trace into tables. Keeps every row in memory, about 150 bytes per call; `identify` does not.

    calls: keep the table of calls; without it `TraceTables.calls` is empty. Other arguments as for `identify`.
    """
    from nfsleuth.clients.gather import Gatherer

    reading = Reading(paths, keep_calls=calls, progress=progress)
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

    reading = Reading(paths, keep_calls=True, progress=progress)
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


class TraceTables:
    """The tables of a trace as Polars frames, made when they are first asked for.

    Common to all: `uid` is the number of a connection in this trace, from 0. Frame numbers are Wireshark's, from 1,
    counted through all captures. Times are ``Datetime[ns, UTC]``. MACs are text like ``52:54:00:12:34:56``. null
    means that there was none. Text is as the sender wrote it: escape it (`nfsleuth.report.escape.visible`) before it
    is printed.

    facts: what `conclude` needs. captures: what was read. found_odd: name -> (count, first frame), of the whole trace.
    """

    def __init__(
        self,
        facts: TraceFacts,
        captures: tuple[Capture, ...],
        found_odd: dict[str, tuple[int, int]],
        rows: list[Rows],
    ) -> None:
        self.facts = facts
        self.captures = captures
        self.found_odd = found_odd
        self._rows = rows

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
        - `untimed` i64: stretches with RPC that no rate was taken of, since they moved less than 64 KiB or messages
          are missing; `untimed_bytes`: of the RPC messages in them
        """
        from nfsleuth.report import tables
        from nfsleuth.trace.rows import joined
        from nfsleuth.trace.tables import CONNECTION

        return tables.connections(joined([r.connections for r in self._rows], CONNECTION))

    @cached_property
    def calls(self) -> pl.DataFrame:
        """RPC calls with their replies, one row each, in the order in which they were finished.

        - `time`: when the call's first byte was captured
        - `client`, `server` text: addresses; `client_port` u16; `uid` i64: connection; `xid` u32
        - `program` text: "nfs", "mount", "nlm", ...; `version` u32; `minor` u8: minor version of NFSv4
        - `operation` text: the procedure, or what a COMPOUND is about; `operations` list of text: the first 16
          operations of a COMPOUND as far as they were read (not those behind the data of a WRITE), or the procedure
          alone; `operations_count` u16: operations that the COMPOUND announces
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
          end; `hidden`: encrypted (RPCSEC_GSS with privacy); `retransmitted`: the same xid was outstanding before
        """
        import polars as pl

        from nfsleuth.report import tables
        from nfsleuth.trace.rows import joined
        from nfsleuth.trace.tables import CALL

        ends = self.connections
        frames = [tables.calls(r.calls, r.text, ends) for r in self._rows if len(r.calls)]
        return pl.concat(frames) if frames else tables.calls(joined([], CALL), b"", ends)

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
        from nfsleuth.trace.rows import joined
        from nfsleuth.trace.tables import IDENTITY

        frames = [tables.identities(r.identities, r.text) for r in self._rows if len(r.identities)]
        return pl.concat(frames) if frames else tables.identities(joined([], IDENTITY), b"")

    @cached_property
    def neighbours(self) -> pl.DataFrame:
        """Which MAC sent from which address, one row per pair.

        - `mac`, `address` text (null for a bridge); `kind`: "ip", "arp", "nd", "bridge" or "router"
        - `ttl_min`, `ttl_max` u8; `frames` i64: how many; `first_frame` i64
        """
        from nfsleuth.report import tables
        from nfsleuth.trace.rows import joined
        from nfsleuth.trace.tables import NEIGHBOUR

        # Each hand-out has all neighbours so far, so the last one that has any has them all.
        latest = next((r.neighbours for r in reversed(self._rows) if len(r.neighbours)), joined([], NEIGHBOUR))
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

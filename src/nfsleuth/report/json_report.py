"""The contract with programs: ``nfsleuth.identify/1`` and ``nfsleuth.explain/1``. Fields are added, never renamed.

`states` has every hypothesis and sums to 1; the answers `unknown` and `conflict` are not hypotheses and are not in it.
Times are RFC 3339 text in UTC, frame numbers are Wireshark's, weights are nats, rates are 10⁶ bytes per second.
States and groups stand for themselves: a `StrEnum` is text, and asking hundreds of them for their value takes a while.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from nfsleuth.clients.rates import LIMITS, Cell, Histogram, Kind
from nfsleuth.evidence.model import HYPOTHESES
from nfsleuth.report import words
from nfsleuth.verdict.model import Capture, Host, Pair, Report, Verdict, Weighed

QUANTILES = {"p10": 0.1, "p50": 0.5, "p90": 0.9}
MBPS = tuple(f"MBps_{name}" for name in QUANTILES)
PLAIN, LARGE = 1e-4, 1e16  # between them, and at 0, Python and msgspec write a float alike, whatever its sign

IDENTIFY = "nfsleuth.identify/1"
EXPLAIN = "nfsleuth.explain/1"
HOSTS = "nfsleuth.hosts/1"
STATES = tuple(state.value for state in HYPOTHESES)


class Spelled(float):
    """A number that Python and msgspec write in two ways, 2e-05 and 0.00002: documents have it as Python does."""


def identified(report: Report) -> dict[str, Any]:
    """A report as the values of ``identify --json``."""
    return {
        "schema": IDENTIFY,
        "method": report.method,
        "calls": report.calls,
        "connections": report.connections,
        "captures": [capture(c) for c in report.captures],
        "clients": [client(v) for v in report.clients],
        "hosts": [host(h) for h in report.hosts],
    }


def explained(report: Report, verdicts: list[Verdict]) -> dict[str, Any]:
    """The clients that were asked about as the values of ``explain --json``."""
    wanted = {v.host for v in verdicts}
    return {
        "schema": EXPLAIN,
        "method": report.method,
        "captures": [capture(c) for c in report.captures],
        "clients": [client(v) for v in verdicts],
        "hosts": [host(h) for h in report.hosts if h.id in wanted],
    }


def capture(read: Capture) -> dict[str, Any]:
    """What was read. `first` and `last` are null where a capture has no times."""
    return {
        "path": read.path,
        "format": read.format,
        "frames": read.frames,
        "bytes": read.bytes,
        "first": words.instant(read.first),
        "last": words.instant(read.last),
        "oddities": {name: n for name, n in read.oddities.items() if n},
        "oddity_frames": {name: n for name, n in read.oddity_frames.items() if n},
    }


def client(verdict: Verdict) -> dict[str, Any]:
    """One NFS client: what was seen, what it is, and why.

    reads.MBps is over the time with at least one READ outstanding; null without such a time.
    reads.client_limited_MBps is null without an interval in which the client was the limit.
    """
    facts, platform = verdict.facts, verdict.platform
    rate = words.read_rate(verdict)
    return {
        "id": verdict.id,
        "address": facts.address,
        "ports": sorted(facts.ports.sightings),
        "macs": list(facts.macs),
        "names": words.names(verdict),
        "nfs_versions": words.versions(verdict),
        "flavors": sorted(facts.flavors),
        "implementation": words.implementation(verdict),
        "state": verdict.state,
        "leading": verdict.leading,
        "sure": rounded(verdict.sure),
        "virtual": rounded(verdict.virtual),
        "states": {state: rounded(p) for state, p in words.ranked(verdict)},
        "platform": {"name": platform.name, "probability": rounded(platform.probability)} if platform else None,
        "host": verdict.host,
        "because": verdict.because,
        "flips": list(verdict.flips),
        "servers": list(facts.servers),
        "connections": facts.connections,
        "calls": facts.calls,
        "first": words.instant(facts.first),
        "last": words.instant(facts.last),
        "reads": {
            "calls": facts.reads.calls,
            "bytes": facts.reads.bytes,
            "MBps": _short(rate),
            "client_limited_MBps": _short(facts.rates.client_limited_rate),
        },
        "writes": {"calls": facts.writes.calls, "bytes": facts.writes.bytes},
        "rates": [_cell(kind, facts.rates.cells[kind]) for kind in sorted(facts.rates.cells)],
        "untimed": {"intervals": facts.untimed, "bytes": facts.untimed_bytes},
        "evidence": [evidence(w) for w in verdict.weighed],
    }


def _cell(kind: Kind, cell: Cell) -> dict[str, Any]:
    """How fast transfers of one kind went, and what limited them."""
    return {
        "operation": kind.operation,
        "size": kind.size,
        "intervals": cell.intervals,
        "bytes": cell.bytes,
        "calls": cell.calls,
        "MBps": _short(cell.rate),
        "limited_by": {name: rounded(share, 4) for name, share in zip(LIMITS, cell.shares, strict=True)},
        "client_limited": {
            "intervals": cell.client_limited,
            **dict(zip(MBPS, _quantiles(cell.limited_own), strict=True)),
        },
        "gap_ms": dict(zip(QUANTILES, _quantiles(cell.gaps), strict=True)),
        "ack_stride": None if cell.stride is None else round(cell.stride),
        "zero_windows": cell.zero_windows,
        "retransmitted": cell.retransmitted,
    }


def _quantiles(of: Histogram) -> list[float | None]:
    """The values of `QUANTILES`."""
    return [_short(value) for value in of.quantiles(QUANTILES.values())]


def _short(value: float | None) -> float | None:
    """Three decimals, or null."""
    return None if value is None else rounded(value, 3)


def evidence(row: Weighed) -> dict[str, Any]:
    """One observation. `weight` is in nats toward the leading state; `toward` and `platform` are before any caps."""
    it = row.evidence
    return {
        "rule": it.rule,
        "group": it.group,
        "says": it.says,
        "weight": rounded(row.weight, 4),
        "seen": it.seen,
        "frames": list(it.frames),
        "counted": it.counted,
        "why_not": it.why_not,
        "toward": {state: rounded(nats, 4) for state, nats in it.toward.items()},
        "platform": {name: rounded(nats, 4) for name, nats in it.platform.items()} if it.platform else {},
        "virtual": it.virtual and rounded(it.virtual, 4),  # 0 of most rows
        "host": it.host or None,
        "source": it.source,
    }


def hosts(report: Report) -> dict[str, Any]:
    """Hosts, clients without one, and the pairs that a sign is about, as the values of ``hosts --json``."""
    return {
        "schema": HOSTS,
        "method": report.method,
        "captures": [capture(c) for c in report.captures],
        "hosts": [host(h) for h in report.hosts],
        "clients": [
            {"id": v.id, "address": v.facts.address, "names": words.names(v), "host": v.host} for v in report.clients
        ],
        "pairs": [pair(p) for p in report.pairs],
        "pairs_left": report.pairs_left,
        "notes": list(report.notes),
    }


def pair(two: Pair) -> dict[str, Any]:
    """Two clients and the signs about them; weights are nats for one host, negative for two."""
    return {
        "clients": [two.a, two.b],
        "weight": rounded(two.weight, 4),
        "probability": rounded(two.probability),
        "signs": [
            {
                "rule": sign.rule,
                "says": sign.says,
                "weight": rounded(sign.weight, 4),
                "seen": sign.seen,
                "frames": list(sign.frames),
                "source": sign.source,
            }
            for sign in two.signs
        ],
    }


def host(shared: Host) -> dict[str, Any]:
    """One physical machine and the clients on it."""
    return {
        "id": shared.id,
        "clients": list(shared.clients),
        "probability": rounded(shared.probability),
        "because": list(shared.because),
    }


@lru_cache(maxsize=4096, typed=True)  # clients of one kind have them in common, and `round` takes four times as long
def rounded(value: float, digits: int = 6) -> float:
    """Six digits of a probability: more would pretend to a knowledge that no weight has. `Spelled` where need be."""
    number = round(value, digits)
    return Spelled(number) if 0 < abs(number) < PLAIN or LARGE <= abs(number) < math.inf else number

"""What hosts were sent more than once, for programs: JSON (``nfsleuth.sharing/1``), and tables of files and of curves.

Fields are added, never renamed. Sizes are bytes, times ns. docs/sharing.md says what is an estimate without `exact`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nfsleuth.report import json_report
from nfsleuth.report.sharing_text import sizes
from nfsleuth.sharing.curve import ENOUGH, Curve, Point, Together
from nfsleuth.sharing.result import QUANTILES, FileSharing, HostSharing, Sharing

if TYPE_CHECKING:
    import polars as pl

SCHEMA = "nfsleuth.sharing/1"


def document(found: Sharing, caches: Sequence[int] = ()) -> dict[str, Any]:
    """The values of ``sharing --json``. caches: sizes in bytes that were asked for; none: as the text has them."""
    return {
        "schema": SCHEMA,
        "captures": [json_report.capture(c) for c in found.captures],
        "block": found.block,
        "rate": found.rate,
        "exact": found.exact,
        "exact_to": None if found.exact else found.curve.exact_to,
        "enough_share": ENOUGH,
        "same_file_under_other_handles": "unknown",
        "clients": found.clients,
        "counts": dict(found.counts),
        "encrypted_connections": found.encrypted,
        "hidden_changes": found.hidden_changes,
        "unaligned_reads": found.unaligned,
        "left_out": dict(found.left_out),
        "sent": found.sent,
        "distinct": round(sum(h.distinct for h in found.hosts)),
        "saved": round(sum(h.saved for h in found.hosts)),
        "caches": [_point(found.curve.at(size)) for size in sizes(found, caches)],
        "curve": _curve(found.curve),
        "enough": found.curve.enough,
        "hosts": [host(h) for h in found.hosts],
        "files": [file(f) for f in found.files],
    }


def host(h: HostSharing) -> dict[str, Any]:
    """One host."""
    return {
        "id": h.host.id,
        "clients": list(h.host.clients),
        "grouped": h.host.grouped,
        "probability": h.host.probability,
        "reads": h.reads,
        "sent": h.sent,
        "distinct": round(h.distinct),
        "saved": round(h.saved),
        "saved_own": round(h.own),
        "saved_others": round(h.others),
        "changed": round(h.changed),
        "shared": round(h.shared),
        "sharers": [{"guests": n, "bytes": round(size)} for n, size in enumerate(h.sharers, 1)],
        "wait": dict(zip((f"p{100 * q:.0f}" for q in QUANTILES), h.waits, strict=True)) if h.waits else None,
        "curve": _curve(h.curve),
        "enough": h.curve.enough,
    }


def file(f: FileSharing) -> dict[str, Any]:
    """One file of one host."""
    return {
        "host": f.host,
        "server": f.server,
        "fsid": None if f.fsid is None else f"{f.fsid:016x}",
        "handle": f"{f.handle:016x}",
        "name": f.name,
        "reads": f.reads,
        "sent": f.sent,
        "distinct": round(f.distinct),
        "shared": round(f.shared),
        "saved": round(f.saved),
        "changed": round(f.changed),
        "rough": f.rough,
    }


def frame(found: Sharing) -> pl.DataFrame:
    """One row per host and file; the values of `files` in the JSON."""
    import polars as pl

    texts, flags = ("host", "server", "fsid", "handle", "name"), ("rough",)
    numbers = ("reads", "sent", "distinct", "shared", "saved", "changed")
    schema = dict.fromkeys(texts, pl.String()) | dict.fromkeys(numbers, pl.Int64()) | dict.fromkeys(flags, pl.Boolean())
    return pl.DataFrame([file(f) for f in found.files], schema=schema, orient="row")


def curves(found: Sharing) -> pl.DataFrame:
    """One row per host and cache size, as `curve` in the JSON, with what was `sent`; null: on each host, in all."""
    import polars as pl

    named: list[tuple[str | None, Curve | Together]] = [
        (None, found.curve),
        *((h.host.id, h.curve) for h in found.hosts),
    ]
    schema = {"host": pl.String()} | dict.fromkeys(("size", "saved", "low", "high", "sent"), pl.Int64())
    rows = [{"host": name, **point, "sent": curve.sent} for name, curve in named for point in _curve(curve)]
    return pl.DataFrame(rows, schema=schema, orient="row")


def _curve(curve: Curve | Together) -> list[dict[str, int]]:
    return [_point(p) for p in curve.points()]


def _point(p: Point) -> dict[str, int]:
    return {"size": p.size, "saved": round(p.saved), "low": round(p.low), "high": round(p.high)}

"""A report as Polars frames: one row per client, or one row per piece of evidence.

Text is as it was captured, not escaped; times are ``Datetime[ns, UTC]``; probabilities are 0 to 1, weights nats.
"""

from __future__ import annotations

import polars as pl

from nfsleuth.report import json_report
from nfsleuth.verdict.model import Report

TIME = pl.Datetime("ns", "UTC")

_Schema = dict[str, pl.DataType | type[pl.DataType]]

EVIDENCE: _Schema = {
    "rule": pl.String,
    "group": pl.String,
    "says": pl.String,
    "weight": pl.Float64,
    "seen": pl.String,
    "frames": pl.List(pl.Int64),
    "counted": pl.Boolean,
    "why_not": pl.String,
    "source": pl.String,
}
CLIENTS: _Schema = {
    "id": pl.String,
    "address": pl.String,
    "ports": pl.List(pl.Int32),
    "macs": pl.List(pl.String),
    "names": pl.List(pl.String),
    "nfs_versions": pl.List(pl.String),
    "implementation": pl.String,
    "state": pl.String,
    "leading": pl.String,
    "sure": pl.Float64,
    "virtual": pl.Float64,
    "states": pl.Struct(dict.fromkeys(json_report.STATES, pl.Float64)),
    "platform": pl.String,
    "platform_probability": pl.Float64,
    "host": pl.String,
    "because": pl.String,
    "flips": pl.List(pl.String),
    "servers": pl.List(pl.String),
    "connections": pl.Int64,
    "calls": pl.Int64,
    "first": TIME,
    "last": TIME,
    "read_calls": pl.Int64,
    "read_bytes": pl.Int64,
    "read_MBps": pl.Float64,
    "client_limited_MBps": pl.Float64,
    "write_calls": pl.Int64,
    "write_bytes": pl.Int64,
    "evidence": pl.List(pl.Struct(EVIDENCE)),
}


def clients(report: Report) -> pl.DataFrame:
    """One row per client; the values of ``identify --json``, `evidence` as a list of structures."""
    rows = []
    for verdict in report.clients:
        row = json_report.client(verdict)
        platform = row.pop("platform") or {}
        reads, writes = row.pop("reads"), row.pop("writes")
        row |= {
            "platform": platform.get("name"),
            "platform_probability": platform.get("probability"),
            "read_calls": reads["calls"],
            "read_bytes": reads["bytes"],
            "read_MBps": reads["MBps"],
            "client_limited_MBps": reads["client_limited_MBps"],
            "write_calls": writes["calls"],
            "write_bytes": writes["bytes"],
            "first": verdict.facts.first or None,
            "last": verdict.facts.last or None,
            "evidence": [{name: piece[name] for name in EVIDENCE} for piece in row["evidence"]],
        }
        rows.append({name: row[name] for name in CLIENTS})
    whole: _Schema = {**CLIENTS, "first": pl.Int64, "last": pl.Int64}  # times are taken in as ns
    return pl.DataFrame(rows, schema=whole, orient="row").with_columns(pl.col("first", "last").cast(TIME))


def evidence(report: Report) -> pl.DataFrame:
    """One row per piece of evidence, with the `client` that it is about."""
    rows = [
        {"client": verdict.id, **{name: json_report.evidence(w)[name] for name in EVIDENCE}}
        for verdict in report.clients
        for w in verdict.weighed
    ]
    return pl.DataFrame(rows, schema={"client": pl.String, **EVIDENCE}, orient="row")

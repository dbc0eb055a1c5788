"""``nfsleuth hosts``: which clients share a physical machine."""

from __future__ import annotations

from typing import Unpack

import click

from nfsleuth.cli import options

EXAMPLES = """
\b
Examples:
  nfsleuth hosts office.pcapng
  nfsleuth hosts office.pcapng --fdb sw1.fdb.json --lldp sw1.lldp.json --pairs
  nfsleuth hosts monday.pcap.zst --inventory hv1.xml --inventory hv2.xml --json
"""


@click.command(epilog=EXAMPLES)
@options.captures
@options.tables
@click.option("--pairs", is_flag=True, help="Show every pair that a sign is about, and the signs for and against.")
@options.as_json
@click.option("--csv", metavar="FILE", help="Write a CSV line per client to FILE; - is stdout.")
@options.rules
@options.prior
@options.quiet
def hosts(
    captures: tuple[str, ...],
    *,
    pairs: bool,
    as_json: bool,
    csv: str | None,
    rules: str | None,
    prior: tuple[str, ...],
    quiet: bool,
    **tables: Unpack[options.Tables],
) -> int:
    """Say which clients share a physical machine, and why.

    One row per machine that several clients share: its clients, how sure that is, and what holds them together. Tables
    of switches and hypervisors make it surer; docs/hosts.md says how to get them.

    Exit codes: 0 done, 2 wrong use, 3 a capture or table cannot be read, 4 no NFS found.
    """
    taken = options.check_targets({"--csv": csv}, as_json=as_json)
    report = options.identified(
        captures,
        rules=rules,
        prior=prior,
        method="evidence",
        profile=None,
        link=None,
        quiet=quiet,
        tables=tables,
    )
    if csv:
        from nfsleuth.report import csv_report

        options.write(csv, csv_report.hosts(report))
    if as_json:
        from nfsleuth.report import json_report

        options.put_json(json_report.hosts(report), reported=True)
    elif not taken and report.clients:
        from nfsleuth.report import hosts_text

        options.put(hosts_text.table(report, options.terminal_width(), pairs=pairs))
    return options.require_nfs(report, quiet)

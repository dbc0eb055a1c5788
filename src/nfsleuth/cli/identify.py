"""``nfsleuth identify``: who each NFS client is."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Unpack

import click

from nfsleuth.cli import options

if TYPE_CHECKING:
    from nfsleuth.api import Method
    from nfsleuth.verdict.model import Report

EXAMPLES = """
\b
Examples:
  nfsleuth identify office.pcapng
  nfsleuth identify --html report.html monday.pcap.zst tuesday.pcap.zst
  tcpdump -i eth0 -s 640 -U -w - port 2049 | nfsleuth identify --json -
"""


@click.command(epilog=EXAMPLES)
@options.captures
@options.as_json
@click.option("--csv", metavar="FILE", help="Write a CSV line per client to FILE; - is stdout.")
@click.option("--parquet", metavar="FILE", help="Write clients with their evidence to a Parquet FILE; - is stdout.")
@click.option("--html", metavar="FILE", help="Write one self-contained page to FILE; - is stdout.")
@click.option("--plot", metavar="FILE", help="Draw rates over time, and what limited them: .svg, .png or .pdf.")
@options.rules
@options.prior
@options.method
@options.profile
@options.link
@options.tables
@click.option("--verbose", "-v", is_flag=True, help="Show all captures and all oddities.")
@options.quiet
def identify(
    captures: tuple[str, ...],
    *,
    as_json: bool,
    csv: str | None,
    parquet: str | None,
    html: str | None,
    plot: str | None,
    rules: str | None,
    prior: tuple[str, ...],
    method: Method,
    profile: str | None,
    link: str | None,
    verbose: bool,
    quiet: bool,
    **tables: Unpack[options.Tables],
) -> int:
    """Say who each NFS client is, and why.

    One row per client: its state, its platform, how sure that is, the reasons in a few words, and the physical host
    that it shares with others, where that shows.

    Exit codes: 0 done, 2 wrong use, 3 a capture cannot be read, 4 no NFS found.
    """
    targets = {"--csv": csv, "--parquet": parquet, "--html": html, "--plot": plot}
    taken = options.check_targets(targets, as_json=as_json)
    report = options.identified(
        captures,
        rules=rules,
        prior=prior,
        method=method,
        profile=profile,
        link=link,
        quiet=quiet,
        tables=tables,
    )
    _write(report, csv, parquet, html, plot)
    if as_json:
        from nfsleuth.report import json_report

        options.put_json(json_report.identified(report), reported=True)
    elif not taken and report.clients:
        from nfsleuth.report import text

        options.put(text.table(report, options.terminal_width(), colour=options.colourful(), verbose=verbose))
    return options.require_nfs(report, quiet)


def _write(report: Report, csv: str | None, parquet: str | None, html: str | None, plot: str | None) -> None:
    """Write the results that go to files. What a format needs is imported for that format."""
    if csv:
        from nfsleuth.report import csv_report

        options.write(csv, csv_report.clients(report))
    if parquet:
        from nfsleuth.report import frames

        out = io.BytesIO()
        frames.clients(report).write_parquet(out)
        options.write(parquet, out.getvalue())
    if html:
        import nfsleuth
        from nfsleuth.report import html as pages

        options.write(html, pages.page(report, nfsleuth.__version__))
    if plot:
        from nfsleuth.report import figures
        from nfsleuth.report.formats import format_of

        options.write(plot, figures.render(figures.timelines(report), format_of(plot)))

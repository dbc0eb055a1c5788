"""``nfsleuth sharing``: what hosts were sent more than once, and what a cache on them would have saved."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal

import click

from nfsleuth.cli import options
from nfsleuth.errors import Exit, NfsleuthError

if TYPE_CHECKING:
    from nfsleuth.sharing.result import Sharing

EXAMPLES = """
\b
Examples:
  nfsleuth sharing office.pcapng
  nfsleuth sharing monday.pcap tuesday.pcap --cache 256M --cache 1G --plot savings.svg
  nfsleuth sharing office.pcapng --sample 0.01 --json | jq '.hosts[0].saved'
  nfsleuth sharing office.pcapng --parquet files.parquet --curves curves.parquet
"""


@click.command(epilog=EXAMPLES)
@click.argument(
    "captures", nargs=-1, required=True, metavar="CAPTURE...", help="Captures; together they are one trace. No pipes."
)
@click.option(
    "--cache", multiple=True, metavar="SIZE", help="Say what a cache of SIZE saves, such as 1G. Several times."
)
@click.option("--block", default="4K", show_default=True, help="What a cache takes in as one; a power of 2.")
@click.option(
    "--sample",
    metavar="RATE|exact",
    help="Share of the blocks to look at, such as 0.01; exact: all, whatever memory that takes. "
    "Without it: all while 90 MB are enough, then fewer. Small caches are exact in any case.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=1813, show_default=True, help="Of the sample.")
@click.option("--parquet", metavar="FILE", help="Write a row per host and file to a Parquet FILE; - is stdout.")
@click.option(
    "--curves", metavar="FILE", help="Write a row per host and size of a cache to a Parquet FILE; - is stdout."
)
@click.option("--html", metavar="FILE", help="Write one self-contained page to FILE; - is stdout.")
@click.option("--plot", metavar="FILE", help="Draw savings against the size of the cache: .svg, .png or .pdf.")
@options.as_json
@options.rules
@click.option("--verbose", "-v", is_flag=True, help="Show all hosts and files.")
@options.quiet
def sharing(
    captures: tuple[str, ...],
    *,
    cache: tuple[str, ...],
    block: str,
    sample: str | None,
    seed: int,
    parquet: str | None,
    curves: str | None,
    html: str | None,
    plot: str | None,
    as_json: bool,
    rules: str | None,
    verbose: bool,
    quiet: bool,
) -> int:
    """Say which bytes each physical host was sent more than once.

    Per host and per file: bytes sent, bytes distinct, bytes that several guests read; and what would have been saved by
    one transfer per host, and by a cache on the host, for any size of it. docs/sharing.md says what each number means.

    The captures are read twice. Exit codes: 0 done, 2 wrong use, 3 a capture cannot be read, 4 no reads found.
    """
    from nfsleuth.bandwidth.plan import parse_size

    targets = {"--parquet": parquet, "--curves": curves, "--html": html, "--plot": plot}
    taken = options.check_targets(targets, as_json=as_json)
    caches = [parse_size(size) for size in cache]
    share, size = _sample(sample), parse_size(block)
    with options.watching(quiet) as progress:
        from nfsleuth import api

        found = api.sharing(*captures, block=size, sample=share, seed=seed, rules=rules, progress=progress)
    _write_tables(found, parquet, curves)
    _write_pictures(found, caches, html, plot)
    if as_json:
        from nfsleuth.report import sharing_data

        options.put_json(sharing_data.document(found, caches))
    elif not taken and found.hosts:
        from nfsleuth.report import sharing_text

        options.put(sharing_text.text(found, caches, options.terminal_width(), verbose=verbose))
    return _code(found, quiet)


def _sample(text: str | None) -> float | Literal["exact"] | None:
    """The value of --sample."""
    if text is None or text == "exact":
        return text  # type: ignore[return-value]  # narrowed by the comparison
    try:
        rate = float(text)
    except ValueError as error:
        raise NfsleuthError(f"--sample {text}: give a share such as 0.01, or exact") from error
    if not 0 < rate <= 1:
        raise NfsleuthError(f"--sample {text}: a share is above 0 and at most 1")
    return rate


def _code(found: Sharing, quiet: bool) -> Exit:
    """The exit code; says why nothing was found."""
    if found.hosts:
        return Exit.DONE
    from nfsleuth.report import sharing_text

    why = " ".join(sharing_text.unknown(found))
    nothing = "no READs found" if found.clients else "no NFS found"
    options.notice(f"{nothing}; {why or 'capture while guests read'}", quiet=quiet)
    return Exit.NO_NFS


def _write_tables(found: Sharing, parquet: str | None, curves: str | None) -> None:
    """Write what goes to Parquet files: files, and curves. What they need is imported for them."""
    if not (parquet or curves):
        return
    from nfsleuth.report import sharing_data

    for target, table in ((parquet, sharing_data.frame), (curves, sharing_data.curves)):
        if target:
            out = io.BytesIO()
            table(found).write_parquet(out)
            options.write(target, out.getvalue())


def _write_pictures(found: Sharing, caches: list[int], html: str | None, plot: str | None) -> None:
    """Write the page and the plot. What a format needs is imported for that format."""
    if html:
        import nfsleuth
        from nfsleuth.report import sharing_html

        options.write(html, sharing_html.page(found, caches, nfsleuth.__version__))
    if plot:
        from nfsleuth.report import figures
        from nfsleuth.report.formats import format_of

        options.write(plot, figures.render(figures.savings(found), format_of(plot)))

"""``nfsleuth profile``: learn, show and merge how fast clients of known kinds read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nfsleuth.cli import options
from nfsleuth.errors import Exit, NfsleuthError

if TYPE_CHECKING:
    from nfsleuth.bandwidth.profile import Profile

LEARN_EXAMPLES = """
\b
Examples:
  nfsleuth profile learn --label native n?.pcapng --label 'virtio bridged' v?.pcapng -o site.toml
  nfsleuth profile learn --label 'old laptop=native' --client 10.0.0.7 office.pcapng -o site.toml
  nfsleuth profile learn results/*.pcapng -o lab.toml      # labels from NAME.labels.json beside each
"""
SHOW_EXAMPLES = """
\b
Examples:
  nfsleuth profile show site.toml
  nfsleuth profile show site.toml --plot profiles.svg
"""
MERGE_EXAMPLES = """
\b
Examples:
  nfsleuth profile merge monday.toml tuesday.toml -o site.toml
  nfsleuth profile merge lab.toml site.toml -o all.toml
  nfsleuth profile merge site.toml -o - | grep -c client
"""
LACKS_SHOWN = 8
VALUED = ("-o", "--output", "--link", "--client")  # options of `learn` that another word follows


@click.group(short_help="Learn and show how fast known kinds of clients read.")
def profile() -> None:
    """Learn how fast clients of known kinds read, for `identify --profile`."""


class _Learn(click.Command):
    """Each --label stands for the captures that follow it, up to the next one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        pairs: list[tuple[str | None, str]] = []
        label: str | None = None
        words = iter(args)
        for word in words:
            if word == "--label":
                label = next(words, None)
            elif word.startswith("--label="):
                label = word.partition("=")[2]
            elif word in VALUED:
                next(words, None)
            elif not word.startswith("-") or word == options.STDOUT:
                pairs.append((label, word))
        ctx.meta["labelled"] = pairs
        return super().parse_args(ctx, args)


@profile.command(cls=_Learn, epilog=LEARN_EXAMPLES)
@click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...", help="Captures of known clients.")
@click.option(
    "--label",
    multiple=True,
    metavar="NAME[=STATE]",
    help="What the clients of the following captures are: native, virtio bridged, ...",
)
@click.option("--client", metavar="ADDR", help="Learn only from the client with this address.")
@click.option("--link", default="", help="Name of the wire, where a site has several speeds.")
@click.option("-o", "--output", required=True, metavar="FILE", help="The profile; what is in FILE already stays.")
@options.quiet
@click.pass_context
def learn(
    ctx: click.Context,
    captures: tuple[str, ...],  # noqa: ARG001 - in ctx.meta, with their labels
    *,
    label: tuple[str, ...],  # noqa: ARG001
    client: str | None,
    link: str,
    output: str,
    quiet: bool,
) -> int:
    """Learn from captures of known clients how fast their kind reads.

    Each capture counts as one client of its kind, so take several, best of several days; a label takes 3 clients, and
    a client 10 intervals, about half a second of reading. Speeds count relative to the native clients of the same
    link: without native ones a profile is of no use.

    Exit codes: 0 done, 2 wrong use or nothing learnt, 3 a capture cannot be read.
    """
    from nfsleuth import api
    from nfsleuth.bandwidth.profile import to_toml
    from nfsleuth.report import profile_text

    options.check_target(output)
    before = _read([output]) if output != options.STDOUT and Path(output).exists() else None
    with options.watching(quiet) as progress:
        found, lacks = api.learn(ctx.meta["labelled"], link=link, client=client, progress=progress)
    for text in lacks[:LACKS_SHOWN]:
        options.notice(text, quiet=quiet)
    if len(lacks) > LACKS_SHOWN:
        options.notice(f"and {len(lacks) - LACKS_SHOWN} more that nothing was learnt from", quiet=quiet)
    if not found.rows:
        raise NfsleuthError(f"nothing learnt: {lacks[0] if lacks else 'no NFS in these captures'}")
    whole = found if before is None else before + found
    options.write(output, to_toml(whole))
    if output != options.STDOUT:
        options.put(profile_text.profile(whole))
    return Exit.DONE


@profile.command(epilog=SHOW_EXAMPLES)
@click.argument("file", metavar="FILE", help="A profile.")
@click.option("--plot", metavar="FILE", help="Draw it: .svg, .png or .pdf.")
@click.option("--link", help="Which link to draw, where there are several.")
@options.as_json
def show(file: str, *, plot: str | None, link: str | None, as_json: bool) -> int:
    """Show what a profile knows, and what it lacks."""
    from nfsleuth.report import figures, profile_text
    from nfsleuth.report.formats import format_of

    options.check_target(plot)
    kind = format_of(plot) if plot else ""
    known = _read([file])
    if as_json:
        options.put_json(_as_json(known))
    else:
        options.put(profile_text.profile(known))
    if plot:
        links = known.links
        if link is None and len(links) > 1:
            raise NfsleuthError(f"{file}: has several links; name one with --link: {', '.join(map(repr, links))}")
        options.write(plot, figures.render(figures.profile(known, (link or (links or [""])[0])), kind))
    return Exit.DONE


@profile.command(epilog=MERGE_EXAMPLES)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", help="Profiles.")
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to write all of it; - is stdout.")
def merge(files: tuple[str, ...], *, output: str) -> int:
    """Put profiles together. The order does not matter; what two have of the same client is taken once."""
    from nfsleuth.bandwidth.profile import to_toml

    options.check_target(output)
    options.write(output, to_toml(_read(files)))
    return Exit.DONE


def _read(files: tuple[str, ...] | list[str]) -> Profile:
    from nfsleuth import api
    from nfsleuth.bandwidth.profile import Profile

    return sum((api.read_profile(file) for file in files), Profile())


def _as_json(known: Profile) -> dict[str, Any]:
    """The profile's groups, as numbers."""
    import math

    return {
        "schema": "nfsleuth.profile.show/1",
        "cells": [
            {
                "link": link,
                "operation": kind.operation,
                "size": kind.size,
                "native_MBps": round(math.exp(cell.baseline), 4),
                "labels": [
                    {
                        "label": group.label.name,
                        "state": group.label.state,
                        "clients": len(group.ratios),
                        "ratio": round(math.exp(group.centre), 4),
                        "spread": round(group.scale, 4),
                    }
                    for group in cell.groups
                ],
            }
            for link in known.links
            for kind, cell in known.cells(link).items()
        ],
        "missing": known.missing(),
    }

"""``nfsleuth path``: where a packet's time goes inside QEMU."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nfsleuth.cli import options
from nfsleuth.errors import Exit

if TYPE_CHECKING:
    from nfsleuth.path.model import Recording
    from nfsleuth.path.tree import Tree

EXAMPLES = """
\b
Examples:
  sudo nfsleuth path record --pid 4242 --seconds 10 -o rtl8139-user.path
  nfsleuth path show rtl8139-user.path
  nfsleuth path compare user.path tap.path
"""
RECORD = """
\b
Examples:
  sudo nfsleuth path record -o rtl8139-user.path
  sudo nfsleuth path record --pid 4242 --seconds 10 --stepped -o all.path
  sudo nfsleuth path record --pid 4242 --method sampling --seconds 60 -o share.path
"""
COMPARE = """
\b
Examples:
  nfsleuth path compare user.path tap.path
  nfsleuth path compare user-*.path tap-*.path
  nfsleuth path compare user.path tap.path --json | jq '.rows[0].ratio'
"""
LIBRARY = """
\b
Examples:
  nfsleuth path library
  LD_LIBRARY_PATH=$(nfsleuth path library) qemu-system-x86_64 -nic user ...
  sudo nfsleuth path record --pid $(pidof qemu-system-x86_64) --method instrumented -o inside.path
"""
SHOW = """
\b
Examples:
  nfsleuth path show rtl8139-user.path
  nfsleuth path show rtl8139-user.path --format chrome -o trace.json
  nfsleuth path show rtl8139-user.path --format flow -o user.svg
"""

recording_file = click.argument("file", metavar="FILE", help="A recording of `path record`.")


@click.group(epilog=EXAMPLES)
def path() -> None:
    """See where a packet's time goes inside a running QEMU.

    Record the calls between a guest's NIC model and the system call that sends or receives, and show them as a tree for
    each direction, with counts and times, and what can be said of both.
    """


@path.command(epilog=RECORD)
@click.option("--pid", type=int, help="Process id of the QEMU; can be left out where only one runs.")
@click.option("--seconds", type=click.FloatRange(0.1, 600), default=10.0, show_default=True, help="How long.")
@click.option(
    "--method",
    type=click.Choice(["uprobes", "sampling", "instrumented"]),
    default="uprobes",
    show_default=True,
    help="Exact counts and edges; shares of CPU time; or times inside libslirp, for a guest that was started with the "
    "library of `path library`.",
)
@click.option("--stepped", is_flag=True, help="Watch functions too whose watching costs 10 us and more a call.")
@click.option(
    "--baseline",
    type=click.FloatRange(0, 60),
    default=1.0,
    show_default=True,
    help="Seconds before and after, to see what recording costs the guest; 0 for none.",
)
@click.option("--output", "-o", required=True, metavar="FILE", help="Where to write the recording.")
@options.quiet
def record(
    pid: int | None, *, seconds: float, method: str, stepped: bool, baseline: float, output: str, quiet: bool
) -> int:
    """Record the calls in a running QEMU, or samples of it.

    The guest goes on meanwhile. Nothing of it is changed, and nothing stays when this ends, however it ends.
    """
    options.check_target(output)
    from nfsleuth.path import api, store, text

    heard = partial(options.notice, quiet=quiet)
    recording = api.record(pid, method, api.Wishes(seconds, baseline, stepped), heard)
    store.save(recording, Path(output))
    for note in recording.notes:
        heard(note)
    if recording.overhead:
        heard(text.overhead(recording.overhead))
    heard(f"{output}: {len(recording.events) or sum(recording.samples):,} events; `nfsleuth path show {output}`")
    return Exit.DONE


@path.command(epilog=LIBRARY)
@click.option("--plain", is_flag=True, help="An ordinary build that keeps its symbols, for uprobes and sampling.")
def library(*, plain: bool) -> int:
    """Build libslirp from the distribution's source package, so that calls in it can be followed.

    Prints the folder to start a guest with as LD_LIBRARY_PATH. It is built once; nothing is installed.
    """
    from nfsleuth.path import library

    options.put(f"{library.build('plain' if plain else 'instrumented')}\n")
    return Exit.DONE


@path.command(epilog=SHOW)
@recording_file
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "chrome", "folded", "flame", "flow", "bars"]),
    default="text",
    show_default=True,
    help="Text; JSON; Chrome's trace format, which Perfetto reads; folded stacks; or, as SVG, a flame graph, flow "
    "charts, or time by function.",
)
@click.option("--all", "everything", is_flag=True, help="Of the text, also paths that took little.")
@click.option("--output", "-o", metavar="FILE", default=options.STDOUT, help="Where to write it.  [default: stdout]")
def show(file: str, *, form: str, everything: bool, output: str) -> int:
    """Show a recording: both directions, counts and times."""
    options.check_target(output)
    recording, tree = _load(file)
    options.write(output, _rendered(recording, tree, form, Path(file).name, everything))
    return Exit.DONE


@path.command(epilog=COMPARE)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", help="Recordings of two kinds of guests.")
@options.as_json
def compare(files: tuple[str, ...], *, as_json: bool) -> int:
    """Compare recordings of two kinds of guests, each of one boot or several.

    Recordings with the same NIC model and backend are boots of one kind. Ratios stand beside those of the study.
    """
    from dataclasses import asdict

    from nfsleuth.errors import NfsleuthError
    from nfsleuth.path import compare as comparing

    try:
        comparison = comparing.compare([_load(file) for file in files])
    except ValueError as error:
        raise NfsleuthError(f"compare {error}") from None
    if as_json:
        options.put_json({"schema": "nfsleuth.path-compare/1", **asdict(comparison)})
    else:
        options.put(comparing.shown(comparison, options.terminal_width()))
    return Exit.DONE


def _load(file: str) -> tuple[Recording, Tree | None]:
    from nfsleuth.path import store, tree

    recording = store.load(Path(file))
    return recording, tree.grow(recording) if len(recording.events) else None


def _rendered(recording: Recording, tree: Tree | None, form: str, title: str, everything: bool) -> str:
    from nfsleuth.path import exports, figures, text

    if form == "text":
        return text.shown(recording, tree, title, options.terminal_width(), everything=everything)
    if form == "bars":
        return figures.bars(recording, tree, title)
    if form == "json":
        return exports.as_json(recording, tree)
    if tree is None:
        from nfsleuth.errors import NfsleuthError

        raise NfsleuthError(f"{title}: samples follow no calls, so there is no {form}; choose text, json or bars")
    forms = {"chrome": exports.chrome, "folded": exports.folded, "flame": figures.flame, "flow": figures.flow}
    return forms[form](recording, tree)

"""``nfsleuth lab``: real guests, a real NFS server, captures whose answer is known."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nfsleuth.errors import Exit

if TYPE_CHECKING:
    from nfsleuth.lab.parts import Part
    from nfsleuth.lab.record import Record

EXAMPLES = """
\b
Examples:
  sudo nfsleuth lab check
  sudo nfsleuth lab run paper -o results/
  sudo nfsleuth lab run my-experiment.toml --accel tcg
"""


@click.group(epilog=EXAMPLES)
def lab() -> None:
    """Record captures whose answer is known.

    Real guests under QEMU and a real NFS server, in namespaces that are apart from this machine and end with the lab.
    Needs root. What an experiment file can say is in docs/lab.md.
    """


@lab.command(epilog="\b\nExamples:\n  sudo nfsleuth lab check\n  nfsleuth lab check && echo ready\n")
def check() -> int:
    """Say what a lab needs and this machine lacks.

    The last line is the one command that brings what is missing.

    Exit codes: 0 all that every lab needs is there, 5 something is missing.
    """
    from nfsleuth.lab import parts

    found = parts.check()
    for needed, title in ((True, "Every lab needs"), (False, "Some experiments use")):
        click.echo(f"{title}:")
        for part in (part for part in found if part.needed == needed):
            click.echo(_line(part))
        click.echo("")
    missing = [part for part in found if part.needed and part.there is False]
    if command := parts.cure(missing):
        click.echo(f"To bring what is missing:\n  {command}")
    if command := parts.cure(part for part in found if not part.needed):
        click.echo(f"For all experiments:\n  {command}")
    if any(part.there is None for part in found):
        click.echo("Parts marked ? can only be tried by root: run it with sudo.")
    if missing:
        return Exit.PARTS_MISSING
    click.echo("Ready.")
    return Exit.DONE


def _line(part: Part) -> str:
    state = {True: "yes", False: "no", None: "?"}[part.there]
    return f"  {state:<4}{part.name:<20}{part.what}"


@lab.command(
    epilog="\b\nExamples:\n  sudo nfsleuth lab run paper\n  sudo nfsleuth lab run matrix -o matrix/ --seed 7\n"
    "  sudo nfsleuth lab run paper --full-sizes --accel kvm\n"
    "  sudo nfsleuth lab run path --only rtl8139,virtio,user,tap --boots 3\n"
)
@click.argument("experiment", metavar="NAME|FILE.toml")
@click.option("-o", "--output", metavar="DIR", help="A new folder for all that comes out; lab-NAME by default.")
@click.option(
    "--accel",
    type=click.Choice(["auto", "kvm", "tcg"]),
    default="auto",
    show_default=True,
    help="How guests run. auto boots a kernel under KVM before it trusts it.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Instead of the experiment's own.")
@click.option("--boots", type=click.IntRange(1, 100), help="Rounds, instead of the experiment's own.")
@click.option("--only", metavar="WORD,...", help="Only clients with these NIC models, backends or names.")
@click.option("--full-sizes", is_flag=True, help="The sizes of a full run: for paper 500 KB to 2 GB.")
@click.option("--keep", is_flag=True, help="Keep the working folder, with initramfs images and raw captures.")
def run(
    experiment: str, *, output: str | None, accel: str, seed: int | None, boots: int | None, only: str | None,
    full_sizes: bool, keep: bool,
) -> int:  # fmt: skip
    """Run an experiment: captures, labels, timings, a report.

    `nfsleuth lab list` names the experiments that ship. The folder holds report.md, a capture and its labels per
    capture point, recordings inside QEMU, timings.json, run.json (versions, seed, what was left out) and the logs.
    Ended by hand, a run without captures keeps the turns that are over.

    Exit codes: 0 done, 2 wrong use or a wrong experiment file, 5 a part is missing, 6 a guest or server failed, or it
    was ended by hand.
    """
    from nfsleuth.lab import record
    from nfsleuth.lab.experiment import load, text_of

    wanted, given = load(experiment, seed, boots), text_of(experiment)
    if only:
        wanted = record.only(wanted, only.split(","))
    if full_sizes:
        wanted = record.full_sizes(wanted)
    expected = record.estimate(wanted)
    click.echo(
        f"{wanted.name}: {len(wanted.clients)} clients read {expected.octets / 1e6:,.0f} MB: about "
        f"{_time(expected.seconds)}, captures of up to {expected.captured / 1e6:,.0f} MB"
    )
    folder = Path(output or f"lab-{wanted.name}")
    with _watching() as progress:
        done = record.record(wanted, folder, given=given, accelerator=accel, keep=keep, progress=progress)
    _summary(done)
    return Exit.LAB_FAILED if done.ended else Exit.DONE


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds > 5400 else f"{max(1, round(seconds / 60))} min"


def _summary(done: Record) -> None:
    from nfsleuth.report.escape import visible

    for path in done.captures:
        click.echo(f"{path}")
    for name, why in done.left_out.items():
        click.echo(f"left out: {name}: {visible(why)}")
    for name, ran in done.ran.items():
        if ran.failed:
            click.echo(f"failed: {name}: {visible(ran.failed)}")
    for name, count in done.dropped.items():
        if count:
            click.echo(f"gaps: {name}: the kernel dropped {count:,} frames")
    if done.ended:
        click.echo(f"{done.ended}: the turns that were over are kept")
    if done.kept:
        click.echo(f"kept: {done.kept}")
    click.echo(f"{done.folder / 'report.md'} has the rest.")


@contextmanager
def _watching() -> Iterator[Callable[[str], None]]:
    """A line that says what runs: one that changes if a person watches, else a log."""
    if not sys.stderr.isatty():
        yield lambda text: click.echo(f"nfsleuth lab: {text}", err=True)
        return
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("starting") as status:
        yield lambda text: status.update(text[: shutil.get_terminal_size().columns - 4])


@lab.command(
    epilog="\b\nExamples:\n  nfsleuth lab report lab-path -o again/\n  nfsleuth lab report monday/ tuesday/ -o both/\n"
)
@click.argument("runs", nargs=-1, required=True, metavar="DIR...")
@click.option("-o", "--output", required=True, metavar="DIR", help="A new folder for the report and its figures.")
def report(runs: tuple[str, ...], *, output: str) -> int:
    """Make the report of a run anew, or one report of several runs of one experiment.

    DIR are folders that `lab run` made. Boots add up.
    """
    from nfsleuth.lab import pages, record

    measured = pages.together([pages.load(Path(run)) for run in runs])
    folder = Path(output)
    record.new_folder(folder)
    pages.write(folder, measured)
    click.echo(f"{folder / 'report.md'}")
    return Exit.DONE


@lab.command("list")
def list_() -> int:
    """Name the experiments that ship with nfsleuth."""
    from nfsleuth.lab.experiment import load, shipped

    for name in shipped():
        known = load(name)
        click.echo(f"{name:<12}{len(known.clients):>4} clients  {known.title}")
    return Exit.DONE


@lab.command()
def clean() -> int:
    """Remove what killed labs left.

    That is their working folders: processes, namespaces and interfaces end with the lab, and should anything still
    run, it is ended. The next run cleans too.
    """
    from nfsleuth.lab import supervise

    supervise.needs_root()
    done = supervise.sweep()
    click.echo("\n".join(done) if done else "Nothing is left of any lab.")
    return Exit.DONE

"""``nfsleuth bench``: time how files are read, or show and compare what was timed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from nfsleuth.cli import options
from nfsleuth.errors import Exit, NfsleuthError

if TYPE_CHECKING:
    from nfsleuth.bandwidth.active import Job
    from nfsleuth.bandwidth.timings import Timings

EXAMPLES = """
\b
Examples:
  nfsleuth bench /mnt/nfs
  nfsleuth bench /mnt/nfs --sizes 500K,1M,2M,4M,8M,16M,500M,1G,2G -o guest.json
  nfsleuth bench 'nfs://server/export?version=4' --block 128K
  nfsleuth bench native.json guest.json --plot reading.svg
"""
PARTS_OF_A_LINE = 78


class Asked(TypedDict):
    """The options that say what to measure, as click gives them."""

    sizes: str
    block: str
    rounds: int
    seed: int | None
    label: str
    cache: str
    server_drop: str
    keep: bool
    timeout: float


@click.command(epilog=EXAMPLES)
@click.argument(
    "targets",
    nargs=-1,
    required=True,
    metavar="TARGET...",
    help="A folder, or nfs://SERVER/EXPORT for a server without a mount; or files that -o wrote, to compare them.",
)
@click.option("--sizes", default="500K,1M,2M,4M,8M,16M", show_default=True, help="Sizes of the files; K is 1024.")
@click.option("--block", default="4K", show_default=True, help="Bytes that are asked for at once.")
@click.option("--rounds", default=5, show_default=True, help="How often each file is read, after a warm-up.")
@click.option("--seed", type=int, help="Repeat the random order of an earlier run.")
@click.option("--label", default="", help="What is measured: native, virtio bridged, ...")
@click.option(
    "--cache",
    type=click.Choice(["auto", "drop", "advise", "direct", "keep"]),
    default="auto",
    show_default=True,
    help="How the client's cache is emptied: drop_caches (root, the whole machine's), posix_fadvise, O_DIRECT, not.",
)
@click.option("--server-drop", metavar="COMMAND", default="", help="A command that empties the server's cache.")
@click.option("--keep", is_flag=True, help="Leave the files there; a later run uses them.")
@click.option(
    "--timeout",
    default=60.0,
    show_default=True,
    help="Seconds without progress after which the mount counts as hanging.",
)
@click.option("-o", "--output", metavar="FILE", help="Write the measurement to FILE, as JSON.")
@click.option("--plot", metavar="FILE", help="Draw it: .svg, .png or .pdf.")
@options.as_json
@options.quiet
def bench(
    targets: tuple[str, ...],
    *,
    output: str | None,
    plot: str | None,
    as_json: bool,
    quiet: bool,
    **asked: Unpack[Asked],
) -> int:
    """Time how files are read.

    Makes a file of each size, reads them in blocks, several rounds in random order with caches emptied before each
    reading, and removes them. Prints medians with 95 % intervals, and the 2013 study's Table 2 beside them.

    Exit codes: 0 done, 2 wrong use, 3 the file system failed (what was measured until then is printed).
    """
    from nfsleuth.report.formats import format_of

    taken = options.check_targets({"--output": output, "--plot": plot}, as_json=as_json)
    kind = format_of(plot) if plot else ""
    saved = [target for target in targets if Path(target).is_file()]
    if saved and len(saved) != len(targets):
        raise NfsleuthError(f"{targets[0]} ...: give one folder or address to measure, or files of earlier runs only")
    if saved:
        runs = [_saved(path) for path in saved]
    elif len(targets) > 1:
        raise NfsleuthError(f"{len(targets)} targets: one at a time can be measured; write each to a file with -o")
    else:
        runs = [_measured(_job(targets[0], asked), quiet)]
    _put_out(runs, output, as_json=as_json, as_text=not taken)
    if plot:
        from nfsleuth.report import figures

        options.write(plot, figures.render(figures.timings(runs), kind))
    return Exit.UNREADABLE if any(run.problem for run in runs) and not saved else Exit.DONE


def _job(target: str, asked: Asked) -> Job:
    """What the options ask for."""
    from nfsleuth.bandwidth.active import Job
    from nfsleuth.bandwidth.active.stores import Cache
    from nfsleuth.bandwidth.active.supervise import random_seed
    from nfsleuth.bandwidth.plan import Plan, parse_size, parse_sizes

    if not asked["timeout"] > 0:
        raise NfsleuthError(f"--timeout {asked['timeout']:g}: give a number of seconds above 0")
    seed = random_seed() if asked["seed"] is None else asked["seed"]
    plan = Plan(parse_sizes(asked["sizes"]), parse_size(asked["block"]), asked["rounds"], seed)
    return Job(
        target, plan, asked["label"], Cache(asked["cache"]), asked["server_drop"], asked["keep"], asked["timeout"]
    )


def _measured(job: Job, quiet: bool) -> Timings:
    """Time it, with a line of progress if a person watches."""
    from nfsleuth.bandwidth.active import measure

    line = _Line() if sys.stderr.isatty() and not quiet else None
    try:
        return measure(job, line)
    finally:
        if line is not None:
            line.clear()


class _Line:
    """One line on stderr that says what is being done, and how long it will take."""

    def __call__(self, what: str, size: int, done: int, left: float | None) -> None:
        from nfsleuth.bandwidth.plan import human
        from nfsleuth.report.words import duration

        share = f", {100 * done // size} %" if size else ""
        rest = "" if left is None else f"; about {duration(round(left * 1e9))} left"
        sys.stderr.write(f"\r{f'{what} {human(size)}{share}{rest}'[:PARTS_OF_A_LINE]:<{PARTS_OF_A_LINE}}")
        sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away."""
        sys.stderr.write("\r" + " " * PARTS_OF_A_LINE + "\r")
        sys.stderr.flush()


def _saved(path: str) -> Timings:
    """What an earlier run wrote."""
    from nfsleuth.bandwidth.timings import LARGEST_JSON, from_json

    place = Path(path)
    try:
        if place.stat().st_size > LARGEST_JSON:
            raise NfsleuthError(f"{path}: is too large for a file of timings", Exit.UNREADABLE)
        return from_json(place.read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise NfsleuthError(f"{path}: cannot be read ({error})", Exit.UNREADABLE) from error


def _put_out(runs: list[Timings], output: str | None, *, as_json: bool, as_text: bool) -> None:
    """The runs as JSON or text, to standard output and to a file."""
    from nfsleuth.bandwidth.timings import to_json
    from nfsleuth.report import timing_text

    if output:
        if len(runs) > 1:
            raise NfsleuthError("-o takes one measurement; give one file")
        options.write(output, options.json_text(to_json(runs[0])))
    if as_json:
        found = [to_json(run) for run in runs]
        options.put_json(found[0] if len(found) == 1 else found)
    elif as_text:
        tables = [timing_text.beside_the_study(runs)] if any(run.bandwidth() for run in runs) else []
        options.put("\n".join([*map(timing_text.run, runs), *tables]))

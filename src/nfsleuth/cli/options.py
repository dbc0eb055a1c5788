"""Options that several commands have, and what they have in common when they read captures and write results."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import click

from nfsleuth import kernel_cache
from nfsleuth.errors import Exit, NfsleuthError

if TYPE_CHECKING:
    from msgspec import Raw

    from nfsleuth.api import Method, Progress
    from nfsleuth.report.json_report import Spelled
    from nfsleuth.verdict.model import Report

COMPILING = "compiling the kernels for this machine, once: up to a minute"
STDOUT = "-"
PIECE = 1 << 16  # characters or bytes that are written at once
Command = TypeVar("Command", bound=Callable[..., Any])


captures = click.argument(
    "captures", nargs=-1, required=True, metavar="CAPTURE...", help="Captures; together they are one trace. - is stdin."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
rules = click.option("--rules", metavar="DIR", help="Add the rules of DIR/*.toml to the built-in ones.")
prior = click.option(
    "--prior",
    multiple=True,
    metavar="STATE=P",
    help="What is likely beforehand, such as native=0.8. Can be given several times.",
)
method = click.option(
    "--method",
    type=click.Choice(["evidence", "paper"]),
    default="evidence",
    show_default=True,
    help="All evidence, or only the two rules of the 2013 paper.",
)
profile = click.option("--profile", metavar="FILE", help="Compare how fast clients read with a site's profile.")
link = click.option("--link", help="Which of the profile's links the captures are of, where it has several.")
quiet = click.option("--quiet", "-q", is_flag=True, help="No progress bar and no notices.")
_TABLES = (
    click.option(
        "--fdb",
        multiple=True,
        metavar="FILE",
        help="A switch's forwarding table: bridge -j fdb show, or snmpwalk of BRIDGE-MIB. Can be given several times.",
    ),
    click.option(
        "--lldp",
        multiple=True,
        metavar="FILE",
        help="A switch's neighbours: lldpcli show neighbors -f json. Can be given several times.",
    ),
    click.option(
        "--inventory",
        multiple=True,
        metavar="FILE",
        help="Guests and their hosts: virsh dumpxml or domiflist, CSV, JSON. Can be given several times.",
    ),
    click.option(
        "--link-speed",
        metavar="RATE",
        help="The fastest cable of any host, such as 1gbit: two guests of one share it.",
    ),
)


class Tables(TypedDict):
    """What `tables` adds, as click gives it."""

    fdb: tuple[str, ...]
    lldp: tuple[str, ...]
    inventory: tuple[str, ...]
    link_speed: str | None


def tables(command: Command) -> Command:
    """Give a command the options that say what is known of the site: tables of switches and hypervisors, cables."""
    for option in reversed(_TABLES):  # the last decorator that is applied comes first in the help
        command = option(command)
    return command


def identified(
    captures: Sequence[str],
    *,
    rules: str | None,
    prior: Sequence[str],
    method: Method,
    profile: str | None,
    link: str | None,
    quiet: bool,
    tables: Tables | None = None,
) -> Report:
    """Read and conclude, telling the person at the terminal what takes time."""
    from nfsleuth import api

    imported, speed = None, 0
    if tables:
        files = {"fdb": tables["fdb"], "lldp": tables["lldp"], "inventory": tables["inventory"]}
        imported = api.import_tables(**files) if any(files.values()) else None
        speed = _bits_per_second(tables["link_speed"]) if tables["link_speed"] else 0
    with watching(quiet) as progress:
        return api.identify(
            *captures,
            rules=rules,
            priors=",".join(prior) if prior else None,
            method=method,
            profile=profile,
            link=link,
            imported=imported,
            link_speed=speed,
            progress=progress,
        )


def _bits_per_second(rate: str) -> int:
    from nfsleuth.lab import values

    try:
        return values.rate(rate)
    except ValueError as error:
        raise NfsleuthError(f"--link-speed {rate}: {error}") from error


def require_nfs(report: Report, quiet: bool) -> Exit:
    """The exit code for a report; says what to look at where no client was found."""
    if report.clients:
        return Exit.DONE
    notice(_nothing(report), quiet=quiet)
    return Exit.NO_NFS


def _nothing(report: Report) -> str:
    from nfsleuth.report import words

    frames = sum(c.frames for c in report.captures)
    where = report.captures[0].path if len(report.captures) == 1 else f"{len(report.captures)} captures"
    if not frames:
        return f"no NFS in {where}: no frames in it; was something filtered away?"
    odd = "".join(f", {words.oddity(name)} {count:,}" for name, count, _ in words.oddities(report)[:3])
    return (
        f"no NFS in {where}: {words.count(frames, 'frame')}{odd}; "
        "capture on the server's interface (tcpdump -i IF -s 640 -w FILE port 2049 or port 111)"
    )


@contextmanager
def watching(quiet: bool) -> Iterator[Progress | None]:
    """A progress bar on stderr if a person watches and waits; a notice if the kernels have to be compiled first."""
    if not quiet and not kernel_cache.is_compiled():
        notice(COMPILING)
    bar = _Bar() if sys.stderr.isatty() and not quiet else None
    try:
        yield bar
        kernel_cache.mark_compiled()
    finally:
        if bar is not None:
            bar.stop()


class _Bar:
    """Shows itself when reading has taken a second; Rich is imported only then."""

    PATIENCE = 1.0  # s

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __call__(self, done: int, total: int | None) -> None:
        if self._bar is None:
            if time.monotonic() - self._start < self.PATIENCE:
                return
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

            self._bar = Progress(
                "reading",
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("reading", total=total)
        self._bar.update(self._task, completed=done, total=total)

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()


def terminal_width() -> int:
    """Columns to print in: those of the terminal, 80 where there is none."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 80


def colourful() -> bool:
    """Whether to colour: on a terminal that can, unless NO_COLOR (https://no-color.org) is set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def notice(text: str, *, quiet: bool = False) -> None:
    """Tell the person at the terminal, unless they asked for quiet; `text` may hold anything that a capture says."""
    if not quiet:
        from nfsleuth.report.escape import visible

        click.echo(f"nfsleuth: {visible(text)}", err=True)


def put(text: str) -> None:
    """Print `text` as it is.

    In pieces: with PYTHONUNBUFFERED set, a long write of which a reader took a part before it left counts as done.
    """
    for start in range(0, len(text), PIECE):
        sys.stdout.write(text[start : start + PIECE])


def put_json(value: object, *, reported: bool = False) -> None:
    """Print `value` as JSON, all in ASCII, so that no terminal can take it for anything else. reported: `json_text`."""
    put(json_text(value, reported=reported))


def json_text(value: object, *, reported: bool = False) -> str:
    """`value` as lines of JSON in ASCII; what ASCII lacks, and control characters, are escaped.

    reported: it is a document of `report.json_report`. Of such numbers, and of ASCII, msgspec makes the text that
    Python makes, in a third of the time, and without the 3 ms that importing json takes.
    """
    import msgspec

    if reported:
        with suppress(UnicodeEncodeError, OverflowError):  # lone surrogates, of a file's name; more than 64 bits
            data = msgspec.json.encode(value, enc_hook=_spelled)
            text = msgspec.json.format(data, indent=2).decode()
            if not data.isascii() or b"\x7f" in data:
                text = re.sub(r"[^\x00-\x7e]", _escaped, text)  # such characters are nowhere but in strings
            return text + "\n"
    import json

    text = json.dumps(value)
    try:
        # Asked to indent, json.dumps runs in Python instead of C: four times as long.
        return msgspec.json.format(text, indent=2) + "\n"
    except msgspec.DecodeError:  # NaN or infinity, of which JSON knows nothing
        return json.dumps(value, indent=2) + "\n"


def _escaped(character: re.Match[str]) -> str:
    """As json.dumps writes it: \\u and 4 digits for each unit of UTF-16 (RFC 8259 section 7)."""
    units = character[0].encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _spelled(number: Spelled) -> Raw:
    from msgspec import Raw

    return Raw(float.__repr__(number).encode())


def check_target(target: str | None) -> None:
    """Complain about a file that cannot be written before hours are spent on reading."""
    if target and target != STDOUT:
        from pathlib import Path

        folder = Path(target).parent
        if not folder.is_dir():
            raise NfsleuthError(f"{target}: there is no folder {folder}; make it first")
        if Path(target).is_dir():
            raise NfsleuthError(f"{target}: is a folder; name a file in it")


def check_targets(targets: Mapping[str, str | None], *, as_json: bool) -> bool:
    """Complain about results that cannot be written as is asked, before hours are spent on reading.

    targets: the FILE that each option, such as "--csv", was given. Returns whether standard output is taken by one of
    them, or by ``--json``.
    """
    if plot := targets.get("--plot"):
        from nfsleuth.report.formats import format_of

        format_of(plot)
    for target in targets.values():
        check_target(target)
    to_stdout = [name for name, target in targets.items() if target == STDOUT] + ["--json"] * as_json
    if len(to_stdout) > 1:
        raise NfsleuthError(f"{' and '.join(to_stdout)} both want standard output; give one of them a FILE")
    return bool(to_stdout)


def write(target: str, content: str | bytes) -> None:
    """Write a result to a file, or to standard output for ``-``."""
    data = content.encode() if isinstance(content, str) else content
    if target == STDOUT:
        sys.stdout.flush()
        rest = memoryview(data)
        while rest:
            rest = rest[sys.stdout.buffer.write(rest[:PIECE]) :]
        return
    from pathlib import Path

    try:
        Path(target).write_bytes(data)
    except OSError as error:
        raise NfsleuthError(f"{target}: cannot be written ({error.strerror}); choose another place") from error

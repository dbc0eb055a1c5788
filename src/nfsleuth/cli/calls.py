"""``nfsleuth calls``: calls with their replies, as they are finished."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from nfsleuth.cli import options
from nfsleuth.errors import Exit, NfsleuthError

if TYPE_CHECKING:
    import polars as pl

EXAMPLES = """
\b
Examples:
  nfsleuth calls office.pcapng | head
  nfsleuth calls office.pcapng --client 10.0.0.7 --json | jq .operation
  nfsleuth calls monday.pcap tuesday.pcap --parquet calls.parquet
"""

_NOT_ASCII = re.compile("[\x7f-\U0010ffff]")


@click.command(epilog=EXAMPLES)
@options.captures
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines: one object per call.")
@click.option("--parquet", metavar="FILE", help="Write the calls to a Parquet FILE.")
@click.option("--client", metavar="ADDR", help="Only calls of the client with this address.")
@options.quiet
def calls(captures: tuple[str, ...], *, as_json: bool, parquet: str | None, client: str | None, quiet: bool) -> int:
    """List calls with their replies.

    Time, client, operation, main arguments, status, bytes moved, latency. Calls come in the order in which they were
    finished; memory stays bounded, whatever the size of the captures. Exit codes: 0 done, 2 wrong use, 3 a capture
    cannot be read, 4 no calls found.
    """
    if parquet and (as_json or parquet == options.STDOUT):
        raise NfsleuthError("--parquet needs a FILE of its own, and goes without --json")
    options.check_target(parquet)
    with options.watching(quiet) as progress:
        from nfsleuth import api

        found = _Counted(_of(api.calls(*captures, progress=progress), _address(client)))
        if parquet:
            _write_parquet(found, parquet)
        elif as_json:
            for frame in found:
                options.put(json_lines(frame))
        else:
            _print(found)
    if found.rows:
        return Exit.DONE
    options.notice(f"no calls{f' of {client}' if client else ''} found", quiet=quiet)
    return Exit.NO_NFS


class _Counted:
    """Frames as they pass, counting their rows."""

    def __init__(self, frames: Iterator[pl.DataFrame]) -> None:
        self._frames = frames
        self.rows = 0

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for frame in self._frames:
            self.rows += len(frame)
            yield frame


def _address(text: str | None) -> str | None:
    """An address in the spelling of the tables."""
    if text is None:
        return None
    from ipaddress import ip_address

    try:
        return str(ip_address(text))
    except ValueError as error:
        raise NfsleuthError(
            f"--client {text}: not an address; `nfsleuth identify` lists those of the clients"
        ) from error


def _of(frames: Iterator[pl.DataFrame], client: str | None) -> Iterator[pl.DataFrame]:
    """Those rows that are of `client`, or all; no empty frames."""
    for frame in frames:
        kept = frame if client is None else frame.filter(client=client)
        if len(kept):
            yield kept


def _print(frames: _Counted) -> None:
    """Lines as wide as the terminal, flushed after each frame, since who watches a pipe wants to see what has come."""
    from nfsleuth.report.call_lines import CallLines

    lines = CallLines(options.terminal_width())
    for frame in frames:
        options.put(lines.render(frame))
        sys.stdout.flush()


def json_lines(frame: pl.DataFrame) -> str:
    """A JSON object per row, all in ASCII, so that no terminal can take text of a capture for anything else."""
    text = frame.write_ndjson()
    return text if text.isascii() and "\x7f" not in text else _NOT_ASCII.sub(lambda found: _json_escape(found[0]), text)


def _json_escape(character: str) -> str:
    r"""``\uXXXX``, twice (a surrogate pair, RFC 8259 section 7) for characters beyond U+FFFF."""
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def _write_parquet(frames: _Counted, target: str) -> None:
    """Write frame by frame: Polars' streaming engine takes them from a source that it asks for the next one."""
    from polars.io.plugins import register_io_source

    from nfsleuth.report.tables import CALLS

    def source(
        columns: list[str] | None, predicate: object, rows: int | None, batch: int | None
    ) -> Iterator[pl.DataFrame]:
        assert columns is None
        assert predicate is None
        del rows, batch
        yield from frames

    try:
        register_io_source(source, schema=CALLS).sink_parquet(target)
    except OSError as error:
        raise NfsleuthError(f"{target}: cannot be written ({error}); choose another place") from error

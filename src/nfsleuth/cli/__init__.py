"""Arguments come in, a command runs, an exit code goes out: one module per command, imported when it is asked for.

A command's module has its function, whose signature and docstring are its options and help, and `EXAMPLES`, which end
its help. What goes wrong is caught here, once: `NfsleuthError` becomes one line, Ctrl-C and a closed pipe become exit
codes.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from enum import IntEnum
from types import ModuleType
from typing import Annotated

import typer

from nfsleuth.errors import NfsleuthError

COMMANDS = ("identify", "explain", "calls")
EXAMPLES = """
\b
Examples:
  nfsleuth identify office.pcapng
  nfsleuth explain office.pcapng 10.0.0.7
  nfsleuth calls office.pcapng --client 10.0.0.7 | head
"""


class Signal(IntEnum):
    """Exit codes of a process that a signal ended, as shells give them: 128 and the signal's number."""

    INTERRUPTED = 130  # SIGINT, Ctrl-C
    NO_READER = 141  # SIGPIPE: whoever read the output has gone


def main(arguments: Sequence[str] | None = None) -> None:
    """Run nfsleuth with `arguments` (default: those of the process). Ends in SystemExit."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character is no reason to stop
    _application(given)(args=given, prog_name="nfsleuth")


def _application(arguments: Sequence[str]) -> typer.Typer:
    """The command that `arguments` ask for; all of them if they ask for help, or for none that exists."""
    wanted = next((a for a in arguments if not a.startswith("-")), None)
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True)
    settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
    app.callback(epilog=EXAMPLES, context_settings=settings)(_nfsleuth)
    for name in COMMANDS if wanted not in COMMANDS else (wanted,):
        module: ModuleType = importlib.import_module(f"{__name__}.{name}")
        app.command(name, epilog=module.EXAMPLES, context_settings=settings)(_guarded(getattr(module, name)))
    return app


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"nfsleuth {version('nfsleuth')}")
        raise typer.Exit


def _nfsleuth(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Say who is really at the other end of each NFS mount, and why, from what passed on the wire."""


def _guarded(run: Callable[..., int]) -> Callable[..., None]:
    """`run` with its ways to fail turned into messages and exit codes."""

    @functools.wraps(run)
    def guarded(*args: object, **options: object) -> None:
        try:
            code = int(run(*args, **options))
            sys.stdout.flush()
        except NfsleuthError as error:
            from nfsleuth.report.escape import visible

            typer.echo(f"nfsleuth: {visible(error.message)}", err=True)
            code = error.exit_code
        except BrokenPipeError:
            # What is still buffered has nowhere to go; without this, Python would complain about it at its exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = Signal.NO_READER
        except KeyboardInterrupt:
            code = Signal.INTERRUPTED
        if code:
            raise typer.Exit(code)

    return guarded

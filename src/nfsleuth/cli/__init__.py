"""Arguments come in, a command runs, an exit code goes out: one module per command, imported when it is asked for.

A command's module has a `click` command or group of its own name, which returns its exit code; its docstring is its
help, and `EXAMPLES` end it. What goes wrong is caught here, once: `NfsleuthError` becomes one line, Ctrl-C and a closed
pipe become exit codes.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from enum import IntEnum

import click

from nfsleuth.errors import NfsleuthError

COMMANDS = {  # in the order of the help; the module in which a command is found, under its own name
    "identify": "nfsleuth.cli.identify",
    "explain": "nfsleuth.cli.explain",
    "hosts": "nfsleuth.cli.hosts",
    "calls": "nfsleuth.cli.calls",
    "sharing": "nfsleuth.cli.sharing",
    "bench": "nfsleuth.cli.bench",
    "profile": "nfsleuth.cli.profile",
    "lab": "nfsleuth.cli.lab",
    "contrast": "nfsleuth.cli.contrast",
    "path": "nfsleuth.cli.path",
}
GARBAGE = 1_000_000  # objects made and not freed before Python looks whether some only refer to each other
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
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character is no reason to stop
    # NumPy would start a thread of OpenBLAS per processor, each busy waiting: nearly half of the processor time of a
    # small capture, a fifth of that of a large `contrast`. No command has more than small matrices to multiply.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Nearly every object of a command lives to its end, and few refer to each other in circles (some 300 in a run over
    # 200 clients): looking for these as often as Python does took 7 % of a run.
    gc.set_threshold(GARBAGE)
    atexit.register(gc.freeze)  # nor is it worth while to look through all of them when Python ends: another 5 %
    nfsleuth(None if arguments is None else list(arguments), "nfsleuth")


class _Commands(click.Group):
    """Imports the command that is asked for, or all for the help, and turns ways to fail into exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        if cmd_name not in COMMANDS:
            raise click.NoSuchCommand(cmd_name, possibilities=COMMANDS, ctx=ctx)
        command: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name]), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> None:
        """Run the command, which may be one of a group, and exit with what it returns."""
        try:
            code = int(super().invoke(ctx))
            sys.stdout.flush()
        except NfsleuthError as error:
            from nfsleuth.cli import options

            options.notice(error.message)
            code = error.exit_code
        except BrokenPipeError:
            # What is still buffered has nowhere to go; without this, Python would complain about it at its exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = Signal.NO_READER
        except KeyboardInterrupt:
            code = Signal.INTERRUPTED
        ctx.exit(code)


@click.group(
    cls=_Commands,
    epilog=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},  # of all commands
)
@click.version_option(package_name="nfsleuth", message="%(prog)s %(version)s", help="Print the version and exit.")
def nfsleuth() -> None:
    """Say who is really at the other end of each NFS mount, and why, from what passed on the wire."""

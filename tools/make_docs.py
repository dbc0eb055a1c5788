#!/usr/bin/env python3
"""The documents that would drift if they were written by hand: sources come in, docs/evidence.md, docs/cli.md go out.

usage: make_docs.py [--check]

The signs in docs/hosts.md are put in anew, and in README.md and CONTRIBUTING.md the output below each
``$ nfsleuth ...`` of a ``console`` block. Commands run in the repository's top folder, for a terminal of 80 columns.
With --check nothing is written: the exit code is 1 if anything is stale.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from nfsleuth import cli
from nfsleuth.evidence.document import markdown
from nfsleuth.evidence.rules import Rules
from nfsleuth.hosts.document import markdown as signs

ROOT = Path(__file__).parents[1]
SIGNS, SIGNS_END = "<!-- signs: begin (make docs writes this) -->\n", "<!-- signs: end -->\n"
WITH_CONSOLES = ("README.md", "CONTRIBUTING.md")
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def main(arguments: Sequence[str]) -> int:
    """Write what is stale, or (--check) name it."""
    if set(arguments) - {"--check"}:
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    stale = [path for path, text in documents().items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in arguments:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is stale: run make docs", file=sys.stderr)
        return 1 if stale else 0
    for path, text in documents().items() if stale else ():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


def documents() -> dict[Path, str]:
    """What each document should hold."""
    found = {ROOT / "docs" / "evidence.md": markdown(Rules.builtin()), ROOT / "docs" / "cli.md": command_pages()}
    for name in WITH_CONSOLES:
        found[ROOT / name] = with_output((ROOT / name).read_text(encoding="utf-8"))
    hosts = ROOT / "docs" / "hosts.md"
    before, _, rest = hosts.read_text(encoding="utf-8").partition(SIGNS)
    found[hosts] = f"{before}{SIGNS}{signs()}{SIGNS_END}{rest.partition(SIGNS_END)[2]}"
    return found


def command_pages() -> str:
    """docs/cli.md: the help of every command, as a terminal shows it."""
    pages = ["# Commands", "Generated from `--help` by `make docs`."]
    # A command keeps the help option that it is first asked for: it must be asked with the settings of a real run.
    context = click.Context(cli.nfsleuth, info_name="nfsleuth", **cli.nfsleuth.context_settings)
    for line in command_lines(context):
        pages += [f"## {line}", f"```text\n{output(f'{line} --help').rstrip()}\n```"]
    return "\n\n".join(pages) + "\n"


def command_lines(context: click.Context) -> Iterator[str]:
    """``nfsleuth``, ``nfsleuth identify``, ...: each command below a context's, those of groups included."""
    yield context.command_path
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            assert command
            yield from command_lines(click.Context(command, parent=context, info_name=name))


def with_output(text: str) -> str:
    """`text` with the output of the commands in its ``console`` blocks as it is now."""
    return CONSOLE.sub(lambda block: f"```console\n{_session(block[1])}```", text)


def _session(block: str) -> str:
    commands = [line[2:] for line in block.splitlines() if line.startswith("$ ")]
    assert commands, f"a console block without a command:\n{block}"
    return "".join(f"$ {command}\n{output(command)}" for command in commands)


def output(command: str) -> str:
    """What a shell in the repository's top folder prints for `command`; this Python's nfsleuth is first on its path."""
    environment = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "TERMINAL_WIDTH")}
    environment |= {"COLUMNS": "80", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8", "LC_ALL": "C.UTF-8"}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command}: exit code {done.returncode}: {done.stderr.strip()}")
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""``nfsleuth explain``: why a client's verdict is what it is, or what a heuristic looks at."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nfsleuth.cli import options
from nfsleuth.errors import Exit, NfsleuthError

if TYPE_CHECKING:
    from types import ModuleType

    from nfsleuth.api import Method
    from nfsleuth.verdict.model import Report, Verdict

EXAMPLES = """
\b
Examples:
  nfsleuth explain office.pcapng 10.0.0.7
  nfsleuth explain monday.pcap tuesday.pcap build-server-3 --json
  nfsleuth explain source_port
"""


@click.command(epilog=EXAMPLES)
@click.argument(
    "what",
    nargs=-1,
    metavar="[CAPTURE... CLIENT | RULE]",
    help="Captures and a client of theirs (id, address or name), or the name of a rule. "
    "A capture alone explains all of its clients.",
)
@click.option("--list", "list_rules", is_flag=True, help="List the rules.")
@options.as_json
@options.rules
@options.prior
@options.method
@options.profile
@options.link
@options.quiet
def explain(
    what: tuple[str, ...],
    *,
    list_rules: bool,
    as_json: bool,
    rules: str | None,
    prior: tuple[str, ...],
    method: Method,
    profile: str | None,
    link: str | None,
    quiet: bool,
) -> int:
    """Show the evidence behind a verdict, or a rule.

    Every piece of evidence about a client: its weight, what was seen and in which frames, what was set aside and why,
    and what would change the verdict. Or, by name, what a rule looks at.
    """
    if list_rules:
        return _list(as_json)
    if not what:
        raise NfsleuthError("explain what? name captures and a client, or a rule; --list shows the rules")
    if len(what) == 1 and not Path(what[0]).exists() and what[0] != options.STDOUT:
        return _rule(what[0], as_json)
    *captures, client = what if len(what) > 1 and not Path(what[-1]).is_file() else [*what, ""]
    report = options.identified(
        captures, rules=rules, prior=prior, method=method, profile=profile, link=link, quiet=quiet
    )
    if not report.clients:
        return options.require_nfs(report, quiet)
    found = clients(report, client) if client else list(report.clients)
    if as_json:
        from nfsleuth.report import json_report

        options.put_json(json_report.explained(report, found), reported=True)
        return Exit.DONE
    from nfsleuth.report import text

    width, colour = options.terminal_width(), options.colourful()
    options.put("\n\n".join(text.explanation(report, v, width, colour=colour) for v in found))
    return Exit.DONE


def clients(report: Report, wanted: str) -> list[Verdict]:
    """The clients that `wanted` means: by id, else by address, else by name. Raises NfsleuthError if there is none."""
    from nfsleuth.report import words

    tests = (
        lambda v: v.id == wanted,
        lambda v: v.facts.address == wanted,
        lambda v: wanted in words.names(v),
        lambda v: wanted in v.facts.macs,
    )
    for test in tests:
        if found := [v for v in report.clients if test(v)]:
            return found
    there = ", ".join(_called(v) for v in report.clients[:20]) + (", ..." if len(report.clients) > 20 else "")
    raise NfsleuthError(f"no client {wanted}; there are {there}")


def _called(verdict: Verdict) -> str:
    from nfsleuth.report import words

    name = next(iter(words.names(verdict)), "")
    return f"{verdict.id} ({name})" if name else verdict.id


def _list(as_json: bool) -> int:
    found = _heuristics()
    if as_json:
        options.put_json({"schema": "nfsleuth.rules/1", "rules": [_described(n, m) for n, m in found.items()]})
        return Exit.DONE
    from nfsleuth.report.escape import padded, shortened

    wide = max(map(len, found), default=0)
    width = options.terminal_width()
    options.put(
        "".join(f"{padded(n, wide)}  {shortened(_documentation(m)[0], width - wide - 2)}\n" for n, m in found.items())
    )
    return Exit.DONE


def _rule(name: str, as_json: bool) -> int:
    found = _heuristics()
    if name not in found:
        from difflib import get_close_matches

        near = get_close_matches(name, found)
        cure = f"did you mean {near[0]}? " if near else ""
        raise NfsleuthError(f"{name} is neither a capture nor a rule; {cure}--list shows the rules")
    if as_json:
        options.put_json({"schema": "nfsleuth.rules/1", "rules": [_described(name, found[name])]})
    else:
        lines = _documentation(found[name])
        options.put(f"{name}: {lines[0]}\n" + "".join(f"{line}\n" for line in lines[1:]))
    return Exit.DONE


def _heuristics() -> dict[str, ModuleType]:
    from nfsleuth.evidence import heuristics
    from nfsleuth.hosts import signs

    return dict(sorted({**heuristics(), **signs.heuristics()}.items()))


def _documentation(module: ModuleType) -> list[str]:
    """Lines of a heuristic's docstring: its manual page."""
    return inspect.getdoc(module).splitlines() if module.__doc__ else ["(no documentation)"]  # type: ignore[union-attr]


def _described(name: str, module: ModuleType) -> dict[str, str]:
    lines = _documentation(module)
    return {"rule": name, "summary": lines[0], "documentation": "\n".join(lines)}

"""The heuristics' manual: their docstrings and weights in, Markdown out. docs/evidence.md is made of it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from types import ModuleType

from nfsleuth.evidence import heuristics
from nfsleuth.evidence.rules import FilePattern, NamePattern, Rules
from nfsleuth.evidence.weights import Weight

SECTIONS = ("What it sees", "Why it tells clients apart", "Known confusions", "Example", "Source")


def markdown(rules: Rules) -> str:
    """One chapter per heuristic, then the tables that they look things up in."""
    parts = [
        "# Evidence",
        "Generated from the heuristics' docstrings and weights. Weights are in nats: 2.3 nats are odds of 10 to 1. "
        "[contrast.md](contrast.md) says how to begin a heuristic from a finding in labelled captures.",
    ]
    parts += [_chapter(name, module) for name, module in heuristics().items()]
    parts.append(_tables(rules))
    return "\n\n".join(parts) + "\n"


def sections(module: ModuleType) -> dict[str, str]:
    """First line under "", then the five sections of a heuristic's docstring by name."""
    text = inspect.cleandoc(module.__doc__ or "")
    head, _, body = text.partition("\n")
    found = {"": head.strip()}
    pieces = re.split(rf"^({'|'.join(SECTIONS)}):", body, flags=re.MULTILINE)
    for name, content in zip(pieces[1::2], pieces[2::2], strict=True):
        found[name] = " ".join(content.split())
    return found


def _chapter(name: str, module: ModuleType) -> str:
    told = sections(module)
    lines = [f"## {name}", told[""], f"Group: {module.GROUP}."]
    lines += [f"**{section}.** {told[section]}" for section in SECTIONS if section in told]
    weights: Mapping[object, Weight] = module.WEIGHTS
    if weights:
        rows = [_row(case, weight) for case, weight in weights.items()]
        lines.append("\n".join(["| case | says | nats | source |", "|---|---|---|---|", *rows]))
    return "\n\n".join(lines)


def _row(case: object, weight: Weight) -> str:
    nats = [f"{state} {value:+g}" for state, value in weight.toward.items()]
    nats += [f"{platform} {value:+g}" for platform, value in weight.platform.items()]
    nats += [f"guest {weight.virtual:+g}"] if weight.virtual else []
    return f"| {_cell(case)} | {_cell(weight.says)} | {', '.join(nats) or '0'} | {_cell(weight.source)} |"


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|")


def _pattern_row(pattern: NamePattern | FilePattern) -> str:
    return f"| `{_cell(pattern.pattern)}` | {_cell(pattern.says)} | {_cell(pattern.source)} |"


def _tables(rules: Rules) -> str:
    macs = [f"| `{p.text}` | {_cell(p.name)} | {p.scope} | {_cell(p.note)} | {_cell(p.source)} |" for p in rules.macs]
    nats = [f"| {n.network} | {_cell(n.name)} | {n.mechanism} | {_cell(n.source)} |" for n in rules.nats]
    names = [*map(_pattern_row, rules.names), *map(_pattern_row, rules.files)]
    return "\n".join(
        [
            "## MAC prefixes\n",
            "| prefix | name | belongs to | note | source |",
            "|---|---|---|---|---|",
            *macs,
            "\n## NAT networks\n",
            "| addresses of guests | name | mechanism | source |",
            "|---|---|---|---|",
            *nats,
            "\n## Patterns of machine and file names\n",
            "| pattern | says | source |",
            "|---|---|---|",
            *names,
        ]
    )

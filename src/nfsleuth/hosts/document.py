"""The signs' manual: their modules in, a Markdown table out. A part of docs/hosts.md is made of it."""

from __future__ import annotations

import inspect

from nfsleuth.hosts.signs import heuristics


def markdown() -> str:
    """A row per sign: what it says in a line, the nats of each case, and where they come from."""
    rows = []
    for name, module in heuristics().items():
        told = inspect.cleandoc(module.__doc__ or "").splitlines()[0].rstrip(".")
        nats = "; ".join(f"{case} {weight.nats:+.1f}" for case, weight in module.WEIGHTS.items())
        sources = ", ".join(dict.fromkeys(weight.source for weight in module.WEIGHTS.values()))
        rows.append(f"| `{name}` | {told} | {nats} | {sources} |")
    return "\n".join(["| sign | what it is | nats for one host | source |", "|---|---|---|---|", *rows]) + "\n"

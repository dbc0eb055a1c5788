#!/usr/bin/env python3
"""docs/path.md's table of NIC models and backends: the folder of a `nfsleuth lab report` comes in, a section goes out.

usage: path_matrix.py REPORT

Takes the table, the advice and heat-maps.svg from it, and writes what stands between the marks in docs/path.md.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- matrix: begin (tools/path_matrix.py writes this) -->\n", "<!-- matrix: end -->\n"
WIDTH = 120


def main(arguments: list[str]) -> int:
    """Write the section; returns the exit code."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(__doc__)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    folder = Path(arguments[0])
    report = (folder / "report.md").read_text(encoding="utf-8")
    page = (DOCS / "path.md").read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    (DOCS / "path.md").write_text(before + BEGIN + section(report) + END + rest.split(END)[1], encoding="utf-8")
    shutil.copyfile(folder / "heat-maps.svg", DOCS / "path-matrix.svg")
    return 0


def section(report: str) -> str:
    """What stands between the marks."""
    intro, table, failures = _part(report, "NIC models and backends").split("\n\n", 2)
    parts = (
        _wrapped(intro),
        table,
        _wrapped(failures),
        "![The same as heat maps, dark is good: rates, CPU time, times, frames, losses, system calls](path-matrix.svg)",
        "What the tool makes of it for someone without root:",
        _wrapped(_part(report, "For someone without root")),
    )
    return "\n" + "\n\n".join(parts) + "\n\n"


def _part(report: str, title: str) -> str:
    """The text below a heading."""
    after = report.split(f"## {title}\n", 1)[1]
    return after.split("\n## ", 1)[0].strip()


def _wrapped(text: str) -> str:
    """Each line, or item of a list, as a paragraph."""
    lines = text.splitlines()
    wrap = textwrap.TextWrapper(WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return "\n".join(wrap.fill(line) if line.startswith("- ") else textwrap.fill(line, WIDTH) for line in lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
"""Put the tables of docs/lab.md between its markers, from the dataclasses of the lab: nothing comes in."""

from __future__ import annotations

import sys
from pathlib import Path

from nfsleuth.lab import document

DOCUMENT = Path(__file__).parents[1] / "docs" / "lab.md"
BEGIN, END = "<!-- keys: begin (make docs writes this) -->\n", "<!-- keys: end -->\n"


def with_keys(page: str) -> str:
    """`page` with what the parser knows between its two markers. ValueError if it lacks them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"docs/lab.md lacks the markers {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}\n{document.markdown()}\n{END}{after}"


if __name__ == "__main__":
    DOCUMENT.write_text(with_keys(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    sys.exit(0)

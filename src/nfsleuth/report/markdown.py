"""Markdown: cells come in, a table goes out; text from outside comes in, text that Markdown shows as it is goes out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from nfsleuth.report.escape import visible


def table(titles: Sequence[object], rows: Iterable[Sequence[object]], numbers: Collection[int] = ()) -> str:
    """A table of trusted cells; `numbers`: columns that are aligned on the right."""
    rule = ["---:" if n in numbers else "---" for n in range(len(titles))]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in (titles, rule, *rows))


def plain(text: str) -> str:
    """Text for a paragraph or a cell: visible, no HTML, no end of a cell."""
    return visible(text).replace("<", "&lt;").replace("|", "\\|")

"""Parts of a page: text, tables and pictures come in; Markdown goes out, and templates show them as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from nfsleuth.report.escape import visible


class Picture(Struct, frozen=True):
    """A figure that somebody else drew. svg: the text of an ``<svg>`` element, trusted. name: of a file for it."""

    title: str
    svg: str
    caption: str = ""
    name: str = "figure"


class Table(Struct, frozen=True):
    """Rows of text under titles; `numbers`: columns that are aligned on the right."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()


class Section(Struct, frozen=True):
    """What stands under one title, in this order: what it is, a table, what follows from it."""

    title: str
    text: str = ""
    table: Table | None = None
    lines: Sequence[str] = ()


def table_of(titles: Iterable[object], rows: Iterable[Iterable[object]], numbers: Iterable[int] = ()) -> Table:
    """A table of whatever can be written."""
    return Table(tuple(map(str, titles)), tuple(tuple(map(str, row)) for row in rows), frozenset(numbers))


def section_text(section: Section, level: int = 2) -> str:
    """A section as Markdown, with a title of that level."""
    parts = [f"{'#' * level} {plain(section.title)}", plain(section.text)]
    parts += [markdown_table(section.table)] if section.table else []
    parts += ["\n".join(f"- {plain(line)}" for line in section.lines)]
    return "\n\n".join(part for part in parts if part)


def picture_text(picture: Picture, level: int = 2) -> str:
    """A picture as Markdown, whose file lies beside it as ``NAME.svg``."""
    parts = [f"{'#' * level} {plain(picture.title)}", f"![{plain(picture.title)}]({picture.name}.svg)"]
    return "\n\n".join([*parts, *([plain(picture.caption)] if picture.caption else [])])


def plain(text: str) -> str:
    """Text for Markdown: visible, and no HTML."""
    return visible(text).replace("<", "&lt;")


def markdown_table(table: Table) -> str:
    """A table as Markdown."""
    rule = ["---:" if n in table.numbers else "---" for n in range(len(table.titles))]
    escaped = [[plain(cell).replace("|", "\\|") for cell in row] for row in (table.titles, *table.rows)]
    lines = [escaped[0], rule, *escaped[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

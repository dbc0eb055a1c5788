"""Which formats figures are written in: a file's name comes in, its format goes out. Imports nothing that draws."""

from __future__ import annotations

from nfsleuth.errors import NfsleuthError

FORMATS = ("svg", "png", "pdf")


def format_of(path: str) -> str:
    """The format that a file's name asks for. Raises NfsleuthError if it is none of `FORMATS`."""
    ending = path.rpartition(".")[2].lower()
    if ending not in FORMATS:
        raise NfsleuthError(f"{path}: a figure is written as .svg, .png or .pdf; choose one of these endings")
    return ending

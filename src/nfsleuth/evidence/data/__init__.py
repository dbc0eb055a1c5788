"""The built-in tables: MAC prefixes, guests' NAT networks, and patterns of machine and file names.

Nothing comes in; the text of the packaged files goes out. `evidence.rules` parses it, once per process.
"""

from __future__ import annotations

from importlib.resources import files


def text(name: str) -> str:
    """The packaged data file `name`, for example "mac_prefixes.csv"."""
    return files(__name__).joinpath(name).read_text(encoding="utf-8")

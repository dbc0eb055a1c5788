"""The built-in tables: MAC prefixes, guests' NAT networks, and patterns of machine and file names.

Nothing comes in; the text of the packaged files goes out. `evidence.rules` parses it, once per process. Machine names
are free to set, so their weights stay small, and `machine_name` caps their sum.
"""

from __future__ import annotations

import pkgutil


def text(name: str) -> str:
    """The packaged data file `name`, for example "mac_prefixes.csv"."""
    # importlib.resources would do the same, and costs 5 ms to import.
    content = pkgutil.get_data(__name__, name)
    assert content is not None  # every loader of packages from files reads data beside them
    return content.decode("utf-8")

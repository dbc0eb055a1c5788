"""The library: captures come in; verdicts, facts, or tables as Polars frames go out.

Everything here reads files and nothing else: it prints nothing and writes nothing. All functions raise
`NfsleuthError` with ``exit_code`` `UNREADABLE` for a capture that cannot be read at all (what is odd inside a
readable one is counted, never raised), and with `WRONG_USE` for rules or priors that make no sense.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nfsleuth import later

if TYPE_CHECKING:
    from nfsleuth.api.contrasts import labelled_profiles, named_profiles, profiles
    from nfsleuth.api.learning import learn
    from nfsleuth.api.reading import PathLike, Progress
    from nfsleuth.api.rules import read_profile
    from nfsleuth.api.shares import sharing
    from nfsleuth.api.tables import TraceTables, calls, read
    from nfsleuth.api.verdicts import Method, conclude, facts, identify, import_tables

__all__ = [
    "Method",
    "PathLike",
    "Progress",
    "TraceTables",
    "calls",
    "conclude",
    "facts",
    "identify",
    "import_tables",
    "labelled_profiles",
    "learn",
    "named_profiles",
    "profiles",
    "read",
    "read_profile",
    "sharing",
]

_HOMES = {
    "nfsleuth.api.contrasts": ("labelled_profiles", "named_profiles", "profiles"),
    "nfsleuth.api.learning": ("learn",),
    "nfsleuth.api.reading": ("PathLike", "Progress"),
    "nfsleuth.api.rules": ("read_profile",),
    "nfsleuth.api.shares": ("sharing",),
    "nfsleuth.api.tables": ("TraceTables", "calls", "read"),
    "nfsleuth.api.verdicts": ("Method", "conclude", "facts", "identify", "import_tables"),
}
__getattr__ = later.names(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

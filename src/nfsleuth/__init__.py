"""Who is really at the other end of each NFS mount: captures go in, verdicts with their evidence come out.

    import nfsleuth

    report = nfsleuth.identify("office.pcapng")        # a verdict per client, in bounded memory
    tables = nfsleuth.read("office.pcapng")            # connections, calls, identities, ... as Polars frames
    facts = nfsleuth.facts("monday.pcap") + nfsleuth.facts("tuesday.pcap")
    report = nfsleuth.conclude(facts)                  # captures that were read apart add up

Names are loaded when they are first used: the import itself takes a few milliseconds and loads no library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nfsleuth import kernel_cache as _kernel_cache
from nfsleuth import later as _later
from nfsleuth.errors import Exit, NfsleuthError

if TYPE_CHECKING:
    from nfsleuth.api import TraceTables, calls, conclude, facts, identify, import_tables, read
    from nfsleuth.clients.facts import Facts, Household
    from nfsleuth.evidence.model import Evidence, Group, State
    from nfsleuth.evidence.rules import Rules
    from nfsleuth.verdict.model import Capture, Host, Pair, Platform, Report, Verdict, Weighed

    __version__: str

__all__ = [
    "Capture",
    "Evidence",
    "Exit",
    "Facts",
    "Group",
    "Host",
    "Household",
    "NfsleuthError",
    "Pair",
    "Platform",
    "Report",
    "Rules",
    "State",
    "TraceTables",
    "Verdict",
    "Weighed",
    "calls",
    "conclude",
    "facts",
    "identify",
    "import_tables",
    "read",
]

_HOMES = {
    "nfsleuth.api": ("TraceTables", "calls", "conclude", "facts", "identify", "import_tables", "read"),
    "nfsleuth.clients.facts": ("Facts", "Household"),
    "nfsleuth.evidence.model": ("Evidence", "Group", "State"),
    "nfsleuth.evidence.rules": ("Rules",),
    "nfsleuth.verdict.model": ("Capture", "Host", "Pair", "Platform", "Report", "Verdict", "Weighed"),
}
_find = _later.names(__name__, _HOMES)

_kernel_cache.prepare()  # must come before anything imports numba


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        value = globals()[name] = version("nfsleuth")
        return value
    return _find(name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

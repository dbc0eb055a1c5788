"""The stamp in AUTH_SYS credentials.

What it sees: the stamp beside each machine name, and how it changes.
Why it tells clients apart: Linux since 5.1 always sends 0, Linux before it sends seconds since boot, libnfs and
Ganesha a number that stands still. So it tells the client's software also in captures that start in the middle.
Known confusions: programs that write 0 themselves, such as small Python clients. It tells software, not machines.
Example: stamp 0 on every call is a Linux kernel; 0x003d857b on every call of a connection is libnfs.
Source: net/sunrpc/auth_unix.c; RFC 5531 appendix A; lab.
"""

from __future__ import annotations

from collections.abc import Iterator

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.client_os import software
from nfsleuth.evidence.model import Evidence, Group
from nfsleuth.evidence.rules import Rules
from nfsleuth.evidence.weights import Weight

RULE = "auth_stamp"
GROUP = Group.IDENTITY
# No state follows from the software; what it allows follows in source_port and syn_fingerprint.
WEIGHTS = {"stamp": Weight("tells the client's software", {}, "lab; net/sunrpc/auth_unix.c")}
SHOWN = 4  # stamps in `seen`


def observe(client: Facts, around: Household, rules: Rules) -> Iterator[Evidence]:
    """One row if any stamp was seen."""
    stamps = list(client.stamps)
    if not stamps:
        return
    shown = ", ".join(f"{stamp:#x} with {name[:32] or 'no name'}" for name, stamp in stamps[:SHOWN])
    more = f" and {len(stamps) - SHOWN} more" if len(stamps) > SHOWN else ""
    says = f"stamps fit: {software(client, around)}"
    yield WEIGHTS["stamp"].evidence(RULE, GROUP, shown + more, client.stamps.frames(*stamps[:SHOWN]), says=says)

"""Which software mounts from behind a packet-translating NAT.

What it sees: a client whose packets lost a hop on this link, and whether a kernel or a program mounts there.
Why it tells clients apart: a container cannot mount NFS with a kernel of its own, so a Linux kernel client behind a
NAT host is a whole machine there, mostly a guest; a program such as libnfs is as well a container's.
Known confusions: a home router with real machines behind it; privileged containers that mount.
Example: a libnfs client with TTL 63 beside others of the same address is more likely a container than a guest.
Source: user namespaces may not mount NFS (fs/nfs has no FS_USERNS_MOUNT); weights are priors.
"""

from __future__ import annotations

from collections.abc import Iterator

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.client_os import software
from nfsleuth.evidence.gate import hops, on_link, usual_ttl
from nfsleuth.evidence.model import Evidence, Group
from nfsleuth.evidence.rules import Rules
from nfsleuth.evidence.weights import Weight

RULE = "nat_software"
GROUP = Group.IDENTITY
# They move only the question "guest or not" that kernel NAT leaves open.
WEIGHTS = {
    "kernel": Weight("a kernel mounts behind NAT", {}, "prior", virtual=1.0),
    "program": Weight("a program mounts behind NAT", {}, "prior", virtual=-1.0),
}


def observe(client: Facts, around: Household, rules: Rules) -> Iterator[Evidence]:
    """One row for clients that were forwarded on this link."""
    ttl = usual_ttl(client)
    system = software(client, around)
    if ttl is None or hops(ttl) != 1 or on_link(client, around) is False or not system.name:
        return
    seen = f"TTL {ttl}, client: {system}"
    yield WEIGHTS["kernel" if system.is_kernel else "program"].evidence(RULE, GROUP, seen)

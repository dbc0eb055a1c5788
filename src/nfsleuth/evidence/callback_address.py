"""The NFSv4.0 callback address, against the address that the server sees.

What it sees: r_netid and r_addr of SETCLIENTID, and the source address of the connection.
Why it tells clients apart: the client finds r_addr by looking at its own socket, and no NAT rewrites it. A guest behind
NAT gives away the address that it has inside: 10.0.2.15 in SLiRP and VirtualBox, 192.168.122.x in libvirt.
Known confusions: passt gives the guest the host's own address, so equal addresses do not exclude a user-mode network;
`clientaddr=` sets it to anything; machines with several addresses; 0.0.0.0 where callbacks are off. NFSv3 and v4.1
have none.
Example: r_addr 10.0.2.15.3.133 from source 10.77.0.21 is a guest behind a user-mode network.
Source: RFC 7530 section 16.33, RFC 5665 section 5.2.3; fs/nfs/nfs4proc.c nfs4_proc_setclientid; lab.
"""

from __future__ import annotations

from collections.abc import Iterator

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.gate import hops, usual_ttl
from nfsleuth.evidence.inner_address import Against, Inner, inner_addresses
from nfsleuth.evidence.model import Evidence, Group, State
from nfsleuth.evidence.rules import Rules
from nfsleuth.evidence.weights import Weight, set_aside

RULE = "callback_address"
GROUP = Group.ADDRESS
WEIGHTS = {
    Against.USER_NAT: Weight(
        "its own address is a user-mode NAT's", {State.USER_NAT: 6.9}, "lab; RFC 7530 section 16.33", virtual=4.0
    ),
    Against.KERNEL_NAT: Weight(
        "its own address is of a NAT network", {State.KERNEL_NAT: 6.0}, "lab; RFC 7530 section 16.33"
    ),
    # Not minus infinity: passt and `clientaddr=`.
    Against.SAME: Weight(
        "callback address equals its source",
        {State.USER_NAT: -2.0, State.KERNEL_NAT: -4.0},
        "lab; RFC 7530 section 16.33",
    ),
    Against.PRIVATE: Weight(
        "its own address is another, private one",
        {State.USER_NAT: 4.0, State.KERNEL_NAT: 4.0},
        "prior, less for machines with several addresses",
    ),
    Against.PUBLIC: Weight(
        "its own address is another one", {State.USER_NAT: 0.7, State.KERNEL_NAT: 0.7}, "prior: several addresses"
    ),
}
# Whether a guest or a container lives in a well-known kernel NAT network.
GUEST, CONTAINER = 2.5, -1.5  # nats, prior: engines' defaults
PLATFORM = 4.0  # nats for the platform of a NAT network that only one platform uses, prior
PLATFORMS_SHARED = 2.0  # where several do
EUI64_PLATFORM = 4.0  # as mac_prefix gives for 52:54:00


def observe(client: Facts, around: Household, rules: Rules) -> Iterator[Evidence]:
    """One row per callback address."""
    rows = 0
    for inner in inner_addresses(client, around, rules):
        if inner.where == "r_addr" and rows < 4:
            rows += 1
            yield judged(RULE, inner, client, rules)


def judged(rule: str, inner: Inner, client: Facts, rules: Rules) -> Evidence:
    """The row of `rule` for an inner address; `id_address` uses it too, since the cause is the same."""
    seen = f"{inner.where} {inner.address}, source {client.address}"
    if inner.against is Against.OFF:
        why = "callbacks are off: nobody can be called there"
        return set_aside(rule, GROUP, "no callback address", seen, why, frames=inner.frames)
    if inner.against is Against.MULTIHOMED:
        why = "the client's own MAC sends from both: a machine with several addresses"
        return set_aside(rule, GROUP, "another address of the same machine", seen, why, frames=inner.frames)
    weight = WEIGHTS[inner.against]
    if inner.network is None:
        return weight.evidence(rule, GROUP, seen, inner.frames)
    user = inner.against is Against.USER_NAT
    return Weight(
        f"its own address is in {inner.network.name}",
        weight.toward,
        inner.network.source,
        _platforms(inner, rules),
        virtual=(GUEST if inner.network.guest else CONTAINER) if not user else weight.virtual,
    ).evidence(rule, GROUP, seen, inner.frames, host=_host(inner, client))


def _platforms(inner: Inner, rules: Rules) -> dict[str, float]:
    assert inner.network is not None
    names = inner.network.platforms
    platforms = dict.fromkeys(names, PLATFORM if len(names) == 1 else PLATFORMS_SHARED)
    prefix = rules.mac(inner.mac) if inner.mac else None
    if prefix is not None and prefix.name:
        platforms[prefix.name] = EUI64_PLATFORM
    return platforms


def _host(inner: Inner, client: Facts) -> str:
    """The NAT host's id: what owns the source address, unless a further router stands before it."""
    ttl = usual_ttl(client)
    own_hop = 0 if inner.against is Against.USER_NAT else 1
    return f"address:{client.address}" if ttl is None or hops(ttl) <= own_hop else ""

"""The TTL or hop limit that is left.

What it sees: the client's usual TTL, and how far it is below the nearest initial value (64, 128, 255).
Why it tells clients apart: a guest behind kernel NAT loses one hop inside its own host. A user-mode network sends with
the host's full TTL, and with 128 if the host is Windows, whatever the guest is.
Known confusions: one hop proves a forwarder and nothing more: containers, home routers and routed clients look the
same, and a routed client keeps its own address. Some systems use several initial TTLs.
Example: TTL 63 from an address of the server's own network is a NAT host that forwards for somebody.
Source: RFC 1812 section 5.3.1; lab.
"""

from __future__ import annotations

from collections.abc import Iterator

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.client_os import software
from nfsleuth.evidence.gate import hops, on_link, usual_ttl
from nfsleuth.evidence.inner_address import Against, proven_nat
from nfsleuth.evidence.model import Evidence, Group, State
from nfsleuth.evidence.rules import Rules
from nfsleuth.evidence.weights import Weight, set_aside

RULE = "ttl"
GROUP = Group.HOP
WEIGHTS = {
    "full": Weight("full TTL: nothing forwards", {State.KERNEL_NAT: -4.0}, "lab; RFC 1812 section 5.3.1"),
    "windows": Weight(
        "TTL of Windows under a Linux client",
        {State.USER_NAT: 5.0, State.KERNEL_NAT: -4.0},
        "prior",
        virtual=3.0,
    ),
    # ARP or ND shows the address on this very link: whoever owns it forwards. ln(.95 / .01) = 4.5.
    "forwarded": Weight("forwarded by a host on this link", {State.KERNEL_NAT: 4.5}, "lab; RFC 1812 section 5.3.1"),
    # The same without ARP: that the address is on this link is only likely.
    "likely forwarded": Weight(
        "forwarded, from this network's address", {State.KERNEL_NAT: 4.0}, "lab; RFC 1812 section 5.3.1"
    ),
    "routed": Weight("crossed a router", {State.KERNEL_NAT: 0.5}, "prior: NAT or not, the hop looks the same"),
}
WINDOWS_TTL = 128


def observe(client: Facts, around: Household, rules: Rules) -> Iterator[Evidence]:
    """One row for the usual TTL."""
    ttl = usual_ttl(client)
    if ttl is None:
        return
    steps, here = hops(ttl), on_link(client, around)
    seen, frames = f"TTL {ttl}", client.ttls.frames(ttl)
    inner = proven_nat(client, around, rules)
    system = software(client, around)
    if steps == 0:
        windows = ttl == WINDOWS_TTL and system.name == "linux" and system.sure
        yield WEIGHTS["windows" if windows else "full"].evidence(RULE, GROUP, seen, frames)
    elif inner is not None and inner.against is Against.USER_NAT:
        why = "a further router stands between the user-mode network's host and the server"
        yield set_aside(RULE, GROUP, "forwarded as well", seen, why, frames=frames)
    elif here or (here is None and steps == 1):
        yield WEIGHTS["forwarded" if here and steps == 1 else "likely forwarded"].evidence(RULE, GROUP, seen, frames)
    else:
        yield WEIGHTS["routed"].evidence(RULE, GROUP, f"{seen}, {client.address} is not of this link", frames)

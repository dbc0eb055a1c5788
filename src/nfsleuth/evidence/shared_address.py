"""Several machines behind one source address.

What it sees: other clients of the same address whose names differ, or whose boot instances differ while both live.
Why it tells clients apart: one address with several machines is a NAT. Ephemeral ports say that its sockets are the
host's (user mode); reserved ports with a lost hop say packet translation. A machine's own mount, with a reserved port
and full TTL, may stand beside its guests.
Known confusions: a machine that changed its name; programs, which bring an id per process and count as none.
Example: h1-nat-1 and h1-nat-2, both from 10.77.0.21 and ephemeral ports, are two guests of one host.
Source: lab; weights: ln(.30 / .005), guessed.
"""

from __future__ import annotations

from collections.abc import Iterator

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.client_os import software
from nfsleuth.evidence.gate import hops, usual_ttl
from nfsleuth.evidence.machines import two_machines
from nfsleuth.evidence.model import Evidence, Group, State
from nfsleuth.evidence.ports import PortClass, port_class
from nfsleuth.evidence.rules import Rules
from nfsleuth.evidence.weights import Weight, set_aside

RULE = "shared_address"
GROUP = Group.COMPANY
WEIGHTS = {
    "user": Weight("several machines behind one address", {State.USER_NAT: 4.1}, "lab", virtual=2.0),
    "kernel": Weight("several machines behind one address", {State.KERNEL_NAT: 3.0}, "lab"),
}
COMPARED = 64  # clients of one address that are compared


def observe(client: Facts, around: Household, rules: Rules) -> Iterator[Evidence]:
    """One row if another machine has the same address."""
    others = [o for o in around.at_address(client.address) if o is not client][:COMPARED]
    reasons = [reason for other in others if (reason := two_machines(client, other, around))]
    if not reasons:
        return
    seen = f"{len(reasons)} more at {client.address}: {reasons[0]}"
    ttl = usual_ttl(client)
    steps = hops(ttl) if ttl is not None else 0
    kind = port_class(client)
    if steps:
        reserved = kind is not PortClass.EPHEMERAL
        if reserved:
            yield WEIGHTS["kernel"].evidence(RULE, GROUP, seen)
        else:
            why = "behind a router, either kind of NAT gives several machines one address"
            yield set_aside(RULE, GROUP, "several machines behind one address", seen, why)
    elif kind is PortClass.EPHEMERAL and software(client, around).name in ("linux", ""):
        yield WEIGHTS["user"].evidence(RULE, GROUP, seen, host=f"address:{client.address}")
    else:
        why = "it may be the host itself, beside its guests"
        yield set_aside(RULE, GROUP, "shares its address", seen, why)

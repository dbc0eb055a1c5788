"""Several clients behind one source MAC.

What it sees: other clients whose frames come from the same MAC: with another address, or with the same one and a
different number of hops.
Why it tells clients apart: a MAC that sends with full TTL for itself and one hop less for others is a host that
translates for guests or containers. Different machines with different addresses and full TTL behind one maker's MAC are
guests on ipvlan, macvtap or a bridge over Wi-Fi.
Known confusions: routers, set aside by `gate`; machines with several addresses, which have one name; home routers.
Example: one Dell MAC with TTL 64 for workstation ws1 and TTL 63 for node2 is ws1 with something behind it.
Source: the topology alone; weights are priors.
"""

from __future__ import annotations

from collections.abc import Iterator

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.gate import Owner, hops, usual_ttl, whose_mac
from nfsleuth.evidence.machines import two_machines
from nfsleuth.evidence.model import Evidence, Group, State
from nfsleuth.evidence.once import once_per_household
from nfsleuth.evidence.rules import Rules
from nfsleuth.evidence.weights import Weight, set_aside

RULE = "shared_mac"
GROUP = Group.COMPANY
WEIGHTS = {
    "behind": Weight("its host speaks NFS as well", {State.KERNEL_NAT: 2.0}, "prior", virtual=1.0),
    "bridged": Weight("machines share one MAC", {State.BRIDGED: 2.5, State.CONTAINER: 2.0}, "prior"),
}
COMPARED = 64  # clients of one MAC that are compared


def observe(client: Facts, around: Household, rules: Rules) -> Iterator[Evidence]:
    """One row for each of the two situations."""
    gate = whose_mac(client, around, rules)
    if not gate.mac:
        return
    others = [o for o in _by_mac(around).get(gate.mac, ()) if o is not client][:COMPARED]
    if not others:
        return
    mine = _hops(client)
    forwarded = [o for o in others if o.address == client.address and _hops(o) < mine]
    if gate.owner is Owner.NAT_HOST and forwarded:
        seen = f"{gate.mac}: TTL {usual_ttl(client)} here, {usual_ttl(forwarded[0])} for its own client"
        yield WEIGHTS["behind"].evidence(RULE, GROUP, seen)
    elsewhere = [
        o
        for o in others
        if o.address != client.address
        and (":" in o.address) == (":" in client.address)
        and two_machines(client, o, around)
    ]
    if not elsewhere or gate.owner is Owner.ROUTER:
        return
    seen = f"{gate.mac} also speaks for {', '.join(sorted({o.address for o in elsewhere})[:4])}"
    if gate.owner in (Owner.CLIENT, Owner.SHARED) and mine == 0:
        yield WEIGHTS["bridged"].evidence(RULE, GROUP, seen)
    else:
        yield set_aside(RULE, GROUP, "MAC of several clients", seen, gate.why)


@once_per_household
def _by_mac(around: Household) -> dict[str, list[Facts]]:
    """Clients by each of their source MACs."""
    found: dict[str, list[Facts]] = {}
    for client in around.clients:
        for mac in client.macs:
            found.setdefault(mac, []).append(client)
    return found


def _hops(client: Facts) -> int:
    ttl = usual_ttl(client)
    return hops(ttl) if ttl is not None else 0

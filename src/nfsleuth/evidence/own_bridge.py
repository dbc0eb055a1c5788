"""The client's MAC is that of a bridge: it is the virtualisation host, not one of its guests.

What it sees: a spanning-tree frame that names the client's MAC as bridge id, or a client address that an engine
gives to the host on its own guests' network (192.168.122.1 of libvirt).
Why it tells clients apart: libvirt and others give their bridge a MAC from the guests' range. Read alone, that MAC
turns the host into a guest.
Known confusions: a guest that bridges inside itself; a site that numbers its LAN 192.168.122.0/24.
Example: 192.168.122.1 with 52:54:00:f7:b1:5f, and a spanning-tree frame that names this MAC: the host itself.
Source: IEEE 802.1D section 9.2.5 (bridge identifier); libvirt's default network.
"""

from __future__ import annotations

from collections.abc import Iterator

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.gate import Owner, whose_mac
from nfsleuth.evidence.model import Evidence, Group, State
from nfsleuth.evidence.rules import Rules
from nfsleuth.evidence.weights import Weight

RULE = "own_bridge"
GROUP = Group.LINK
# A host that mounts from its own guest is one whose disks may or may not be on NFS: most of the weight goes to native.
WEIGHTS = {
    "bridge": Weight(
        "the host itself, on its guests' bridge",
        {State.NATIVE: 2.3, State.HYPERVISOR: 1.0, State.BRIDGED: -3.0},
        "prior",
        virtual=-2.0,
    )
}


def observe(client: Facts, around: Household, rules: Rules) -> Iterator[Evidence]:
    """One row if the gate finds a bridge's MAC."""
    gate = whose_mac(client, around, rules)
    if gate.owner is Owner.BRIDGE:
        seen = f"{gate.mac} at {client.address}; {gate.why}"
        yield WEIGHTS["bridge"].evidence(RULE, GROUP, seen, client.macs.frames(gate.mac))

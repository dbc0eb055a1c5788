"""An address that moved to another client's network card.

What it sees: a client whose frames come from two MACs, one of which is another client's own.
Why it tells hosts apart: an address that begins to speak through a card is on that card's machine, or behind it: a
guest that went from bridge to NAT, a service address that failed over.
Known confusions: two machines with one address by mistake; a failover moves the address to another machine than before.
Example: 10.0.0.9 from 52:54:00:8f:21:c4, later from the Dell that is 10.0.0.7.
Source: a prior.
"""

from __future__ import annotations

from collections.abc import Iterator

from nfsleuth.evidence.gate import whose_mac
from nfsleuth.hosts.model import Scene, Tie, Weight

RULE = "mac_move"
WEIGHTS = {"moved": Weight(2.0, "prior")}
MOST = 8  # clients that one MAC is compared with


def find(scene: Scene) -> Iterator[Tie]:
    """A tie for each client that came to speak through another one's card."""
    owners: dict[str, list[int]] = {}
    gates = [whose_mac(member.facts, scene.around, scene.rules) for member in scene.members]
    for n, gate in enumerate(gates):
        if gate.is_clients and len(owners.setdefault(gate.mac, [])) < MOST:
            owners[gate.mac].append(n)
    for n, member in enumerate(scene.members):
        if not gates[n].is_clients or not member.facts.mac_changes:
            continue
        for mac in list(member.facts.macs)[1:]:
            for other in owners.get(mac, ()):
                if other != n and scene.members[other].facts.address != member.facts.address:
                    seen = f"{member.facts.address} from {gates[n].mac} and {mac}"
                    frames = member.facts.macs.frames(mac)
                    yield Tie(
                        min(n, other), max(n, other), RULE, "its address moved here", WEIGHTS["moved"], seen, frames
                    )

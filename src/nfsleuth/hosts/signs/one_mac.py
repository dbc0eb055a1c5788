"""Clients of several addresses that have one network card.

What it sees: a source MAC that is the clients' own (no router, no NAT, no bridge that translates) at two or three
addresses, often one of IPv4 and one of IPv6.
Why it tells hosts apart: a network card is in one machine.
Known confusions: a Wi-Fi bridge or proxy ARP speaks for machines behind it; from four addresses on the MAC is taken for
such a thing. MACs that a hypervisor gives to every guest (52:54:00:12:34:56) do not count.
Example: 10.0.0.7 and fd00::7 with 18:66:da:3b:21:01.
Source: IEEE 802; the weight is a prior.
"""

from __future__ import annotations

from collections.abc import Iterator

from nfsleuth.evidence.gate import whose_mac
from nfsleuth.hosts.model import Place, Scene, Sign, Weight

RULE = "one_mac"
WEIGHTS = {"one card": Weight(5.0, "prior")}


def find(scene: Scene) -> Iterator[Sign]:
    """Each MAC with several addresses is a place."""
    by_mac: dict[str, list[int]] = {}
    for n, member in enumerate(scene.members):
        gate = whose_mac(member.facts, scene.around, scene.rules)
        prefix = scene.rules.mac(gate.mac)
        if gate.is_clients and (prefix is None or prefix.scope != "default"):
            by_mac.setdefault(gate.mac, []).append(n)
    places = {}
    for mac, numbers in by_mac.items():
        if len({scene.members[n].facts.address for n in numbers}) > 1:
            for n in numbers:
                facts = scene.members[n].facts
                places[n] = Place(mac, f"{mac} at {facts.address}", frames=facts.macs.frames(mac))
    yield Sign(RULE, places, WEIGHTS["one card"], "with the network card {place}")

"""MACs that name the host on which they were made.

What it sees: the low bytes of MACs of Hyper-V and old ESX (two octets of the host's IPv4 address) and of Virtual Server
(two bytes of the host's MAC); a client that has such an address or MAC itself is that host.
Why it tells hosts apart: guests with equal bytes were made on one host, guests with different bytes on two.
Known confusions: imaged Hyper-V hosts that share their first address; a live migration keeps the MAC until the next
start of the guest; pools set by hand.
Example: 00:15:5d:e4:9b:48 and 00:15:5d:e4:9b:02 were made on a host at x.x.228.155.
Source: Microsoft KB2804678 and KB888030, VMware ESX 1.5 guide; the weights are priors.
"""

from __future__ import annotations

from collections.abc import Iterator

from nfsleuth.evidence.addresses import parse
from nfsleuth.evidence.gate import whose_mac
from nfsleuth.evidence.mac_host_hint import MAKERS, read_hint
from nfsleuth.evidence.model import State
from nfsleuth.hosts.model import Place, Scene, Sign, Weight

RULE = "host_coded_mac"
WEIGHTS = {
    "equal bytes": Weight(4.0, "prior; Microsoft KB2804678, KB888030"),
    "equal bytes, and a client is that host": Weight(5.5, "prior; Microsoft KB2804678, KB888030"),
    "different bytes": Weight(-2.0, "prior"),  # a host that changed its address, and migrations, leave room
}
BY_MAC = "virtual-server"  # the maker whose bytes are of a MAC


def find(scene: Scene) -> Iterator[Sign]:
    """Each coded host is a place; one sign per maker, since hints of two makers say nothing about each other."""
    by_maker: dict[str, dict[int, Place]] = {maker: {} for maker in MAKERS.values()}
    endings: dict[str, list[int]] = {}
    for n, member in enumerate(scene.members):
        for row in member.evidence:
            if row.rule == "mac_host_hint" and row.counted and (maker := row.host.partition(":")[0]) in by_maker:
                by_maker[maker][n] = Place(row.host, row.seen, member.virtual, row.frames)
        for ending in _endings(scene, n):
            endings.setdefault(ending, []).append(n)
    for places in by_maker.values():
        coded = {place.name for place in places.values()}
        hosts = {n: name for name in sorted(coded) for n in endings.get(name, ()) if n not in places}
        for n, name in hosts.items():
            places[n] = Place(name, scene.members[n].facts.address, words="is the host whose bytes these MACs hold")
        stronger = dict.fromkeys(hosts.values(), WEIGHTS["equal bytes, and a client is that host"])
        alike, unlike = WEIGHTS["equal bytes"], WEIGHTS["different bytes"]
        yield Sign(RULE, places, alike, "with a MAC made on {place}", unlike, "MACs made on two hosts", stronger)


def _endings(scene: Scene, number: int) -> list[str]:
    """Names of places that a client would have coded if it is a host: by its IPv4 address, by its MAC."""
    member = scene.members[number]
    if member.states[State.NATIVE] + member.states[State.HYPERVISOR] < member.virtual:
        return []
    gate = whose_mac(member.facts, scene.around, scene.rules)
    if not gate.is_clients or read_hint(gate.mac, scene.rules.mac(gate.mac)):
        return []
    address = parse(member.facts.address)
    found = [f"{BY_MAC}:{gate.mac[-5:]}"]
    if address is not None and address.version == 4:
        pair = ".".join(str(address).split(".")[2:])
        found += [f"{maker}:{pair}" for maker in MAKERS.values() if maker != BY_MAC]
    return found

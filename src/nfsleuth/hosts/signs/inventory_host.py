"""The host that an imported inventory names.

What it sees: a client's MAC, its own address, or its machine name in `--inventory` (libvirt, CSV, JSON).
Why it tells hosts apart: whoever runs the hypervisors knows.
Known confusions: an inventory that is older than the last migration; machine names that several guests have do not
count; a guest behind its host's NAT is found by its name or by the address that it gives away, or else it is taken for
what the inventory has at that address: the host.
Example: web01 and db02 are both on hv1.
Source: the imported file; the weights are priors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from nfsleuth.evidence.addresses import parse
from nfsleuth.evidence.gate import Owner, whose_mac
from nfsleuth.hosts.imports.known import Guest
from nfsleuth.hosts.model import Place, Scene, Sign, Weight

RULE = "inventory_host"
WEIGHTS = {"one host": Weight(9.0, "prior"), "two hosts": Weight(-9.0, "prior")}
# Whose MAC may be looked up: on the host's own cable are its guests' MACs and its own.
ON_THE_HOST = (Owner.CLIENT, Owner.NAT_HOST, Owner.BRIDGE)


def find(scene: Scene) -> Iterator[Sign]:
    """Each host of the inventories is a place."""
    if not scene.known.guests:
        return
    by_mac: dict[str, set[str]] = {}
    by_address: dict[str, set[str]] = {}
    by_name: dict[str, set[str]] = {}
    for guest in scene.known.guests:
        for index, keys in ((by_mac, guest.macs), (by_address, guest.addresses), (by_name, _names(guest))):
            for key in keys:
                index.setdefault(key, set()).add(guest.host)
    often = Counter(name for member in scene.members for name in set(member.facts.names))
    places = {}
    for n, member in enumerate(scene.members):
        gate = whose_mac(member.facts, scene.around, scene.rules)
        mac = gate.mac if gate.owner in ON_THE_HOST else ""
        address = str(parse(member.facts.address))
        names = [name for name in member.facts.names if often[name] == 1]
        for index, told in ((by_mac, [mac]), (by_address, [address]), (by_name, names)):
            hosts = set().union(*(index.get(key, set()) for key in told))
            if len(hosts) == 1:
                key = next(key for key in told if index.get(key))
                places[n] = Place(hosts.pop(), f"{key} in the inventory")
                break
    one, two = WEIGHTS["one host"], WEIGHTS["two hosts"]
    yield Sign(RULE, places, one, "on {place} by the inventory", two, "on two hosts by the inventory")


def _names(guest: Guest) -> set[str]:
    return {guest.name or guest.host}

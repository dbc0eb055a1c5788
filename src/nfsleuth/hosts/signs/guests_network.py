"""Clients in a guests' network that a host's kernel hides behind its address.

What it sees: clients of one source address that crossed one hop and show addresses of a network of libvirt or of a
container engine; the host itself, from the same address without a hop.
Why it tells hosts apart: such networks stay inside one machine.
Known confusions: a home router shows the same hop, but no such network; an engine's network that another box routes on.
Example: callback addresses 192.168.122.7 and .8 behind 10.0.0.7, TTL 63: two guests of 10.0.0.7.
Source: libvirt's default network, Docker's documentation; the weight is a prior.
"""

from __future__ import annotations

from collections.abc import Iterator

from nfsleuth.evidence.model import State
from nfsleuth.hosts.clustering import log_odds
from nfsleuth.hosts.model import PRIOR, Place, Scene, Sign, Weight, by_address
from nfsleuth.hosts.signs.user_nat_address import LEAST_NAT, hop_count, share_of

RULE = "guests_network"
ENGINE_NETWORK = 0.9  # the probability that remains: a guests' network may itself be routed on by another box
WEIGHTS = {"one address": Weight(log_odds(ENGINE_NETWORK) - PRIOR, "prior")}


def find(scene: Scene) -> Iterator[Sign]:
    """Each such address is a place."""
    places = {}
    for address, numbers in by_address(scene).items():
        behind = [
            n
            for n in numbers
            if hop_count(scene.members[n]) == 1
            and scene.members[n].states[State.KERNEL_NAT] >= LEAST_NAT
            and f"address:{address}" in scene.members[n].hints()
        ]
        direct = [n for n in numbers if hop_count(scene.members[n]) == 0]
        if not behind or len(behind) + len(direct) < 2:
            continue
        for n in behind:
            probability = scene.members[n].states[State.KERNEL_NAT]
            places[n] = Place(
                address,
                "inner address of an engine's network",
                share_of(probability, ENGINE_NETWORK),
                words="in a guests' network behind {place}",
            )
        for n in direct:
            places[n] = Place(address, f"{address} without a hop", words="from {place} itself, with full TTL")
    yield Sign(RULE, places, WEIGHTS["one address"], "from the address {place}")

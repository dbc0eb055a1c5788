"""Several clients behind one address that a user-mode network has.

What it sees: clients of one source address that arrive without a hop, at least one of them probably a guest behind
SLiRP, passt, or the NAT of VirtualBox or VMware. Others from that address are the host itself.
Why it tells hosts apart: such a network is a process of the host, and its connections are the host's own.
Known confusions: an address that moves between machines (DHCP) within a capture; a TCP proxy in front of many machines.
Example: three owner strings from 10.0.0.7, all from ephemeral ports, TTL 64: three guests of 10.0.0.7.
Source: libslirp and passt open sockets of the host; docs/accuracy.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from nfsleuth.evidence.gate import hops, usual_ttl
from nfsleuth.evidence.model import State
from nfsleuth.hosts.clustering import log_odds
from nfsleuth.hosts.model import PRIOR, Member, Place, Scene, Sign, Weight, by_address

RULE = "user_nat_address"
LEAST_NAT = 0.5  # probability of the state from which a client counts as behind its address
# Probability that remains for surely such guests of one address: addresses move between machines (DHCP).
ONE_ADDRESS = 0.97
WEIGHTS = {"one address": Weight(log_odds(ONE_ADDRESS) - PRIOR, "prior")}


def find(scene: Scene) -> Iterator[Sign]:
    """Each such address is a place."""
    places = {}
    for address, numbers in by_address(scene).items():
        direct = [n for n in numbers if hop_count(scene.members[n]) == 0]
        guests = {n for n in direct if scene.members[n].states[State.USER_NAT] >= LEAST_NAT}
        if not guests or len(direct) < 2:
            continue
        for n in direct:
            member = scene.members[n]
            if n in guests:
                words = "behind the user-mode network of {place}"
                places[n] = Place(address, _seen(member), share_of(member.states[State.USER_NAT]), words=words)
            else:
                places[n] = Place(address, _seen(member), words="from {place} itself, with full TTL")
    yield Sign(RULE, places, WEIGHTS["one address"], "from the address {place}")


def share_of(probability: float, ceiling: float = ONE_ADDRESS) -> float:
    """The share with which a pair of this client and a certain one comes to `probability` times the ceiling."""
    return max(0.0, (log_odds(probability * ceiling) - PRIOR) / (log_odds(ceiling) - PRIOR))


def hop_count(member: Member) -> int:
    """Hops before the capture; a capture that shows no TTL says nothing against 0."""
    ttl = usual_ttl(member.facts)
    return hops(ttl) if ttl is not None else 0


def _seen(member: Member) -> str:
    ttl = usual_ttl(member.facts)
    return f"{member.facts.address} ttl {ttl if ttl is not None else '?'}"

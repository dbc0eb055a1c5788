"""An IPv6 source address that holds the client's MAC.

What it sees: an interface identifier with ff:fe in its middle, and the MAC that it was made from.
Why it tells clients apart: it is the MAC evidence that survives routers, where the frame's own MAC is the router's.
Known confusions: identifiers set by hand; systems that keep an identifier after the card changed.
Example: fd77::20c:29ff:fe12:ab02 was made from 00:0c:29:12:ab:02, a VMware guest.
Source: RFC 4291 appendix A; weights as mac_prefix, half a nat weaker: an identifier may be set by hand.
"""

from __future__ import annotations

from collections.abc import Iterator

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.addresses import embedded_mac, parse
from nfsleuth.evidence.gate import Owner, whose_mac
from nfsleuth.evidence.mac_host_hint import read_hint
from nfsleuth.evidence.mac_prefix import PLATFORM, WEIGHTS, classify
from nfsleuth.evidence.model import Evidence, Group
from nfsleuth.evidence.rules import Rules
from nfsleuth.evidence.weights import set_aside

RULE = "eui64_address"
GROUP = Group.LINK
WEAKER = 0.9  # of mac_prefix's weights: about half a nat of 6

__all__ = ["WEIGHTS", "observe"]


def observe(client: Facts, around: Household, rules: Rules) -> Iterator[Evidence]:
    """One row if the source address holds a MAC."""
    address = parse(client.address)
    mac = embedded_mac(address) if address is not None else None
    if mac is None:
        return
    says, weight, prefix = classify(mac, rules)
    seen = f"{client.address} holds {mac}"
    gate = whose_mac(client, around, rules)
    if gate.owner in (Owner.NAT_HOST, Owner.BRIDGE, Owner.LOOPBACK, Owner.ANONYMISED):
        yield set_aside(RULE, GROUP, says, seen, gate.why)
        return
    hint = read_hint(mac, prefix)
    platform = {prefix.name: PLATFORM[prefix.scope]} if prefix and prefix.name and prefix.scope in PLATFORM else {}
    yield weight.evidence(RULE, GROUP, seen, says=says, factor=WEAKER, platform=platform, host=hint[0] if hint else "")

"""The source MAC's prefix: a hypervisor's, a maker's, or nobody's.

What it sees: the source MAC of the client's frames, once `gate` has found it to be the client's own.
Why it tells clients apart: hypervisors give their guests addresses from ranges of their own, makers of network cards
from theirs. A maker's address speaks against a bridged guest only: behind NAT the MAC is the host's.
Known confusions: passed-through and macvtap cards, hand-set addresses, LXC containers in Xen's and Proxmox's ranges,
locally administered addresses of laptops, bonds and blade chassis.
Example: 52:54:00:e7:ee:e7 on the client's own link is a KVM guest; 18:66:da:3b:21:01 is a card by Dell, or passed
through.
Source: IEEE registration authority, the makers' documents named in data/mac_prefixes.csv; weights are priors.
"""

from __future__ import annotations

from collections.abc import Iterator

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.addresses import is_locally_administered, mac_number
from nfsleuth.evidence.gate import Owner, whose_mac
from nfsleuth.evidence.model import Evidence, Group, State
from nfsleuth.evidence.rules import MacPrefix, Rules
from nfsleuth.evidence.weights import Weight, set_aside

RULE = "mac_prefix"
GROUP = Group.LINK

# Nats per scope of a prefix. Platform weights: the prefix names its maker, so one nat less than the state.
WEIGHTS = {
    "guest": Weight("MAC of a guest", {State.BRIDGED: 6.0, State.HYPERVISOR: 2.0}, "prior"),
    "default": Weight("a hypervisor's default MAC", {State.BRIDGED: 6.0, State.HYPERVISOR: 1.0}, "prior"),
    # Locally administered, so nobody's by right: a script or a bond may set it as well. 2.6 keeps a
    # client of which nothing else is known below 0.9, as the lab's stand-ins with 52:54:00 ask for.
    "convention": Weight("MAC of a guest by custom", {State.BRIDGED: 2.6, State.HYPERVISOR: 0.5}, "lab"),
    "guest-or-container": Weight(
        "MAC of a guest or container", {State.BRIDGED: 5.0, State.CONTAINER: 3.5, State.HYPERVISOR: 1.0}, "prior"
    ),
    "cloud": Weight("MAC of a cloud's guest", {State.BRIDGED: 5.0}, "prior"),
    "cloud-shared": Weight("MAC of a cloud, or hardware", {State.BRIDGED: 2.5}, "prior"),
    "container": Weight("MAC of a container", {State.CONTAINER: 5.0, State.BRIDGED: -1.0}, "prior"),
    "hypervisor": Weight("MAC of the hypervisor itself", {State.HYPERVISOR: 6.0, State.BRIDGED: 1.0}, "prior"),
    "inner": Weight("MAC that stays inside a host", {State.BRIDGED: 2.0, State.USER_NAT: 2.0}, "prior"),
    "ambiguous": Weight("MAC of a guest or hardware", {State.BRIDGED: 0.5}, "prior"),
    "native": Weight("looks virtual, is hardware's", {State.BRIDGED: -3.0}, "prior"),
    # Guessed: P(such a MAC | bridged guest) .24 against .06; 1.2 after rounding towards doubt.
    "unknown": Weight("locally administered MAC, nobody's", {State.BRIDGED: 1.2, State.CONTAINER: 0.7}, "prior"),
    # Guessed: P(maker's MAC | bridged guest) .02 against .94: passthrough, macvtap and hand-set ones remain.
    "maker": Weight("MAC of a maker of hardware", {State.BRIDGED: -3.85}, "prior"),
}
PLATFORM = {"guest": 5.0, "default": 5.0, "convention": 4.0, "hypervisor": 5.0, "cloud": 4.0, "guest-or-container": 4.0}
PLATFORM_OTHERWISE = 1.5


def observe(client: Facts, around: Household, rules: Rules) -> Iterator[Evidence]:
    """One row per source MAC; set aside where the MAC is not the client's."""
    gate = whose_mac(client, around, rules)
    if gate.owner is Owner.NONE:
        return
    for mac in list(client.macs)[:4]:
        says, weight, prefix = classify(mac, rules)
        seen, frames = f"{mac} ({prefix.text if prefix else 'no prefix of a hypervisor'})", client.macs.frames(mac)
        if not gate.is_clients:
            yield set_aside(RULE, GROUP, says, seen, gate.why, frames=frames)
        elif mac != gate.mac:
            yield set_aside(RULE, GROUP, says, seen, f"most frames come from {gate.mac}", frames=frames)
        else:
            yield weight.evidence(RULE, GROUP, seen, frames, says=says, platform=_platform(prefix))


def classify(mac: str, rules: Rules) -> tuple[str, Weight, MacPrefix | None]:
    """What `mac` says in words, its weight, and the prefix that it falls under."""
    prefix = rules.mac(mac)
    number = mac_number(mac)
    if prefix is None or prefix.scope not in WEIGHTS:
        case = "unknown" if number is not None and is_locally_administered(number) else "maker"
        return WEIGHTS[case].says, WEIGHTS[case], prefix
    weight = WEIGHTS[prefix.scope]
    if prefix.weight is not None:
        weight = _reweighed(weight, prefix)
    return f"{weight.says} ({prefix.name})" if prefix.name else weight.says, weight, prefix


def _reweighed(weight: Weight, prefix: MacPrefix) -> Weight:
    """The scope's weight with its strongest state set to the user's number."""
    assert prefix.weight is not None
    strongest = max(weight.toward, key=lambda state: abs(weight.toward[state]))
    sign = 1 if weight.toward[strongest] > 0 else -1
    return Weight(weight.says, {**weight.toward, strongest: sign * prefix.weight}, prefix.source)


def _platform(prefix: MacPrefix | None) -> dict[str, float]:
    if prefix is None or not prefix.name or prefix.scope in ("container", "native"):
        return {}
    return {prefix.name: PLATFORM.get(prefix.scope, PLATFORM_OTHERWISE)}

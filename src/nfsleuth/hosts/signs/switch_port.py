"""The switch port behind which a MAC lies.

What it sees: imported forwarding tables (`--fdb`), and LLDP (`--lldp`) for who is at the port. A port counts as one
host's unless it looks like an uplink to another switch: LLDP names a bridge or router there that is no hypervisor, or
behind it lie cards of more than one maker of hardware, or more than two cards, or more than 256 MACs. LLDP that names a
station, a host of the inventory, or a hypervisor's system settles it the other way. Where several switches know a MAC,
the port with the fewest MACs is its own.
Why it tells hosts apart: a guest's frames and its host's come through one cable.
Known confusions: an unmanaged switch or an access point at the port with guests alone behind it; a host with two cards
that are not bonded; a table that is older than a migration; a home router at the port, with machines behind it: clients
behind a hop count for less than half, unless they show an engine's network.
Example: 52:54:00:8f:21:c4 and 52:54:00:1b:02:9e at port swp3 of sw1, with one Dell's MAC there.
Source: IEEE 802.1D section 7.8; RFC 4188; the weights are priors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from nfsleuth.evidence.addresses import is_locally_administered, mac_number
from nfsleuth.evidence.gate import whose_mac
from nfsleuth.evidence.rules import Rules
from nfsleuth.hosts.imports.known import Known
from nfsleuth.hosts.model import Place, Scene, Sign, Weight
from nfsleuth.hosts.signs.inventory_host import ON_THE_HOST
from nfsleuth.hosts.signs.user_nat_address import hop_count

RULE = "switch_port"
WEIGHTS = {"one port": Weight(6.0, "prior"), "two ports": Weight(-5.0, "prior")}
PERHAPS_A_ROUTER = 0.45  # share of a client behind a hop: with a bridged guest of the port it comes to even odds
MOST_MACS = 256  # at one host's port
MOST_CARDS = 2  # a host's own: its card, and that of its management controller on the same cable
# Systems that bridge for their guests and say so in LLDP; what a switch runs is named differently in its description.
HYPERVISORS = re.compile(r"linux|vmware|esx|proxmox|hyper-v|windows|xen|nutanix|ubuntu|debian|red hat|freebsd", re.I)
SWITCHES = re.compile(
    r"cumulus|sonic|arista|cisco|juniper|junos|openwrt|edge-?core|onyx|dell emc networking|os10", re.I
)


def find(scene: Scene) -> Iterator[Sign]:
    """Each port that is one host's is a place."""
    where = located(scene.known, scene.rules)
    places = {}
    for n, member in enumerate(scene.members):
        gate = whose_mac(member.facts, scene.around, scene.rules)
        if gate.owner in ON_THE_HOST and gate.mac in where:
            # A hop may be a host's NAT or a home router with machines behind it; a guests' network settles it.
            hidden = hop_count(member) > 0 and f"address:{member.facts.address}" not in member.hints()
            share = PERHAPS_A_ROUTER if hidden else 1.0
            places[n] = Place(where[gate.mac], f"{gate.mac} at {where[gate.mac]}", share)
    yield Sign(RULE, places, WEIGHTS["one port"], "at {place}", WEIGHTS["two ports"], "at two ports")


def located(known: Known, rules: Rules) -> dict[str, str]:
    """The port of each MAC, in words, of those whose port is one host's."""
    fewest: dict[str, tuple[int, str, str]] = {}
    for switch in known.switches:
        for port, macs in switch.ports.items():
            for mac in macs:
                fewest[mac] = min(fewest.get(mac, (len(macs), switch.name, port)), (len(macs), switch.name, port))
    bad = {(switch, port) for switch, port, _ in uplinks(known, rules)}
    return {mac: f"{port} of {switch}" for mac, (_, switch, port) in fewest.items() if (switch, port) not in bad}


def uplinks(known: Known, rules: Rules) -> Iterator[tuple[str, str, str]]:
    """Ports that do not lead to one host: switch, port, why."""
    for switch in known.switches:
        for port, macs in switch.ports.items():
            why = uplink(known, rules, switch.name, port, macs)
            if why:
                yield switch.name, port, why


def uplink(known: Known, rules: Rules, switch: str, port: str, macs: Iterable[str]) -> str:
    """Why the port does not lead to one host, or ""."""
    at = known.neighbour(switch, port)
    macs = list(macs)
    if at is not None:
        hosts = {guest.host for guest in known.guests}
        system = HYPERVISORS.search(at.description) and not SWITCHES.search(at.description)
        if at.name in hosts or at.station or system:
            return ""
        if at.bridge or at.router:
            return f"LLDP: {at.name or 'a neighbour'} there is a {'bridge' if at.bridge else 'router'}"
    if len(macs) > MOST_MACS:
        return f"{len(macs)} MACs behind it"
    cards = [mac for mac in macs if _is_hardware(mac, rules)]
    makers = {mac[:8] for mac in cards}
    if len(makers) > 1 or len(cards) > MOST_CARDS:
        return f"cards of {len(cards)} machines behind it"
    return ""


def _is_hardware(mac: str, rules: Rules) -> bool:
    number = mac_number(mac)
    prefix = rules.mac(mac)
    return number is not None and not is_locally_administered(number) and (prefix is None or prefix.scope == "native")

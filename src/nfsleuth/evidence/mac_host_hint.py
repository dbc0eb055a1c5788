"""Bytes of the MAC that name the physical host or the guest's own address.

What it sees: the low bytes of MACs whose makers derive them: Hyper-V and old ESX from the host's IPv4 address, Virtual
Server from the host's network card, Google's cloud, Docker, CNI and Firecracker from the guest's own address.
Why it tells clients apart: guests with equal host bytes were made on one host, so they belong together.
Known confusions: imaged Hyper-V hosts that share their first address; live migration keeps a MAC until the next
start; pools set by hand.
Example: 00:15:5d:e4:9b:48 was made on a host whose address ended in .228.155.
Source: Microsoft KB2804678 and KB888030; VMware ESX 1.5 guide; moby/moby#9948.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.addresses import mac_number, parse
from nfsleuth.evidence.gate import Owner, whose_mac
from nfsleuth.evidence.model import Evidence, Group
from nfsleuth.evidence.once import once_per_household
from nfsleuth.evidence.rules import MacPrefix, Rules
from nfsleuth.evidence.weights import Weight, set_aside

RULE = "mac_host_hint"
GROUP = Group.LINK
# The prefix has its weight in mac_prefix; the hint only joins guests (`verdict.hosts` weighs that).
WEIGHTS = {
    "host": Weight("MAC names its host", {}, "Microsoft KB2804678, KB888030"),
    "inner": Weight("MAC holds the client's own address", {}, "moby/moby#9948"),
}
# Names of host ids by what made the MAC.
MAKERS = {"Hyper-V": "hyperv", "VMware": "esx", "Virtual PC": "virtual-server"}


def observe(client: Facts, around: Household, rules: Rules) -> Iterator[Evidence]:
    """One row if the prefix is one whose low bytes mean something."""
    gate = whose_mac(client, around, rules)
    if gate.owner is Owner.NONE:
        return
    prefix = rules.mac(gate.mac)
    hint = read_hint(gate.mac, prefix)
    if prefix is None or hint is None:
        return
    host, words = hint
    frames = client.macs.frames(gate.mac)
    if not gate.is_clients:
        yield set_aside(RULE, GROUP, words, gate.mac, gate.why, frames=frames)
        return
    found = _host_seen(host, around)
    seen = f"{gate.mac}{f'; {found} is on this link' if found else ''}"
    yield WEIGHTS["host" if host else "inner"].evidence(RULE, GROUP, seen, frames, says=words, host=host)


def read_hint(mac: str, prefix: MacPrefix | None) -> tuple[str, str] | None:
    """Host id ("" if only the guest's own address is told) and words, or None where the bytes mean nothing."""
    number = mac_number(mac)
    if prefix is None or number is None or not prefix.embeds:
        return None
    if prefix.embeds == "ipv4":
        return "", f"MAC holds the address {ipaddress.IPv4Address(number & 0xFFFF_FFFF)}"
    maker = MAKERS.get(prefix.name, prefix.name.lower())
    if prefix.embeds == "host-mac16":
        pair = f"{number >> 8 & 0xFF:02x}:{number & 0xFF:02x}"
        return f"{maker}:{pair}", f"made on a host whose MAC ends in {pair}"
    pair = f"{number >> 16 & 0xFF}.{number >> 8 & 0xFF}"
    return f"{maker}:{pair}", f"made on a host at x.x.{pair}"


def _host_seen(host: str, around: Household) -> str:
    """An IPv4 address of the link that ends in the two octets of `host`, or ""."""
    return _by_ending(around).get(host.partition(":")[2], "")


@once_per_household
def _by_ending(around: Household) -> dict[str, str]:
    """The first IPv4 address of the link by its last two octets, as text: "3.7"."""
    found: dict[str, str] = {}
    for neighbour in around.link.neighbours:
        address = parse(neighbour.address)
        if address is not None and address.version == 4:
            found.setdefault(".".join(str(address).split(".")[2:]), neighbour.address)
    return found

"""Whose MAC is it? Asked before any MAC is weighed.

A client's Facts and its household come in, a `Gate` goes out. A MAC names the last sender on the link: the client
itself only where nothing forwards in between. Reasons are looked for from the surest to the weakest, and where none
is found the MAC is the client's own.
"""

from __future__ import annotations

from bisect import bisect_left
from enum import StrEnum
from itertools import chain

from msgspec import Struct

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.addresses import is_locally_administered, mac_number, parse, same, subnet
from nfsleuth.evidence.inner_address import proven_nat
from nfsleuth.evidence.once import once_per_client
from nfsleuth.evidence.rules import Rules

# TTLs and hop limits that systems start from (RFC 1700, p0f README): Unix 64, Windows 128, Solaris and routers 255.
INITIAL_TTLS = (32, 64, 128, 255)
# Full-TTL addresses behind one MAC from which it stops being one machine's: proxy ARP, ipvlan, a bridge over Wi-Fi.
# A machine has one or two addresses per family and interface.
SHARED_FROM = 4
ANONYMISED_FROM = 2  # MACs, the server's included: fewer show no habit


class Owner(StrEnum):
    """Who the source MAC belongs to."""

    CLIENT = "client"
    BRIDGE = "bridge"  # the client is the virtualisation host, on its own guests' bridge
    NAT_HOST = "NAT host"
    ROUTER = "router"
    SHARED = "shared"  # one MAC speaks for many addresses
    LOOPBACK = "loopback"
    ANONYMISED = "anonymised"
    NONE = "none"


class Gate(Struct, frozen=True):
    """Whose MAC was seen, and how that is known."""

    owner: Owner
    mac: str  # "" if none was seen
    why: str

    @property
    def is_clients(self) -> bool:
        """Whether the MAC may be weighed."""
        return self.owner is Owner.CLIENT


def hops(ttl: int) -> int:
    """Forwarding steps between sender and capture, from the nearest initial TTL."""
    return INITIAL_TTLS[bisect_left(INITIAL_TTLS, ttl)] - ttl if 0 < ttl <= 255 else 0


def usual_ttl(client: Facts) -> int | None:
    """The TTL seen most; of equally frequent ones that with the fewest hops. None if no TTL was seen."""
    seen = client.ttls
    if len(seen.sightings) == 1:  # as nearly always: no order to find
        return next(iter(seen.sightings))
    return min(seen, key=lambda ttl: (-seen.count(ttl), hops(ttl)), default=None)


@once_per_client
def on_link(client: Facts, around: Household) -> bool | None:
    """Whether the client's address is on the capture's own link: True if ARP or ND showed it, None if only guessed.

    Without them a shared /24 (or /64) with the server is the guess; False if not even that holds.
    """
    if any(n.kind in ("arp", "nd") for n in around.link.at_address(client.address)):
        return True
    address = parse(client.address)
    if address is not None and address.is_link_local:
        return True
    mine = subnet(client.address)
    servers = chain(client.servers, around.link.servers)
    return None if mine and any(subnet(server) == mine for server in servers) else False


@once_per_client
def whose_mac(client: Facts, around: Household, rules: Rules) -> Gate:
    """The owner of the client's source MAC."""
    mac = next(iter(client.macs), "")
    number = mac_number(mac)
    address = parse(client.address)
    if address is not None and address.is_loopback:
        return Gate(Owner.LOOPBACK, mac, "the client's address is the loopback address")
    if number is None or number == 0:
        return Gate(Owner.NONE, "", "the capture holds no link layer")
    if any(same(client.address, server) for server in client.servers):
        return Gate(Owner.LOOPBACK, mac, "client and server share one address")
    return (
        _known_router(mac, around, rules)
        or _own_bridge(client, mac, around, rules)
        or _anonymised(client, around, rules)
        or _forwarded(client, mac, around, rules)
        or _shared(client, mac, around)
        or Gate(Owner.CLIENT, mac, "nothing forwards between the client and the capture")
    )


def _known_router(mac: str, around: Household, rules: Rules) -> Gate | None:
    prefix = rules.mac(mac)
    if prefix is not None and prefix.scope == "router":
        return Gate(Owner.ROUTER, mac, f"{prefix.text} is a virtual router's prefix ({prefix.source})")
    if any(n.kind == "router" for n in around.link.of_mac(mac)):
        return Gate(Owner.ROUTER, mac, "this MAC announces itself as a router")
    return None


def _own_bridge(client: Facts, mac: str, around: Household, rules: Rules) -> Gate | None:
    """The host of a NAT or bridge network has a virtual-looking MAC on it, and is no guest."""
    if any(n.kind == "bridge" for n in around.link.of_mac(mac)):
        return Gate(Owner.BRIDGE, mac, "spanning tree names this MAC as a bridge: the virtualisation host itself")
    address = parse(client.address)
    network = rules.gateway(address) if address is not None else None
    if network is not None:
        return Gate(Owner.BRIDGE, mac, f"{client.address} is the host's own address in the {network.name}")
    prefix = rules.mac(mac)
    if prefix is not None and prefix.scope == "host-adapter":
        return Gate(Owner.BRIDGE, mac, f"{prefix.text}: {prefix.note}")
    return None


def _anonymised(client: Facts, around: Household, rules: Rules) -> Gate | None:
    """Anonymisers replace every MAC by a random locally administered one, servers' and makers' alike."""
    if "anonymised" not in around.memo:
        around.memo["anonymised"] = _all_anonymised(around, rules)
    if not around.memo["anonymised"]:
        return None
    mac = next(iter(client.macs))
    return Gate(Owner.ANONYMISED, mac, "every MAC of the capture is locally administered: anonymised")


def _all_anonymised(around: Household, rules: Rules) -> bool:
    """Whether no MAC of the capture is one that a maker or a hypervisor gave."""
    link = around.link
    texts = {*link.server_macs, *(m for c in around.clients for m in c.macs)}
    texts |= {n.mac for n in link.neighbours if n.kind == "ip"}  # ARP's payload keeps the true ones
    numbers = [n for n in map(mac_number, texts) if n is not None]
    alike = len({n >> 40 for n in numbers}) == 1 and len({n >> 24 for n in numbers}) > 1
    if len(numbers) < ANONYMISED_FROM or not link.server_macs or not alike:
        return False
    return all(map(is_locally_administered, numbers)) and sum(rules.mac(t) is not None for t in texts) * 2 <= len(texts)


def _forwarded(client: Facts, mac: str, around: Household, rules: Rules) -> Gate | None:
    """A hop, a proven NAT, or addresses of several networks: somebody stands in between."""
    inner = proven_nat(client, around, rules)
    if inner is not None and inner.network is not None:
        return Gate(Owner.NAT_HOST, mac, f"the client's own address is {inner.address}: the MAC is its NAT host's")
    ttl = usual_ttl(client)
    steps = hops(ttl) if ttl is not None else 0
    here = on_link(client, around)
    if steps and (here or (here is None and steps == 1)):
        return Gate(Owner.NAT_HOST, mac, f"TTL {ttl}: a NAT host on this link forwards for the client")
    if steps:
        return Gate(Owner.ROUTER, mac, f"TTL {ttl}: the packets crossed {steps} router{'s' * (steps > 1)}")
    if ttl is None:
        networks = {subnet(a) for a in around.link.addresses_of(mac)} | {subnet(client.address)}
        v4 = {n for n in networks if n and ":" not in n}
        if len(v4) > 1:
            return Gate(Owner.ROUTER, mac, f"this MAC speaks for {len(v4)} networks")
    return None


def _shared(client: Facts, mac: str, around: Household) -> Gate | None:
    if len(around.link.of_mac(mac)) < SHARED_FROM - 1:  # and the client's own address
        return None
    family = ":" in client.address
    full = {
        address
        for address in around.link.addresses_of(mac)
        if (":" in address) == family and hops(around.link.ttls.get((mac, address), (64, 64))[1]) == 0
    } - {"0.0.0.0", "::"}  # noqa: S104 - the unspecified address of DHCP and ND, not a socket
    if not family and len(full | {client.address}) >= SHARED_FROM:
        return Gate(
            Owner.SHARED, mac, f"this MAC speaks for {len(full)} addresses: proxy ARP, ipvlan or a Wi-Fi bridge"
        )
    return None

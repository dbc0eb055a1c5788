"""Fill in MACs and addresses that an experiment leaves open: from the seed and from names, so that adding a client
changes no other.

Comes in: an `Experiment` whose references hold. Goes out: the same with nothing left open, or ValueError when two
things want one address.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from nfsleuth.lab.model import (
    QEMU_MAC,
    SLIRP_ADDRESS,
    SLIRP_ADDRESS6,
    USER_MODE,
    Experiment,
    Guest,
    Host,
    Link,
    Native,
    has_own_place,
)

L = TypeVar("L", bound=Link)

MAC_COLONS = 5
# Prefixes of makers of server NICs (IEEE OUI register): what a physical machine may have.
MAKERS = ("18:66:da", "3c:fd:fe", "a4:bf:01", "b8:ca:3a", "e4:43:4b", "98:03:9b", "70:10:6f")
LIBVIRT = "52:54:00"  # libvirt's src/util/virmacaddr.c: three random bytes behind it
CONTAINER = "02:42"  # container engines put the IPv4 address behind it (moby, before version 28)


class Segment:
    """One network: its IPv4 and IPv6 prefix, and who has which address and MAC in it."""

    def __init__(self, name: str, ipv4: ipaddress.IPv4Network, ipv6: ipaddress.IPv6Network | None, seed: int) -> None:
        self.name, self.ipv4, self.ipv6 = name, ipv4, ipv6
        self._seed = seed
        self._owners: dict[str, str] = {}

    def claim(self, value: str, owner: str) -> None:
        """Give `value`, if there is one, to `owner`; ValueError if it does not belong here or is another's."""
        if not value:
            return
        if ":" not in value and (
            ipaddress.IPv4Address(value) not in self.ipv4 or value in map(str, (self.ipv4[0], self.ipv4[-1]))
        ):
            raise ValueError(f"{owner}: address = {value} is no host of {self.ipv4} ({self.name})")
        if value.count(":") != MAC_COLONS and ":" in value and not self._holds6(value):
            raise ValueError(f"{owner}: address6 = {value} is not in {self.ipv6 or 'IPv6'} ({self.name})")
        other = self._owners.setdefault(value, owner)
        if other != owner:
            raise ValueError(f"{owner}: {value} is already that of {other}; give one of them another")

    def ipv4_of(self, owner: str) -> str:
        """A free IPv4 address; the first is left to whoever serves the network."""
        room = self.ipv4.num_addresses - 3
        return self._draw(owner, lambda number: str(self.ipv4[2 + number % room]))

    def ipv6_of(self, owner: str) -> str:
        """A free IPv6 address such as an administrator gives by hand; "" without IPv6."""
        ipv6 = self.ipv6
        return self._draw(owner, lambda number: str(ipv6[0x10 + number % 0xFFE0])) if ipv6 else ""

    def eui64_of(self, mac: str, owner: str) -> str:
        """The stateless IPv6 address of the NIC `mac` (RFC 4291, appendix A); "" without IPv6."""
        value = eui64(self.ipv6, mac) if self.ipv6 else ""
        self.claim(value, owner)
        return value

    def mac_of(self, prefixes: tuple[str, ...], owner: str) -> str:
        """A free MAC with one of `prefixes` of three octets."""

        def choice(number: int) -> str:
            tail = (number >> 8).to_bytes(8)[-3:]
            return ":".join([prefixes[number % len(prefixes)], *(f"{octet:02x}" for octet in tail)])

        return self._draw(owner, choice)

    def _draw(self, owner: str, choice: Callable[[int], str]) -> str:
        """A free value: `choice` of numbers that follow from the seed, the segment and the owner's name."""
        for attempt in range(1 << 14):
            text = f"{self._seed} {self.name} {owner} {attempt}"
            value = choice(int.from_bytes(hashlib.sha256(text.encode()).digest()[:7]))
            if value not in self._owners:
                self.claim(value, owner)
                return value
        raise ValueError(f"{owner}: no address is free in {self.ipv4} ({self.name}); make it larger")

    def _holds6(self, value: str) -> bool:
        return self.ipv6 is not None and ipaddress.IPv6Address(value) in self.ipv6


def eui64(network: ipaddress.IPv6Network, mac: str) -> str:
    """The address that the NIC `mac` gives itself in `network` (RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    inverted = bytes([octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]])
    return str(network[int.from_bytes(inverted)])


def settle(experiment: Experiment) -> Experiment:
    """Fill in every MAC and address. ValueError names who wants an address that is taken or belongs elsewhere."""
    return _Settling(experiment).done()


class _Settling:
    """One run of `settle`. What the file gives is claimed first, so that a drawn value never takes it."""

    def __init__(self, experiment: Experiment) -> None:
        self.was = experiment
        seed, network = experiment.seed, experiment.network
        self.switch = Segment("switch", network.ipv4, network.ipv6, seed)
        self.behind = {r.name: Segment(f"behind {r.name}", r.inside, r.inside6, seed) for r in experiment.routers}
        self.private = {
            h.name: Segment(f"private network of {h.name}", h.private, None, seed) for h in experiment.hosts
        }
        self.hosts: dict[str, Host] = {}
        self._claim_given()

    def done(self) -> Experiment:
        server = self.was.server
        routers = tuple(self._cabled(router, f"router {router.name}", self.switch) for router in self.was.routers)
        hosts = tuple(self._cabled(host, f"host {host.name}", self.segment(host)) for host in self.was.hosts)
        self.hosts = {host.name: host for host in hosts}
        return replace(
            self.was,
            server=replace(server, mac=server.mac or self.switch.mac_of(MAKERS, "the server")),
            routers=routers,
            hosts=hosts,
            natives=tuple(map(self._native, self.was.natives)),
            guests=tuple(map(self._guest, self.was.guests)),
        )

    def segment(self, host: Host) -> Segment:
        """What the cable of `host` goes to."""
        return self.behind[host.behind] if host.behind else self.switch

    def _claim_given(self) -> None:
        """Claim what the file gives, and the first address of each network for the server or the router."""
        network, server = self.was.network, self.was.server
        server = replace(
            server, address=server.address or str(network.ipv4[1]), address6=server.address6 or str(network.ipv6[1])
        )
        self.was = replace(self.was, server=server)
        self._claim(self.switch, "the server", server)
        for router in self.was.routers:
            self._claim(self.switch, f"router {router.name}", router)
            self.behind[router.name].claim(router.inner, f"router {router.name}")
            self.behind[router.name].claim(router.inner6, f"router {router.name}")
        for host in self.was.hosts:
            self._claim(self.segment(host), f"host {host.name}", host)
            self.private[host.name].claim(host.gateway, f"host {host.name}")
        hosts = {host.name: host for host in self.was.hosts}
        for client in self.was.clients:
            if has_own_place(client):
                self._claim(self.segment(hosts[client.host]), client.name, client)
            elif in_private_network(client):
                self.private[client.host].claim(client.mac, client.name)
                self.private[client.host].claim(client.address, client.name)

    def _claim(self, segment: Segment, owner: str, holder: Link | Guest | Native) -> None:
        segment.claim(holder.mac, owner)
        segment.claim(holder.address, owner)
        segment.claim(getattr(holder, "address6", ""), owner)

    def _cabled(self, link: L, owner: str, segment: Segment) -> L:
        return replace(
            link,
            mac=link.mac or segment.mac_of(MAKERS, owner),
            address=link.address or segment.ipv4_of(owner),
            address6=link.address6 or segment.ipv6_of(owner),
        )

    def _native(self, client: Native) -> Native:
        if not client.container:
            host = self.hosts[client.host]
            return replace(client, mac=host.mac, address=host.address)
        address = client.address or self.private[client.host].ipv4_of(client.name)
        octets = ipaddress.IPv4Address(address).packed
        mac = client.mac or ":".join([CONTAINER, *(f"{octet:02x}" for octet in octets)])
        self.private[client.host].claim(mac, client.name)
        return replace(client, mac=mac, address=address)

    def _guest(self, guest: Guest) -> Guest:
        host = self.hosts[guest.host]
        if guest.backend in USER_MODE:
            mac = guest.mac or QEMU_MAC
            if guest.backend == "passt":  # the guest has the host's addresses
                return replace(guest, mac=mac, address=host.address, address6=host.address6)
            inner6 = eui64(ipaddress.IPv6Network(SLIRP_ADDRESS6), mac)
            return replace(guest, mac=mac, address=SLIRP_ADDRESS, address6=inner6)
        own = has_own_place(guest)
        segment = self.segment(host) if own else self.private[host.name]
        makers = MAKERS if guest.kernel == "uml" else (LIBVIRT,)
        mac = guest.mac or segment.mac_of(makers, guest.name)
        return replace(
            guest,
            mac=mac,
            address=guest.address or segment.ipv4_of(guest.name),
            address6=guest.address6 or segment.eui64_of(mac, guest.name),
        )


def in_private_network(client: Guest | Native) -> bool:
    """Whether the client is behind its host kernel's NAT."""
    return client.container if isinstance(client, Native) else client.backend == "masquerade"

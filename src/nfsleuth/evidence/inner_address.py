"""The address that a client has in its own eyes, against the one that the server sees.

Facts come in, `Inner` values go out: the addresses that NFS carries inside (callback address, old owner strings, old
session names), each judged. `callback_address` and `id_address` turn them into evidence; `gate` and `ttl` ask whether
a well-known NAT network is among them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.addresses import IPAddress, embedded_mac, is_nowhere, is_private, parse, universal
from nfsleuth.evidence.once import once_per_client
from nfsleuth.evidence.rules import NatNetwork, Rules

# fs/nfs/nfs4proc.c before about 4.13: the guest's own address, then the server's as the guest knows it.
LINUX_V40_OWNER = re.compile(rb"^Linux NFSv4\.0 ([^/ ]{1,255})/(?:.*/)?([^/ ]{1,64})(?: \w+)?$")


class Against(StrEnum):
    """How an inner address compares with the source address."""

    OFF = "off"  # nobody can be called back there
    SAME = "same"
    USER_NAT = "user-nat"  # in a well-known network of user-mode NAT
    KERNEL_NAT = "kernel-nat"  # in a well-known network of packet translation
    MULTIHOMED = "multihomed"  # another address that was seen on the client's own link
    PRIVATE = "private"  # another, private one
    PUBLIC = "public"  # another, public one


class Inner(Struct, frozen=True):
    """One inner address. `where`: the field that held it. `mac`: of its EUI-64, if any."""

    where: str
    address: IPAddress
    against: Against
    network: NatNetwork | None
    mac: str | None
    frames: tuple[int, ...]


@once_per_client
def inner_addresses(client: Facts, around: Household, rules: Rules) -> tuple[Inner, ...]:
    """Every inner address of `client`, callback addresses first."""
    return tuple(_inner_addresses(client, around, rules))


def _inner_addresses(client: Facts, around: Household, rules: Rules) -> Iterator[Inner]:
    for netid, r_addr in client.callbacks:
        address = universal(r_addr)
        if address is not None:
            yield _judge("r_addr", address, client, around, rules, frames=client.callbacks.frames((netid, r_addr)))
    for record in client.client_ids:
        match = LINUX_V40_OWNER.match(record.owner)
        address = parse(match[1].decode("latin-1")) if match else None
        if address is not None:
            yield _judge("owner string", address, client, around, rules, frames=(record.frame,))
    for name, stamp in client.session_machines:
        address = parse(name)
        if address is not None:
            yield _judge(
                "session's machine name",
                address,
                client,
                around,
                rules,
                frames=client.session_machines.frames((name, stamp)),
            )


def inner_servers(client: Facts) -> Iterator[tuple[IPAddress, int]]:
    """The server's address as the client knows it (owner strings of Linux v4.0), with the frame."""
    for record in client.client_ids:
        match = LINUX_V40_OWNER.match(record.owner)
        address = parse(match[2].decode("latin-1")) if match else None
        if address is not None:
            yield address, record.frame


def proven_nat(client: Facts, around: Household, rules: Rules) -> Inner | None:
    """The first inner address that lies in a well-known NAT network."""
    known = (Against.USER_NAT, Against.KERNEL_NAT)
    return next((i for i in inner_addresses(client, around, rules) if i.against in known), None)


def _judge(
    where: str, address: IPAddress, client: Facts, around: Household, rules: Rules, *, frames: tuple[int, ...]
) -> Inner:
    network = None
    if is_nowhere(address):
        against = Against.OFF
    elif address == parse(client.address):
        against = Against.SAME
    elif (network := rules.nat(address)) is not None:
        against = Against.USER_NAT if network.mechanism == "user" else Against.KERNEL_NAT
    elif str(address) in _own_addresses(client, around):
        against = Against.MULTIHOMED
    else:
        against = Against.PRIVATE if is_private(address) else Against.PUBLIC
    return Inner(where, address, against, network, embedded_mac(address), frames)


def _own_addresses(client: Facts, around: Household) -> set[str]:
    """Addresses that the client's MACs sent from: a machine with several interfaces has several."""
    return {address for mac in client.macs for address in around.link.addresses_of(mac)}

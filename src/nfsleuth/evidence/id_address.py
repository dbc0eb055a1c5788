"""Addresses inside client ids and session names, against what the server sees.

What it sees: owner strings of old Linux clients ("Linux NFSv4.0 10.0.2.15/10.77.0.1 tcp"), the server's address in
newer ones, and machine names of CREATE_SESSION that are addresses.
Why it tells clients apart: they were written from the client's own point of view and no NAT rewrites them. Behind
SLiRP the server may even be called 10.0.2.2, an address that exists only inside.
Known confusions: servers with several addresses or behind a translation of their own; machines named like an address.
Example: "Linux NFSv4.0 10.0.2.15/10.77.0.1 tcp" from 10.77.0.21 is a guest behind a user-mode network.
Source: fs/nfs/nfs4proc.c before about Linux 4.13, fs/nfs/nfs4xdr.c encode_create_session.
"""

from __future__ import annotations

from collections.abc import Iterator

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.addresses import parse
from nfsleuth.evidence.callback_address import WEIGHTS as CALLBACK_WEIGHTS
from nfsleuth.evidence.callback_address import judged
from nfsleuth.evidence.inner_address import inner_addresses, inner_servers
from nfsleuth.evidence.model import Evidence, Group, State
from nfsleuth.evidence.rules import Rules
from nfsleuth.evidence.weights import Weight, set_aside

RULE = "id_address"
GROUP = Group.ADDRESS
WEIGHTS: dict[str, Weight] = {
    **{str(case): weight for case, weight in CALLBACK_WEIGHTS.items()},
    # A user-mode network presents the host, or what lies behind it, under its gateway's address.
    "server inside": Weight("knows the server by a NAT's address", {State.USER_NAT: 6.9}, "libslirp", virtual=4.0),
}


def observe(client: Facts, around: Household, rules: Rules) -> Iterator[Evidence]:
    """One row per address in an id or a session name, and per server address that is not the server's."""
    told = {
        (inner.where, inner.address): judged(RULE, inner, client, rules)
        for inner in inner_addresses(client, around, rules)
        if inner.where != "r_addr"
    }
    yield from list(told.values())[:4]
    inside = dict(inner_servers(client))
    if not inside:
        return
    known = {parse(server) for server in (*client.servers, *around.link.servers)}
    others = {address: frame for address, frame in inside.items() if address not in known}
    for address, frame in list(others.items())[:4]:
        seen = f"server called {address}, is {', '.join(map(str, client.servers)) or 'unknown'}"
        network = rules.gateway(address)
        if network is not None and network.mechanism == "user":
            yield WEIGHTS["server inside"].evidence(RULE, GROUP, seen, (frame,))
        elif known:
            why = "a server may have several addresses, or a translation before it"
            yield set_aside(RULE, GROUP, "knows the server by another address", seen, why, frames=(frame,))

"""Profiles come in and gain fields: what others say together, as relations between layers, orders, counts and times.

A relation is written as one: ``nfs4.SETCLIENTID.callback.cb_location.r_addr == ip.src``. It means the same in another
network, which its two sides do not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from statistics import median

import numpy as np

from nfsleuth.clients.facts import Facts
from nfsleuth.contrast.leaves import Scalar
from nfsleuth.contrast.observe import Ledger
from nfsleuth.contrast.sketch import Profile, Step
from nfsleuth.evidence.addresses import is_locally_administered, is_private, mac_number, parse, universal
from nfsleuth.evidence.ports import port_class
from nfsleuth.evidence.rules import Rules

R_ADDR = "nfs4.SETCLIENTID.callback.cb_location.r_addr"
# Texts by which a client names itself, and what may be found in them.
OWNERS = (
    "nfs4.SETCLIENTID.client.id",
    "nfs4.EXCHANGE_ID.eia_clientowner.co_ownerid",
    "nlm4.LOCK.args.alock.caller_name",
    "nlm4.LOCK.args.alock.oh",
)
VERIFIERS = ("nfs4.SETCLIENTID.client.verifier", "nfs4.EXCHANGE_ID.eia_clientowner.co_verifier")
MACHINE_NAMES = ("rpc.nfs4.cred.machinename", "rpc.nfs3.cred.machinename", "rpc.mount3.cred.machinename")
SESSION_MACHINE = "nfs4.CREATE_SESSION.csa_sec_parms[].cbsp_sys_cred.machinename"
LOOKED_AT = 8  # values of a field that are compared
ORDER = 12  # operations whose order of first appearance is one value
PAIRS = 200  # operations whose successors are looked at
DAY = 86_400 * 10**9
_IPV4 = re.compile(rb"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])")
INITIAL_TTLS = (64, 128, 255)


def derive(
    profile: Profile, client: Facts, ledger: Ledger, steps: list[Step], servers: Iterable[str], rules: Rules
) -> None:
    """Add the derived fields of one client.

    client: what identify knows of it. ledger, steps: what was counted while the trace was read. servers: addresses that
    answered in this trace. rules: whose MAC prefixes are known.
    """
    profile.steps = steps
    for found in (
        _link(profile, rules),
        _transport(client),
        _callback(profile, client),
        _owners(profile, client, tuple(servers)),
        _verifiers(profile, client),
        _names(profile),
        _orders(steps),
    ):
        for path, value, source in found:
            sketch = profile.fields.get(source)
            profile.see([(path, value)], sketch.first if sketch else client_frame(client))
            profile.derived.add(path)
    profile.operations = set(ledger.operations)
    profile.measures |= dict(_measures(ledger))


Derived = Iterator[tuple[str, Scalar, str]]  # path, value, the path whose frame proves it


def client_frame(client: Facts) -> int:
    """A frame of the client, 0 if none is known."""
    return next(iter(client.ports.frames()), 0)


def _values(profile: Profile, path: str) -> list[Scalar]:
    sketch = profile.fields.get(path)
    return list(sketch.values)[:LOOKED_AT] if sketch else []


def _link(profile: Profile, rules: Rules) -> Derived:
    for mac in _values(profile, "eth.src"):
        assert isinstance(mac, str)
        known, number = rules.mac(mac), mac_number(mac)
        local = number is not None and is_locally_administered(number)
        yield "eth.src.prefix", mac[:8], "eth.src"
        yield "eth.src.locally administered", int(local), "eth.src"
        yield "eth.src.scope", known.scope if known else "unknown, local" if local else "maker", "eth.src"
    for ttl in _values(profile, "ip.ttl"):
        assert isinstance(ttl, int)
        start = next((t for t in INITIAL_TTLS if ttl <= t), 255)
        yield "ip.ttl.start", start, "ip.ttl"
        yield "ip.ttl.hops", start - ttl, "ip.ttl"


def _transport(client: Facts) -> Derived:
    ports = set(client.nfs_ports) or set(client.ports)
    if not ports:
        return
    yield "tcp.srcport < 1024", int(min(ports) < 1024), ""
    yield "tcp.srcport.class", str(port_class(client)), ""
    yield "tcp.srcport.count", len(ports), ""
    for port in sorted(ports)[:LOOKED_AT]:
        yield "tcp.srcport", port, ""


def _callback(profile: Profile, client: Facts) -> Derived:
    source = parse(client.address)
    for value in _values(profile, R_ADDR):
        given = universal(_text(value))
        yield f"{R_ADDR} == ip.src", int(given is not None and given == source), R_ADDR
        if given is None:
            kind = "no address"
        elif given == source:
            kind = "the source's"
        elif given.is_unspecified or given.is_loopback:
            kind = "nowhere"
        else:
            kind = "another, private" if is_private(given) else "another, public"
        yield f"{R_ADDR}.class", kind, R_ADDR


def _text(value: Scalar) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _bytes(value: Scalar) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _owners(profile: Profile, client: Facts, servers: tuple[str, ...]) -> Derived:
    """What stands in the texts by which a client names itself."""
    names = {_bytes(v) for path in MACHINE_NAMES for v in _values(profile, path)} - {b""}
    address = client.address.encode()
    answered = {s.encode() for s in servers}
    for path in OWNERS:
        for value in _values(profile, path):
            text = _bytes(value)
            inside = set(_IPV4.findall(text))
            yield f"{path} holds ip.src", int(address in text), path
            yield f"{path} holds ip.dst", int(any(s in text for s in answered)), path
            yield f"{path} holds another address", int(bool(inside - answered - {address})), path
            yield f"{path} holds machinename", int(any(n in text for n in names)), path
            yield f"{path} without names", without_names(text, names, inside), path


def without_names(text: bytes, names: Iterable[bytes], addresses: Iterable[bytes]) -> bytes:
    """`text` with names, addresses and runs of digits and other bytes replaced: the recipe by which it was made."""
    for found in sorted(names, key=len, reverse=True):
        text = text.replace(found, b"NAME")
    for found in sorted(addresses, key=len, reverse=True):
        text = text.replace(found, b"ADDRESS")
    text = re.sub(rb"[^\x20-\x7e]+", b"?", text)
    return re.sub(rb"[0-9a-f]*[0-9][0-9a-f]{3,}|\d+", b"N", text)


def _verifiers(profile: Profile, client: Facts) -> Derived:
    for path in VERIFIERS:
        for value in _values(profile, path):
            number = int.from_bytes(_bytes(value)[:8], "big")
            near = abs(number - client.first) < 400 * DAY
            split = (number >> 32) * 10**9 + (number & 0xFFFF_FFFF)
            yield f"{path} is a time in ns", int(near), path
            yield f"{path} is seconds and ns", int(abs(split - client.first) < 400 * DAY), path


def _names(profile: Profile) -> Derived:
    names = {_bytes(v) for path in MACHINE_NAMES for v in _values(profile, path)}
    for value in _values(profile, SESSION_MACHINE):
        yield f"{SESSION_MACHINE} == machinename", int(_bytes(value) in names), SESSION_MACHINE
    for value in _values(profile, "nlm4.LOCK.args.alock.caller_name"):
        yield "nlm4.LOCK.args.alock.caller_name == machinename", int(_bytes(value) in names), OWNERS[2]


def _orders(steps: list[Step]) -> Derived:
    """In which order operations come first, and which follows which."""
    protocols: dict[str, list[str]] = {}
    for step in steps[:PAIRS]:
        protocol = step.text.partition(".")[0]
        protocols.setdefault(protocol, []).append(step.text.partition(".")[2])
    for protocol, texts in protocols.items():
        first = list(dict.fromkeys(texts))[:ORDER]
        yield f"{protocol}.order of first calls", "; ".join(first), ""
        for pair in sorted({f"{a}; {b}" for a, b in pairwise(texts)}):
            yield f"{protocol}.order.pairs", pair, ""


def _measures(ledger: Ledger) -> Iterator[tuple[str, float]]:
    """Numbers that are never the same twice: their size may differ between kinds of client."""
    yield "tcp.connections", float(ledger.connections["tcp"])
    yield "udp.flows", float(ledger.connections["udp"])
    if ledger.handshakes:
        yield "tcp.handshake ns", float(median(ledger.handshakes))
    if not ledger.calls:
        return
    gaps = np.concatenate([*ledger.gaps, np.empty(0, np.int64)])
    latencies = np.concatenate([*ledger.latencies, np.empty(0, np.int64)])
    if len(gaps):
        yield "calls.gap ns", float(np.median(gaps))
    if len(latencies):
        yield "calls.latency ns", float(np.median(latencies))
    if ledger.last > ledger.first:
        yield "calls.per second", ledger.calls * 1e9 / (ledger.last - ledger.first)
    yield "calls.count", float(ledger.calls)
    yield "calls.bytes each", ledger.call_bytes / ledger.calls
    yield "calls.errors each", ledger.errors / ledger.calls
    total = sum(ledger.operations.values())
    for name, count in ledger.operations.items():
        yield f"{name}.share of operations", count / total

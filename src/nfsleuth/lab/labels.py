"""Who is who in a capture of the lab: an experiment and what its run observed come in, the document of
NAME.labels.json goes out.

The format is that of the captures in tests/captures: `state` is the truth, `acceptable` what a careful reader of the
capture may answer, `trap` marks clients that were made to mislead, `standin_for_native` User-Mode Linux, which has a
real kernel client and no emulated NIC but is in truth a guest. Nothing here looks at what `identify` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from nfsleuth.evidence.mac_prefix import classify
from nfsleuth.evidence.model import State
from nfsleuth.evidence.rules import Rules
from nfsleuth.lab.model import BRIDGED, USER_MODE, Capture, Client, Experiment, Guest, Native, has_own_place
from nfsleuth.lab.outcome import Flow, Ran

SCHEMA = "nfsleuth.labels/1"
# Platforms that behind a NAT are no error: what hides the guest is SLiRP, which VirtualBox uses too.
HIDDEN: list[str | None] = [None, "KVM/QEMU", "QEMU SLiRP", "VirtualBox"]
NO_PLATFORM: list[str | None] = [None]
GUEST_SCOPES = ("guest", "convention", "default", "guest-or-container", "cloud", "cloud-shared")


class Truth(NamedTuple):
    """What a client is, and what may be said of it."""

    state: State
    acceptable: list[State]
    virtual: bool
    platform: str | None
    platforms: list[str | None]
    trap: bool = False
    standin: bool = False


def document(
    experiment: Experiment, capture: Capture, file: str, flows: Sequence[Flow], ran: Mapping[str, Ran]
) -> dict[str, Any]:
    """The labels of the capture in `file`. `ran` is by client; clients without a flow in the capture are only named."""
    shares = assigned(experiment, flows, ran)
    seen = [client for client in experiment.clients if shares[client.name]]
    return {
        "schema": SCHEMA,
        "capture": file,
        "experiment": experiment.name,
        "vantage": capture.at,
        "interface": "any" if capture.any else "eth0",
        "server": experiment.server.address,
        "server_mac": experiment.server.mac,
        "server6": experiment.server.address6,
        "snaplen": capture.snaplen or None,
        "derived_from": None,
        "transform": None,
        "notes": experiment.title,
        "absent": [client.name for client in experiment.clients if not shares[client.name]],
        "clients": [_row(experiment, client, shares[client.name], ran.get(client.name)) for client in seen],
    }


def assigned(experiment: Experiment, flows: Iterable[Flow], ran: Mapping[str, Ran]) -> dict[str, list[Flow]]:
    """Each client's flows. Clients that share an address are told apart by XIDs that were recorded on their own side.

    A flow none of whose XIDs was recorded inside belongs to the one client at its address that no NAT hides: the host
    itself. Where that leaves two, it is nobody's, since a wrong label is worse than none.
    """
    holders: dict[str, list[Guest | Native]] = {}
    for client in experiment.clients:
        for address in _addresses(experiment, client):
            holders.setdefault(address, []).append(client)
    found: dict[str, list[Flow]] = {client.name: [] for client in experiment.clients}
    for flow in flows:
        owner = _owner(flow, holders.get(flow.address, []), ran)
        if owner:
            found[owner].append(flow)
    return found


def recognised(
    experiment: Experiment, captured: Mapping[Capture, Sequence[Flow]], ran: Mapping[str, Ran]
) -> dict[str, Ran]:
    """`ran`, with XIDs from captures on hosts for clients that nothing else recorded inside.

    Clients behind one masquerading router share an address at the server, and have their own on their hosts.
    """
    known = dict(ran)
    for capture, found in captured.items():
        if capture.place[0] != "host":
            continue
        for name, mine in assigned(experiment, found, ran).items():
            xids = frozenset(xid for flow in mine for xid in flow.xids)
            if name in ran and not ran[name].inside and experiment.client(name).host == capture.place[1]:
                known[name] = replace(known[name], inside=known[name].inside | xids)
    return known


def _addresses(experiment: Experiment, client: Guest | Native) -> set[str]:
    """Addresses that its flows may come from, wherever they are captured."""
    own = {client.address, client.address6} if isinstance(client, Guest) else {client.address}
    if not has_own_place(client):
        host = experiment.host(client.host)
        own |= {host.address, host.address6}
    return (own | {experiment.wire_address(client)}) - {""}


def _owner(flow: Flow, candidates: Sequence[Client], ran: Mapping[str, Ran]) -> str:
    """The name of the candidate whose flow it is, "" if that cannot be said."""
    if len(candidates) == 1:
        return candidates[0].name
    inside = {client.name: ran[client.name].inside for client in candidates if client.name in ran}
    best = max(candidates, key=lambda client: len(inside.get(client.name, frozenset()) & flow.xids), default=None)
    if best and inside.get(best.name, frozenset()) & flow.xids:
        return best.name
    unrecorded = [client for client in candidates if not inside.get(client.name)]
    return unrecorded[0].name if len(unrecorded) == 1 else ""


def _row(experiment: Experiment, client: Guest | Native, mine: Sequence[Flow], ran: Ran | None) -> dict[str, Any]:
    """The label of one client."""
    true = truth(experiment, client)
    workload = experiment.workload(client)
    guest = client if isinstance(client, Guest) else None
    libnfs = isinstance(client, Native) and client.client == "libnfs"
    address = experiment.wire_address(client)
    return {
        "name": client.name,
        "address": address,
        "address6": address if client.ip == 6 else None,
        "mac": experiment.wire_mac(client),
        "guest_mac": guest.mac if guest else None,
        "names": ["libnfs"] if libnfs else [client.hostname],  # libnfs writes its own name into AUTH_SYS
        "nfs_versions": [client.version],
        "ports": sorted({flow.port for flow in mine}),
        "rpc_calls": sum(len(flow.xids) for flow in mine),
        "state": true.state,
        "acceptable": true.acceptable,
        "virtual": true.virtual,
        "platform": true.platform,
        "platform_acceptable": true.platforms,
        "nic": guest.nic if guest else "veth",
        "backend": guest.backend if guest else "masquerade" if _contained(client) else "native",
        "host": client.host,
        "guest_address": client.address,
        "guest_kernel": ran.kernel if ran else None,
        "memory": guest.memory if guest else None,
        "clock_ppm": guest.clock_ppm if guest else 0,
        "mount": client.mount_options,
        "uniquifier": client.uniquifier or None,
        "topology": topology(experiment, client),
        "boots": ran.boots if ran else None,
        "idle": workload.idle,
        "trap": true.trap,
        "standin_for_native": true.standin,
        "failed": ran.failed if ran else "did not run",
        "notes": client.notes,
    }


def topology(experiment: Experiment, client: Guest | Native) -> str:
    """How its frames reach the server: "direct", "vlan", "routed" or "masqueraded"."""
    host = experiment.host(client.host)
    if router := experiment.router(host):
        return "masqueraded" if router.masquerade else "routed"
    return "vlan" if host.vlan else "direct"


def truth(experiment: Experiment, client: Guest | Native) -> Truth:
    """What the client is. Where the frames cannot show it, doubt is acceptable too."""
    router = experiment.router(experiment.host(client.host))
    true = _guest(client) if isinstance(client, Guest) else _native(client)
    if router and router.masquerade and true.state in (State.NATIVE, State.BRIDGED):
        true = _behind_nat(virtual=true.virtual)
    trap = client.trap or (router is None and _misleads(experiment, client))
    hidden = router is not None and true.state is not State.USER_NAT  # whose MAC it is cannot be seen
    alike = isinstance(client, Guest) and client.backend == "passt"  # it has the host's address inside, too
    if trap or true.standin or hidden or alike:
        true = true._replace(acceptable=sorted({*true.acceptable, State.UNKNOWN}))
    if router and true.state is State.BRIDGED:  # the router hides the MAC that would name the platform
        true = true._replace(platform=None, platforms=[None, *true.platforms])
    return true._replace(trap=trap)


def _guest(guest: Guest) -> Truth:
    if guest.backend == "masquerade":
        return _behind_nat(virtual=guest.kernel != "uml")
    if guest.backend in USER_MODE:
        return Truth(State.USER_NAT, [State.USER_NAT], True, None, HIDDEN)
    if guest.kernel == "uml":
        return Truth(State.NATIVE, [State.NATIVE], False, None, NO_PLATFORM, standin=True)
    _, _, prefix = classify(guest.mac, Rules.builtin())
    suggested = prefix.name if prefix and prefix.scope in GUEST_SCOPES else None
    # A MAC imitates a maker's guests, QEMU's own suggests QEMU; the platform that it suggests is the right answer.
    return Truth(State.BRIDGED, [State.BRIDGED], True, suggested, [suggested] if suggested else [None, "KVM/QEMU"])


def _native(native: Native) -> Truth:
    if native.container:
        true = _behind_nat(virtual=False)
        return true._replace(acceptable=sorted({*true.acceptable, State.CONTAINER}))
    return Truth(State.NATIVE, [State.NATIVE], False, None, NO_PLATFORM)


def _behind_nat(*, virtual: bool) -> Truth:
    """Behind translation of packets the state says how it is connected; what it is stays open."""
    return Truth(State.KERNEL_NAT, [State.KERNEL_NAT, State.UNKNOWN], virtual, None, HIDDEN if virtual else NO_PLATFORM)


def _misleads(experiment: Experiment, client: Guest | Native) -> bool:
    """Whether the MAC on the wire says the opposite of the truth, or a native client avoids reserved ports."""
    bridged = isinstance(client, Guest) and client.backend in BRIDGED and client.kernel != "uml"
    _, _, prefix = classify(experiment.wire_mac(client), Rules.builtin())
    virtual_mac = prefix is not None and prefix.scope in GUEST_SCOPES
    if bridged:
        return not virtual_mac
    native = isinstance(client, Native) or has_own_place(client)
    return native and not _contained(client) and (virtual_mac or client.noresvport)


def _contained(client: Client) -> bool:
    return isinstance(client, Native) and client.container

"""Whether an experiment can be: names that are used exist and are unique, and parts go together.

Comes in: an `Experiment`, before and after its open values are filled in. ValueError says which part is wrong and what
to write instead; nothing goes out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from nfsleuth.lab.model import (
    CLOUD_NICS,
    LIBNFS_VERSIONS,
    UML_NIC,
    USER_MODE,
    Capture,
    Experiment,
    Guest,
    Native,
)


def references(experiment: Experiment) -> None:
    """Names are unique, and what is named exists."""
    if not experiment.clients:
        raise ValueError("no client; add a [[guests]], [[natives]] or [[matrix]] table")
    routers = {router.name for router in experiment.routers}
    hosts = {host.name for host in experiment.hosts}
    workloads = {workload.name for workload in experiment.workloads}
    _unique("router or host", [*(r.name for r in experiment.routers), *(h.name for h in experiment.hosts)])
    _unique("client", [client.name for client in experiment.clients])
    _unique("capture", [*(c.name for c in experiment.captures), *(d.name for d in experiment.derived)])
    for host in experiment.hosts:
        _known(f"host {host.name}: behind", host.behind, routers | {""}, "[[routers]]")
    for client in experiment.clients:
        _known(f"{client.name}: host", client.host, hosts, "[[hosts]]")
        _known(f"{client.name}: workload", client.workload, workloads, f"[workloads.{client.workload}]")
        _refuse(client.name, _given_address(client))
    for capture in experiment.captures:
        _place(experiment, capture)
    captures = {capture.name for capture in experiment.captures}
    for derived in experiment.derived:
        _known(f"derived {derived.name}: of", derived.of, captures, "[[captures]]")


def combinations(experiment: Experiment) -> None:
    """Parts go together."""
    _networks(experiment)
    if experiment.boots > 1 and experiment.start != "in turn":
        raise ValueError(f'boots = {experiment.boots} goes with start = "in turn" only; set one of them back')
    for workload in experiment.workloads:
        if workload.warmup >= workload.rounds:
            raise ValueError(
                f"workload {workload.name}: warmup = {workload.warmup} leaves none of {workload.rounds} rounds; "
                "set rounds higher"
            )
    for guest in experiment.guests:
        _refuse(guest.name, impossible(guest))
    for native in experiment.natives:
        _refuse(native.name, _native(native, experiment.workload(native).reboots))
    for client in experiment.clients:
        _refuse(client.name, _mount(experiment, client))
    for host in experiment.hosts:
        if host.vlan and experiment.server.kind == "kernel":
            _refuse(
                f"host {host.name}", 'a guest that serves speaks in no VLAN; leave vlan out, or use kind = "ganesha"'
            )
        if host.vlan and host.behind:
            _refuse(
                f"host {host.name}", f"vlan = {host.vlan} would not reach the server through a router; leave one out"
            )


def impossible(guest: Guest) -> str:
    """Why no such guest can be, with the cure; "" if it can."""
    if guest.kernel == "uml":
        if guest.nic not in (UML_NIC, "virtio-net-pci"):  # the latter is what the file leaves open
            return "User-Mode Linux emulates no NIC; leave nic out"
        if guest.backend not in ("tap", "masquerade"):
            return f"User-Mode Linux has no backend {guest.backend}; use tap or masquerade, or another kernel"
    elif guest.backend == "vhost" and guest.nic != "virtio-net-pci":
        return f"vhost moves frames of virtio only, not of {guest.nic}; use tap"
    elif guest.kernel == "cloud" and guest.nic not in CLOUD_NICS:
        return f"a cloud kernel has no driver for {guest.nic}; use {', '.join(CLOUD_NICS)}, or kernel generic"
    if guest.ip == 6 and guest.backend in ("passt", "masquerade"):
        return f"the lab has no IPv6 behind {guest.backend}; set ip = 4"
    return ""


def _native(native: Native, reboots: int) -> str:
    if reboots:
        return "a native client cannot reboot; give it a workload without reboots"
    if native.container and native.ip == 6:
        return "the lab has no IPv6 behind a container engine's NAT; set ip = 4"
    if native.kerberos:
        return "only guests have a keytab and rpc.gssd; leave sec and keytab out"
    if native.client != "libnfs":
        return 'consumer is libnfs\'s; leave it out, or use client = "libnfs"' if native.consumer else ""
    if native.version not in LIBNFS_VERSIONS:
        return f'libnfs has no NFSv{native.version}; use version 3 or 4.0, or client = "kernel"'
    kernels = ("noresvport", "clientaddr", "uniquifier", "rsize", "wsize", "options")
    if native.nconnect > 1 or any(getattr(native, name) for name in kernels):
        return f'libnfs takes none of nconnect, {", ".join(kernels)}; leave them out, or use client = "kernel"'
    return ""


def _given_address(client: Guest | Native) -> str:
    """Why the client cannot have the address or MAC that the file gives it. Asked before open values are filled in."""
    if isinstance(client, Guest):
        if client.backend in USER_MODE and (client.address or client.address6):
            return f"behind {client.backend} a guest has no address of its own on the wire; leave address out"
        if client.backend == "masquerade" and client.address6:
            return "the lab has no IPv6 behind masquerade; leave address6 out"
    elif not client.container and (client.mac or client.address):
        return "a native client is its host; give mac and address in [[hosts]], or set container = true"
    return ""


def _mount(experiment: Experiment, client: Guest | Native) -> str:
    """Why the mount cannot work."""
    if client.clientaddr and client.version != "4.0":
        return f'clientaddr is sent by NFSv4.0 only, not by {client.version}; set version = "4.0"'
    if client.uniquifier and client.version == "3":
        return "NFSv3 sends no uniquifier; set another version"
    if client.kerberos and experiment.server.kind == "kernel":
        return 'the guest that serves has no Kerberos; leave sec and keytab out, or use kind = "ganesha"'
    router = experiment.router(experiment.host(client.host))
    if client.ip == 6 and router and (router.masquerade or not router.inside6):
        return f"router {router.name} passes no IPv6; set ip = 4, or give the router inside6 and no masquerade"
    newer = isinstance(client, Guest) and client.kernel == "backports"
    if newer and client.version == "4.2" and experiment.server.kind == "ganesha":
        # Seen with NFS-Ganesha 4.3: READ_PLUS (RFC 7862, section 15.10) returns 0 bytes and never the end of the file.
        return 'kernels of backports read with READ_PLUS, which NFS-Ganesha answers with nothing; set version = "4.1"'
    return ""


def _place(experiment: Experiment, capture: Capture) -> None:
    """The capture's place exists, and can do what is wanted."""
    kind, name = capture.place
    names = {
        "server": {""},
        "host": {host.name for host in experiment.hosts},
        "router": {router.name for router in experiment.routers},
        "guest": {guest.name for guest in experiment.guests if guest.kernel != "uml"},
    }
    where = f"capture {capture.name}"
    if kind not in names or (kind != "server") != bool(name):
        _refuse(where, 'at wants "server", "host:NAME", "router:NAME" or "guest:NAME"')
    _known(f"{where}: at", name, names[kind], "guests under QEMU" if kind == "guest" else f"[[{kind}s]]")
    if capture.any and kind == "guest":
        _refuse(where, "any is for namespaces, not for the inside of a guest; leave it out")


def _networks(experiment: Experiment) -> None:
    """No two networks of one machine overlap."""
    wide = [("network", experiment.network.ipv4), *((f"router {r.name}", r.inside) for r in experiment.routers)]
    for (one, a), (other, b) in itertools.combinations(wide, 2):
        if a.overlaps(b):
            _refuse(other, f"inside = {b} overlaps {a} of {one}; choose another")
    for host in experiment.hosts:
        for other, network in wide:
            if host.private.overlaps(network):
                _refuse(f"host {host.name}", f"private = {host.private} overlaps {network} of {other}; choose another")


def _unique(kind: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{kind} {name} is there twice; give one another name")
        seen.add(name)


def _known(what: str, name: str, known: set[str], where: str) -> None:
    if name not in known:
        choices = f"one of {', '.join(sorted(known - {''}))}" if known - {""} else "there is none"
        raise ValueError(f"{what} = {name} is not among the {where}; {choices}")


def _refuse(who: str, why: str) -> None:
    if why:
        raise ValueError(f"{who}: {why}")

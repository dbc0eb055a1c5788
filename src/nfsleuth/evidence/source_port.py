"""The source ports of NFS and MOUNT connections: reserved or not.

What it sees: whether any of them is below 1024, and in which range.
Why it tells clients apart: Linux's client binds 665 to 1023. Packet translation keeps a reserved port reserved (in 600
to 1023); a user-mode network opens an ordinary socket of the host, which never gets one.
Known confusions: `noresvport`, EFS helpers and stunnel; programs and other systems that use ephemeral ports anyway;
VMware's NAT on Windows hosts maps reserved ports to reserved ones. mount.nfs probes from ephemeral ports first.
Example: a Linux client that comes only from 36638 sits behind a user-mode network, or mounted with noresvport.
Source: net/sunrpc/xprtsock.c, net/netfilter/nf_nat_core.c, libslirp tcp_fconnect, passt tcp.c; lab (73 flows).
"""

from __future__ import annotations

from collections.abc import Iterator

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.client_os import software
from nfsleuth.evidence.model import Evidence, Group, State
from nfsleuth.evidence.ports import PortClass, class_of, mounting_ports
from nfsleuth.evidence.rules import Rules
from nfsleuth.evidence.weights import Weight, set_aside

RULE = "source_port"
GROUP = Group.TRANSPORT
WEIGHTS = {
    # ln(.01 / .93), guessed. Whatever the guest binds, a user-mode network's socket is not reserved.
    "reserved": Weight("reserved source port", {State.USER_NAT: -4.5}, "lab; net/sunrpc/xprtsock.c"),
    # Only the remapping of nf_nat comes to 600..664 from Linux's client (deduced from its range).
    "remapped": Weight(
        "source port that only NAT gives Linux",
        {State.USER_NAT: -4.5, State.KERNEL_NAT: 2.5},
        "prior; net/netfilter/nf_nat_core.c",
    ),
    # ln(.98 / .06) = 2.8, guessed: noresvport is what remains for the others.
    "ephemeral": Weight("Linux without a reserved port", {State.USER_NAT: 2.8}, "lab; net/sunrpc/xprtsock.c"),
    # An NFSv3 mount shows NFS and MOUNT connections: both without a reserved port.
    "ephemeral mount": Weight(
        "Linux mounts without reserved ports", {State.USER_NAT: 3.2}, "lab; net/sunrpc/xprtsock.c"
    ),
    # Most NFS clients are Linux kernels: P(ephemeral) is perhaps .15 where that is guessed, .3 where nothing is known.
    "ephemeral, perhaps linux": Weight("no reserved port, perhaps Linux", {State.USER_NAT: 1.9}, "prior"),
    "ephemeral, unknown": Weight("no reserved port", {State.USER_NAT: 1.2}, "prior"),
}


def observe(client: Facts, around: Household, rules: Rules) -> Iterator[Evidence]:
    """One row, set aside where the client's software uses ephemeral ports anyway."""
    ports = mounting_ports(client)
    kind = class_of(ports)
    if kind is PortClass.NONE:
        return
    shown = sorted(ports.sightings)
    seen = f"ports {', '.join(map(str, shown[:6]))}{' ...' if len(shown) > 6 else ''}"
    frames = ports.frames(*shown[:6])
    system = software(client, around)
    linux = system.name == "linux"
    if kind is PortClass.REMAPPED and linux and system.sure:
        yield WEIGHTS["remapped"].evidence(RULE, GROUP, seen, frames)
    elif kind is not PortClass.EPHEMERAL:
        yield WEIGHTS["reserved"].evidence(RULE, GROUP, seen, frames)
    elif linux and system.sure:
        yield WEIGHTS["ephemeral mount" if len(client.mount_ports) else "ephemeral"].evidence(RULE, GROUP, seen, frames)
    elif linux:
        yield WEIGHTS["ephemeral, perhaps linux"].evidence(RULE, GROUP, seen, frames)
    elif not system.name:
        yield WEIGHTS["ephemeral, unknown"].evidence(RULE, GROUP, seen, frames)
    else:
        why = f"{system} uses such ports anyway"
        yield set_aside(RULE, GROUP, "no reserved port", seen, why, frames=frames)

"""Source ports in, their class out: what kind of socket, or which translation, gave them."""

from __future__ import annotations

from enum import StrEnum

from nfsleuth.clients.facts import Facts, Seen

# sunrpc.min_resvport and max_resvport (net/sunrpc/xprtsock.c): where Linux binds NFS and MOUNT sockets.
LINUX_RESERVED = range(665, 1024)
# nf_nat_core.c keeps a reserved port reserved, but remaps into 600..1023: only so Linux's client comes to 600..664.
REMAPPED = range(600, 665)


class PortClass(StrEnum):
    """What the client's NFS and MOUNT source ports have in common."""

    RESERVED = "reserved"  # at least one that Linux would choose
    REMAPPED = "remapped"  # reserved, at least one in 600..664
    LOW = "low"  # reserved, all below 600
    EPHEMERAL = "ephemeral"  # all are 1024 or above
    NONE = "none"


def port_class(client: Facts) -> PortClass:
    """The class of `mounting_ports`."""
    return class_of(mounting_ports(client))


def class_of(seen: Seen[int]) -> PortClass:
    """One reserved port is enough for "reserved".

    mount.nfs probes server and portmapper from ephemeral ports first, so a client that may bind reserved ports shows
    both kinds (seen in the lab), and one that cannot shows none.
    """
    ports = seen.sightings.keys()
    if not ports:
        return PortClass.NONE
    if min(ports) > LINUX_RESERVED[-1]:  # as of many clients: no port need be looked at by itself
        return PortClass.EPHEMERAL
    if any(p in LINUX_RESERVED for p in ports):
        return PortClass.RESERVED
    if any(p in REMAPPED for p in ports):
        return PortClass.REMAPPED
    return PortClass.LOW


def mounting_ports(client: Facts) -> Seen[int]:
    """Source ports of NFS and MOUNT connections; of all connections where no call was seen."""
    ports = client.nfs_ports + client.mount_ports
    return ports if len(ports) else client.ports

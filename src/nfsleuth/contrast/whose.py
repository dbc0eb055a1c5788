"""Clients and connections come in; out goes which connection is whose, and which are left out for their NFS version."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import ip_address

import numpy as np

from nfsleuth.clients.facts import Facts
from nfsleuth.contrast.observe import Key
from nfsleuth.contrast.sketch import Profile
from nfsleuth.evidence.client_os import client_os
from nfsleuth.trace.tables import Program, Version

VERSIONS = {"2": Version.V2, "3": Version.V3, "4.0": Version.V4_0, "4.1": Version.V4_1, "4.2": Version.V4_2}
_WITH_OLD = ("2", "3")  # NFS versions that need MOUNT, NLM, NSM and the portmapper
_AROUND = Program.MOUNT | Program.NLM | Program.NSM | Program.NFSACL | Program.PORTMAP
MOST_CONNECTIONS = 1 << 20  # whose versions are remembered


class Versions:
    """Which NFS versions each connection carries, and which of them are wanted. wanted: empty for all."""

    def __init__(self, wanted: Collection[str] = ()) -> None:
        self._wanted = sum(VERSIONS[v] for v in set(wanted))
        self._old = bool(set(wanted) & set(_WITH_OLD)) or not wanted
        self._seen: dict[Key, tuple[int, int]] = {}  # versions, programs

    def add(self, connections: np.ndarray) -> None:
        """Take in CONNECTION rows."""
        columns = ("client_hi", "client_lo", "client_port", "versions", "programs")
        for hi, lo, port, versions, programs in zip(*(connections[c].tolist() for c in columns), strict=True):
            before = self._seen.get((hi, lo, port), (0, 0))
            if before != (0, 0) or len(self._seen) < MOST_CONNECTIONS:
                self._seen[hi, lo, port] = (before[0] | versions, before[1] | programs)

    def _is_wanted(self, versions: int, programs: int) -> bool:
        if not self._wanted:
            return True
        return bool(versions & self._wanted) or (self._old and not versions and bool(programs & _AROUND))

    def skipped(self) -> frozenset[Key]:
        """Connections that are left out."""
        return frozenset(key for key, seen in self._seen.items() if not self._is_wanted(*seen))

    def has(self, client: Facts) -> bool:
        """Whether a client speaks one of the wanted versions; without wanted ones, any at all."""
        return not self._wanted or any(VERSIONS[v] & self._wanted for v in client.versions if v in VERSIONS)

    def newest(self, client: Facts) -> str:
        """The newest of the wanted versions that a client speaks, "" none."""
        spoken = [v for v in VERSIONS if v in client.versions and (not self._wanted or VERSIONS[v] & self._wanted)]
        return spoken[-1] if spoken else ""


def blank(client: Facts, capture: str, versions: Versions) -> Profile:
    """A profile without fields."""
    names = frozenset(client.names) | frozenset(client.macs)
    return Profile(
        client.address, capture, names=names, version=versions.newest(client), software=client_os(client).name
    )


def owners(clients: Iterable[Facts]) -> dict[Key, int]:
    """Address and port of each connection -> index of its client; with port 0 the only client of an address.

    A port that two clients of one address used is the first one's.
    """
    found: dict[Key, int] = {}
    at: dict[tuple[int, int], list[int]] = {}
    for index, client in enumerate(clients):
        hi, lo = halves(client.address)
        at.setdefault((hi, lo), []).append(index)
        for port in client.ports:
            found.setdefault((hi, lo, port), index)
    for (hi, lo), indices in at.items():
        if len(indices) == 1:
            found[hi, lo, 0] = indices[0]
    return found


def halves(address: str) -> tuple[int, int]:
    """An address as the tracker has it: 128 bits in two halves, IPv4 mapped (RFC 4291 section 2.5.5.2)."""
    parsed = ip_address(address)
    number = int(parsed) if parsed.version == 6 else 0xFFFF << 32 | int(parsed)
    return number >> 64, number & 0xFFFF_FFFF_FFFF_FFFF

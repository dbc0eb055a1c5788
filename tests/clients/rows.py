"""Rows for tests, from named fields: what a tracker would hand out."""

from __future__ import annotations

from ipaddress import ip_address

import numpy as np

from nfsleuth.trace.rows import Rows
from nfsleuth.trace.tables import (
    CALL,
    CONNECTION,
    IDENTITY,
    NEIGHBOUR,
    NO_MAC,
    Flavor,
    Identity,
    Neighbour,
    Oddity,
    Program,
    Role,
    Version,
)

SECOND = 1_000_000_000
T0 = 1_795_382_706 * SECOND  # an ordinary time of capture
SERVER = "10.77.0.1"
GUEST = "10.77.0.21"
MAC, SERVER_MAC = 0x1866DA3B2101, 0x02AA00000001
LAYOUT_LINUX = 0xF_3_1_8_4_2  # mss,sok,ts,nop,ws


def halves(address: str) -> tuple[int, int]:
    parsed = ip_address(address)
    value = int(parsed) | (0xFFFF << 32 if parsed.version == 4 else 0)
    return value >> 64, value & (1 << 64) - 1


class Trace:
    """Builds the rows of a trace. Times are seconds after `T0`."""

    def __init__(self) -> None:
        self.connections: list[np.ndarray] = []
        self.identities: list[np.ndarray] = []
        self.neighbours: list[np.ndarray] = []
        self.text = b""

    def connection(self, port: int, first: float = 0, last: float | None = None, **given: object) -> Connection:
        row = np.zeros((), CONNECTION)
        uid = len(self.connections)
        row["uid"] = uid
        row["client_hi"], row["client_lo"] = halves(str(given.pop("client", GUEST)))
        row["server_hi"], row["server_lo"] = halves(str(given.pop("server", SERVER)))
        row["client_port"], row["server_port"], row["transport"], row["role"] = port, 2049, 6, Role.RPC
        row["client_mac"] = row["client_mac_last"] = MAC
        row["server_mac"] = SERVER_MAC
        row["programs"], row["versions"], row["flavors"] = Program.NFS, Version.V4_2, Flavor.SYS
        row["first"] = T0 + int(first * SECOND)
        row["last"] = T0 + int((first + 1 if last is None else last) * SECOND)
        row["first_frame"], row["last_frame"] = 10 * uid + 1, 10 * uid + 9
        row["ttl_min"], row["ttl_max"] = (64, 64), (64, 64)
        row["syn_frame"], row["syn_time"], row["syns"] = row["first_frame"], row["first"], 1
        row["syn_ttl"], row["syn_window"], row["syn_mss"], row["syn_wscale"] = 64, 64240, 1460, 7
        row["syn_options"], row["syn_flags"] = LAYOUT_LINUX, 1
        row["handshake"] = 25_000
        row["frames"], row["payload"] = (20, 30), (2000, 30000)
        row["calls"] = row["replies"] = row["nfs_calls"] = 10
        row["reads"], row["read_bytes"], row["read_busy"] = 3, 3072, 1000
        for name, value in given.items():
            row[name] = value
        self.connections.append(row)
        return Connection(self, row)

    def mount(self, port: int, first: float = 0, **given: object) -> Connection:
        return self.connection(port, first, **{"programs": Program.MOUNT, "versions": 0, "server_port": 20048, **given})

    def portmap(self, port: int, first: float = 0, **given: object) -> Connection:
        return self.connection(port, first, **{"programs": Program.PORTMAP, "versions": 0, "server_port": 111, **given})

    def unread(self, port: int, first: float = 0, **given: object) -> Connection:
        """TCP in which no RPC could be read."""
        nothing = {"programs": 0, "versions": 0, "flavors": 0, "calls": 0, "replies": 0, "nfs_calls": 0}
        return self.connection(port, first, **{**nothing, "role": Role.SYN, **given})

    def neighbour(self, mac: int, address: str, kind: Neighbour, ttl: int = 64) -> None:
        row = np.zeros((), NEIGHBOUR)
        row["mac"], row["kind"], row["ttl_min"], row["ttl_max"] = mac, kind, ttl, ttl
        row["hi"], row["lo"] = halves(address) if address else (0, 0)
        row["frames"], row["first_frame"] = 5, 1
        self.neighbours.append(row)

    def rows(self) -> Rows:
        return Rows(
            np.array(self.connections, CONNECTION),
            np.array(self.identities, IDENTITY),
            np.empty(0, CALL),
            np.array(self.neighbours, NEIGHBOUR),
            self.text,
            np.zeros(len(Oddity), np.int64),
            np.zeros(len(Oddity), np.int64),
        )


class Connection:
    """A CONNECTION row that takes identities; each returns the connection, so that calls chain."""

    def __init__(self, trace: Trace, row: np.ndarray) -> None:
        self.trace, self.row = trace, row

    def says(
        self, kind: Identity, text: bytes = b"", a: int = 0, b: int = 0, at: float | None = None, server: bool = False
    ) -> Connection:
        row = np.zeros((), IDENTITY)
        row["uid"], row["kind"], row["from_client"] = self.row["uid"], kind, not server
        row["at"], row["length"], row["a"], row["b"] = len(self.trace.text), len(text), a, b
        row["time"] = self.row["first"] if at is None else T0 + int(at * SECOND)
        row["frame"] = self.row["first_frame"] + 1
        self.trace.text += text
        self.trace.identities.append(row)
        return self

    def name(self, name: str, at: float | None = None) -> Connection:
        return self.says(Identity.MACHINE_NAME, name.encode(), at=at)

    def boot(self, verifier: int, owner: bytes = b"Linux NFSv4.2 localhost", at: float | None = None) -> Connection:
        kind = Identity.CLIENT_ID if b"v4.0" in owner else Identity.CLIENT_OWNER
        return self.says(kind, owner, verifier, at=at)

    def session(self, number: int, at: float | None = None) -> Connection:
        return self.says(Identity.SESSION, a=7, b=number, at=at)

    def clientid(self, number: int, at: float | None = None) -> Connection:
        return self.says(Identity.CLIENTID, a=number, at=at)


def booted(second: float) -> int:
    """A Linux verifier: NFS began `second` seconds after `T0`."""
    return T0 + int(second * SECOND) + 166_249


__all__ = ["GUEST", "MAC", "NO_MAC", "SECOND", "SERVER", "SERVER_MAC", "T0", "Connection", "Trace", "booted"]

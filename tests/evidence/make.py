"""Facts made by hand, in the shapes that captures give."""

from __future__ import annotations

from nfsleuth.clients.facts import ClientId, Facts, Household, Link, Neighbour, Syn
from nfsleuth.evidence import Rules, heuristics
from nfsleuth.evidence.model import Evidence

SERVER, SERVER_MAC = "10.77.0.1", "0c:c4:7a:5e:10:01"
DELL, KVM, NOBODY = "18:66:da:3b:21:01", "52:54:00:e7:ee:e7", "6e:3c:44:7e:33:05"
LINUX_SYN = Syn(64, 64240, 1460, 7, "mss,sok,ts,nop,ws", True)
BOOT = 1_795_382_000 * 10**9  # ns, a Linux verifier


def facts(address: str = "10.77.0.21", mac: str = DELL, ttl: int | None = 64, ports: tuple[int, ...] = (), **more):
    """Facts with the values given; `more`: iterables for Seen fields, plain values for others."""
    made = Facts(address, connections=1, first=BOOT, last=BOOT + 10**9)
    made.servers.see(SERVER, 1)
    made.transports.see("tcp", 1)
    if mac:
        made.macs.see(mac, 1)
    if ttl is not None:
        made.ttls.see(ttl, 1)
    for port in ports:
        made.ports.see(port, 1)
        made.nfs_ports.see(port, 1)
    for name, values in more.items():
        field = getattr(made, name)
        if hasattr(field, "see"):
            for value in values:
                field.see(value, 2, BOOT + 1)
        else:
            setattr(made, name, values)
    return made


def linux(name: str = "node1", **more):
    """Facts of a Linux NFSv4.2 client."""
    verifier = more.pop("verifier", BOOT)
    record = ClientId(f"Linux NFSv4.2 {name}".encode(), verifier, 1, BOOT + 5 * 10**9, 3)
    given = {"names": [name], "stamps": [(name, 0)], "versions": ["4.2"], "client_ids": (record,)}
    return facts(**{**given, **more})


def household(*clients: Facts, neighbours: tuple[Neighbour, ...] = ()):
    """The clients beside a server whose own frames were seen."""
    link = Link()
    link.servers.see(SERVER, 1)
    link.server_macs.see(SERVER_MAC, 1)
    for neighbour in neighbours:
        link.neighbours.see(neighbour, 1)
    return Household(list(clients), link)


def observe(rule: str, client: Facts, around: Household | None = None, rules: Rules | None = None) -> list[Evidence]:
    """The rows of one heuristic."""
    home = around if around is not None else household(client)
    return list(heuristics()[rule].observe(client, home, rules or Rules.builtin()))

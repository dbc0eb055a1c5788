#!/usr/bin/env python3
"""What the lab's captures show of the claims in docs/findings-lab.md: labelled captures come in, tables go out.

usage: findings.py [FOLDER ...]

Reads the captures of the server below the folders given, or below tests/captures/lab, with the labels beside them.
Prints, per way of being connected: source ports, TTLs, SYNs, keep-alive probes, callback addresses, boot verifiers,
implementation ids, and clocks of TCP timestamps. Nothing here asks for a verdict.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from accuracy import CAPTURES, table

import nfsleuth
from nfsleuth.lab.damage import Frame, frames

NFS_PORT = 2049
IDLE = 100.0  # seconds of a connection's life from which keep-alive probes of Linux's NFS client are to be expected
LINUX_LOWEST, NAT_LOWEST, RESERVED = 665, 600, 1024
ETHERNET, IPV4, TCP, SYN, TIMESTAMP = 14, 0x0800, 6, 0x02, 8
WRAP = 1 << 32  # of TSval
ENOUGH, LONG = 20, 60.0  # timestamps, and seconds, from which a clock's rate is told


class Client(NamedTuple):
    """A labelled client: its label, its connections to the NFS port, and what was sent over them."""

    label: dict[str, Any]
    connections: pl.DataFrame
    identities: pl.DataFrame
    stamps: list[tuple[int, float, int, bool]]  # port, seconds, TSval, whether in a SYN

    @property
    def kind(self) -> str:
        """How it is connected, in words of the labels."""
        label = self.label
        how = "User-Mode Linux" if label["standin_for_native"] else label["backend"]
        program = "libnfs" if label["names"] == ["libnfs"] else "kernel"
        return f"{how}, {label.get('topology') or 'direct'}, {program}"


def main(arguments: Sequence[str]) -> int:
    """Read, and print."""
    folders = [Path(argument) for argument in arguments] or [CAPTURES / "lab"]
    clients = [client for folder in folders for path in sorted(folder.rglob("*.labels.json")) for client in read(path)]
    if not clients:
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    for title, head, cells in SECTIONS:
        groups: dict[str, list[Client]] = defaultdict(list)
        for client in clients:
            groups[client.kind].append(client)
        rows = [(kind, *cells(some)) for kind, some in sorted(groups.items())]
        print(f"## {title}\n\n{table(('connected', *head), [r for r in rows if any(r[1:])])}\n")
    return 0


def read(path: Path) -> Iterator[Client]:
    """The clients of one capture; of those that were taken at the server and not made from others."""
    labels = json.loads(path.read_text(encoding="utf-8"))
    again = labels["derived_from"] or labels.get("interface") == "any"
    if labels.get("vantage", "server") != "server" or again:
        return
    capture = path.parent / labels["capture"]
    found = nfsleuth.read(capture, calls=False)
    connections = found.connections.filter((pl.col("server_port") == NFS_PORT) & (pl.col("transport") == "tcp"))
    stamps = timestamps(frames(capture))
    for label in labels["clients"]:
        mine = connections.filter((pl.col("client") == label["address"]) & pl.col("client_port").is_in(label["ports"]))
        identities = found.identities.filter(pl.col("uid").is_in(mine["uid"].implode()))
        told = [(port, *stamp) for port in label["ports"] for stamp in stamps.get((label["address"], port), [])]
        yield Client(label, mine, identities, told)


def timestamps(all_: Iterable[Frame]) -> dict[tuple[str, int], list[tuple[float, int, bool]]]:
    """TSval (RFC 7323) of each segment to the NFS port over IPv4, by source address and port."""
    found: dict[tuple[str, int], list[tuple[float, int, bool]]] = defaultdict(list)
    for frame in all_:
        data = frame.data
        if len(data) < ETHERNET + 40 or int.from_bytes(data[12:14]) != IPV4 or data[ETHERNET + 9] != TCP:
            continue
        at = ETHERNET + (data[ETHERNET] & 15) * 4
        if int.from_bytes(data[at + 2 : at + 4]) != NFS_PORT:
            continue
        value = _tsval(data[at + 20 : at + (data[at + 12] >> 4) * 4])
        if value is not None:
            address = ".".join(map(str, data[ETHERNET + 12 : ETHERNET + 16]))
            port = int.from_bytes(data[at : at + 2])
            found[address, port].append((frame.time / 1e9, value, bool(data[at + 13] & SYN)))
    return found


def _tsval(options: bytes) -> int | None:
    at = 0
    while at + 1 < len(options):
        kind = options[at]
        if kind == TIMESTAMP and at + 6 <= len(options):
            return int.from_bytes(options[at + 2 : at + 6])
        at += 1 if kind < 2 else max(options[at + 1], 2)
    return None


def ports(some: Sequence[Client]) -> tuple[object, ...]:
    """Connections by the range of their source port. Those of one call are probes of mount programs, counted apart."""
    used = pl.concat([client.connections for client in some])
    probes = used.filter(pl.col("calls") <= 1)
    mounts = used.filter(pl.col("calls") > 1)["client_port"].to_list()
    ranges = ((1, NAT_LOWEST), (NAT_LOWEST, LINUX_LOWEST), (LINUX_LOWEST, RESERVED), (RESERVED, 1 << 16))
    return (len(some), *(sum(low <= port < high for port in mounts) or "" for low, high in ranges), len(probes) or "")


def ttls(some: Sequence[Client]) -> tuple[object, ...]:
    """TTLs and hop limits."""
    used = pl.concat([client.connections for client in some])
    return len(some), _counts([*used["ttl_min_client"], *used["ttl_max_client"]])


def syns(some: Sequence[Client]) -> tuple[object, ...]:
    """Window and window scale of SYNs."""
    used = pl.concat([client.connections for client in some]).filter(pl.col("syn_frame") > 0)
    return len(some), _counts(f"{w},{s}" for w, s in used.select("syn_window", "syn_wscale").iter_rows())


def keepalives(some: Sequence[Client]) -> tuple[object, ...]:
    """Probes on NFSv3 connections that lived long; NFSv4 renews its lease and is never silent that long."""
    used = pl.concat([c.connections for c in some if c.label["nfs_versions"] == ["3"]] or [some[0].connections.clear()])
    long = used.filter((pl.col("last") - pl.col("first")).dt.total_seconds() > IDLE)
    return (len(long) or "", sum(long["keepalives_client"]) if len(long) else "")


def callbacks(some: Sequence[Client]) -> tuple[object, ...]:
    """r_addr of SETCLIENTID against the source address."""
    same = other = 0
    examples: list[str] = []
    for client in some:
        for text in client.identities.filter(pl.col("kind") == "callback")["text"].unique():
            address = ".".join(text.split()[-1].split(".")[:-2])
            same += address == client.label["address"]
            other += address != client.label["address"]
            examples += [address] if address != client.label["address"] else []
    return same or "", other or "", _counts(examples)


def verifiers(some: Sequence[Client]) -> tuple[object, ...]:
    """Clients by number of boots, how many distinct verifiers they sent, and how often the busiest sent its id."""
    found, most = [], 0
    for client in some:
        sent = client.identities.filter(pl.col("kind").cast(pl.String).is_in(["client_id", "client_owner"]))
        if len(sent):
            found.append((client.label["boots"] or 1, sent["a"].n_unique()))
            most = max(most, len(sent))
    return _counts(f"{boots} boots: {distinct} verifiers" for boots, distinct in found), most or ""


def implementations(some: Sequence[Client]) -> tuple[object, ...]:
    """nii_name of EXCHANGE_ID."""
    names = [
        text.split(" #")[0]
        for client in some
        for text in client.identities.filter(pl.col("kind") == "implementation")["text"].unique()
    ]
    return (_counts(names),)


def offsets(some: Sequence[Client]) -> tuple[object, ...]:
    """Whether the timestamps of one client's connections follow one clock: offsets within a second of each other."""
    one = several = 0
    for client in some:
        each = [(value - seconds * 1000) % WRAP for stamps in lives(client) for seconds, value in stamps[:1]]
        if len(each) > 1:
            apart = max(min((a - each[0]) % WRAP, (each[0] - a) % WRAP) for a in each)
            one, several = one + (apart < 1000), several + (apart >= 1000)
    return one or "", several or ""


def rates(some: Sequence[Client]) -> tuple[object, ...]:
    """How fast clocks of long connections are, in parts per million, by what the guest's clock was set to."""
    found: dict[int, list[float]] = defaultdict(list)
    for client in some:
        for stamps in lives(client):
            if len(stamps) >= ENOUGH and stamps[-1][0] - stamps[0][0] > LONG:
                first = stamps[0][1]
                slope = statistics.linear_regression(
                    [s for s, _ in stamps], [(v - first) % WRAP for _, v in stamps]
                ).slope
                found[client.label.get("clock_ppm") or 0].append((slope / 1000 - 1) * 1e6)
    told = (f"{len(some_)} set to {ppm:+d}: {statistics.median(some_):+.0f}" for ppm, some_ in sorted(found.items()))
    return ("; ".join(told),)


def lives(client: Client) -> list[list[tuple[float, int]]]:
    """Seconds and TSvals of each connection that was seen from its SYN on; a port may have had several."""
    found: list[list[tuple[float, int]]] = []
    last = None
    for port, seconds, value, syn in client.stamps:
        if syn and (port, value) != last:  # the same SYN again is no new connection
            found.append([])
            last = port, value
        if found and last and port == last[0]:
            found[-1].append((seconds, value))
    return found


def _counts(values: Iterable[object]) -> str:
    """Distinct values with how often each occurs."""
    counts: dict[str, int] = defaultdict(int)
    for value in values:
        counts[str(value)] += 1
    return ", ".join(f"{value} ({count})" for value, count in sorted(counts.items()))


SECTIONS: tuple[tuple[str, tuple[str, ...], Callable[[Sequence[Client]], tuple[object, ...]]], ...] = (
    ("Source ports of mounts", ("clients", "below 600", "600-664", "665-1023", "1024 and up", "probes"), ports),
    ("TTLs (first and last of each connection)", ("clients", "TTL"), ttls),
    ("SYNs: window, scale", ("clients", "SYN"), syns),
    (f"Keep-alives on NFSv3 connections of over {IDLE:.0f} s", ("connections", "probes"), keepalives),
    ("Callback addresses, NFSv4.0", ("its source", "another", "which"), callbacks),
    ("Boot verifiers, NFSv4", ("clients", "most ids sent by one"), verifiers),
    ("Implementation ids, NFSv4.1 and up", ("names",), implementations),
    ("Timestamps of a client's connections", ("one clock", "a clock each"), offsets),
    ("Rates of timestamp clocks, ppm", ("median",), rates),
)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

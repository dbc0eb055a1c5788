#!/usr/bin/env python3
"""What the lab's captures show of the claims in docs/findings-lab.md: labelled captures come in, tables go out.

usage: findings.py [FOLDER ...]

Reads the captures of the server below the folders given, or below tests/captures/lab, with the labels beside them.
Prints, per way of being connected: source ports, TTLs, SYNs, keep-alive probes, callback addresses, boot verifiers,
implementation ids, and clocks of TCP timestamps. Nothing here asks for a verdict.
"""Answer the question of the 2013 study by machine: labelled captures come in, docs/findings.md goes out.

usage: findings.py [--print]

For each NFS version and each two ways to be connected, the fields that differ. Reads the labelled captures in
tests/captures and, if the environment variable NFSLEUTH_CAPTURES is set, those in its folder lab/. With --print nothing
is written.
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
import itertools
import os
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from nfsleuth import api
from nfsleuth.contrast import rank, runs
from nfsleuth.contrast.rank import Contrast, Finding, generality
from nfsleuth.contrast.sketch import Profile
from nfsleuth.report import contrast_words as words

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "findings.md"
VERSIONS = ("3", "4.0", "4.1", "4.2")
NETWORKS = ("native", "bridged", "user-nat", "kernel-nat")
LINK = "eth."  # what the study's claim leaves out: it is about everything above the link layer

INTRODUCTION = """\
# Findings

The study of 2013 read NFSv4.0 traces of a native and a virtual client by eye and found no difference above the link
layer. Here `nfsleuth contrast` asks every field of every layer, for each NFS version and each two ways in which a
client can be connected. Made by `NFSLEUTH_CAPTURES=FOLDER make findings` from {captures} labelled captures with
{clients} clients; where the claim holds, it says so.

How to read it: a client counts once, and is compared only with clients of the same client software, except for fields
that say how it is connected. *Knows* is the share of what there is to know about the label that the field tells: 100 %
tells all apart. q is the false discovery rate, at most 5 %. `*`: the labels differ in client software, too, which may
be the cause. "Cannot conclude" means that so few clients could differ by chance in any field.
[contrast.md](contrast.md) explains the method.

## Read before you learn from it

- **One lab, one hypervisor.** All guests are QEMU without KVM; hosts are namespaces of one machine.
- **Native clients** are libnfs, Python and Ganesha, or User-Mode Linux, a real Linux client that is in truth a guest.
  So an implementation id (`nii_name`) that differs between native and bridged tells two builds of the kernel apart.
- **Artefacts of the lab:** the window scale (`tcp.syn.wscale`) follows the memory of a machine, and guests have less;
  emulated guests answer slowly (`tcp.handshake ns`). On other machines neither need differ.
- **Guests behind one NAT host** share its MAC, its ports and its TCP: they are no independent samples of these.
"""


class Answer(NamedTuple):
    """The comparison of two ways to be connected, for one NFS version; `result` is None where a side has no client."""

    version: str
    pair: tuple[str, str]
    counts: tuple[int, int]
    result: Contrast | None
    clients: list[Profile]


def main(arguments: Sequence[str]) -> int:
    """Read, compare, write."""
    if set(arguments) - {"--print"}:
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    folders = [ROOT / "tests" / "captures"]
    if elsewhere := os.environ.get("NFSLEUTH_CAPTURES"):
        folders.append(Path(elsewhere) / "lab")
    else:
        print("findings: NFSLEUTH_CAPTURES is not set: only the captures in the repository", file=sys.stderr)
    files = [path for folder in folders for path in sorted(folder.glob("*.labels.json"))]
    text = document(list(answers(files)))
    print(text, end="")
    if "--print" not in arguments:
        DOCUMENT.write_text(text, encoding="utf-8")
    return 0


def answers(files: Sequence[Path]) -> Iterable[Answer]:
    """All comparisons, by version, then by pair."""
    for version in VERSIONS:
        profiles, _ = api.labelled_profiles(*files, by="network", only=NETWORKS, nfs=[version])
        if sys.stderr.isatty():
            print(f"NFS {version}: {len(profiles)} clients", file=sys.stderr)
        for pair in itertools.combinations(NETWORKS, 2):
            clients, masked = runs.clients(p for p in profiles if p.label in pair)
            counts = tuple(sum(c.label == name for c in clients) for name in pair)
            result = rank.contrast(clients, masked) if all(counts) else None
            yield Answer(version, pair, (counts[0], counts[1]), result, clients)


def document(found: Sequence[Answer]) -> str:
    """The whole page."""
    captures = {p.capture for a in found for p in a.clients}
    clients = {(p.capture, p.client, p.names) for a in found for p in a.clients}
    parts = [INTRODUCTION.format(captures=len(captures), clients=len(clients)), overview(found)]
    parts += [section(version, [a for a in found if a.version == version]) for version in VERSIONS]
    return "\n".join(parts)


def overview(found: Sequence[Answer]) -> str:
    """A table of versions and pairs."""
    pairs = list(itertools.combinations(NETWORKS, 2))
    lines = [
        "## In short",
        "",
        "| | " + " | ".join(f"NFS {v}" for v in VERSIONS) + " |",
        "|---" * (len(VERSIONS) + 1) + "|",
    ]
    for pair in pairs:
        cells = [brief(next(a for a in found if (a.version, a.pair) == (v, pair))) for v in VERSIONS]
        lines.append(f"| {pair[0]} and {pair[1]} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main_findings(answer: Answer) -> list[Finding]:
    """Findings that the client software does not explain."""
    return [f for f in answer.result.findings if not f.explained] if answer.result else []


def brief(answer: Answer) -> str:
    """A cell of the overview."""
    if answer.result is None:
        return "no clients"
    if not answer.result.can_conclude:
        return "cannot conclude"
    found = main_findings(answer)
    if any(not f.path.startswith(LINK) for f in found):
        return "above the link layer"
    undecided = any(not f.path.startswith(LINK) for f in answer.result.differing)
    return ("link layer; " if found else "") + ("above it undecided" if undecided else "none above it: claim holds")


def section(version: str, found: Sequence[Answer]) -> str:
    """A chapter on one version."""
    return "\n".join([f"## NFS {version}", "", *(line for answer in found for line in _pair(answer))])


def _pair(answer: Answer) -> list[str]:
    lines = [f"### {answer.pair[0]} ({answer.counts[0]}) and {answer.pair[1]} ({answer.counts[1]})", ""]
    result = answer.result
    if result is None:
        return [*lines, "No clients of one of them.", ""]
    if not result.can_conclude:
        chance = f"1 of {round(1 / result.least)}" if result.least < 1 else "every"
        return [
            *lines,
            f"Cannot conclude: a perfect difference happens by chance in {chance} ways to deal out the labels.",
            "",
        ]
    main = main_findings(answer)
    if main:
        lines += ["| field | knows | q | " + " | ".join(sorted(answer.pair)) + " |", "|---|---|---|---|---|"]
        lines += [_row(f, answer.clients) for f in main]
        lines.append("")
    above = [f for f in main if not f.path.startswith(LINK)]
    open_ones = [f for f in result.differing if not f.path.startswith(LINK)]
    if above:
        lines += wrapped("The study's claim does not hold here.")
    elif open_ones:
        lines += wrapped(
            f"Of {result.fields} fields none above the link layer is shown to tell them apart: the study's claim "
            "is not refuted by these clients. It is not proved either, since some fields differ without exception."
        )
    else:
        lines += wrapped(
            f"The study's claim holds: none of {result.fields} fields above the link layer tells them apart beyond "
            "chance, and none differs without exception."
        )
    explained = sum(len(f.fields) for f in result.findings if f.explained)
    if explained:
        lines += wrapped(
            f"{explained} fields more differ as the client software does, and say nothing of the connection."
        )
    if result.differing:
        names = ", ".join(f"`{f.path}`" for f in result.differing[:4])
        rest = len(result.differing) - 4
        lines += wrapped(
            f"Different without exception, yet not shown to be more than chance: {names}"
            + (f" and {rest} groups more." if rest > 0 else ".")
        )
    return [*lines, ""]


def _row(finding: Finding, clients: Sequence[Profile]) -> str:
    others = [f.path for f in finding.fields[1:]]
    named = [f"`{path}`" for path in others if generality(path)[0] == 0 and not path.startswith(LINK)][:3]
    also = f"; the same: {', '.join(named)}" if named else ""
    also += f" and {len(others) - len(named)} more" if len(others) > len(named) else ""
    mark = " *" if finding.software else ""
    cells = []
    for side in words.sides(finding.path, finding.fields[0].masked, words.compared(finding, clients)):
        values = ", ".join(f"`{value[:40]}` ({count} of {side.clients})" for value, count in side.values[:2])
        cells.append(
            values.replace("|", "\\|")
            + (f" and {len(side.values) - 2 + side.others} more" if len(side.values) - 2 + side.others > 0 else "")
        )
    q = f"{finding.q:.3f}" if finding.q >= 0.001 else "< 0.001"
    return f"| `{finding.path}`{mark}{also} | {finding.share:.0%} | {q} | " + " | ".join(cells) + " |"


def wrapped(text: str) -> list[str]:
    """Lines of a paragraph."""
    return textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

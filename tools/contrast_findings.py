#!/usr/bin/env python3
"""Answer the question of the 2013 study by machine: labelled captures come in, docs/findings.md goes out.

usage: contrast_findings.py [--print]

For each NFS version and each two ways to be connected, the fields that differ. Reads the labelled captures in
tests/captures and, if the environment variable NFSLEUTH_CAPTURES is set, those in its folder lab/. With --print nothing
is written.
"""

from __future__ import annotations

import itertools
import os
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from nfsleuth import api
from nfsleuth.contrast import rank, runs
from nfsleuth.contrast.rank import Cause, Contrast, Finding, generality
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
client can be connected. `NFSLEUTH_CAPTURES=FOLDER make contrast-findings` made it from {captures} labelled captures
with {clients} clients; where the claim holds, it says so.

How to read it: a client counts once, and is compared with clients of the same software in the same capture where there
are enough. Only fields that say how a client is connected are asked of all. *Knows* is the share of what there is to
know about the label that the field tells: 100 % tells all apart. q is the false discovery rate, at most 5 %. `*`: the
labels differ in client software, too, which may be the cause. What another cause explains as well - software, another
capture, the conditions of the capture - is named below the tables and refutes no claim.
[contrast.md](contrast.md) explains the method.

Most of the evidence is the experiment `kinds` (`sudo nfsleuth lab run kinds`): 70 clients in one run with one workload.
A field that tells n clients from m without exception has p of at least 1 in (n + m)! / (n! m!), twice that for n = m,
and some 200 fields share half of the 5 %. So 9 against 9, or 5 against 18, can be significant in any field; fields of
the connection, a dozen, need 7 against 7. `kinds-again` records 22 of the clients once more: what differs between two
runs of one client is compared by its form.

## Read before you learn from it

- **One lab, one hypervisor.** All guests are QEMU without KVM; hosts are namespaces of one machine.
- **Native clients** are libnfs, Python and Ganesha, or User-Mode Linux: a real Linux client without an emulated NIC,
  which is in truth a guest. Linux is compared with Linux only, yet natives are 6.1.176 and most guests 6.1.192: a field
  that differs between native and bridged may tell two builds of the kernel apart, as the implementation id
  (`nii_name`) does. Behind the kernel's NAT there are both builds.
- **Artefacts of the lab:** the window scale (`tcp.syn.wscale`) and with it the window follow the memory of a machine or
  its `tcp_rmem`; guests have 5 to 7 here, and a host that speaks for its guests 10. On other machines it need not
  differ. Emulated guests answer slowly (`tcp.handshake ns`), which is why times stand apart.
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
        print("contrast_findings: NFSLEUTH_CAPTURES is not set: only the captures in the repository", file=sys.stderr)
    files = [path for folder in folders for path in sorted(folder.rglob("*.labels.json"))]
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
        everybody, masked = runs.clients(profiles)
        for pair in itertools.combinations(NETWORKS, 2):
            clients = [c for c in everybody if c.label in pair]
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
    """Findings for which there is no likelier cause than how a client is connected."""
    return words.by_cause(answer.result.findings)[Cause.NONE] if answer.result else []


def _open(result: Contrast) -> list[Finding]:
    """Fields that differ without exception, for which there is no likelier cause, and which may be chance."""
    return words.by_cause(result.differing)[Cause.NONE]


def brief(answer: Answer) -> str:
    """A cell of the overview."""
    if answer.result is None:
        return "no clients"
    if not answer.result.can_conclude:
        return "cannot conclude"
    found = main_findings(answer)
    if any(not f.path.startswith(LINK) for f in found):
        return "above the link layer"
    undecided = any(not f.path.startswith(LINK) for f in _open(answer.result))
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
    open_ones = [f for f in _open(result) if not f.path.startswith(LINK)]
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
    for cause, heading in words.APART.items():
        if apart := [f"`{f.path}`" for f in words.by_cause(result.findings)[cause]]:
            more = f" and {len(apart) - 4} more" if len(apart) > 4 else ""
            lines += wrapped(f"{heading}: {', '.join(apart[:4])}{more}.")
    if differing := _open(result):
        names = ", ".join(f"`{f.path}`" for f in differing[:4])
        rest = len(differing) - 4
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

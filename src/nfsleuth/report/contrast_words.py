"""A contrast comes in, plain rows for every view of it go out: what each label shows, with a frame as an example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from msgspec import Struct

from nfsleuth.contrast.observe import MOST_OPERATIONS
from nfsleuth.contrast.questions import as_text, shown
from nfsleuth.contrast.rank import Cause, Contrast, Finding
from nfsleuth.contrast.sketch import MOST_FIELDS, Profile
from nfsleuth.report.escape import visible

VALUES_SHOWN = 3  # values per label
CUT_SHOWN = 4  # kinds of messages that are named


class Side(Struct, frozen=True):
    """What the clients of one label show in a field. values: text and how many clients show it, most first."""

    label: str
    clients: int
    values: list[tuple[str, int]]
    others: int  # further values
    frame: int  # an example, 0 none
    capture: str


def sides(path: str, masked: bool, clients: Iterable[Profile]) -> list[Side]:
    """One side per label."""
    by_label: dict[str, list[Profile]] = {}
    for client in clients:
        by_label.setdefault(client.label, []).append(client)
    return [_side(path, masked, label, mine) for label, mine in sorted(by_label.items())]


def _side(path: str, masked: bool, label: str, clients: Sequence[Profile]) -> Side:
    counts: Counter[str] = Counter()
    places: dict[str, tuple[int, str]] = {}
    for client in clients:
        for value, frame in shown(client, path, masked).items():
            text = visible(value)
            counts[text] += 1
            if text not in places or (frame and not places[text][0]):
                places[text] = (frame, client.capture.rpartition("/")[2])
    best = counts.most_common(VALUES_SHOWN)
    frame, capture = next((places[v] for v, _ in best if places[v][0]), (0, clients[0].capture.rpartition("/")[2]))
    return Side(label, len(clients), best, len(counts) - len(best), frame, visible(capture))


def compared(finding: Finding, clients: Sequence[Profile]) -> list[Profile]:
    """The clients that a finding is about."""
    return [clients[i] for i in finding.who.tolist()]


def question(finding: Finding) -> str:
    """The question of a finding in words, "" where it asks for the values as they are."""
    asked = finding.question
    if asked.kind == "has" and asked.about != "used" and isinstance(asked.about, (int, str, bytes)):
        return "has " + visible(as_text(asked.about))
    if asked.kind == "at most":
        return f"at most {asked.about!s}"
    return "by form" if asked.kind == "form" else ""


NOTHING_ELSE = "Nothing else tells them apart than what stands apart below"
# Headings of findings that stand apart, by what else may be their cause.
APART = {
    Cause.SOFTWARE: "Differences that the client software explains as well",
    Cause.CAPTURES: "Differences across captures, whose server, workload and time may be the cause",
    Cause.CONDITIONS: "Times and rates, which depend on load, emulation and the link as much as on the client",
}


def by_cause(findings: Sequence[Finding]) -> dict[Cause, list[Finding]]:
    """Findings by what else may be their cause; all causes are there."""
    return {cause: [f for f in findings if f.cause is cause] for cause in Cause}


def counted(result: Contrast) -> str:
    """ "13 native and 20 user-nat"."""
    parts = [f"{count} {visible(label)}" for label, count in result.counts.items()]
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]


def looked_at(result: Contrast) -> str:
    """How many clients and fields there are."""
    beyond = f"; {result.untested:,} more than can be looked at were left out" if result.untested else ""
    return f"{counted(result)} clients, {result.fields} fields in which any two differ{beyond}."


def cannot(result: Contrast) -> str:
    """Why nothing can be concluded, and what would help."""
    chance = f"1 of {round(1 / result.least)}" if result.least < 1 else "every"
    return (
        "Cannot conclude: with so few clients of one NFS version, even a field that tells all apart would do so by "
        f"chance in {chance} ways to deal out the labels. "
        f"At least {needed(len(result.counts))} clients per label are needed."
    )


def needed(labels: int, alpha: float = 0.05) -> int:
    """Clients per label from which a perfect difference can be significant."""
    from math import comb

    for each in range(2, 20):
        ways = float(np.prod([comb(each * (k + 1), each) for k in range(labels)]))
        if 1 / ways <= alpha / 10:  # ten fields at least are compared
            return each
    return 20


def lone(result: Contrast) -> list[str]:
    """Labels with a single client."""
    return [label for label, count in result.counts.items() if count == 1]


def lost(clients: Sequence[Profile]) -> list[str]:
    """What could not be looked at, a line for each kind of loss; none if nothing was lost."""
    lines = []
    cut = sorted({context for client in clients for context in client.cut})
    if cut:
        some = ", ".join(cut[:CUT_SHOWN]) + (f" and {len(cut) - CUT_SHOWN} more" if len(cut) > CUT_SHOWN else "")
        lines.append(f"messages were cut in the captures, and what is missing counts as unknown: {some}")
    if dropped := sum(client.dropped for client in clients):
        lines.append(
            f"{dropped:,} sightings of fields beyond the {MOST_FIELDS:,} that are kept of a client, or of operations "
            f"beyond the {MOST_OPERATIONS:,} of a capture, were left out"
        )
    return lines

"""A finding comes in, the text of a heuristic's file goes out: the beginning of one, for a person to finish.

The draft is a whole file of `evidence`: docstring with its five sections, `RULE`, `GROUP`, `WEIGHTS` and `observe`. Its
weight is the logarithm of the ratio of how often each label shows the answer, from the counts, with half a client added
to each (Haldane 1956, Anscombe 1956); the uncertainty is that of the counts. What only a person can know stands as
text that says so, and `observe` raises until it has been written: a capture does not say why clients differ.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import fill

import numpy as np

from nfsleuth.contrast.questions import shown
from nfsleuth.contrast.rank import Contrast, Finding
from nfsleuth.contrast.sketch import Profile
from nfsleuth.errors import NfsleuthError
from nfsleuth.evidence.model import State
from nfsleuth.evidence.weights import log_ratio

NAME = re.compile(r"[a-z][a-z0-9_]{2,39}")
# What only a person can know.
WHY = (
    "TO BE WRITTEN: the line of source, the RFC section or the document that is the cause. Without a cause it may be "
    "an artefact of the captures."
)
CONFUSIONS = "TO BE WRITTEN: what else shows the same, and is not one."
GROUPS = {"eth": "LINK", "ip": "HOP", "tcp": "TRANSPORT", "rpc": "IDENTITY", "calls": "TIMING"}


@dataclass(frozen=True, slots=True)
class Ratio:
    """How much likelier an answer is with one label, in nats with a 95 % interval; clients that gave it."""

    label: str
    nats: float
    low: float
    high: float
    mine: tuple[int, int]
    others: tuple[int, int]


def ratios(finding: Finding, clients: Sequence[Profile]) -> tuple[int, list[Ratio]]:
    """The answer (a code of the question) that tells most, and what it says for each label against all others."""
    codes = finding.question.codes
    labels = np.array([clients[i].label for i in finding.who.tolist()])
    names = sorted(set(labels.tolist()))
    best = max(range(int(codes.max()) + 1), key=lambda c: max(_ratio(codes == c, labels == n, n).nats for n in names))
    return best, [_ratio(codes == best, labels == name, name) for name in names]


def _ratio(gave: np.ndarray, mine: np.ndarray, label: str) -> Ratio:
    """Logarithm of the likelihood ratio from counts, half a client added to each cell."""
    a, n = int((gave & mine).sum()), int(mine.sum())
    b, m = int((gave & ~mine).sum()), int((~mine).sum())
    return Ratio(label, *log_ratio(a, n, b, m, 95), (a, n), (b, m))


def check_name(name: str) -> str:
    """`name` if it can be a heuristic's. Raises NfsleuthError with the cure."""
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise NfsleuthError(f"{name}: a rule's name has 3 to 40 letters, digits and _, such as callback_port")
    return name


def draft(name: str, finding: Finding, result: Contrast, clients: Sequence[Profile]) -> str:
    """The file of a heuristic called `name`, from a finding about `clients`."""
    check_name(name)
    answer, found = ratios(finding, clients)
    who = [clients[i] for i in finding.who.tolist()]
    gave = [c for c, code in zip(who, finding.question.codes.tolist(), strict=True) if code == answer]
    leading = max(found, key=lambda r: r.nats)
    example = _example(finding, gave[0])
    also = [f.path for f in finding.fields[1:6]]
    counts = "; ".join(f"{r.label}: {r.mine[0]} of {r.mine[1]}" for r in found)
    sections = [
        (
            "What it sees",
            f"{finding.path}." + (f" The same clients are told apart by {', '.join(also)}." if also else ""),
        ),
        ("Why it tells clients apart", WHY),
        (
            "Known confusions",
            CONFUSIONS + (" The labels differ in their client software, too." if finding.software else ""),
        ),
        ("Example", f"{example} is {leading.label}."),
        ("Source", f"{counts}; p {finding.p:.2g}, q {finding.q:.2g} among {result.fields} fields; {_captures(gave)}."),
    ]
    document = "\n".join(fill(_plain(f"{title}: {text}"), 100) for title, text in sections)
    return _FILE.format(
        title=_plain(f"{finding.path}: drafted from a contrast of {' and '.join(sorted(result.counts))}."),
        document=document,
        name=name,
        group="ADDRESS" if "addr" in finding.path else GROUPS.get(finding.path.partition(".")[0], "IDENTITY"),
        states=", ".join(f"{_state(r.label)}: {r.nats:.1f}" for r in found if abs(r.nats) > 0.05),
        intervals="\n".join(
            f"# {_plain(r.label)}: {r.nats:+.2f} nats, 95 % {r.low:+.2f} to {r.high:+.2f}" for r in found
        ),
        says=_literal(f"{finding.path} as of {leading.label}"),
        path=_literal(finding.path),
    )


def _example(finding: Finding, client: Profile) -> str:
    values = shown(client, finding.path, finding.fields[0].masked)
    value, frame = next(iter(values.items()))
    place = f"frame {frame} of {client.capture.rpartition('/')[2]}" if frame else client.capture.rpartition("/")[2]
    return f"{value[:60]} in {place}"


def _captures(clients: Iterable[Profile]) -> str:
    names = list(dict.fromkeys(c.capture.rpartition("/")[2] for c in clients))
    return "captures " + ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _plain(text: str) -> str:
    """Text for a docstring or a comment: nothing in it can end one, or leave its line."""
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in text)


def _literal(text: str) -> str:
    return f'"{_plain(text)}"'


def _state(label: str) -> str:
    """The state that a label means, as source text."""
    known = {"bridged": "BRIDGED", "user-nat": "USER_NAT"} | {s.value: s.name for s in State}
    return f"State.{known[label]}" if label in known else f'State("{_plain(label)}")'


_FILE = '''"""{title}

{document}
"""

from __future__ import annotations

from collections.abc import Iterator

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.model import Evidence, Group, State
from nfsleuth.evidence.rules import Rules
from nfsleuth.evidence.weights import Weight

RULE = "{name}"
GROUP = Group.{group}
# From the counts, half a client added to each; round towards doubt, since the captures are of one place:
{intervals}
WEIGHTS = {{
    "seen": Weight(
        {says},
        {{{states}}},
        "lab",
    ),
}}
FIELD = {path}


def observe(client: Facts, around: Household, rules: Rules) -> Iterator[Evidence]:
    """To be written: FIELD of `client`, which clients/facts.py may have to learn first, to WEIGHTS["seen"].evidence."""
    raise NotImplementedError(f"{{RULE}} is a draft: say here when {{FIELD}} counts")
    yield
'''

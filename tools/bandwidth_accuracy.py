#!/usr/bin/env python3
"""What bandwidth alone is worth: labelled captures come in, Markdown goes out on standard output.

usage: bandwidth_accuracy.py FOLDER...

Each folder holds captures with NAME.labels.json beside them, as `nfsleuth lab run` leaves them; captures that were made
from others, and stand-ins, are left out. Of each capture the clients are recognised by a profile that was learnt from
all *other* captures (so no boot is in both parts). Printed: the confusion matrix of bandwidth alone, beside it that of
the MAC alone and of all evidence, and after how many seconds of reading what bandwidth says does not change any more.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median

import numpy as np

import nfsleuth
from nfsleuth.api import _Reading, conclude
from nfsleuth.bandwidth.profile import Label, Learnt, Profile, learn
from nfsleuth.bandwidth.recognise import Recognition, recognise
from nfsleuth.clients.rates import Rates, measured
from nfsleuth.evidence.model import Group, State
from nfsleuth.trace.tables import INTERVAL
from nfsleuth.verdict.fuse import fuse
from nfsleuth.verdict.priors import DEFAULT, complete

LEARNING_STEP = 10**9 // 4  # ns of reading between two looks


@dataclass
class Client:
    """A labelled client: its intervals in order of time, its truth, and what other evidence says."""

    capture: str
    address: str
    label: Label
    intervals: np.ndarray
    mac: str
    everything: str

    @cached_property
    def teaches(self) -> list[Learnt]:
        """What others can learn from it."""
        return learn(self.rates(), self.label, "", f"{self.capture} {self.address}")[0]

    def rates(self, until: int | None = None) -> Rates:
        """Of its first `until` ns of reading, or of all."""
        rows = self.intervals
        if until is not None:
            rows = rows[np.cumsum(rows["end"] - rows["begin"]) <= until]
        return sum(measured(rows).values(), Rates())


def main(folders: Sequence[str]) -> int:
    """Read, recognise, print."""
    if not folders or folders[0].startswith("-"):
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    clients = [one for folder in folders for path in sorted(Path(folder).glob("*.labels.json")) for one in read(path)]
    said = {id(one): recognised(one, clients) for one in clients}
    print(f"{len(clients)} clients of {len({c.capture for c in clients})} captures.\n")
    for title, answer in (
        ("Bandwidth alone", lambda one: leading(said[id(one)])),
        ("The MAC alone", lambda one: one.mac),
        ("All evidence", lambda one: one.everything),
    ):
        print(f"### {title}\n\n{matrix([(one.label.state, answer(one)) for one in clients])}\n")
    print("### Seconds of reading until what bandwidth says is settled\n")
    print(curve([settled(one, clients) for one in clients if isinstance(said[id(one)], Recognition)]))
    why = Counter(text.split(",")[0] for text in said.values() if isinstance(text, str))
    for text, count in why.most_common():
        print(f"\n- {count} not compared: {text}", end="")
    print()
    return 0


def read(path: Path) -> Iterator[Client]:
    """The clients of a capture whose addresses are theirs alone."""
    labels = json.loads(path.read_text(encoding="utf-8"))
    if labels.get("derived_from"):
        return
    capture = path.parent / labels["capture"]
    truth = {c["address"]: c for c in labels["clients"] if not c.get("standin_for_native")}
    reading, found, ends = _Reading([capture]), [np.empty(0, INTERVAL)], {}
    for rows in reading:
        found.append(rows.intervals)
        ends |= dict(zip(rows.connections["uid"].tolist(), rows.connections["client_lo"].tolist(), strict=True))
    intervals = np.concatenate(found)
    verdicts = conclude(nfsleuth.facts(capture)).clients
    for verdict in verdicts:
        address = verdict.facts.address
        alone = sum(v.facts.address == address for v in verdicts) == 1
        if not alone or address not in truth or ":" in address:
            continue
        low = int.from_bytes(bytes(map(int, address.split("."))))
        mine = intervals[[ends.get(uid, 0) & 0xFFFF_FFFF == low for uid in intervals["uid"].tolist()]]
        one = truth[address]
        name = one["state"] if one["state"] == "native" else f"{one.get('nic')} {one.get('backend')}"
        link = [w.evidence for w in verdict.weighed if w.evidence.group is Group.LINK]
        mac = fuse(link, complete(DEFAULT)).answer
        yield Client(
            path.name, address, Label(name, one["state"]), np.sort(mine, order="begin"), mac.value, verdict.state.value
        )


def recognised(one: Client, clients: Sequence[Client], until: int | None = None) -> Recognition | str:
    """What `one` reads like, by a profile of the clients of other captures."""
    rows = [row for other in clients if other.capture != one.capture for row in other.teaches]
    return recognise(one.rates(until), Profile() + Profile(rows), "")


def leading(found: Recognition | str) -> str:
    """The state that fits best; bandwidth alone is never an answer, this is what it leans to."""
    if isinstance(found, str) or not found.states:
        return State.UNKNOWN.value
    return max(found.states, key=lambda state: found.states[state])


def settled(one: Client, clients: Sequence[Client]) -> float | None:
    """Seconds of reading after which what is said stays what it is at the end; None if the end is "unknown"."""
    whole = int((one.intervals["end"] - one.intervals["begin"]).sum())
    final = leading(recognised(one, clients))
    if final == State.UNKNOWN:
        return None
    times = range(whole, 0, -LEARNING_STEP)
    last = whole
    for until in times:
        if leading(recognised(one, clients, until)) != final:
            break
        last = until
    return last / 1e9


def matrix(pairs: Sequence[tuple[str, str]]) -> str:
    """Truth by answer, as Markdown."""
    answers = sorted({answer for _, answer in pairs})
    counts = Counter(pairs)
    lines = [f"| truth | {' | '.join(answers)} |", f"|---|{'---:|' * len(answers)}"]
    for truth in sorted({truth for truth, _ in pairs}):
        lines.append(f"| {truth} | {' | '.join(str(counts[truth, answer]) for answer in answers)} |")
    return "\n".join(lines)


def curve(times: Sequence[float | None]) -> str:
    """Share of the clients that are settled after so many seconds, as Markdown."""
    known = sorted(t for t in times if t is not None)
    if not known:
        return "No client was recognised: nothing settles."
    lines = ["| seconds | settled |", "|---:|---:|"]
    for limit in (0.5, 1, 2, 5, 10, 30, 60):
        lines.append(f"| {limit:g} | {sum(t <= limit for t in known)} of {len(times)} |")
    return "\n".join(lines) + f"\n\nMedian {median(known):.1f} s."


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

#!/usr/bin/env python3
"""What bandwidth alone is worth: runs of `lab run reading` come in as samples, a part of docs/accuracy.md goes out.

usage: bandwidth_accuracy.py RUN...

Each RUN is a folder that `nfsleuth lab run reading` left. Of its capture a `Sample` per client is kept, in
tests/captures/reading/SEED.json: its intervals in order of time, and what other evidence says of it. `make accuracy`
reads these and writes its section. Each run booted the server and all guests anew, and its clients are recognised by a
profile that was learnt from all *other* runs, so no boot is in both parts.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
from scoring import DOUBT, matched

import nfsleuth
from nfsleuth.bandwidth.profile import Label, Learnt, Profile, learn
from nfsleuth.bandwidth.recognise import Recognition, recognise
from nfsleuth.capture import open_trace
from nfsleuth.clients.facts import Facts, Household
from nfsleuth.clients.rates import Cell, Histogram, Kind, Limit, Rates, measured
from nfsleuth.evidence import read_speed
from nfsleuth.evidence.model import Evidence, Group, State
from nfsleuth.evidence.rules import Rules
from nfsleuth.report.sections import markdown_table, table_of
from nfsleuth.trace.tables import INTERVAL
from nfsleuth.trace.tracker import Tracker
from nfsleuth.verdict.fuse import Belief, fuse
from nfsleuth.verdict.priors import DEFAULT

KEPT = Path(__file__).parents[1] / "tests" / "captures" / "reading"
SCHEMA = "nfsleuth.reading/1"
STANDIN = "User-Mode Linux (stand-in)"
INTO = "libnfs into "  # what a native client is called whose program takes its time with what it read
NOT_LEARNT = ("e1000", INTO)  # a kind of guest that the profile is not to know, and programs
TOO_LITTLE, FITS_NONE = "too little", "fits none"
SECONDS = (0.5, 1, 2, 5, 10)
MEGABYTES = (1, 4, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of reading (`trace.flows`): what `clients.rates` makes of it. own: bin of its own speed."""

    size: int
    ns: int
    bytes: int
    own: int
    client_limited: bool

    @property
    def rates(self) -> Rates:
        """As if it were all that the client had read."""
        speeds = Histogram(Counter({self.own: 1}))
        limited = tuple(int(limit is (Limit.CLIENT if self.client_limited else Limit.NETWORK)) for limit in Limit)
        cell = Cell(
            1, self.bytes, 1, self.ns, limited=limited, own=speeds,
            limited_own=speeds if self.client_limited else Histogram(),
        )  # fmt: skip
        return Rates({Kind("read", self.size): cell})


@dataclass(frozen=True)
class Sample:
    """A client of one run. label: what it counts as in a profile; truth: its label in the lab's own words.

    evidence: what everything but bandwidth says of it.
    """

    run: str
    name: str
    label: Label
    truth: dict[str, Any]
    intervals: tuple[Interval, ...]
    evidence: tuple[Evidence, ...]

    @property
    def reads(self) -> str:
        """What it reads: long files or small ones."""
        return "small files" if "small" in self.name else "long files"

    @cached_property
    def teaches(self) -> list[Learnt]:
        """What others can learn from it."""
        return learn(self.rates, self.label, "", f"{self.run} {self.name}")[0]

    @cached_property
    def rates(self) -> Rates:
        """Of all its intervals."""
        return sum((interval.rates for interval in self.intervals), Rates())


def main(runs: Sequence[str]) -> int:
    """Keep samples of the runs."""
    if not runs or runs[0].startswith("-"):
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    KEPT.mkdir(exist_ok=True)
    for run in map(Path, runs):
        told = json.loads((run / "run.json").read_text(encoding="utf-8"))
        if told["failed"] or any(told["dropped"].values()):
            print(f"{run}: failed {told['failed']}, dropped {told['dropped']}; run it again", file=sys.stderr)
            return 1
        samples = sampled(run, str(told["seed"]))
        target = KEPT / f"{told['seed']}.json"
        target.write_text(to_json(samples, told), encoding="utf-8")
        print(f"{target.name}: {len(samples)} clients, {target.stat().st_size} bytes")
    return 0


# A run's capture to samples


def sampled(run: Path, name: str) -> list[Sample]:
    """The clients of a run that read."""
    labels = json.loads((run / "server.labels.json").read_text(encoding="utf-8"))
    capture = run / labels["capture"]
    verdicts = nfsleuth.identify(capture).clients
    intervals = by_port(capture)
    played = json.loads((run / "experiment.json").read_text(encoding="utf-8"))
    consumers = {native["name"]: native["consumer"] for native in played["natives"]}
    found = []
    for truth in labels["clients"]:
        verdict = matched(truth, verdicts)
        if verdict is None:
            raise SystemExit(f"{run}: {truth['name']} is not found in the capture")
        mine = [row for port in truth["ports"] for row in intervals.get((truth["address"], port), ())]
        rows = np.sort(np.array(mine, INTERVAL), order="begin")
        read = tuple(interval for row in rows if (interval := of_row(row)) is not None)
        evidence = tuple(w.evidence for w in verdict.weighed)
        known = {key: truth[key] for key in ("state", "acceptable", "virtual", "standin_for_native")}
        label = label_of(truth, consumers.get(truth["name"], ""))
        found.append(Sample(name, truth["name"], label, known, read, evidence))
    return found


def by_port(capture: Path) -> dict[tuple[str, int], list[np.void]]:
    """INTERVAL rows by the client's IPv4 address and port."""
    tracker, rows = Tracker(), []
    with open_trace([str(capture)]) as trace:
        for chunk in trace:
            rows += tracker.feed(chunk)
        rows += tracker.finish()
    ends = {}
    for row in np.concatenate([part.connections for part in rows]):
        address = ".".join(str(octet) for octet in int(row["client_lo"]).to_bytes(8)[-4:])
        ends[int(row["uid"])] = address, int(row["client_port"])
    found: dict[tuple[str, int], list[np.void]] = {}
    for row in np.concatenate([part.intervals for part in rows]):
        found.setdefault(ends[int(row["uid"])], []).append(row)
    return found


def of_row(row: np.void) -> Interval | None:
    """What `clients.rates` makes of one INTERVAL; None if it wrote."""
    (rates,) = measured(np.array([row], INTERVAL)).values()
    ((kind, cell),) = rates.cells.items()
    if kind.operation != "read":
        return None
    (own,) = cell.own.bins
    return Interval(kind.size, cell.span, cell.bytes, own, cell.client_limited == 1)


def label_of(truth: dict[str, Any], consumer: str) -> Label:
    """What it is called in a profile. A stand-in counts as what it stands in for, as its name says."""
    if truth["standin_for_native"]:
        return Label(STANDIN, State.NATIVE.value)
    if truth["state"] == State.NATIVE.value:
        return Label(f"{INTO}{consumer}" if consumer else "libnfs", State.NATIVE.value)
    return Label(f"{truth['nic'].removesuffix('-net-pci')} {truth['backend']}", truth["state"])


# Samples as text


def to_json(samples: Sequence[Sample], told: dict[str, Any]) -> str:
    """The samples of one run, a line per client. told: its run.json."""
    head = {"schema": SCHEMA, "accelerator": told["accelerator"], "versions": told["versions"]}
    lines = []
    for one in samples:
        columns = zip(*(asdict(interval).values() for interval in one.intervals), strict=True)
        intervals = dict(zip(Interval.__slots__, map(list, columns), strict=False))
        evidence = [
            {"rule": e.rule, "group": e.group, "says": e.says, "seen": e.seen, "toward": e.toward, "virtual": e.virtual}
            for e in one.evidence
            if e.counted
        ]
        row = {
            "name": one.name, "label": one.label.name, "as": one.label.state, "truth": one.truth,
            "intervals": intervals, "evidence": evidence,
        }  # fmt: skip
        lines.append(json.dumps(row, separators=(",", ":")))
    return json.dumps(head)[:-1] + ', "clients": [\n' + ",\n".join(lines) + "\n]}\n"


def from_json(path: Path) -> list[Sample]:
    """What `to_json` wrote."""
    found = json.loads(path.read_text(encoding="utf-8"))
    if found["schema"] != SCHEMA:
        raise ValueError(f"{path}: {found['schema']!r} is not {SCHEMA!r}")
    return [
        Sample(
            path.stem,
            row["name"],
            Label(row["label"], row["as"]),
            row["truth"],
            tuple(Interval(*values) for values in zip(*row["intervals"].values(), strict=True)),
            tuple(
                Evidence(
                    e["rule"], Group(e["group"]), e["says"], e["seen"], virtual=e["virtual"],
                    toward={State(state): nats for state, nats in e["toward"].items()},
                )
                for e in row["evidence"]
            ),
        )
        for row in found["clients"]
    ]  # fmt: skip


# Samples to answers


def others(one: Sample, samples: Iterable[Sample]) -> Profile:
    """What the clients of other runs teach."""
    known = [other for other in samples if other.run != one.run and not other.label.name.startswith(NOT_LEARNT)]
    return Profile() + Profile([row for other in known for row in other.teaches])


def leading(found: Recognition | str) -> State:
    """The state that fits best; bandwidth alone is never an answer, this is what it leans to."""
    if isinstance(found, str) or not found.states:
        return State.UNKNOWN
    return State(max(found.states, key=lambda state: found.states[state]))


def speed(one: Sample, known: Profile) -> list[Evidence]:
    """What `identify --profile` would add to its evidence."""
    facts = Facts(one.name, rates=one.rates)
    rules = Rules.builtin().with_profile(known)
    return [e for e in read_speed.observe(facts, Household([facts]), rules) if e.counted]


def believed(rows: Iterable[Evidence]) -> Belief:
    """What evidence comes to."""
    return fuse(list(rows), DEFAULT)


def settles(answers: Sequence[State]) -> int | None:
    """After how many of the answers it stays with the last one; None if that is `unknown`."""
    if not answers or answers[-1] is State.UNKNOWN:
        return None
    steps = list(answers)
    while steps and steps[-1] is answers[-1]:
        steps.pop()
    return len(steps) + 1


# Answers to words


def section() -> list[str]:
    """Parts of docs/accuracy.md, of the samples in the repository."""
    return written([sample for path in sorted(KEPT.glob("*.json")) for sample in from_json(path)])


def written(samples: Sequence[Sample]) -> list[str]:
    """The same of any samples."""
    profiles = {run: others(next(s for s in samples if s.run == run), samples) for run in {s.run for s in samples}}
    alone = [recognise(one.rates, profiles[one.run], "") for one in samples]
    programs = {s.run for s in samples} - {s.run for s in samples if not s.label.name.startswith(INTO)}
    return [
        "## Bandwidth",
        f"`nfsleuth lab run reading`, {len(profiles)} times, with {len(samples)} clients; each time the server and all "
        f"guests booted anew. {len(programs)} of the runs were of native clients alone that hand what they read to a "
        "program (`--only native-gzip,native-sha256`). Each client is recognised by a profile learnt from the other "
        "runs. All read with READs of 128 KiB, one client after the other. What is kept of the runs is in "
        "tests/captures/reading.",
        f"What bandwidth alone leans to; rows are what the clients are. `{TOO_LITTLE}`: fewer than 10 client-limited "
        f"intervals. `{FITS_NONE}`: every label of the profile is rejected. A client that never is what limits cannot "
        "be told by its speed: libnfs waits for the network and the server, even if it takes a SHA-256 of each piece "
        "before it asks for the next. With gzip instead it is what limits, and its speed is the program's. User-Mode "
        "Linux stands in for a native kernel client and was learnt as one. Of e1000 and of clients with a program "
        "nothing was learnt: they are kinds that the profile does not know.",
        _by_label(samples, alone),
        _said(samples, alone),
        "### What it adds to other evidence",
        "The same clients without the stand-ins, as `identify --profile` judges them; right is what the label accepts.",
        _methods([s for s in samples if not s.truth["standin_for_native"]], profiles),
        "### How much reading it takes",
        "How many clients bandwidth has settled after so much reading: from then on it leans to what it leans to in "
        "the end. This is the study's question about small files (here 500 KiB, 1 MiB and 2 MiB). First by seconds, "
        "in which something was asked for or the client paused for less than half a second; then by megabytes.",
        *_curves(samples, profiles),
    ]


def _said(samples: Sequence[Sample], found: Sequence[Recognition | str]) -> str:
    """How often it leans to something, and to what."""
    leans = [(leading(one), State(s.label.state)) for s, one in zip(samples, found, strict=True)]
    some = [(answer, truth) for answer, truth in leans if answer is not State.UNKNOWN]
    right = sum(answer is truth for answer, truth in some)
    across = sum((answer is State.NATIVE) != (truth is State.NATIVE) for answer, truth in some)
    return (
        f"Bandwidth leans to something for {len(some)} of the {len(samples)} clients: for {right} to what they are, "
        f"for {len(some) - right} to something else. {across} times a machine is taken for a guest, or a guest for a "
        "machine."
    )


def _by_label(samples: Sequence[Sample], found: Sequence[Recognition | str]) -> str:
    answers = [_leaning(one) for one in found]
    columns = [word for word in (*(state.value for state in State), TOO_LITTLE, FITS_NONE) if word in answers]
    rows = []
    for name, reads in sorted({(s.label.name, s.reads) for s in samples}):
        mine = [n for n, s in enumerate(samples) if (s.label.name, s.reads) == (name, reads)]
        counts = Counter(answers[n] for n in mine)
        limited = sorted(sum(i.client_limited for i in samples[n].intervals) for n in mine)
        speeds = [own for n in mine if (own := _own(samples[n])) is not None]
        rows.append(
            (name, reads, f"{median(speeds):.0f}" if speeds else "-", f"{limited[0]} to {limited[-1]}",
             *(counts[word] or "" for word in columns))
        )  # fmt: skip
    head = ("client", "reads", "own MB/s", "client-limited intervals", *columns)
    return markdown_table(table_of(head, rows, range(2, len(head))))


def _leaning(found: Recognition | str) -> str:
    """What bandwidth leans to, or why to nothing."""
    if isinstance(found, str):
        return TOO_LITTLE
    return leading(found).value if found.states else FITS_NONE


def _own(one: Sample) -> float | None:
    return one.rates.of("read").own.quantile(0.5)


def _methods(samples: Sequence[Sample], profiles: dict[str, Profile]) -> str:
    """A line per kind of evidence and truth: how often each answer was given."""
    speeds = [speed(one, profiles[one.run]) for one in samples]

    def without(group: Group | None) -> Callable[[Sequence[Evidence]], list[Evidence]]:
        return lambda rows: [row for row in rows if row.group is not group]

    ways: list[tuple[str, list[Belief]]] = [
        ("the MAC alone", [believed(e for e in s.evidence if e.group is Group.LINK) for s in samples]),
        ("all but bandwidth", [believed(s.evidence) for s in samples]),
    ]
    for group in (None, *Group):
        keep = without(group)
        beliefs = [believed(keep([*s.evidence, *more])) for s, more in zip(samples, speeds, strict=True)]
        ways.append((f"all but `{group.value}`" if group else "all evidence", beliefs))
    truths = [State(s.truth["state"]) for s in samples]
    columns = [s for s in State if any(b.answer is s for _, beliefs in ways for b in beliefs)]
    rows = []
    for name, beliefs in ways:
        right = sum(b.answer in s.truth["acceptable"] for b, s in zip(beliefs, samples, strict=True))
        doubt = sum(
            b.answer in DOUBT and b.answer not in s.truth["acceptable"] for b, s in zip(beliefs, samples, strict=True)
        )
        brier = fmean((b.virtual - s.truth["virtual"]) ** 2 for b, s in zip(beliefs, samples, strict=True))
        for number, truth in enumerate(sorted(set(truths), key=list(State).index)):
            counts = Counter(b.answer for b, t in zip(beliefs, truths, strict=True) if t is truth)
            score = (right, doubt, len(samples) - right - doubt, f"{brier:.4f}") if number == 0 else ("",) * 4
            rows.append(("" if number else name, *score, truth.value, *(counts[c] or "" for c in columns)))
    head = ("evidence", "right", "in doubt", "wrong", "Brier", "truth", *(c.value for c in columns))
    return markdown_table(table_of(head, rows, {1, 2, 3, 4, *range(6, len(head))}))


def _curves(samples: Sequence[Sample], profiles: dict[str, Profile]) -> list[str]:
    """How many clients are settled, by what they read, after so much time and after so many bytes."""
    took: dict[str, list[tuple[float, float]]] = {}
    for one in samples:
        so_far = accumulate(interval.rates for interval in one.intervals)
        answers = [leading(recognise(rates, profiles[one.run], "")) for rates in so_far]
        settled = took.setdefault(one.reads, [])
        if (steps := settles(answers)) is not None:
            read = one.intervals[:steps]
            settled.append((sum(i.ns for i in read) / 1e9, sum(i.bytes for i in read) / 1e6))
    whole = Counter(one.reads for one in samples)
    tables = []
    for unit, place, limits in (("s", 0, SECONDS), ("MB", 1, MEGABYTES)):
        rows = [
            (reads, whole[reads], *(sum(pair[place] <= limit for pair in took[reads]) for limit in limits),
             len(took[reads]), f"{median(pair[place] for pair in took[reads]):.1f} {unit}" if took[reads] else "-")
            for reads in sorted(took)
        ]  # fmt: skip
        head = ("reads", "clients", *(f"{limit} {unit}" for limit in limits), "in the end", "median")
        tables.append(markdown_table(table_of(head, rows, range(1, len(head)))))
    return tables


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

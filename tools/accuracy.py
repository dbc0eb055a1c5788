#!/usr/bin/env python3
"""Compare verdicts with the truth: labelled captures come in, docs/accuracy.md, its figure and a line in README go out.

usage: accuracy.py [--print] [--more]

Reads the labelled captures below tests/captures; with --more, also those in the folder lab/ of the folder that the
environment variable NFSLEUTH_CAPTURES names. With --print nothing is written. `scoring` has the measures, `fitting`
the test on hosts that weights were not fitted on.
"""

from __future__ import annotations

import json
import math
import os
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import bandwidth_accuracy
from fitting import FOLDS, held_out
from scoring import (
    DOUBT,
    KINDS,
    OUTCOMES,
    SURE,
    Bin,
    Pairs,
    Prediction,
    Row,
    Score,
    b_cubed,
    by_evidence,
    by_paper,
    calibration,
    confusion,
    host_pairs,
    pairs_by_kind,
    rows_of,
    score,
    wilson,
    without,
)

from nfsleuth.evidence.model import HYPOTHESES, Group, State
from nfsleuth.report.sections import markdown_table, table_of

ROOT = Path(__file__).parents[1]
CAPTURES = ROOT / "tests" / "captures"
DOCUMENT = ROOT / "docs" / "accuracy.md"
FIGURE = ROOT / "docs" / "accuracy.svg"
README = ROOT / "README.md"
TABLE = "switch.fdb.json"  # beside captures of the lab
BEGIN, END = "<!-- accuracy: begin (make accuracy writes this) -->\n", "<!-- accuracy: end -->\n"

KIND_WORDS = {
    "main": "ordinary clients; the headline figures are of these",
    "trap": "made to mislead, such as a guest with a maker's MAC",
    "standin": "User-Mode Linux for a native kernel client; in truth a guest, though to say so counts as wrong",
    "derived": "of captures made from others by loss, reordering, tags or cuts, or taken a second time on `any`",
}
SURELY_WRONG = {  # what README calls them
    "main": "{} of the ordinary ones",
    "trap": "{} of the traps",
    "standin": "{} of the stand-ins for native kernel clients, which are in truth guests",
    "derived": "{} of damaged captures",
}
HOSTS_NOTE = """\
Pairs of clients of one capture that share a host: found, said to and do not (false), and missed. Pairs of the kind
"other" are a guest and its host, a bridged guest and one behind NAT, or two behind a kernel's NAT. B-cubed gives each
client the same weight, so large groups do not rule; a client that shares with nobody and is left alone scores 1. What a
lab on one machine cannot show of clocks and boots is in [hosts.md](hosts.md#what-the-lab-cannot-show).
"""
CAVEATS = """\
- **No independent sample.** office.pcapng was at hand when the weights were chosen; the captures of tests/captures/lab
  were recorded afterwards, but in a lab of the same make as others that were at hand. Expect less elsewhere: these
  figures show that nothing is broken, and bound nothing.
- **One lab, one hypervisor.** Every guest is QEMU, without KVM. Rows of VMware, Hyper-V, Xen and others imitate their
  addresses and network cards. ESXi, Hyper-V, VirtualBox, WSL2 and clouds were never recorded.
- **Native clients are programs.** libnfs in network namespaces stands for native machines; no native Linux kernel
  client on hardware could be recorded. The stand-ins are User-Mode Linux.
- **Rows are not independent.** Several come from one capture, all hosts share a clock and a kernel. The interval above
  takes them as independent, and is too narrow for that.
- **The mix is the lab's:** {guests} of the {clients} ordinary clients are guests. Where few are, set `--prior`.
- **"unknown" can be right.** Where the label accepts doubt, doubt counts as right; an abstention is doubt where an
  answer could have been given.
- **Some truths lie outside the hypotheses.** A kernel-NAT client may be a guest, a container or a machine behind a
  router: the state says how it is connected, P(guest) what it is.
"""


class Method(NamedTuple):
    """A column of the comparison."""

    name: str
    said: list[Prediction]  # one per row
    score: Score  # of the main rows
    nat: Pairs
    pairs: Pairs


class Sample(NamedTuple):
    """Everything that was read."""

    rows: list[Row]
    captures: Counter[str]  # "recorded", "derived"
    merged: int  # labelled clients that share a verdict with another one
    extra: int  # verdicts at labelled addresses beyond the labelled clients
    shared: bool  # whether captures from outside the repository are among them
    tabled: list[Row]  # rows of captures with a switch's forwarding table, which these verdicts know


def main(arguments: Sequence[str]) -> int:
    """Read, score, write."""
    elsewhere = os.environ.get("NFSLEUTH_CAPTURES")
    if set(arguments) - {"--print", "--more"} or ("--more" in arguments and not elsewhere):
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    more = [Path(elsewhere) / "lab"] if elsewhere and "--more" in arguments else []
    sample = read([CAPTURES, *more])
    text = document(sample)
    print(text, end="")
    if "--print" not in arguments:
        DOCUMENT.write_text(text, encoding="utf-8")
        FIGURE.write_text(figure(sample), encoding="utf-8")
        README.write_text(with_headline(README.read_text(encoding="utf-8"), headline(sample)), encoding="utf-8")
    return 0


def read(folders: Sequence[Path]) -> Sample:
    """Identify the clients of every labelled capture below `folders`. Raises FileNotFoundError without any.

    Labels of captures that were not taken at the server are passed over: the addresses there are others.
    """
    import nfsleuth

    files = [path for folder in folders for path in sorted(folder.rglob("*.labels.json"))]
    if not files:
        raise FileNotFoundError("no *.labels.json in the folders given")
    rows: list[Row] = []
    captures: Counter[str] = Counter()
    tabled: list[Row] = []
    merged = extra = 0
    for number, path in enumerate(files, 1):
        labels: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if labels.get("vantage", "server") != "server":
            continue
        for one in labels["clients"]:
            one.setdefault("experiment", labels.get("experiment") or labels["derived_from"] or labels["capture"])
        if sys.stderr.isatty():
            print(f"\r{number} of {len(files)}", end="", file=sys.stderr)
        facts = nfsleuth.facts(path.parent / labels["capture"])
        report = nfsleuth.conclude(facts)
        labels["capture"] = f"{path.parent.name}/{labels['capture']}"  # files of several runs have one name
        found = rows_of(labels, report)
        rows += found
        table_file = path.parent / TABLE
        if table_file.exists() and found and found[0].kind != "derived":
            imported = nfsleuth.import_tables(fdb=[table_file])
            tabled += rows_of(labels, nfsleuth.conclude(facts, imported=imported))
        captures["derived" if found and found[0].kind == "derived" else "recorded"] += 1
        matched = [id(row.verdict) for row in found if row.verdict is not None]
        merged += len(matched) - len(set(matched))
        known = {a for row in found for a in (row.label["address"], row.label.get("address6"))}
        extra += max(0, sum(v.facts.address in known for v in report.clients) - len(found))
    return Sample(rows, captures, merged, extra, len(list(folders)) > 1, tabled)


def methods(sample: Sample) -> list[Method]:
    """All evidence, and beside it the rules of the 2013 study."""
    rows = sample.rows
    return [
        _method("all evidence", rows, [by_evidence(row) for row in rows]),
        _method("paper", rows, [by_paper(row, rate=True) for row in rows]),
        _method("paper, MAC rule alone", rows, [by_paper(row, rate=False) for row in rows]),
    ]


def _method(name: str, rows: Sequence[Row], said: list[Prediction]) -> Method:
    recorded = [(r, s) for r, s in zip(rows, said, strict=True) if r.kind != "derived"]
    recorded_rows, recorded_said = [r for r, _ in recorded], [s for _, s in recorded]
    return Method(
        name,
        said,
        score(*_of_kind("main", rows, said)),
        host_pairs(recorded_rows, recorded_said, nat=True),
        host_pairs(recorded_rows, recorded_said, nat=False),
    )


def _of_kind(kind: str, rows: Sequence[Row], said: Sequence[Prediction]) -> tuple[list[Row], list[Prediction]]:
    pairs = [(r, s) for r, s in zip(rows, said, strict=True) if r.kind == kind]
    return [r for r, _ in pairs], [s for _, s in pairs]


def headline(sample: Sample) -> str:
    """Two sentences for README."""
    ours, _, mac = methods(sample)
    score, low, high = ours.score, *wilson(ours.score.right, ours.score.rows)
    count = sum(sample.captures.values())
    wrong = {kind: n for kind in KINDS if (n := score_of(kind, sample, ours).outcomes["surely wrong"])}
    listed = ", ".join(SURELY_WRONG[kind].format(n) for kind, n in wrong.items())
    return wrapped(
        f"Over {score.rows} ordinary clients of {count} labelled lab captures: {score.right} right "
        f"({_share(score.right, score.rows)}, 95 % interval {low:.2f} to {high:.2f}), where the MAC rule of the 2013 "
        f"study alone gets {mac.score.right} ({_share(mac.score.right, mac.score.rows)}). Of all {len(sample.rows)} "
        f"clients, traps and damaged captures included, wrong with a probability above {SURE}: {listed or 'none'}. "
        "It is one lab, and no independent sample."
    )


def with_headline(readme: str, line: str) -> str:
    """`readme` with `line` between its two markers."""
    before, _, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"README.md lacks the markers {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}{line}{END}{after}"


def score_of(kind: str, sample: Sample, method: Method) -> Score:
    """Measures of the rows of one kind."""
    return score(*_of_kind(kind, sample.rows, method.said))


def document(sample: Sample) -> str:
    """docs/accuracy.md."""
    compared = methods(sample)
    ours = compared[0]
    parts = [
        "# Accuracy",
        "Generated by `make accuracy`; edit `tools/accuracy.py` instead. What the measures mean is in "
        "`tools/scoring.py`.",
        headline(sample),
        "## What was measured",
        _provenance(sample),
        _sample_kinds(sample),
        "## Right and wrong",
        _comparison(compared),
        "Wrong: another state than the label accepts. Surely wrong: that, with a probability above "
        f"{SURE}. Abstained: `unknown` or `conflict` where an answer could have been given. A Brier score is a mean "
        "squared error: 0 is perfect; for P(guest) 0.25 is what saying one half always gets.",
        "The study gives no probabilities. Each of its answers is taken as 0.9 sure, so none counts as surely wrong.",
        "## Which clients share a host",
        _sharing(sample),
        HOSTS_NOTE,
        "## By kind of client",
        _kinds(sample, ours),
        "## Confusion",
        "Ordinary clients; rows are the truth, columns the answer.",
        _confusion(sample, ours),
        "The MAC rule of the study alone:",
        _confusion(sample, compared[2]),
        "## By NFS version and by topology",
        "All recorded clients, traps and stand-ins included; as above, what is right is what the label accepts.",
        _strata("NFS version", sample, ours, lambda row: "/".join(row.label["nfs_versions"])),
        _strata("how it is connected", sample, ours, lambda row: row.label["backend"]),
        _strata("topology", sample, ours, _topology),
        "## On hosts that no weight was fitted on",
        f"The hosts are dealt into {FOLDS} parts. Each part is judged by weights that were fitted on the captures of "
        "the other parts, so no host is in both the fitting and the testing; docs/weights.md says how they are "
        "fitted. The first line is what everything else on this page is about: the weights in the sources, which "
        "people chose.",
        _held_out(sample),
        "## Calibration",
        "Of the predictions in a bin, the share that came true should be their mean. All clients of recorded captures "
        "(no derived ones), traps included.",
        "![Reliability: predicted against observed](accuracy.svg)",
        *_calibrations(sample),
        "## Without a group of evidence",
        "The same verdicts on ordinary clients when all evidence of one group is left out. What a group contributes "
        "beyond the others is the difference to the first line; groups stand in for each other, so the differences do "
        "not add up. The gate that decides whose MAC is seen is no evidence and stays.",
        _ablation(sample, ours),
        *bandwidth_accuracy.section(),
        "## What these figures do not say",
        _caveats(sample),
    ]
    return "\n".join(part.strip() + "\n" if part[0] in "#|!-" else wrapped(part) for part in parts)


def wrapped(text: str) -> str:
    """A paragraph in lines of at most 120 characters."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False) + "\n"


def _caveats(sample: Sample) -> str:
    ordinary = [row for row in sample.rows if row.kind == "main"]
    guests = sum(bool(row.label["virtual"]) for row in ordinary)
    return CAVEATS.format(guests=guests, clients=len(ordinary)).strip()


def _provenance(sample: Sample) -> str:
    where = "tests/captures" + (" and others, which are not in the repository" if sample.shared else "")
    recorded, derived = sample.captures["recorded"], sample.captures["derived"]
    missing = sum(row.verdict is None for row in sample.rows)
    return (
        f"{recorded} recorded captures and {derived} derived ones ({where}), {len(sample.rows)} labelled clients. "
        f"Not found at all: {missing}. Labelled clients that share a row with another: {sample.merged}. Rows at "
        f"labelled addresses that should not be there: {sample.extra}."
    )


def _sample_kinds(sample: Sample) -> str:
    kinds = Counter(row.kind for row in sample.rows)
    rows = [(kind, kinds[kind], KIND_WORDS[kind]) for kind in KINDS if kinds[kind]]
    return table(("kind", "clients", "what they are"), rows)


def _comparison(compared: Sequence[Method]) -> str:
    def line(name: str, values: Iterable[object]) -> tuple[object, ...]:
        return (name, *values)

    scores = [m.score for m in compared]
    intervals = [wilson(s.right, s.rows) for s in scores]
    rows = [
        line("accuracy", (f"**{_share(s.right, s.rows)}**" for s in scores)),
        line("95 % interval (Wilson)", (f"{low:.2f} to {high:.2f}" for low, high in intervals)),
        *(line(outcome, (s.outcomes[outcome] for s in scores)) for outcome in OUTCOMES),
        line("gave an answer", (f"{s.answered} of {s.rows}" for s in scores)),
        line("accuracy of the answers given", (_share(s.answered_right, s.answered) for s in scores)),
        line("Brier score of P(guest)", (f"{s.brier_virtual:.4f}" for s in scores)),
        line("Brier score of the state", (f"{s.brier_states:.4f}" for s in scores)),
        line("log loss of the state, nats", (f"{s.log_loss:.3f}" for s in scores)),
        line("platform right / wrong / none given", (_platforms(s) for s in scores)),
        line("guests of one NAT host, pairs: precision", (_pairs(m.nat, m.nat.precision) for m in compared)),
        line("guests of one NAT host, pairs: recall", (_pairs(m.nat, m.nat.recall) for m in compared)),
        line("all pairs on one host: precision", (_pairs(m.pairs, m.pairs.precision) for m in compared)),
        line("all pairs on one host: recall", (_pairs(m.pairs, m.pairs.recall) for m in compared)),
    ]
    return table((f"{scores[0].rows} ordinary clients", *(m.name for m in compared)), rows)


def _platforms(score: Score) -> str:
    return f"{score.platforms['right']} / {score.platforms['wrong']} / {score.platforms['none']}"


def _pairs(pairs: Pairs, value: float) -> str:
    counts = f"{pairs.found} found, {pairs.false} false, {pairs.missed} missed"
    return f"- ({counts})" if math.isnan(value) else f"{value:.3f} ({counts})"


def _sharing(sample: Sample) -> str:
    """Pairs of one capture by how they are connected, and B-cubed over all clients."""
    recorded = [row for row in sample.rows if row.kind != "derived"]
    with_table = {row.capture for row in sample.tabled}
    samples = (
        ("all, without any table", recorded),
        ("those with a table, without it", [row for row in recorded if row.capture in with_table]),
        ("the same with it", sample.tabled),
    )
    lines: list[tuple[object, ...]] = []
    for name, rows in samples:
        said = [by_evidence(row) for row in rows]
        for kind, pairs in pairs_by_kind(rows, said).items():
            lines.append((name, kind, *pairs, _measure(pairs.precision), _measure(pairs.recall)))
        cubed = b_cubed(rows, said)
        found = sum(row.verdict is not None for row in rows)
        lines.append((name, f"B-cubed, {found} clients", "", "", "", _measure(cubed.precision), _measure(cubed.recall)))
    return table(("captures", "pairs", "found", "false", "missed", "precision", "recall"), lines)


def _measure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _kinds(sample: Sample, method: Method) -> str:
    scores = {kind: score_of(kind, sample, method) for kind in KINDS}
    return table(
        ("kind", "clients", *OUTCOMES, "accuracy"),
        [
            (kind, s.rows, *(s.outcomes[o] for o in OUTCOMES), _share(s.right, s.rows))
            for kind, s in scores.items()
            if s.rows
        ],
    )


def _confusion(sample: Sample, method: Method) -> str:
    counts = confusion(*_of_kind("main", sample.rows, method.said))
    columns = [s for s in (*HYPOTHESES, *DOUBT) if any(said is s for _, said in counts)]
    truths = [s for s in HYPOTHESES if any(truth is s for truth, _ in counts)]
    return table(("truth", *columns), [(truth, *(counts[truth, said] or "" for said in columns)) for truth in truths])


def _topology(row: Row) -> str:
    """What lies between the client and the server, as far as the label says."""
    label = row.label
    return f"{label.get('topology') or 'direct'}, {'IPv6' if ':' in label['address'] else 'IPv4'}"


def _strata(name: str, sample: Sample, method: Method, stratum: Callable[[Row], str]) -> str:
    """A confusion matrix cut into strata: a line per stratum and true state."""
    groups: dict[tuple[str, State], tuple[list[Row], list[Prediction]]] = {}
    for row, said in zip(sample.rows, method.said, strict=True):
        if row.kind != "derived":
            rows, predictions = groups.setdefault((stratum(row), State(row.label["state"])), ([], []))
            rows.append(row)
            predictions.append(said)
    answers = {one.state for _, predictions in groups.values() for one in predictions}
    columns = [state for state in (*HYPOTHESES, *DOUBT) if state in answers]
    lines: list[tuple[object, ...]] = []
    for (key, truth), (rows, predictions) in sorted(groups.items(), key=lambda item: (item[0][0], str(item[0][1]))):
        counts = Counter(one.state for one in predictions)
        right = score(rows, predictions).right
        lines.append((key, truth, len(rows), right, *(counts[state] or "" for state in columns)))
    return table((name, "truth", "clients", "right", *columns), lines)


def _held_out(sample: Sample) -> str:
    """The weights of the sources beside weights that were fitted on other hosts, on the same clients."""
    recorded = [row for row in sample.rows if row.kind != "derived"]
    fitted_rows, fitted = held_out(recorded)
    lines = []
    compared: list[tuple[str, list[Row], list[Prediction]]] = [
        ("weights in the sources", recorded, [by_evidence(row) for row in recorded]),
        ("fitted on other hosts", fitted_rows, fitted),
    ]
    for name, rows, said in compared:
        main = score(*_of_kind("main", rows, said))
        every = score(rows, said)
        told = [(s, r) for r, s in zip(rows, said, strict=True) if r.kind == "main"]
        _, error = calibration([s.virtual for s, _ in told], [bool(r.label["virtual"]) for _, r in told])
        right, surely = f"{main.right} of {main.rows}", every.outcomes["surely wrong"]
        lines.append((name, right, surely, f"{main.brier_virtual:.4f}", f"{main.log_loss:.3f}", f"{error:.3f}"))
    head = ("", "main right", "surely wrong, all", "Brier of P(guest)", "log loss of the state", "calibration error")
    return table(head, lines)


def _predictions(sample: Sample) -> dict[str, tuple[list[float], list[bool]]]:
    """What is predicted, with whether it came true, for rows that have a verdict."""
    rows = [(r, by_evidence(r)) for r in sample.rows if r.kind != "derived" and r.verdict is not None]
    leading = [(r, max(s.states, key=lambda state: s.states[state]), s) for r, s in rows]
    return {
        "P(guest)": ([s.virtual for _, s in rows], [bool(r.label["virtual"]) for r, _ in rows]),
        "P(leading state)": (
            [s.states[state] for _, state, s in leading],
            [state in r.label["acceptable"] for r, state, _ in leading],
        ),
    }


def _calibrations(sample: Sample) -> list[str]:
    parts = []
    for name, (predicted, true) in _predictions(sample).items():
        bins, error = calibration(predicted, true)
        parts.append(f"{name}: expected calibration error {error:.3f} over {len(predicted)} clients.")
        parts.append(table(("predicted", "clients", "mean predicted", "came true"), map(_bin, bins)))
    return parts


def _bin(one: Bin) -> tuple[str, int, str, str]:
    return f"{one.low:g} to {one.high:g}", one.clients, f"{one.predicted:.3f}", f"{one.observed:.3f}"


def _ablation(sample: Sample, ours: Method) -> str:
    def line(name: str, score: Score) -> tuple[object, ...]:
        outcomes = score.outcomes
        return (
            name,
            _share(score.right, score.rows),
            outcomes["abstained"],
            outcomes["wrong"] + outcomes["surely wrong"],
            outcomes["surely wrong"],
            f"{score.brier_virtual:.4f}",
            f"{score.log_loss:.3f}",
        )

    rows = [row for row in sample.rows if row.kind == "main"]
    lines = [line("nothing", ours.score)]
    lines += [line(f"`{group}`", score(rows, [without(row, group) for row in rows])) for group in Group]
    head = ("left out", "accuracy", "abstained", "wrong", "of these surely", "Brier of P(guest)", "log loss")
    return table(head, lines)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "-"


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    return markdown_table(table_of(head, rows))


def figure(sample: Sample) -> str:
    """Predicted against observed, a panel per prediction, as SVG that is the same for the same numbers."""
    import io

    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "nfsleuth", "svg.fonttype": "none", "font.size": 9}):
        drawing = Figure(figsize=(7.2, 3.7), layout="constrained")
        panels = drawing.subplots(1, 2)
        for axes, (name, (predicted, true)) in zip(panels, _predictions(sample).items(), strict=True):
            bins, error = calibration(predicted, true)
            axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--")
            axes.errorbar(
                [b.predicted for b in bins],
                [b.observed for b in bins],
                yerr=_bars(bins),
                fmt="o",
                color="#20639b",
                ecolor="#9dbad5",
                capsize=3,
            )
            for b in bins:
                axes.annotate(str(b.clients), (b.predicted, b.observed), xytext=(5, -10), textcoords="offset points")
            axes.set(xlim=(-0.04, 1.08), ylim=(-0.08, 1.06), xlabel=f"predicted {name}", ylabel="share that came true")
            axes.set_title(f"expected calibration error {error:.3f}", fontsize=9)
            axes.set_aspect("equal")
        out = io.StringIO()
        drawing.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _bars(bins: Sequence[Bin]) -> list[list[float]]:
    """Lengths of the 95 % intervals below and above each bin's share."""
    ends = [wilson(round(b.observed * b.clients), b.clients) for b in bins]
    below = [max(0.0, b.observed - low) for b, (low, _) in zip(bins, ends, strict=True)]
    return [below, [max(0.0, high - b.observed) for b, (_, high) in zip(bins, ends, strict=True)]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Labels and verdicts come in, measures go out: how right, how sure, and how sure with reason. No files, no printing.

A label (``NAME.labels.json``) says per client: the true `state`, the `acceptable` answers (where nothing on the wire
tells two states apart there are several, "unknown" among them), whether it is a guest, its platform, and its host. Rows
are of four kinds, counted apart:

- main: everything that is none of the others; the headline figures are of these;
- trap: made to mislead, such as a guest with the MAC of a maker of hardware;
- standin: User-Mode Linux in the place of a native kernel client, which the lab could not have;
- derived: of captures that a script made out of others by loss, reordering or cutting, or that were taken a second
  time on the pseudo-interface `any`: a test of robustness.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from nfsleuth.evidence.model import HYPOTHESES, Group, State
from nfsleuth.verdict.fuse import Belief, fuse
from nfsleuth.verdict.model import Report, Verdict
from nfsleuth.verdict.paper import paper_belief, paper_rows
from nfsleuth.verdict.priors import DEFAULT

KINDS = ("main", "trap", "standin", "derived")
DOUBT = (State.UNKNOWN, State.CONFLICT)
SURE = 0.9  # an answer above it that is wrong is the worst thing that can happen
OUTCOMES = ("right", "abstained", "wrong", "surely wrong", "missing")
EDGES = (0.0, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99, 1.0)  # of the bins of a calibration: fine where answers are
USER_MODE = ("user", "passt")  # values of `backend` behind which guests share their host's address


class Prediction(NamedTuple):
    """What is said of one client."""

    state: State
    states: dict[State, float]
    virtual: float
    platform: str = ""
    host: str = ""


NOTHING = Prediction(State.UNKNOWN, dict.fromkeys(HYPOTHESES, 1 / len(HYPOTHESES)), 0.5)


@dataclass(frozen=True)
class Row:
    """One labelled client, and the verdict that was matched to it, if any."""

    kind: str
    capture: str
    label: dict[str, Any]
    verdict: Verdict | None


def rows_of(labels: dict[str, Any], report: Report) -> list[Row]:
    """The labelled clients of one capture, each with the verdict that is about it."""
    return [Row(_kind(labels, one), labels["capture"], one, matched(one, report.clients)) for one in labels["clients"]]


def _kind(labels: dict[str, Any], one: dict[str, Any]) -> str:
    if labels["derived_from"] or labels.get("interface") == "any":
        return "derived"
    return "standin" if one["standin_for_native"] else "trap" if one["trap"] else "main"


def matched(label: dict[str, Any], verdicts: Iterable[Verdict]) -> Verdict | None:
    """The verdict about a labelled client: at its address, with most of its ports; a name decides between equals."""
    addresses = {label["address"], label.get("address6")}
    here = [v for v in verdicts if v.facts.address in addresses]
    ports, names = set(label["ports"]), set(label["names"])

    def likeness(verdict: Verdict) -> tuple[int, bool]:
        return len(ports & set(verdict.facts.ports)), bool(names & set(verdict.facts.names))

    best = max(here, key=likeness, default=None)
    if best is None or (ports and len(here) > 1 and likeness(best) == (0, False)):
        return None
    return best


def by_evidence(row: Row) -> Prediction:
    """What the report says."""
    verdict = row.verdict
    if verdict is None:
        return NOTHING
    platform = verdict.platform.name if verdict.platform else ""
    return Prediction(verdict.state, verdict.states, verdict.virtual, platform, verdict.host or "")


def by_paper(row: Row, *, rate: bool) -> Prediction:
    """What the rules of the 2013 study say: both, or (`rate` False) its MAC rule alone."""
    if row.verdict is None:
        return NOTHING
    found = [r for r in paper_rows(row.verdict.facts) if rate or r.rule == "paper_mac"]
    platform = next((name for r in found for name in r.platform), "")
    return _of(paper_belief(found))._replace(platform=platform)


def without(row: Row, group: Group) -> Prediction:
    """What the evidence says when the rows of `group` are left out; platform and host are not asked for."""
    if row.verdict is None:
        return NOTHING
    return _of(fuse([w.evidence for w in row.verdict.weighed if w.evidence.group is not group], DEFAULT))


def _of(belief: Belief) -> Prediction:
    return Prediction(belief.answer, belief.states, belief.virtual)


def outcome(row: Row, said: Prediction) -> str:
    """One of `OUTCOMES`. Doubt is right where the label accepts it, else it is an abstention."""
    if row.verdict is None:
        return "missing"
    if said.state in row.label["acceptable"]:
        return "right"
    if said.state in DOUBT:
        return "abstained"
    return "surely wrong" if said.states[said.state] > SURE else "wrong"


@dataclass(frozen=True)
class Score:
    """Measures over some rows. Briers and log loss: 0 is perfect. `log_loss` is in nats."""

    outcomes: Counter[str]
    answered: int  # rows with an answer that is not doubt
    answered_right: int
    brier_virtual: float  # mean of (P(guest) - truth)^2; 0.25 for saying one half always
    brier_states: float  # mean over rows of the sum over states of (P - truth)^2, from 0 to 2
    log_loss: float  # mean of -ln P(true state); ln 6 = 1.79 for six equal probabilities
    platforms: Counter[str]  # "right", "wrong", "none"

    @property
    def rows(self) -> int:
        """Rows that were scored."""
        return self.outcomes.total()

    @property
    def right(self) -> int:
        """Rows whose answer is acceptable."""
        return self.outcomes["right"]


def score(rows: Sequence[Row], said: Sequence[Prediction]) -> Score:
    """The measures of the predictions `said` about `rows`."""
    answered = [(r, s) for r, s in zip(rows, said, strict=True) if s.state not in DOUBT]
    virtual, states, losses = [], [], []
    platforms: Counter[str] = Counter()
    for row, it in zip(rows, said, strict=True):
        truth = State(row.label["state"])
        virtual.append((it.virtual - float(row.label["virtual"])) ** 2)
        states.append(math.fsum((p - (state is truth)) ** 2 for state, p in it.states.items()))
        losses.append(-math.log(it.states[truth]))
        if it.platform:
            platforms["right" if it.platform in row.label["platform_acceptable"] else "wrong"] += 1
        elif row.label["platform"]:
            platforms["none"] += 1
    return Score(
        Counter(outcome(r, s) for r, s in zip(rows, said, strict=True)),
        len(answered),
        sum(s.state in r.label["acceptable"] for r, s in answered),
        _mean(virtual),
        _mean(states),
        _mean(losses),
        platforms,
    )


def confusion(rows: Sequence[Row], said: Sequence[Prediction]) -> Counter[tuple[State, State]]:
    """How often (true state, answer) came together."""
    return Counter((State(r.label["state"]), s.state) for r, s in zip(rows, said, strict=True))


class Bin(NamedTuple):
    """Predictions from `low` to below `high` (the last bin includes 1)."""

    low: float
    high: float
    clients: int
    predicted: float  # mean of the predictions
    observed: float  # share that came true


def calibration(predicted: Sequence[float], true: Sequence[bool]) -> tuple[list[Bin], float]:
    """Bins that are not empty, and the expected calibration error: the mean distance of the two, by count."""
    bins = []
    for low, high in itertools.pairwise(EDGES):
        last = high == EDGES[-1]
        inside = [(p, t) for p, t in zip(predicted, true, strict=True) if low <= p < high or (last and p == high)]
        if inside:
            bins.append(Bin(low, high, len(inside), _mean([p for p, _ in inside]), _mean([t for _, t in inside])))
    error = math.fsum(b.clients * abs(b.predicted - b.observed) for b in bins) / max(len(predicted), 1)
    return bins, error


class Pairs(NamedTuple):
    """Pairs of clients of one capture: said to share a host and do, said and do not, do and not said."""

    found: int
    false: int
    missed: int

    @property
    def precision(self) -> float:
        """Share of the pairs that were said to share a host that do."""
        return self.found / (self.found + self.false) if self.found + self.false else math.nan

    @property
    def recall(self) -> float:
        """Share of the pairs that share a host that were said to."""
        return self.found / (self.found + self.missed) if self.found + self.missed else math.nan


def host_pairs(rows: Sequence[Row], said: Sequence[Prediction], *, nat: bool) -> Pairs:
    """Pairs that share a host; with `nat` only those behind one address by user-mode NAT, and false ones about such."""
    counts: Counter[tuple[bool, bool]] = Counter()
    for (a, sa), (b, sb) in itertools.combinations(zip(rows, said, strict=True), 2):
        if a.capture != b.capture or a.verdict is None or b.verdict is None or a.verdict is b.verdict:
            continue
        same = a.label["host"] == b.label["host"]
        together = bool(sa.host) and sa.host == sb.host
        user_mode = [row.label["backend"] in USER_MODE for row in (a, b)]
        behind_one = all(user_mode) and a.label["address"] == b.label["address"]
        if not nat or behind_one or (together and any(user_mode)):
            counts[same, together] += 1
    return Pairs(counts[True, True], counts[False, True], counts[True, False])


BRIDGED = ("tap", "hub", "vhost", "macvtap")  # values of `backend` with which a guest's MAC is on the wire
PAIR_KINDS = ("user-mode NAT", "bridged", "other")


def pair_kind(a: Row, b: Row) -> str:
    """How two clients are connected: both behind one address by user-mode NAT, both bridged, or another mixture."""
    backends = {a.label["backend"], b.label["backend"]}
    if backends <= set(USER_MODE) and a.label["address"] == b.label["address"]:
        return "user-mode NAT"
    return "bridged" if backends <= set(BRIDGED) else "other"


def pairs_by_kind(rows: Sequence[Row], said: Sequence[Prediction]) -> dict[str, Pairs]:
    """`Pairs` of each kind that there is. Two labels with one verdict are no pair."""
    counts: Counter[tuple[str, bool, bool]] = Counter()
    for (a, sa), (b, sb) in itertools.combinations(zip(rows, said, strict=True), 2):
        if a.capture == b.capture and a.verdict is not None and b.verdict is not None and a.verdict is not b.verdict:
            same, together = a.label["host"] == b.label["host"], bool(sa.host) and sa.host == sb.host
            counts[pair_kind(a, b), same, together] += 1
    kinds = [kind for kind in PAIR_KINDS if any(k == kind for k, _, _ in counts)]
    return {k: Pairs(counts[k, True, True], counts[k, False, True], counts[k, True, False]) for k in kinds}


class BCubed(NamedTuple):
    """Means over clients of the share of those it was grouped with that share its host, and of those that share its
    host that it was grouped with; the client itself included. A. Bagga, B. Baldwin, COLING-ACL 1998."""

    precision: float
    recall: float


def b_cubed(rows: Sequence[Row], said: Sequence[Prediction]) -> BCubed:
    """`BCubed` over the clients that were found; one without a host is a group by itself."""
    by_capture: dict[str, list[tuple[object, object]]] = {}
    for number, (row, it) in enumerate(zip(rows, said, strict=True)):
        if row.verdict is not None:
            by_capture.setdefault(row.capture, []).append((row.label["host"], it.host or number))
    precision, recall = [], []
    for clients in by_capture.values():
        hosts, groups, both = (
            Counter(column) for column in ((h for h, _ in clients), (g for _, g in clients), clients)
        )
        precision += [both[h, g] / groups[g] for h, g in clients]
        recall += [both[h, g] / hosts[h] for h, g in clients]
    return BCubed(_mean(precision), _mean(recall))


def wilson(right: int, rows: int) -> tuple[float, float]:
    """The 95 % interval of a share by Wilson's score (J. Am. Stat. Assoc. 22, 1927), as if rows were independent."""
    if not rows:
        return 0.0, 1.0
    z, share = 1.96, right / rows
    middle = share + z * z / (2 * rows)
    half = z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    whole = 1 + z * z / rows
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan

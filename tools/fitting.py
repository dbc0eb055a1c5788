"""Labelled verdicts come in, weights that the lab would give come out: no files, no printing.

A weight is ln(P(case seen | state) / P(case seen | the states that the case says nothing of)), in nats. It is estimated
as follows.

- **Hosts, not clients, are counted.** Guests of one host share its clock, kernel and address. A host counts 1 in each
  state that it has clients in, and for a case the share of these clients that show it.
- **The weight in the source is a prior** that counts as much as 10 hosts on each side. Of the rate at which the case
  was seen at all, it says how it divides between the states; Beta distributions do the rest: a rate is fitted as (seen
  + 10 * prior rate) / (hosts + 10).
- **The lab may weaken a weight and never strengthens one.** What makes a sign fail elsewhere (other hypervisors, real
  machines, habits of administrators) it cannot have recorded, so that it has seen no failure says little.
- **Where the lab is silent the prior stays**: a case that was never seen, or a state that was never recorded.

Whether the fit is any good is measured on hosts that it has not seen: the hosts are parted, never the clients.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace
from scoring import NOTHING, Prediction, Row

from nfsleuth.evidence import heuristics
from nfsleuth.evidence.model import HYPOTHESES, Evidence, State
from nfsleuth.evidence.weights import HALF, Weight, clipped, log_ratio
from nfsleuth.verdict.fuse import fuse
from nfsleuth.verdict.priors import DEFAULT

STRENGTH = 10.0  # hosts that a prior counts as
FOLDS = 5
TOLERANCE = 1e-6

Case = tuple[str, str]  # a heuristic and the case of its table of weights
Host = tuple[str, str]  # where a client was recorded, and the machine that it ran on


class Counts(NamedTuple):
    """Hosts with clients in a state (`hosts`), and in how many of them a case was seen."""

    seen: float = 0.0
    hosts: float = 0.0


class Fit(NamedTuple):
    """One weight: what the source says and what the lab says.

    source: nats in the source. lab: nats by the lab alone, `low` to `high` its 90 % interval, open to the side where a
    count is 0; nan where the lab is silent. free, fitted: both together, without and with the rule that the lab
    strengthens nothing. here, elsewhere: counts in the state, and in those that the case says nothing of.
    """

    case: Case
    state: State
    source: float
    lab: float
    low: float
    high: float
    free: float
    fitted: float
    here: Counts
    elsewhere: Counts

    @property
    def silent(self) -> bool:
        """Whether the lab says nothing."""
        return math.isnan(self.lab)

    @property
    def says(self) -> str:
        """What the lab says of the weight in the source."""
        if self.silent:
            return "silent"
        if self.low <= self.source <= self.high:
            return "agrees"
        if self.lab * self.source < 0:
            return "contradicts"
        return "weaker" if abs(self.lab) < abs(self.source) else "stronger"


Fits = Mapping[tuple[Case, State], Fit]


def host_of(row: Row) -> Host:
    """The machine that a labelled client ran on. Names of machines mean nothing outside their experiment."""
    return str(row.label.get("experiment") or row.capture), str(row.label["host"])


def usable(rows: Iterable[Row]) -> list[Row]:
    """Rows to learn from, with a verdict. Damaged captures are no new clients, and traps no usual ones."""
    return [row for row in rows if row.kind == "main" and row.verdict is not None]


def cases(rule: str) -> Mapping[str, Weight]:
    """The table of weights of a heuristic; cases by name."""
    module = heuristics().get(rule)
    return {str(name): weight for name, weight in module.WEIGHTS.items()} if module else {}


def case_of(evidence: Evidence) -> Case | None:
    """The case that a row of evidence is of, known by its weights; None for one that no table has."""
    fitting = [name for name, weight in cases(evidence.rule).items() if _factor(evidence, weight) is not None]
    alike = [name for name in fitting if cases(evidence.rule)[name].says == evidence.says]
    return (evidence.rule, (alike or fitting)[0]) if fitting else None


def _factor(evidence: Evidence, weight: Weight) -> float | None:
    """By what the weights of the case are multiplied in the row, None if the row is of another case."""
    if not weight.toward or set(weight.toward) != set(evidence.toward):
        return None
    factors = [evidence.toward[state] / clipped(nats) for state, nats in weight.toward.items() if nats]
    return factors[0] if factors and factors[0] > 0 and max(factors) - min(factors) < TOLERANCE else None


def counted(rows: Iterable[Row]) -> tuple[dict[tuple[Case, State], float], dict[State, float]]:
    """Hosts in which each case was seen, by true state, and hosts per state."""
    clients: dict[tuple[Host, State], list[set[Case]]] = defaultdict(list)
    for row in rows:
        assert row.verdict is not None, "only rows with a verdict are counted"
        shown = {case_of(w.evidence) for w in row.verdict.weighed if w.evidence.counted}
        clients[host_of(row), State(row.label["state"])].append({case for case in shown if case})
    seen: dict[tuple[Case, State], float] = defaultdict(float)
    hosts: dict[State, float] = defaultdict(float)
    for (_, state), each in clients.items():
        hosts[state] += 1
        for case in set().union(*each):
            seen[case, state] += sum(case in one for one in each) / len(each)
    return seen, hosts


def fit(rows: Iterable[Row], strength: float = STRENGTH) -> Fits:
    """Every weight of every heuristic that speaks for or against a state."""
    seen, hosts = counted(rows)
    found = {}
    for rule in heuristics():
        for name, weight in cases(rule).items():
            case = rule, name
            others = [state for state in HYPOTHESES if state not in weight.toward]
            elsewhere = Counts(sum(seen.get((case, s), 0.0) for s in others), sum(hosts.get(s, 0.0) for s in others))
            for state, nats in weight.toward.items():
                here = Counts(seen.get((case, state), 0.0), hosts.get(state, 0.0))
                found[case, state] = _fitted(case, state, nats, here, elsewhere, strength)
    return found


def _fitted(case: Case, state: State, source: float, here: Counts, elsewhere: Counts, strength: float) -> Fit:
    if not here.hosts or not elsewhere.hosts or not here.seen + elsewhere.seen:
        return Fit(case, state, source, math.nan, math.nan, math.nan, source, source, here, elsewhere)
    lab, low, high = log_ratio(here.seen, here.hosts, elsewhere.seen, elsewhere.hosts, 90)
    rate = (here.seen + elsewhere.seen + HALF) / (here.hosts + elsewhere.hosts + 1)
    prior_here, prior_elsewhere = divided(rate, source)
    numerator = (here.seen + strength * prior_here) / (here.hosts + strength)
    denominator = (elsewhere.seen + strength * prior_elsewhere) / (elsewhere.hosts + strength)
    free = clipped(math.log(numerator / denominator))
    return Fit(case, state, source, lab, low, high, free, weakened(free, source), here, elsewhere)


def weakened(free: float, source: float) -> float:
    """`free`, but no further from 0 than `source`."""
    return min(free, source) if source > 0 else max(free, source)


def divided(rate: float, nats: float) -> tuple[float, float]:
    """Two rates whose ratio is e^nats and whose mean is `rate`, or less where one of them would be above 1."""
    low = 2 * rate / (1 + math.exp(nats))
    high = low * math.exp(nats)
    scale = max(high, low, 1.0)
    return high / scale, low / scale


def reweighed(evidence: Evidence, fits: Fits, *, free: bool = False) -> Evidence:
    """The row with the fitted weights of its case in place of the source's; `free`: those that may be stronger."""
    case = case_of(evidence)
    if case is None or not evidence.counted:
        return evidence
    factor = _factor(evidence, cases(case[0])[case[1]]) or 1.0
    found = {state: fits[case, state] for state in evidence.toward}
    return replace(evidence, toward={s: clipped((f.free if free else f.fitted) * factor) for s, f in found.items()})


def predicted(row: Row, fits: Fits | None, *, free: bool = False) -> Prediction:
    """What is said of a client with fitted weights; with those of the source if there are none."""
    if row.verdict is None:
        return NOTHING
    rows = [w.evidence for w in row.verdict.weighed]
    belief = fuse([reweighed(evidence, fits, free=free) for evidence in rows] if fits else rows, DEFAULT)
    return Prediction(belief.answer, belief.states, belief.virtual)


def folds(rows: Sequence[Row], count: int = FOLDS) -> Iterator[tuple[list[Row], list[Row]]]:
    """Parts (to fit on, to test on) such that no host is in both; the largest hosts are dealt out first."""
    groups: dict[Host, list[Row]] = defaultdict(list)
    for row in rows:
        groups[host_of(row)].append(row)
    parts: list[list[Row]] = [[] for _ in range(min(count, len(groups)))]
    for host in sorted(groups, key=lambda h: (-len(groups[h]), h)):
        min(parts, key=len).extend(groups[host])
    for test in parts:
        hosts = {host_of(row) for row in test}
        yield [row for row in rows if host_of(row) not in hosts], test


def held_out(
    rows: Sequence[Row], strength: float = STRENGTH, *, free: bool = False
) -> tuple[list[Row], list[Prediction]]:
    """Rows, each with what is said of it by weights that were fitted on other hosts."""
    tested: list[Row] = []
    said: list[Prediction] = []
    for training, test in folds(rows):
        fits = fit(usable(training), strength)
        tested += test
        said += [predicted(row, fits, free=free) for row in test]
    return tested, said

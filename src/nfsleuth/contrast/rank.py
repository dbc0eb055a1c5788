"""Clients with labels come in, findings go out: which fields know the label, how well, and whether chance does as well.

The measure is the information that the answer to a question gives about the label, in bits per client, within strata:
clients are compared only with clients of the same NFS version and, where there are enough, of the same client software
in the same capture: another capture has another network, server, workload and time. A field's measure is that of its
best question, less what a question of so many answers gives by chance alone. How often labels dealt out anew (within
strata, with a seed) do as well is the field's probability p: choosing the best question is part of what is repeated, so
that asking many does not help. Over all fields the false discovery rate is held with Benjamini and Hochberg's procedure
(1995). Fields that divide the clients alike are one test and one finding; fields that could not reach significance
whatever the labels are none (Gilbert 2005, after Tarone 1990).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import comb, log
from typing import Any

import numpy as np

from nfsleuth.contrast.questions import FieldQuestions, Question, about, canonical
from nfsleuth.contrast.sketch import Profile

ALPHA = 0.05  # false discovery rate
SEED = 1813  # of the permutations
FIRST_ROUND, SECOND_ROUND = 499, 20_000  # permutations: of all fields, of those that may matter
PROMISING = 0.06  # p of the first round up to which the second is worth its time
BATCH = 2_000  # permutations at a time
ENOUGH = 40  # permutations that do as well after which p is known well enough (Besag and Clifford 1991)
EQUAL = 1e-6  # bits by which sums of the same numbers in another order may differ
MOST_TESTS = 20_000  # fields
DEALT_KEPT = 256  # batches of dealt labels that are kept for the tests of the same clients

# How the client is connected shows in relations between layers, which mean the same in every network: so they come
# first among fields that know as much, and a share of the permitted error is theirs, few as they are (weighted
# Benjamini-Hochberg, Genovese et al. 2006).
CONNECTION = (
    *("== ip.src", "r_addr.class", "tcp.srcport <", "tcp.srcport.class"),
    *("eth.src.", "ip.ttl.hops", "holds ip.src", "another address"),
)
BUDGET = 0.5  # share of the permitted error that goes to them

# Times and rates follow the conditions of the capture - load, emulation, the link - as much as the client. No capture
# tells the two apart, so findings about them stand by themselves.
TIMES = ("tcp.handshake ns", "calls.gap ns", "calls.latency ns", "calls.per second")
# By its implementation id (RFC 8881 section 18.35.3) a client names its software.
IMPLEMENTATION = ".eia_client_impl_id[]."


class Cause(StrEnum):
    """What else than the label may make a field differ."""

    NONE = ""
    SOFTWARE = "software"  # the labels differ in client software, or the field names it
    CAPTURES = "captures"  # compared across captures, for want of captures with clients of both labels
    CONDITIONS = "conditions"  # a time or a rate


@dataclass(frozen=True, slots=True)
class Finding:
    """Fields that tell the labels apart in the same way; `fields` in the order of how well they carry over.

    who: indices of the clients compared. question: the one that knows most, of the first field. gain: bits per client
    about the label, share: of what there was to know, 1 tells all apart. p, q: probability by chance, and after the
    correction for the number of fields. confounded: what else the
    labels compared differ in, for want of clients that are equal in it: their software, or else, where some captures
    have clients of several labels, their captures.
    """

    fields: tuple[FieldQuestions, ...]
    who: np.ndarray
    question: Question
    gain: float
    share: float
    p: float
    q: float
    confounded: Cause = Cause.NONE

    @property
    def software(self) -> bool:
        """Whether the labels compared differ in their client software, too."""
        return self.confounded is Cause.SOFTWARE

    @property
    def path(self) -> str:
        """Of the field that leads."""
        return self.fields[0].path

    @property
    def cause(self) -> Cause:
        """What is likelier to be the cause than the label. How a client is connected does not follow its software."""
        if self.path in TIMES:
            return Cause.CONDITIONS
        if IMPLEMENTATION in self.path:
            return Cause.SOFTWARE
        return self.confounded if generality(self.path)[0] > 0 else Cause.NONE


@dataclass(frozen=True, slots=True)
class Contrast:
    """What came out. findings: significant, best first. differing: what divides the labels without exception and is not
    significant: worth another capture, no more. tests: fields that could have been significant, after putting alike
    ones together; fields: on which any two clients differ; untested: of these, beyond `MOST_TESTS`. least: the smallest
    p that these clients could give; above ALPHA nothing can be concluded. counts: clients per label. strata: clients
    per stratum and label. masked: paths that were compared by form.
    """

    findings: tuple[Finding, ...]
    differing: tuple[Finding, ...]
    tests: int
    fields: int
    least: float
    counts: dict[str, int]
    strata: dict[str, dict[str, int]] = field(default_factory=dict)
    masked: tuple[str, ...] = ()
    untested: int = 0

    @property
    def can_conclude(self) -> bool:
        """Whether any difference could have been significant."""
        return self.least <= ALPHA


def contrast(
    clients: Sequence[Profile],
    masked: set[str],
    *,
    stratum: Callable[[Profile], str] = lambda client: client.version,
    alpha: float = ALPHA,
    seed: int = SEED,
) -> Contrast:
    """Find the fields that tell the labels of `clients` apart.

    clients: one profile per client, labels set; see `runs.clients`, which also gives `masked`. stratum: clients are
    compared within it. alpha: false discovery rate. seed: of the permutations; the same seed gives the same findings.
    Raises ValueError with fewer than two labels.
    """
    labels = sorted({client.label for client in clients})
    if len(labels) < 2:
        raise ValueError("at least two labels are needed")
    numbers = np.array([labels.index(c.label) for c in clients], np.int64)
    finer: tuple[Callable[[Profile], str], ...] = (stratum, lambda c: c.software, lambda c: c.capture)
    designs = [  # from clients of one version, software and capture to those of one version
        _Design(numbers, _numbered([tuple(of(c) for of in finer[:depth]) for c in clients]), len(labels), seed)
        for depth in (3, 2, 1)
    ]
    design = designs[-1]
    asked = list(about(clients, masked))
    tests: dict[tuple[int, Cause, bytes, tuple[bytes, ...]], list[FieldQuestions]] = {}
    for one in asked[:MOST_TESTS]:
        level, usable = _comparable(designs, one, alpha)
        if usable is not None:
            confounded = _confounded(designs, level, usable.who)
            divisions = tuple(sorted(canonical(q.codes).tobytes() for q in usable.questions))
            tests.setdefault((level, confounded, usable.who.tobytes(), divisions), []).append(usable)
    # Those of the same clients follow one another, so that labels need not be dealt out for each.
    tried = [_Tried(designs[key[0]], tests[key], key[1]) for key in sorted(tests)]
    everybody = np.arange(len(clients))
    if design.least(everybody) > alpha:
        significant, near = [], [t.finding(1.0) for t in tried]
    else:
        able = [t for t in tried if t.least <= alpha]
        adjusted = benjamini_hochberg([t.p for t in able], _weights(able))
        found = [t.finding(q) for t, q in zip(able, adjusted, strict=True)]
        # p as well: a field with a large share of the error could have a small q that it owes to others alone.
        significant = [f for f in found if f.q <= alpha and f.p <= alpha]
        near = [f for f in found if f.q > alpha or f.p > alpha]
    strata: dict[str, dict[str, int]] = {}
    for client in clients:
        row = strata.setdefault(stratum(client), dict.fromkeys(labels, 0))
        row[client.label] += 1
    return Contrast(
        tuple(together(significant)),
        tuple(together([f for f in near if f.share > 1 - EQUAL])),
        sum(t.least <= alpha for t in tried),
        len(asked),
        design.least(everybody),
        {label: sum(c.label == label for c in clients) for label in labels},
        strata,
        tuple(sorted(masked)),
        max(0, len(asked) - MOST_TESTS),
    )


def _comparable(designs: Sequence[_Design], asked: FieldQuestions, alpha: float) -> tuple[int, FieldQuestions | None]:
    """The finest design in which a field could be significant, else the coarsest, and its questions there.

    How a client is connected means the same everywhere, and is asked in the coarsest. None if no question divides the
    clients there: then the field is the same wherever it can be compared.
    """
    last = len(designs) - 1
    for level in range(last) if generality(asked.path)[0] > 0 else ():
        if designs[level].least(asked.who[designs[level].mixed(asked.who)]) <= alpha:
            return level, designs[level].usable(asked)
    return last, designs[last].usable(asked)


def _confounded(designs: Sequence[_Design], level: int, who: np.ndarray) -> Cause:
    """What differs between the labels of `who`, too, in the design number `level` of version, software and capture."""
    within_capture, within_software, design = designs
    if level == 2 and design.differs(who, within_software.strata):
        return Cause.SOFTWARE
    mixed = bool(within_capture.mixed(np.arange(len(design.labels))).any())
    # Where each capture has one label, to compare labels is to compare captures, as was asked.
    return Cause.CAPTURES if level > 0 and mixed and design.differs(who, within_capture.strata) else Cause.NONE


def _numbered(names: Sequence[tuple[str, ...]]) -> np.ndarray:
    numbers = {name: i for i, name in enumerate(sorted(set(names)))}
    return np.array([numbers[n] for n in names], np.int64)


class _Design:
    """Labels and strata of all clients, and how they can be dealt out anew."""

    def __init__(self, labels: np.ndarray, strata: np.ndarray, kinds: int, seed: int) -> None:
        self.labels, self.strata, self.kinds, self.seed = labels, strata, kinds, seed
        counts = np.arange(len(labels) + 1, dtype=np.float64)
        self.xlogx = np.where(counts > 0, counts * np.log2(np.maximum(counts, 1)), 0.0)
        self._dealt: dict[tuple[bytes, int], np.ndarray] = {}

    def least(self, who: np.ndarray) -> float:
        """The probability that labels dealt out anew among `who` are those that they have: no p can be smaller."""
        least = 1.0
        strata, labels = self.strata[who], self.labels[who]
        for stratum in np.unique(strata):
            left = int((strata == stratum).sum())
            for label in range(self.kinds):
                mine = int(((strata == stratum) & (labels == label)).sum())
                least /= comb(left, mine)
                left -= mine
        return least

    def differs(self, who: np.ndarray, finer: np.ndarray) -> bool:
        """Whether `finer` strata divide clients that are compared here."""
        pairs = {(a, b) for a, b in zip(self.strata[who].tolist(), finer[who].tolist(), strict=True)}
        return len(pairs) > len(set(self.strata[who].tolist()))

    def mixed(self, who: np.ndarray) -> np.ndarray:
        """Which of `who` are in a stratum with at least two labels: bool[n]."""
        strata, labels = self.strata[who], self.labels[who]
        keep = np.zeros(len(who), bool)
        for stratum in np.unique(strata):
            mine = strata == stratum
            if len(np.unique(labels[mine])) > 1:
                keep |= mine
        return keep

    def usable(self, asked: FieldQuestions) -> FieldQuestions | None:
        """The questions about clients in strata with at least two labels, None if that leaves nothing to ask."""
        keep = self.mixed(asked.who)
        if keep.all():
            return asked
        questions = [Question(q.kind, q.about, canonical(q.codes[keep])) for q in asked.questions] if keep.any() else []
        questions = [q for q in questions if q.codes.max() > 0]
        return FieldQuestions(asked.path, asked.who[keep], tuple(questions), asked.masked) if questions else None

    def dealt(self, who: np.ndarray, times: int, part: int) -> np.ndarray:
        """Labels of `who`, dealt out anew within strata: int8[times, len(who)]."""
        key = (who.tobytes(), part)
        if key in self._dealt:
            return self._dealt[key]
        rng = np.random.default_rng([self.seed, part, times, *who.tolist()])
        dealt = np.tile(self.labels[who].astype(np.int8), (times, 1))
        strata = self.strata[who]
        for stratum in np.unique(strata):
            mine = np.flatnonzero(strata == stratum)
            dealt[:, mine] = rng.permuted(dealt[:, mine], axis=1)
        if len(self._dealt) >= DEALT_KEPT:
            self._dealt.pop(next(iter(self._dealt)))
        self._dealt[key] = dealt
        return dealt

    def unknown(self, who: np.ndarray) -> float:
        """Bits about the labels of `who` that the strata leave open, summed over clients."""
        labels, strata = self.labels[who], self.strata[who]
        total = 0.0
        for stratum in np.unique(strata):
            counts = np.bincount(labels[strata == stratum], minlength=self.kinds)
            total += self.xlogx[counts.sum()] - self.xlogx[counts].sum()
        return float(total)


class _Tried:
    """A test: fields that ask alike, the gain of their best question, and p by permutation."""

    def __init__(self, design: _Design, alike: list[FieldQuestions], confounded: Cause) -> None:
        self.alike, self.confounded = alike, confounded
        first = alike[0]
        who, self.questions = first.who, first.questions
        cells = [self._cells(q.codes, design.strata[who]) for q in self.questions]
        self._onehot = np.concatenate([c for c, _ in cells], axis=1).astype(np.float32)
        self._starts = np.cumsum([0, *(c.shape[1] for c, _ in cells)])[:-1]
        self._sizes = self._onehot.sum(axis=0).astype(np.int64)
        known = np.add.reduceat(design.xlogx[self._sizes], self._starts)
        # Miller and Madow: so many bits a question of that many answers gives about labels that it knows nothing of.
        free = np.array([max(n, 0) * (design.kinds - 1) / (2 * log(2)) for _, n in cells])
        self._constant = design.unknown(who) - known
        self._penalty = free
        gains = self._gains(design, design.labels[who][None, :])[0]
        self.best = int(np.argmax(gains - self._penalty))
        self.total = design.unknown(who)
        self.gain = float(gains[self.best])
        observed = float((gains - self._penalty).max())
        null = self._null(design, who, FIRST_ROUND, 0)
        at_least, times = int((null >= observed - EQUAL).sum()), FIRST_ROUND
        most = max(observed, float(null.max()))
        self.least = float((null >= most - EQUAL).mean())
        if (1 + at_least) / (1 + times) <= PROMISING:
            at_least, times = 0, 0  # chosen by the first round, so that it may not count
            while times < SECOND_ROUND and at_least < ENOUGH:
                null = self._null(design, who, BATCH, 1 + times // BATCH)
                at_least += int((null >= observed - EQUAL).sum())
                times += BATCH
        self.p = (1 + at_least) / (1 + times)

    @staticmethod
    def _cells(codes: np.ndarray, strata: np.ndarray) -> tuple[np.ndarray, int]:
        """One column per answer and stratum, and the answers beyond the first in each stratum, summed up."""
        cells = canonical(codes * (strata.max() + 1) + strata)
        return np.eye(cells.max() + 1)[cells], int(cells.max() + 1 - len(np.unique(strata)))

    def _gains(self, design: _Design, labels: np.ndarray) -> np.ndarray:
        """Bits, summed over clients, that each question gives about each row of labels: float64[rows, questions]."""
        total = np.zeros((len(labels), len(self._starts)))
        left = np.broadcast_to(self._sizes, (len(labels), len(self._sizes)))  # clients of labels not counted yet
        for label in range(design.kinds):
            last = label == design.kinds - 1
            counts = left if last else ((labels == label).astype(np.float32) @ self._onehot).astype(np.int64)
            total += np.add.reduceat(design.xlogx[counts], self._starts, axis=1)
            left = left - counts
        return total + self._constant

    def _null(self, design: _Design, who: np.ndarray, times: int, part: int) -> np.ndarray:
        best: np.ndarray = (self._gains(design, design.dealt(who, times, part)) - self._penalty).max(axis=1)
        return best

    def finding(self, q: float) -> Finding:
        """As a finding with the corrected probability `q`."""
        fields = tuple(sorted(self.alike, key=lambda f: generality(f.path, f.masked)))
        lead = fields[0]
        wanted = canonical(self.questions[self.best].codes)
        question = next(q for q in lead.questions if np.array_equal(canonical(q.codes), wanted))
        share = self.gain / self.total if self.total else 0.0
        return Finding(
            fields, lead.who, question, self.gain / len(lead.who), min(share, 1.0), self.p, q, self.confounded
        )


def _weights(tests: Sequence[_Tried]) -> list[list[float]]:
    """Weights of the fields of each test: those of the connection share BUDGET, the others the rest."""
    first = [[generality(f.path)[0] == 0 for f in test.alike] for test in tests]
    mine = sum(map(sum, first))
    others = sum(map(len, first)) - mine
    if not mine or not others:
        return [[1.0] * len(row) for row in first]
    return [[BUDGET / mine if is_first else (1 - BUDGET) / others for is_first in row] for row in first]


def benjamini_hochberg(ps: Sequence[float], weights: Sequence[Sequence[float]]) -> list[float]:
    """p of each test adjusted for the number of fields: those at most alpha have a false discovery rate of alpha.

    weights: of the fields that a test stands for; it counts once for each, and the best of them decides.
    """
    if not ps:
        return []
    test = np.repeat(np.arange(len(ps)), [len(w) for w in weights])
    flat = np.concatenate([np.asarray(w, np.float64) for w in weights])
    weighted = np.array(ps)[test] * flat.mean() / flat
    order = np.argsort(weighted, kind="stable")
    adjusted = weighted[order] * len(order) / np.arange(1, len(order) + 1)
    adjusted = np.minimum.accumulate(np.minimum(adjusted, 1.0)[::-1])[::-1]
    best = np.ones(len(ps))
    np.minimum.at(best, test[order], adjusted)
    return [float(q) for q in best]


def together(found: Sequence[Finding]) -> list[Finding]:
    """Findings whose best questions divide the same clients alike, as one each; best first."""
    groups: dict[tuple[Cause, bytes, bytes], list[Finding]] = {}
    for one in found:
        groups.setdefault((one.confounded, one.who.tobytes(), canonical(one.question.codes).tobytes()), []).append(one)
    merged = []
    for group in groups.values():
        lead = min(group, key=lambda f: generality(f.path, f.fields[0].masked))
        others = sorted((f for one in group for f in one.fields), key=lambda f: generality(f.path, f.masked))
        best = min(group, key=lambda f: f.p)
        fields = (lead.fields[0], *(f for f in others if f is not lead.fields[0]))
        merged.append(Finding(fields, lead.who, lead.question, lead.gain, lead.share, best.p, best.q, lead.confounded))
    return sorted(merged, key=_order)


def _order(finding: Finding) -> tuple[Any, ...]:
    path, masked = finding.path, finding.fields[0].masked
    return list(Cause).index(finding.cause), -round(finding.share, 6), generality(path, masked), finding.q


def generality(path: str, masked: bool = False) -> tuple[int, int, str]:
    """Sorts by how well a field carries over to other networks and servers; smaller is better."""
    if any(mark in path for mark in CONNECTION):
        kind = 0
    elif masked:
        kind = 3
    elif ".order" in path:
        kind = 5
    elif path in TIMES:
        kind = 7
    elif path.startswith(("calls.", "udp.", "tcp.connections", "tcp.flow")) or ".share of" in path:
        kind = 6
    elif ".reply" in path:
        kind = 4
    elif path.endswith(" used"):
        kind = 2
    else:
        kind = 1
    return kind, len(path), path

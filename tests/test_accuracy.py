"""The measures of `make accuracy` on verdicts made by hand, and the document over the captures in the repository."""

from __future__ import annotations

import importlib
import json
import math
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from conftest import CAPTURES, REPOSITORY
from nfsleuth.clients.facts import Facts, Seen, Sighting
from nfsleuth.evidence.model import HYPOTHESES, Evidence, Group, State
from nfsleuth.verdict.model import Verdict, Weighed


@pytest.fixture(scope="module")
def scoring() -> Iterator[ModuleType]:
    sys.path.insert(0, str(REPOSITORY / "tools"))
    yield importlib.import_module("scoring")
    sys.path.pop(0)


@pytest.fixture(scope="module")
def accuracy(scoring: ModuleType) -> ModuleType:
    return importlib.import_module("accuracy")


def label(state: State = State.NATIVE, **other: Any) -> dict[str, Any]:
    return {
        "address": "10.0.0.7",
        "ports": [700],
        "names": ["alpha"],
        "state": state.value,
        "acceptable": [state.value],
        "virtual": state in (State.BRIDGED, State.USER_NAT),
        "platform": None,
        "platform_acceptable": [None],
        "backend": "tap",
        "host": "h1",
        "trap": False,
        "standin_for_native": False,
    } | other


def states(state: State, probability: float) -> dict[State, float]:
    rest = (1 - probability) / (len(HYPOTHESES) - 1)
    return {s: probability if s is state else rest for s in HYPOTHESES}


def verdict(state: State, probability: float = 0.95, *, answer: State | None = None, **other: Any) -> Verdict:
    facts = Facts(
        other.pop("address", "10.0.0.7"),
        ports=Seen({port: Sighting(1) for port in other.pop("ports", [700])}),
        names=Seen({name: Sighting(1) for name in other.pop("names", ["alpha"])}),
    )
    virtual = probability if state in (State.BRIDGED, State.USER_NAT) else 1 - probability
    made: dict[str, Any] = {"platform": None, "because": "", "weighed": (), **other}
    return Verdict("id", facts, answer or state, state, states(state, probability), virtual, **made)


def outcome(scoring: ModuleType, truth: dict[str, Any], said: Verdict | None) -> str:
    row = scoring.Row("main", "c", truth, said)
    return scoring.outcome(row, scoring.by_evidence(row))  # type: ignore[no-any-return]


def test_outcomes_tell_wrong_from_surely_wrong_and_doubt_from_an_accepted_doubt(scoring: ModuleType) -> None:
    native, lenient = label(State.NATIVE), label(State.NATIVE, acceptable=["native", "unknown"])
    doubt = verdict(State.NATIVE, 0.5, answer=State.UNKNOWN)
    assert outcome(scoring, native, verdict(State.NATIVE)) == "right"
    assert outcome(scoring, native, verdict(State.BRIDGED, 0.9)) == "wrong"
    assert outcome(scoring, native, verdict(State.BRIDGED, 0.91)) == "surely wrong"
    assert outcome(scoring, native, doubt) == "abstained"
    assert outcome(scoring, lenient, doubt) == "right"
    assert outcome(scoring, native, None) == "missing"


def test_a_label_finds_its_verdict_by_address_then_ports_then_name(scoring: ModuleType) -> None:
    other_address = verdict(State.NATIVE, address="10.0.0.8")
    other_ports = verdict(State.NATIVE, ports=[701], names=["beta"])
    same_ports = verdict(State.NATIVE, ports=[700, 702], names=["beta"])
    named = verdict(State.NATIVE, ports=[703])
    assert scoring.matched(label(), [other_address, other_ports, same_ports]) is same_ports
    assert scoring.matched(label(), [other_ports, named]) is named
    assert scoring.matched(label(), [other_ports]) is other_ports, "alone at its address"
    assert scoring.matched(label(), [other_ports, verdict(State.NATIVE, ports=[9], names=[])]) is None
    assert scoring.matched(label(), [other_address]) is None


def test_scores_of_a_perfect_a_blind_and_a_wrong_answer(scoring: ModuleType) -> None:
    truth = label(State.NATIVE)
    row = scoring.Row("main", "c", truth, verdict(State.NATIVE))
    perfect = scoring.Prediction(State.NATIVE, states(State.NATIVE, 1.0), 0.0)
    score = scoring.score([row], [perfect])
    assert (score.brier_virtual, score.brier_states, score.log_loss) == (0, 0, 0)
    blind = scoring.score([row], [scoring.NOTHING])
    assert blind.brier_virtual == 0.25
    assert blind.log_loss == pytest.approx(math.log(len(HYPOTHESES)))
    assert (blind.answered, blind.right) == (0, 0)
    wrong = scoring.score([row], [scoring.Prediction(State.BRIDGED, states(State.BRIDGED, 1 - 1e-9), 1.0)])
    assert wrong.brier_virtual == 1
    assert wrong.brier_states == pytest.approx(2)
    assert (wrong.answered, wrong.answered_right) == (1, 0)


def test_calibration_compares_means_with_shares(scoring: ModuleType) -> None:
    bins, error = scoring.calibration([0.8, 0.8, 0.8, 0.8, 0.8], [True, True, True, True, False])
    assert bins == [(0.7, 0.9, 5, pytest.approx(0.8), 0.8)]
    assert error == pytest.approx(0)
    bins, error = scoring.calibration([1.0, 0.0], [False, False])
    assert [(b.low, b.high, b.clients) for b in bins] == [(0.0, 0.05, 1), (0.99, 1.0, 1)]
    assert error == pytest.approx(0.5)
    assert scoring.calibration([], []) == ([], 0)


def test_pairs_of_one_capture_are_compared_by_host(scoring: ModuleType) -> None:
    def row(host: str, capture: str = "c", backend: str = "user") -> Any:
        return scoring.Row("main", capture, label(host=host, backend=backend), verdict(State.USER_NAT))

    def said(host: str) -> Any:
        return scoring.NOTHING._replace(host=host)

    rows = [row("h1"), row("h1"), row("h2"), row("h1", "another")]
    told = [said("x"), said("x"), said("x"), said("x")]
    assert scoring.host_pairs(rows, told, nat=True) == (1, 2, 0)
    apart = [said("x"), said("y"), said(""), said("")]
    assert scoring.host_pairs(rows, apart, nat=True) == (0, 0, 1)
    bridged = [row("h1", backend="tap"), row("h1", backend="tap")]
    assert scoring.host_pairs(bridged, apart[:2], nat=True) == (0, 0, 0)
    assert scoring.host_pairs(bridged, apart[:2], nat=False) == (0, 0, 1)


def test_pairs_are_counted_by_how_they_are_connected(scoring: ModuleType) -> None:
    def row(host: str, backend: str, address: str) -> Any:
        return scoring.Row("main", "c", label(host=host, backend=backend, address=address), verdict(State.USER_NAT))

    rows = [
        row("h1", "user", "a"),
        row("h1", "passt", "a"),
        row("h1", "tap", "b"),
        row("h2", "hub", "c"),
        row("h2", "user", "d"),
    ]
    told = [scoring.NOTHING._replace(host=host) for host in ("x", "x", "y", "y", "")]
    assert scoring.pairs_by_kind(rows, told) == {
        "user-mode NAT": (1, 0, 0),
        "bridged": (0, 1, 0),
        "other": (0, 0, 3),
    }
    assert scoring.pairs_by_kind(rows[:2], told[:2]) == {"user-mode NAT": (1, 0, 0)}


def test_b_cubed_gives_each_client_the_same_weight(scoring: ModuleType) -> None:
    rows = [scoring.Row("main", "c", label(host=host), verdict(State.USER_NAT)) for host in ("h1", "h1", "h1", "h2")]
    said = [scoring.NOTHING._replace(host=host) for host in ("x", "x", "", "x")]
    precision, recall = scoring.b_cubed(rows, said)
    assert precision == pytest.approx((2 / 3 + 2 / 3 + 1 + 1 / 3) / 4)
    assert recall == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 1) / 4)
    assert scoring.b_cubed(rows[:3], said[:1] * 3) == (1, 1)


def test_leaving_out_a_group_leaves_out_its_rows_alone(scoring: ModuleType) -> None:
    mac = Evidence("mac_prefix", Group.LINK, "guest", "52:54:00", toward={State.BRIDGED: 6.0})
    port = Evidence("source_port", Group.TRANSPORT, "reserved", "700", toward={State.USER_NAT: -4.5})
    row = scoring.Row("main", "c", label(), verdict(State.BRIDGED, weighed=(Weighed(mac, 6), Weighed(port, 0))))
    assert scoring.without(row, Group.LINK).state is State.UNKNOWN
    assert scoring.without(row, Group.TRANSPORT).state is State.BRIDGED


def test_wilson_interval_is_that_of_the_books(scoring: ModuleType) -> None:
    low, high = scoring.wilson(8, 10)
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)
    assert scoring.wilson(10, 10)[1] == 1
    assert scoring.wilson(0, 0) == (0, 1)


@pytest.mark.slow
def test_the_document_over_the_captures_in_the_repository(accuracy: ModuleType) -> None:
    sample = accuracy.read([CAPTURES])
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in CAPTURES.rglob("*.labels.json")]
    assert len(sample.rows) == sum(len(document["clients"]) for document in documents)
    assert len({row.capture for row in sample.rows}) == len(documents)
    assert sample.captures.total() == len(documents)
    assert sample.captures["recorded"] == sum(not d["derived_from"] and d.get("interface") != "any" for d in documents)
    assert sample.extra == 0
    text = accuracy.document(sample)
    assert str(REPOSITORY) not in text
    assert accuracy.headline(sample) in text
    assert all(len(line) <= 120 for line in text.splitlines() if not line.startswith("|"))
    for group in Group:
        assert f"| `{group}` |" in text
    figure = accuracy.figure(sample)
    assert figure.startswith("<?xml")
    assert figure == accuracy.figure(sample), "the same numbers give the same file"


def test_the_headline_goes_between_its_markers(accuracy: ModuleType) -> None:
    readme = f"a\n{accuracy.BEGIN}old\n{accuracy.END}b\n"
    assert accuracy.with_headline(readme, "new\n") == f"a\n{accuracy.BEGIN}new\n{accuracy.END}b\n"
    with pytest.raises(ValueError, match="markers"):
        accuracy.with_headline("a\n", "new\n")

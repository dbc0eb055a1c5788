"""The fit of `make weights` on verdicts made by hand, and its page over the captures in the repository."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import CAPTURES, REPOSITORY
from nfsleuth.clients.facts import Facts
from nfsleuth.evidence import heuristics
from nfsleuth.evidence.model import HYPOTHESES, Evidence, State
from nfsleuth.evidence.source_port import GROUP, RULE, WEIGHTS
from nfsleuth.evidence.weights import Weight
from nfsleuth.verdict.model import Verdict, Weighed

RESERVED = WEIGHTS["reserved"].toward[State.USER_NAT]


@pytest.fixture(scope="module")
def tools() -> Iterator[None]:
    sys.path.insert(0, str(REPOSITORY / "tools"))
    yield
    sys.path.pop(0)


@pytest.fixture(scope="module")
def fitting(tools: None) -> ModuleType:
    return importlib.import_module("fitting")


@pytest.fixture(scope="module")
def weights(tools: None) -> ModuleType:
    return importlib.import_module("weights")


@pytest.fixture(scope="module")
def row(tools: None) -> Any:
    scoring = importlib.import_module("scoring")

    def make(state: State, host: str, *cases: str, kind: str = "main") -> Any:
        evidence = [WEIGHTS[case].evidence(RULE, GROUP, "seen") for case in cases]
        states = dict.fromkeys(HYPOTHESES, 1 / len(HYPOTHESES))
        weighed = tuple(Weighed(one, 1.0) for one in evidence)
        verdict = Verdict("10.0.0.7", Facts("10.0.0.7"), state, state, states, 0.5, None, "", weighed)
        label = {"state": state.value, "host": host, "experiment": "x", "acceptable": [state.value], "virtual": False}
        return scoring.Row(kind, "x.pcap", label, verdict)

    return make


def usual(row: Any, hosts: int = 20) -> list[Any]:
    """Native hosts with reserved ports, guests behind user-mode NAT with ephemeral ones."""
    native = [row(State.NATIVE, f"n{n}", "reserved") for n in range(hosts)]
    return native + [row(State.USER_NAT, f"u{n}", "ephemeral") for n in range(hosts)]


@given(st.floats(0.01, 0.99), st.floats(-6.9, 6.9))
def test_a_prior_divides_a_rate_in_the_ratio_of_its_weight(fitting: ModuleType, rate: float, nats: float) -> None:
    here, elsewhere = fitting.divided(rate, nats)
    assert 0 < here <= 1
    assert 0 < elsewhere <= 1
    assert math.log(here / elsewhere) == pytest.approx(nats)
    assert (here + elsewhere) / 2 <= rate + 1e-9


def test_where_the_lab_is_silent_the_source_stays(fitting: ModuleType, row: Any) -> None:
    fits = fitting.fit(usual(row))
    for (case, state), fit in fits.items():
        if case not in ((RULE, "reserved"), (RULE, "ephemeral")):
            assert fit.silent, case
            assert fit.fitted == fit.source
            assert (fit.says, fit.state) == ("silent", state)


def test_the_lab_pulls_a_weight_and_a_stronger_prior_holds_it(fitting: ModuleType, row: Any) -> None:
    both = [*usual(row), *(row(State.USER_NAT, f"r{n}", "reserved") for n in range(20))]
    fitted = [fitting.fit(both, strength)[(RULE, "reserved"), State.USER_NAT].fitted for strength in (1, 10, 1000)]
    assert RESERVED < fitted[2] < fitted[1] < fitted[0] < 0
    lab = fitting.fit(both)[(RULE, "reserved"), State.USER_NAT]
    assert lab.lab == pytest.approx(math.log(0.5), abs=0.1)
    assert lab.says == "weaker"


def test_the_lab_strengthens_nothing_and_never_saw_is_no_proof(fitting: ModuleType, row: Any) -> None:
    fit = fitting.fit(usual(row, 200))[(RULE, "ephemeral"), State.USER_NAT]
    assert fit.free > fit.source
    assert fit.fitted == fit.source
    assert math.isinf(fit.high), "never seen elsewhere: any larger ratio is possible"
    assert fit.says != "weaker"


def test_a_weight_of_the_wrong_sign_is_contradicted(fitting: ModuleType, row: Any) -> None:
    rows = [row(State.USER_NAT, f"u{n}", "reserved") for n in range(30)]
    rows += [row(State.NATIVE, f"n{n}", "ephemeral") for n in range(30)]
    assert fitting.fit(rows)[(RULE, "reserved"), State.USER_NAT].says == "contradicts"


def test_hosts_count_and_not_their_guests(fitting: ModuleType, row: Any) -> None:
    crowd = [row(State.USER_NAT, "one", "ephemeral") for _ in range(50)]
    fit = fitting.fit([*crowd, *usual(row, 5)])[(RULE, "ephemeral"), State.USER_NAT]
    assert (fit.here.seen, fit.here.hosts) == (6, 6)
    half = [row(State.USER_NAT, "h", "ephemeral"), row(State.USER_NAT, "h", "reserved")]
    assert fitting.fit([*half, *usual(row, 1)])[(RULE, "ephemeral"), State.USER_NAT].here.seen == 1.5


def test_traps_stand_ins_and_damaged_captures_are_not_learnt_from(fitting: ModuleType, row: Any) -> None:
    kinds = [row(State.NATIVE, "h", "reserved", kind=kind) for kind in ("main", "trap", "standin", "derived")]
    assert [one.kind for one in fitting.usable(kinds)] == ["main"]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60))
def test_no_host_is_in_both_the_fitting_and_the_testing(fitting: ModuleType, row: Any, hosts: list[int]) -> None:
    rows = [row(State.NATIVE, f"h{host}", "reserved") for host in hosts]
    tested = []
    for training, test in fitting.folds(rows):
        assert not {fitting.host_of(r) for r in training} & {fitting.host_of(r) for r in test}
        assert len(training) + len(test) == len(rows)
        tested += test
    assert sorted(map(id, tested)) == sorted(map(id, rows))


def test_a_case_is_known_by_its_weights(fitting: ModuleType) -> None:
    for rule in heuristics():
        for name, weight in fitting.cases(rule).items():
            if not weight.toward:
                continue
            for factor in (1.0, 0.5):
                (_, found) = fitting.case_of(weight.evidence(rule, heuristics()[rule].GROUP, "x", factor=factor))
                assert set(fitting.cases(rule)[found].toward) == set(weight.toward), (rule, name)
                assert fitting.cases(rule)[found].says == weight.says


def test_a_row_of_no_table_keeps_its_weight(fitting: ModuleType, row: Any) -> None:
    odd = Evidence(RULE, GROUP, "odd", "odd", {State.CONTAINER: 1.0})
    assert fitting.case_of(odd) is None
    assert fitting.reweighed(odd, fitting.fit(usual(row))) == odd


def test_fitted_weights_take_the_place_of_the_sources(fitting: ModuleType, row: Any) -> None:
    fits = fitting.fit(usual(row))
    whole = WEIGHTS["reserved"].evidence(RULE, GROUP, "x")
    half = WEIGHTS["reserved"].evidence(RULE, GROUP, "x", factor=0.5)
    fitted = fits[(RULE, "reserved"), State.USER_NAT].fitted
    assert fitting.reweighed(whole, fits).toward == {State.USER_NAT: pytest.approx(fitted)}
    assert fitting.reweighed(half, fits).toward == {State.USER_NAT: pytest.approx(fitted / 2)}


def test_every_row_is_judged_once_by_weights_of_other_hosts(fitting: ModuleType, row: Any) -> None:
    rows = usual(row, 6)
    tested, said = fitting.held_out(rows)
    assert sorted(map(id, tested)) == sorted(map(id, rows))
    assert len(said) == len(rows)
    assert all(math.fsum(one.states.values()) == pytest.approx(1) for one in said)


def test_the_page_has_every_rule_that_weighs(weights: ModuleType, tools: None) -> None:
    accuracy = importlib.import_module("accuracy")
    text = weights.document(accuracy.read([CAPTURES / "lab" / "damage"]))
    for rule in heuristics():
        if any(weight.toward for weight in importlib.import_module("fitting").cases(rule).values()):
            assert f"### {rule}\n" in text
    assert "| as in the sources |" in text
    assert max(map(len, (line for line in text.splitlines() if line[0:1] not in "|"))) <= 120


def test_no_weight_is_more_than_a_sign_may_say():
    with pytest.raises(ValueError, match="no sign weighs more than"):
        Weight("too sure", {State.NATIVE: -7.0})

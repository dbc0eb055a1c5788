"""What bandwidth alone is worth, of runs whose speeds are known: samples, answers, and what is written of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from bandwidth.flow import Link, slow_guest
from conftest import REPOSITORY
from nfsleuth.evidence.model import State
from packets import pcap

# Name, state, and ms that it takes over 128 KiB.
KINDS = (
    ("native-long", "native", 1.0),
    ("virtio-tap-long", "bridged-vm", 6.0),
    ("virtio-user-long", "user-nat-vm", 16.0),
)


@pytest.fixture(scope="module")
def tool() -> Iterator[ModuleType]:
    sys.path.insert(0, str(REPOSITORY / "tools"))
    import bandwidth_accuracy

    yield bandwidth_accuracy
    sys.path.pop(0)


def run(folder: Path, seed: int, name: str, state: str, busy: float) -> Path:
    """The folder of a run in which one client read."""
    here = folder / f"{name}-{seed}"
    here.mkdir()
    link = slow_guest(Link().shake_hands(), int(700 / (busy + 2)), busy=busy * (1 + seed / 50), seed=seed)
    (here / "server.pcap").write_bytes(pcap(link.frames))
    backend = name.split("-")[1]
    label = {
        "name": name, "address": "10.0.0.7", "ports": [777], "names": [], "state": state, "acceptable": [state],
        "virtual": state != "native", "standin_for_native": False, "nic": "virtio", "backend": backend,
    }  # fmt: skip
    (here / "server.labels.json").write_text(json.dumps({"capture": "server.pcap", "clients": [label]}))
    (here / "experiment.json").write_text(json.dumps({"natives": []}))
    told = {"seed": f"{name}-{seed}", "failed": {}, "dropped": {"server": 0}, "accelerator": "tcg", "versions": {}}
    (here / "run.json").write_text(json.dumps(told))
    return here


@pytest.fixture
def kept(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Samples of four runs of each kind, so that three are left to learn from."""
    monkeypatch.setattr(tool, "KEPT", tmp_path / "kept")
    runs = [str(run(tmp_path, seed, *kind)) for kind in KINDS for seed in range(4)]
    assert tool.main(runs) == 0
    return tmp_path / "kept"


def test_what_is_kept_of_a_run_is_what_was_measured(tool: ModuleType, kept: Path, tmp_path: Path) -> None:
    files = sorted(kept.glob("*.json"))
    assert len(files) == 12
    (before,) = tool.sampled(tmp_path / "virtio-user-long-0", "virtio-user-long-0")
    (after,) = tool.from_json(kept / "virtio-user-long-0.json")
    assert after.intervals == before.intervals
    assert len(after.intervals) >= 10
    assert [(e.rule, e.toward) for e in after.evidence] == [
        (e.rule, dict(e.toward)) for e in before.evidence if e.counted
    ]
    assert after.rates.of("read").client_limited == sum(i.client_limited for i in before.intervals)
    assert after.label.name == "virtio user"


def test_nobody_is_taken_for_another(tool: ModuleType, kept: Path) -> None:
    samples = [sample for path in sorted(kept.glob("*.json")) for sample in tool.from_json(path)]
    for one in samples:
        known = tool.others(one, samples)
        assert not any(row.source.startswith(one.run) for row in known.rows)
        answer = tool.leading(tool.recognise(one.rates, known, ""))
        assert answer in (State(one.truth["state"]), State.UNKNOWN)
    text = "\n".join(tool.section())
    assert "12 clients" in text
    assert "| virtio user | long files |" in text
    assert "all but `link`" in text
    assert "| reads | clients | 0.5 s |" in text


def test_runs_with_gaps_are_refused(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "KEPT", tmp_path / "kept")
    here = run(tmp_path, 1, *KINDS[0])
    told = json.loads((here / "run.json").read_text())
    (here / "run.json").write_text(json.dumps(told | {"dropped": {"server": 3}}))
    assert tool.main([str(here)]) == 1
    assert not list((tmp_path / "kept").glob("*"))
    assert tool.main([]) == 2


def test_an_answer_is_settled_when_it_does_not_change_any_more(tool: ModuleType) -> None:
    no, native, nat = State.UNKNOWN, State.NATIVE, State.USER_NAT
    assert tool.settles([no, native, nat, nat, nat]) == 3
    assert tool.settles([nat]) == 1
    assert tool.settles([nat, no]) is None
    assert tool.settles([]) is None

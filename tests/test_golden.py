"""What `identify` says about the captures in the repository, word for word: a change of verdict shows in a diff."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import CAPTURES
from nfsleuth import api
from nfsleuth.report import json_report

GOLDEN = Path(__file__).parent / "golden"


def rounded(value: Any) -> Any:
    """Floats to three digits, so that another machine's arithmetic does not matter."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", ["office.pcapng", "reads.pcap.zst"])
def test_identify_says_the_same_as_before(name: str, golden: bool) -> None:
    report = json_report.identified(api.identify(CAPTURES / name))
    for capture in report["captures"]:
        capture["path"] = Path(capture["path"]).name
    text = json.dumps(rounded(report), indent=1, sort_keys=True) + "\n"
    path = GOLDEN / f"{name}.json"
    if golden:
        path.write_text(text)
    assert json.loads(text) == json.loads(path.read_text()), "if this is meant: make golden, and review the difference"


def test_every_client_of_the_office_is_found() -> None:
    labels = json.loads((CAPTURES / "office.labels.json").read_text())
    report = api.identify(CAPTURES / "office.pcapng")
    assert len(report.clients) == len(labels["clients"])
    for label in labels["clients"]:
        (found,) = [
            c
            for c in report.clients
            if c.facts.address == label["address"] and set(label["ports"]) & set(c.facts.ports)
        ]
        assert found.state in label["acceptable"] or (label["trap"] and found.sure <= 0.9), label["address"]

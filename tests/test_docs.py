"""What the documents say is so: generated ones are not stale, examples run, limits are those of the sources."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

from conftest import CAPTURES, REPOSITORY
from nfsleuth import api
from nfsleuth.evidence.rules import Rules
from nfsleuth.report import json_report
from nfsleuth.verdict import fuse, priors
from nfsleuth.verdict.model import Report

DOCS = REPOSITORY / "docs"
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BY_HAND = (*(REPOSITORY / n for n in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")), *sorted(DOCS.glob("*.md")))
LINK = re.compile(r"\]\(([^)#\s]+)?(?:#([^)\s]+))?\)")
SESSION = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    sys.path.insert(0, str(REPOSITORY / "tools"))
    try:
        return importlib.import_module("make_docs")
    finally:
        sys.path.pop(0)


@pytest.fixture(scope="module")
def office() -> Report:
    return api.identify(CAPTURES / "office.pcapng")


@pytest.mark.slow
def test_generated_documents_are_up_to_date(tool: ModuleType) -> None:
    stale = [path.name for path, text in tool.documents().items() if path.read_text(encoding="utf-8") != text]
    assert not stale, "run make docs"


def test_every_command_of_every_group_has_a_page(tool: ModuleType) -> None:
    toys = click.Group(
        "toys", commands=[click.Command("throw"), click.Group("more", commands=[click.Command("catch")])]
    )
    lines = tool.command_lines(click.Context(toys, info_name="toys"))
    assert list(lines) == ["toys", "toys more", "toys more catch", "toys throw"]


def test_help_does_not_depend_on_the_terminal(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("FORCE_COLOR", "1")
    page = tool.output("nfsleuth identify --help")
    assert max(map(len, page.splitlines())) <= 80
    assert "\x1b" not in page


def test_output_in_the_documents_is_of_commands_that_a_block_names(tool: ModuleType) -> None:
    fresh = tool.with_output("a\n```console\n$ echo one | tr o 0\nstale\n```\nb\n```text\n$ not run\n```\n")
    assert fresh == "a\n```console\n$ echo one | tr o 0\n0ne\n```\nb\n```text\n$ not run\n```\n"


def test_the_first_screen_shows_the_table() -> None:
    """House rule: output before prose."""
    assert README.index("$ nfsleuth identify") < 300
    assert all(len(line) <= 80 for block in SESSION.findall(README) for line in block.splitlines())


def test_what_readme_admits_is_so(office: Report) -> None:
    by_id = {verdict.id: verdict for verdict in office.clients}
    for guest in ("10.0.0.18", "10.0.0.20"):
        assert (by_id[guest].state, by_id[guest].sure < 0.9) == ("native", True)
    assert by_id["10.0.0.14"].platform is not None
    assert by_id["10.0.0.14"].platform.name == "VMware"


def test_the_rules_in_readme_are_rules() -> None:
    (text,) = blocks("toml")
    builtin = Rules.builtin()
    rules = builtin.with_user(text, "README.md")
    for kind in ("macs", "names", "files"):
        assert len(getattr(rules, kind)) == len(getattr(builtin, kind)) + 1
    prefix = rules.mac("02:ab:cd:00:00:01")
    assert prefix is not None
    assert prefix.name == "KVM/QEMU"
    assert rules.names[0].matches("vm-17")
    assert rules.files[0].matches("disk.RAW")


def test_the_library_example_in_readme_runs() -> None:
    (code,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("10.0.0.7 bridged-vm 0.")
    assert int(lines[-1]) >= 8


def test_the_priors_in_readme_are_the_defaults() -> None:
    section = README.partition("## Priors")[2].partition("\n## ")[0]
    stated = {float(number) for number in re.findall(r"\b0\.\d\d\b", section)}
    assert stated == set(priors.DEFAULT.values())


def limits() -> list[tuple[str, int]]:
    rows = re.findall(r"^\| `([\w.]+)` \| ([\d,]+) \|", (DOCS / "limits.md").read_text(encoding="utf-8"), re.MULTILINE)
    return [(name, int(value.replace(",", ""))) for name, value in rows]


@pytest.mark.parametrize(("name", "value"), limits())
def test_limits_are_those_of_the_sources(name: str, value: int) -> None:
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(["nfsleuth", *parts[:cut]]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[cut:]:
            found = getattr(found() if isinstance(found, type) else found, attribute)
        assert found == value
        return
    pytest.fail(f"no module for {name}")


def test_every_budget_of_the_tracker_that_can_drop_something_is_stated() -> None:
    stated = {name.rpartition(".")[2] for name, _ in limits() if name.startswith("trace.state.Budget.")}
    assert stated == {"connections", "pending", "heads", "held", "early", "fragments", "neighbours", "seen", "names"}


def test_the_restraints_of_fusion_are_those_of_the_sources() -> None:
    text = " ".join((DOCS / "design.md").read_text(encoding="utf-8").split())
    for phrase in (
        f"the others {fuse.REST:g} of their weight",
        f"by at most {fuse.GROUP_CAP:g} nats",
        f"all groups by at most {fuse.TOTAL_CAP:g}",
        f"a probability of {fuse.LEAST_PROBABILITY:g} and {fuse.LEAST_EVIDENCE:g} nats",
        f"by more than {fuse.CONFLICT:g} nats",
        f"surer than {fuse.NATIVE_WITHOUT_PROOF:g}",
    ):
        assert phrase in text


DATA_KEYED = {"oddities", "oddity_frames", "states", "toward"}  # objects whose keys are data


def keys(value: Any) -> set[str]:
    if isinstance(value, list):
        return {key for item in value for key in keys(item)}
    if not isinstance(value, dict):
        return set()
    return set(value) | {key for name, inner in value.items() if name not in DATA_KEYED for key in keys(inner)}


def test_every_field_of_the_json_contract_is_documented(office: Report) -> None:
    section = (DOCS / "design.md").read_text(encoding="utf-8").partition("## JSON")[2].partition("\n## ")[0]
    documented = {name.strip(".[]") for name in re.findall(r"`([\w.\[\]]+)`", section)}
    report = json.loads(json.dumps(json_report.identified(office)))
    for client in report["clients"]:
        for row in client["evidence"]:
            row["platform"] = None  # its keys are platforms
    assert keys(report) <= documented


def test_accuracy_in_readme_is_that_of_its_document() -> None:
    line = README.partition("(make accuracy writes this) -->\n")[2].partition("<!-- accuracy: end -->")[0].strip()
    assert line
    assert line in (DOCS / "accuracy.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", BY_HAND, ids=lambda p: p.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target, anchor in LINK.findall(path.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        place = (path.parent / target) if target else path
        assert place.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", place.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}, anchor

"""Which signs fire in the recorded captures: docs/hosts.md has a table of it, and the table is true."""

from __future__ import annotations

import csv
import json
import re
from functools import cache
from pathlib import Path

import pytest

import nfsleuth
from conftest import REPOSITORY
from nfsleuth.hosts.signs import heuristics

LAB = Path(__file__).parents[1] / "captures" / "lab"
SPEED = 1_000_000_000  # bits per second of the fastest cable


def table() -> dict[str, tuple[set[str], str]]:
    """Sign -> the captures of the lab in which it is said to fire, and what is said where it does not."""
    text = (REPOSITORY / "docs" / "hosts.md").read_text(encoding="utf-8").partition("\n## Which signs were seen")[2]
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|([^|]*)\|$", text, re.MULTILINE)
    return {sign: (set(re.findall(r"`([\w-]+)`", captures)), why.strip()) for sign, captures, why in rows}


@cache
def fired(name: str, folder: Path) -> set[str]:
    """Signs that say something about a pair of clients in a capture, with all that can be known beside it."""
    place = LAB / name
    labels = json.loads((place / "server.labels.json").read_text(encoding="utf-8"))
    inventory = folder / f"{name}.csv"
    with inventory.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("host", "guest", "mac"))
        guests = [c for c in labels["clients"] if c["backend"] == "tap" and c["mac"]]
        writer.writerows((c["host"], c["name"], c["mac"]) for c in guests)
    known = nfsleuth.import_tables(
        fdb=list(place.glob("switch.fdb.json")), inventory=[inventory] if len(guests) > 1 else []
    )
    report = nfsleuth.identify(place / labels["capture"], imported=known, link_speed=SPEED)
    return {sign.rule for pair in report.pairs for sign in pair.signs}


def test_the_table_has_every_sign_once():
    assert list(table()) == sorted(heuristics())
    for sign, (captures, why) in table().items():
        assert captures or why, f"{sign}: if not in the lab, then why not"


@pytest.mark.parametrize("sign", sorted(heuristics()))
def test_a_sign_fires_where_the_table_says_so(sign, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    for name in table()[sign][0]:
        assert sign in fired(name, folder), name


def test_what_is_said_not_to_fire_in_the_lab_does_not(tmp_path_factory):
    """Else the table is out of date."""
    folder = tmp_path_factory.getbasetemp()
    unseen = {sign for sign, (captures, _) in table().items() if not captures}
    for name in ("hosts", "neighbours", "signs"):
        assert not unseen & fired(name, folder), name

"""`nfsleuth hosts`: word for word on a capture of our own, its formats, and what goes wrong."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from cli.conftest import Run
from conftest import CAPTURES
from nfsleuth.errors import Exit
from nfsleuth.report.escape import columns

OFFICE = CAPTURES / "office.pcapng"
GOLDEN = Path(__file__).parents[1] / "golden" / "office.pcapng.hosts.txt"


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """Two bridged clients of the office on one host, as a table that a user has might say."""
    labels = json.loads((CAPTURES / "office.labels.json").read_text())["clients"]
    guests = [one for one in labels if one["backend"] == "tap"][:2]
    file = tmp_path / "inventory.csv"
    file.write_text("host,guest,mac\n" + "".join(f"hv1,{one['names'][0]},{one['mac']}\n" for one in guests))
    return file


def test_the_table_word_for_word(run: Run, inventory: Path, golden: bool) -> None:
    code, out, err = run("hosts", OFFICE, "--inventory", inventory, "--pairs")
    assert (code, err) == (Exit.DONE, "")
    text = out.split("\n", 1)[1]  # the first line names the capture by its path
    if golden:
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()
    assert all(columns(line) <= 80 for line in out.splitlines())


def test_identify_shows_the_same_groups(run: Run, inventory: Path) -> None:
    hosts = json.loads(run("hosts", OFFICE, "--inventory", inventory, "--json")[1])
    clients = json.loads(run("identify", OFFICE, "--inventory", inventory, "--json")[1])
    assert hosts["schema"] == "nfsleuth.hosts/1"
    assert hosts["hosts"] == clients["hosts"]
    assert len(hosts["hosts"]) == 2
    assert {c["id"]: c["host"] for c in hosts["clients"]} == {c["id"]: c["host"] for c in clients["clients"]}
    assert {sign["rule"] for pair in hosts["pairs"] for sign in pair["signs"]} >= {"inventory_host", "user_nat_address"}


def test_csv_has_a_line_per_client(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("hosts", OFFICE, "--csv", "-")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == Exit.DONE
    assert len(rows) == 8
    assert [row["host"] for row in rows[:3]] == ["host-1", "host-1", ""]
    run("hosts", OFFICE, "--csv", tmp_path / "hosts.csv", "--json")
    assert (tmp_path / "hosts.csv").read_text() == out


@pytest.mark.parametrize(
    ("arguments", "told", "code"),
    [
        (["--fdb", "nothing.json"], "nothing.json: cannot be read", Exit.UNREADABLE),
        (["--lldp", OFFICE], "office.pcapng: is no JSON", Exit.UNREADABLE),
        (["--inventory", OFFICE], "office.pcapng: ", Exit.UNREADABLE),
        (["--link-speed", "fast"], "--link-speed fast: wants a rate", Exit.WRONG_USE),
        (["--csv", "-", "--json"], "both want standard output", Exit.WRONG_USE),
    ],
    ids=["missing", "lldp", "inventory", "speed", "two"],
)
def test_mistakes_are_told_with_their_cure(run: Run, arguments: list[object], told: str, code: Exit) -> None:
    got, out, err = run("hosts", OFFICE, *arguments)
    assert (got, out) == (code, "")
    assert told in err


def test_names_out_of_tables_are_made_visible(run: Run, tmp_path: Path) -> None:
    labels = json.loads((CAPTURES / "office.labels.json").read_text())["clients"]
    macs = [one["mac"] for one in labels if one["backend"] == "tap"][:2]
    rows = [{"host": "\x1b[31mhv\u202e1", "guest": str(n), "mac": mac} for n, mac in enumerate(macs)]
    file = tmp_path / "i.json"
    file.write_text(json.dumps(rows))
    out = run("hosts", OFFICE, "--inventory", file, "--pairs")[1]
    assert "\\x1b[31mhv\\u202e1" in out
    assert out.isprintable() or set(out) - {"\n", "…"} <= set(map(chr, range(32, 127)))


def test_an_empty_capture_is_told(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "empty.pcap"
    file.write_bytes(bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000"))
    code, out, err = run("hosts", file)
    assert (code, out) == (Exit.NO_NFS, "")
    assert "no NFS" in err

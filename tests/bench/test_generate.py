"""The generated captures hold what the truth beside them says: as nfsleuth counts, and as Wireshark does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nfsleuth

GENERATE = Path(__file__).parents[2] / "bench" / "generate.py"
KINDS = ("full", "snap", "meta")
SIZE = "0.01"  # two clients


def generate(folder: Path, *arguments: str) -> None:
    command = [sys.executable, str(GENERATE), "--size", SIZE, "--into", str(folder), *arguments]
    subprocess.run(command, check=True, capture_output=True)


def truth_of(capture: Path) -> dict:
    return json.loads(capture.with_suffix(".json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("generated")
    generate(made)
    return made


@pytest.fixture(params=KINDS)
def capture(request: pytest.FixtureRequest, folder: Path) -> Path:
    return folder / f"{request.param}-{SIZE}.pcap"


def test_nfsleuth_counts_the_truth(capture: Path) -> None:
    truth = truth_of(capture)
    report = nfsleuth.identify(capture)
    assert report.captures[0].frames == truth["frames"]
    assert report.captures[0].bytes == truth["bytes"] == capture.stat().st_size
    assert len(report.clients) == truth["clients"]
    found = nfsleuth.read(capture)
    assert found.connections.height == truth["connections"]
    assert found.calls.height == truth["calls"]
    assert found.calls["status"].null_count() == 0, "every call must have its reply"
    assert found.connections["reads"].sum() == truth["reads"]
    assert found.connections["read_bytes"].sum() == truth["read_bytes"]


def test_clients_are_told_apart_by_all_layers(capture: Path) -> None:
    clients = nfsleuth.read(capture).connections
    assert clients["client"].n_unique() == clients["client_mac"].n_unique() == truth_of(capture)["clients"]
    assert clients["retransmitted_client"].sum() == clients["gaps_client"].sum() == clients["gaps_server"].sum() == 0
    names = [name for verdict in nfsleuth.identify(capture).clients for name in verdict.facts.names]
    assert sorted(names) == ["c00000", "c00001"]


def test_the_cut_capture_is_cut(folder: Path) -> None:
    capture = folder / f"snap-{SIZE}.pcap"
    data = capture.read_bytes()
    truth = truth_of(capture)
    at, longest, cut = 24, 0, 0
    for _ in range(truth["frames"]):
        captured, wire = (int.from_bytes(data[at + i : at + i + 4], "little") for i in (8, 12))
        longest, cut = max(longest, captured), cut + (captured < wire)
        at += 16 + captured
    assert at == len(data)
    assert longest == 256
    assert cut > truth["frames"] / 2


def test_the_same_seed_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    generate(tmp_path, "meta")
    name = f"meta-{SIZE}.pcap"
    assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    generate(tmp_path, "meta", "--seed", "2")
    assert (tmp_path / name).read_bytes() != (folder / name).read_bytes()


def test_length_keeps_the_clients(tmp_path: Path, folder: Path) -> None:
    generate(tmp_path, "meta", "--length", "2")
    once, twice = truth_of(folder / f"meta-{SIZE}.pcap"), truth_of(tmp_path / f"meta-{SIZE}-x2.pcap")
    assert twice["clients"] == once["clients"]
    assert twice["connections"] == 2 * once["connections"]


@pytest.mark.tshark
def test_tshark_counts_the_truth(capture: Path) -> None:
    command = [
        "tshark",
        "-r",
        str(capture),
        "-d",
        "tcp.port==2049,rpc",
        "-q",
        "-z",
        "rpc,programs",
        "-z",
        "expert,error",
    ]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    calls = re.findall(r"^NFS\(100003\)\s+4\s+(\d+)\s", printed, re.MULTILINE)
    assert [int(n) for n in calls] == [truth_of(capture)["calls"]]
    assert "Malformed" not in printed


@pytest.mark.tshark
def test_tshark_reads_what_the_truth_says(folder: Path) -> None:
    capture = folder / f"full-{SIZE}.pcap"
    fields = [
        "-Y",
        "nfs.opcode == 25 && rpc.msgtyp == 1",
        "-T",
        "fields",
        "-e",
        "nfs.count3",
        "-e",
        "nfs.read.data_length",
    ]
    command = ["tshark", "-r", str(capture), "-d", "tcp.port==2049,rpc", *fields]
    printed = subprocess.run(command, check=False, capture_output=True, text=True)
    if printed.returncode:
        pytest.skip(f"this tshark lacks a field: {printed.stderr.splitlines()[-1]}")
    lengths = [int(n) for line in printed.stdout.splitlines() for n in line.split("\t")[-1].split(",") if n]
    assert (len(lengths), sum(lengths)) == (truth_of(capture)["reads"], truth_of(capture)["read_bytes"])

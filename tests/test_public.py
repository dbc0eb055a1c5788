"""Captures that others made: none may crash the reader, and RPC calls are counted as tshark counts them."""

from __future__ import annotations

import bz2
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

import nfsleuth
from nfsleuth.errors import Exit, NfsleuthError

FOLDER = Path(os.environ.get("NFSLEUTH_CAPTURES", "/nonexistent"))
PUBLIC = sorted(
    path for path in (FOLDER / "public").rglob("*") if path.suffix in (".pcap", ".pcapng", ".snoop", ".bz2", ".cap")
)
LAB = sorted((FOLDER / "lab").glob("*.zst"))
# What no reader can open, by its own account of why.
UNREADABLE: dict[str, str] = {}
# Capture -> (calls by nfsleuth, calls by tshark, why). Looked at frame by frame.
DIFFERENCES: dict[str, tuple[int, int, str]] = {}


def short(path: Path) -> str:
    return path.relative_to(FOLDER).as_posix()


@pytest.mark.shared
@pytest.mark.parametrize("path", PUBLIC, ids=short)
def test_no_capture_crashes_it(path):
    try:
        report = nfsleuth.identify(path)
    except NfsleuthError as error:
        assert error.exit_code == Exit.UNREADABLE
        assert path.name in error.message
        return
    (capture,) = report.captures
    assert capture.frames >= 0
    assert all(0 <= probability <= 1 for verdict in report.verdicts for probability in verdict.states.values())


def ours(path: Path) -> tuple[Counter[int], dict[str, int]]:
    """Calls by program, those that were sent again included; and what was odd."""
    tables = nfsleuth.read(path)
    counts = Counter(tables.calls["program"].to_list())
    return counts, {name: count for name, (count, _) in tables.found_odd.items()}


def tshark(path: Path) -> int:
    """RPC calls by tshark, in TCP and UDP on any port that its heuristics find."""
    command = ["tshark", "-r", str(path), "-Y", "rpc.msgtyp==0", "-T", "fields", "-e", "rpc.msgtyp"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    return sum(line.split(",").count("0") for line in run.stdout.split())

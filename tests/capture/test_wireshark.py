"""Frame counts, lengths and numbers against Wireshark's own tools."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from shutil import which

import pytest

from capture.reading import read

SHARED = os.environ.get("NFSLEUTH_CAPTURES")
FORMAT = sorted(Path(SHARED, "public", "format").rglob("*.pcap*")) if SHARED else []
# With custom blocks, which Wireshark numbers although they are no frames, and with several sections and interfaces
NUMBERED = {"test017.pcapng", "test018.pcapng", "test102.pcapng", "test201.pcapng", "test202.pcapng"}

pytestmark = [
    pytest.mark.tshark,
    pytest.mark.shared,
    pytest.mark.skipif(which("tshark") is None, reason="tshark is not on the PATH"),
    pytest.mark.skipif(not FORMAT, reason="NFSLEUTH_CAPTURES is not set"),
]


def run(*command) -> list[list[str]]:
    out = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return [line.split("\t") for line in out.splitlines()]


def test_counts_are_those_of_capinfos():
    """Where capinfos reads a file at all: it is silent about those it calls damaged or does not know."""
    counted = 0
    for path in FORMAT:
        for _, _, count in run("capinfos", "-T", "-r", "-c", "-M", "-t", path):
            assert len(read(path)[0] or []) == int(count), path
            counted += 1
    assert counted >= 50


@pytest.mark.parametrize("path", [path for path in FORMAT if path.name in NUMBERED], ids=lambda path: path.name)
def test_numbers_and_lengths_are_those_of_tshark(path):
    fields = ["-T", "fields", "-e", "frame.number", "-e", "frame.cap_len", "-e", "frame.len"]
    theirs = {int(number): (int(cap), int(wire)) for number, cap, wire in run("tshark", "-n", "-r", path, *fields)}
    mine = {frame.number: (len(frame.data), frame.wire) for frame in read(path)[0]}
    assert set(mine) <= set(theirs)
    assert {number: theirs[number] for number in mine} == mine

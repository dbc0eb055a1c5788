"""What a trace of a million calls costs: a capture of bench/generate.py comes in, processor time and memory go out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
CPU, MEMORY = 60, 1e9  # s, bytes: what the design promises for a million calls
MARGIN = 1.2


# Starts a command and prints what it cost. In between, since a child's ru_maxrss begins with that of its parent.
COUNT = """
import json, os, subprocess, sys
process = subprocess.Popen([sys.executable, *sys.argv[1:]], stdout=subprocess.DEVNULL)
_, status, cost = os.wait4(process.pid, 0)
print(json.dumps([status, cost.ru_utime + cost.ru_stime, cost.ru_maxrss * 1024]))
"""


def used(*command):
    """Processor seconds and peak memory in bytes of a command that succeeds."""
    words = [sys.executable, "-c", COUNT, *map(str, command)]
    status, cpu, memory = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)
    assert status == 0
    return cpu, memory


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in KiB on Linux only")
@pytest.mark.skipif("NUMBA_DISABLE_JIT" in os.environ, reason="interpreted kernels take hours")
def test_a_million_calls_take_less_than_a_minute_and_a_gigabyte(tmp_path):
    """500 clients on 25,000 connections beside 10 clients. Time is of the processor, so that other work counts little."""
    for size, seed in ((2.5, 1), (0.05, 2)):
        used(BENCH / "generate.py", "meta", "--size", size, "--seed", seed, "--into", tmp_path)
    used("-m", "nfsleuth", "identify", "-q", tmp_path / "meta-0.05.pcap")  # compiles the kernels
    cpu, memory = used("-m", "nfsleuth", "contrast", "-q", *(tmp_path / f"meta-{size}.pcap" for size in (2.5, 0.05)))
    assert memory * MARGIN < MEMORY
    assert cpu * MARGIN < CPU

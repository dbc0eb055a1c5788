"""What a trace of a million calls costs: a capture of bench/generate.py comes in, processor time and memory go out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
CPU, MEMORY = 60, 1e9  # s, bytes: what the design promises for a million calls
MARGIN = 1.2


def used(*command):
    """Processor seconds and peak memory in bytes of a command that succeeds."""
    process = subprocess.Popen([sys.executable, *map(str, command)], stdout=subprocess.DEVNULL)
    _, status, cost = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return cost.ru_utime + cost.ru_stime, cost.ru_maxrss * 1024


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

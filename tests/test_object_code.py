"""Machine code as users run it: kernels of two layouts, and of two threads, in one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from children import run_python

CAPTURES = Path(__file__).parent / "captures"

SCRIPT = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
import nfsleuth
from nfsleuth.report import json_report

def identified(path):
    clients = json_report.identified(nfsleuth.identify(path))["clients"]
    return [[client[key] for key in ("id", "state", "reads", "names")] for client in clients]

def counted(path):
    return sum(len(frame) for frame in nfsleuth.calls(path))

paths = sys.argv[1:]
first = [identified(path) for path in paths]
counts = [counted(path) for path in paths]
with ThreadPoolExecutor(4) as pool:
    again = list(pool.map(identified, paths * 4))
    counts_again = list(pool.map(counted, paths * 4))
print(json.dumps([counts, counts_again == counts * 4, again == first * 4]))
"""


@pytest.mark.slow
def test_kernels_of_two_layouts_and_several_threads_keep_apart():
    """`identify` and `calls` use different layouts of the state, whose machine code must not take the other's parts."""
    paths = [CAPTURES / "office.pcapng", CAPTURES / "reads.pcap.zst"]
    run = run_python("-c", SCRIPT, *paths, kernels="object")
    assert run.stdout.strip() == "[[984, 1773], true, true]"

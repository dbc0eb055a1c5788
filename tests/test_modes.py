"""The tests of the kernels once more, where a stray read raises: interpreted, and compiled with bounds checks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tracking import CHECKED, INTERPRETED

TESTS = Path(__file__).parent
WIRE = [str(TESTS / "wire" / f"test_{layer}.py") for layer in ("fields", "ethernet", "ip", "tcp", "rpc", "walk")]


@pytest.mark.slow
@pytest.mark.skipif(CHECKED or INTERPRETED, reason="this is the run with checks")
@pytest.mark.parametrize("variable", ["NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK"])
def test_nothing_is_read_out_of_bounds(variable, tmp_path):
    """In the interpreter numbers wrap differently, too: types that only work when compiled are found."""
    environment = os.environ | {variable: "1", "NFSLEUTH_KERNELS": "numba", "NUMBA_CACHE_DIR": str(tmp_path)}
    # Compiled with checks there is time for the default budget only.
    chosen = [] if variable == "NUMBA_DISABLE_JIT" else ["-m", "not slow"]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *chosen]
    run = subprocess.run(
        [*command, *WIRE, str(TESTS / "trace"), str(TESTS / "sharing" / "test_tally.py")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-3000:]

"""The tests of the kernels once more, where a stray read raises: interpreted, and compiled with bounds checks."""

from __future__ import annotations

from pathlib import Path

import pytest

from children import run_python
from tracking import CHECKED, INTERPRETED

TESTS = Path(__file__).parent
WIRE = [TESTS / "wire" / f"test_{layer}.py" for layer in ("fields", "ethernet", "ip", "tcp", "rpc", "walk")]


@pytest.mark.slow
@pytest.mark.skipif(CHECKED or INTERPRETED, reason="this is the run with checks")
@pytest.mark.parametrize("variable", ["NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK"])
def test_nothing_is_read_out_of_bounds(variable, tmp_path):
    """In the interpreter numbers wrap differently, too: types that only work when compiled are found."""
    # Compiled with checks there is time for the default budget only.
    chosen = [] if variable == "NUMBA_DISABLE_JIT" else ["-m", "not slow"]
    tests = [*WIRE, TESTS / "trace", TESTS / "sharing" / "test_tally.py"]
    checked = {variable: "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    command = ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *chosen)
    run_python(*command, *tests, kernels="numba", timeout=1500, **checked)

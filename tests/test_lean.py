"""What the builder of kernels leaves out of Numba, and of which Numba."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from types import SimpleNamespace

import numba
import pytest

from nfsleuth.compiled import lean

BUILD = """
    import json, sys
    import numba
    from nfsleuth.compiled import lean
    before = vars(numba.core.codegen.CPUCodeLibrary)["_optimize_final_module"]
    optimise = lean.strip(numba)

    @numba.njit(no_cpython_wrapper=True)
    def part(x):
        return 3 * x

    compiled = numba.cfunc("int64(int64)")(lambda x: part(x) + part(x + 1))
    plain = compiled.inspect_llvm()
    optimise(compiled._library)
    lines = [compiled.inspect_llvm().count(" call "), plain.count(" call ")]
    print(json.dumps([optimise is before, lines[0] < lines[1]]))
"""


def test_the_pinned_numba_is_one_whose_internals_are_known() -> None:
    assert numba.__version__.startswith(lean.KNOWN)


def test_another_numba_is_left_as_it_is() -> None:
    assert lean.strip(SimpleNamespace(__version__="0.99.0")) is None


@pytest.mark.slow
def test_parts_are_optimised_only_with_the_entry_that_they_are_built_into() -> None:
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BUILD)], capture_output=True, text=True, timeout=300, check=False
    )
    assert run.stdout.strip() == "[true, true]", run.stderr[-2000:]

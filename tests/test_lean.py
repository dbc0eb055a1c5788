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
    import llvmlite.binding as llvm
    import numba
    from nfsleuth.compiled import lean
    optimise = lean.strip(numba)

    @numba.njit(no_cpython_wrapper=True)
    def part(x):
        return 3 * x

    compiled = numba.cfunc("int64(int64)")(lambda x: part(x) + part(x + 1))
    module = llvm.parse_assembly(compiled.inspect_llvm())
    before = str(module).count(" call ")
    optimise(compiled._library, module)
    print(str(module).count(" call ") < before)
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
    assert run.stdout.strip() == "True", run.stderr[-2000:]

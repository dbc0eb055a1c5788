"""What every command waits for before it does anything: `identify` loads no library that it does not need."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from children import run_python

CAPTURES = Path(__file__).parents[1] / "captures"

SCRIPT = """
import sys
from nfsleuth import cli
try:
    cli.main(["identify", "--json", "--quiet", sys.argv[1]])
except SystemExit as end:
    assert end.code == 0, end.code
print(*sys.modules, file=sys.stderr)
"""
# Libraries, in ms: what they take to import.
HEAVY = {
    "hashlib",  # 3, it loads OpenSSL; see nfsleuth.digest
    "importlib.metadata",  # 10
    "json",  # 2
    "numba",  # 500
    "pathlib",  # 3
    "polars",  # 60
    "random",  # 1
    "rich",  # 20
    "secrets",  # 2
    "shutil",  # 3
    "subprocess",  # 3
    "tempfile",  # 2
    "tomllib",  # 3
    "zipfile",  # 2
}
OTHERS = {"nfsleuth.api.contrasts", "nfsleuth.api.shares", "nfsleuth.contrast", "nfsleuth.sharing", "nfsleuth.lab"}
# What machine code takes the place of: LLVM, and the sources of kernels with what they are made of.
COMPILED = {"llvmlite", "nfsleuth.trace.advance", "nfsleuth.trace.messages", "nfsleuth.wire.walk", "nfsleuth.wire.xdr"}


def loaded(mode: str, capture: Path) -> set[str]:
    return set(run_python("-c", SCRIPT, capture, kernels=mode).stderr.split())


def test_identify_loads_no_library_that_it_does_not_need(tmp_path):
    beginning = tmp_path / "office.pcapng"  # enough for a client: kernels that are not compiled take their time
    beginning.write_bytes((CAPTURES / "office.pcapng").read_bytes()[:40_000])
    modules = loaded("python", beginning)
    assert "nfsleuth.report.json_report" in modules
    assert not modules & (HEAVY | OTHERS)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere LLVM links what is compiled")
@pytest.mark.parametrize("capture", ["reads.pcap.zst", "office.pcapng"])
def test_with_machine_code_it_needs_neither_llvm_nor_the_sources_of_kernels(capture):
    """Of two captures: one is compressed, of the other more than ASCII is printed."""
    assert loaded("object", CAPTURES / capture)  # compiles
    modules = loaded("object", CAPTURES / capture)
    assert not modules & (HEAVY | OTHERS | COMPILED)

"""The fuzzer runs, is repeatable, and finds nothing in twenty seconds."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[1] / "fuzz" / "fuzz.py"


def fuzz_module():
    spec = importlib.util.spec_from_file_location("fuzz", FUZZ)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_case_follows_from_its_seed_and_number():
    fuzz = fuzz_module()
    sources = fuzz.seeds()
    assert [fuzz.case(sources, 3, n) for n in range(20)] == [fuzz.case(sources, 3, n) for n in range(20)]
    assert fuzz.case(sources, 3, 1) != fuzz.case(sources, 4, 1)


@pytest.mark.slow
def test_nothing_breaks_in_twenty_seconds(tmp_path):
    command = [sys.executable, FUZZ, "--seconds", "20", "--seed", "20", "--failures", tmp_path]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200)
    assert run.returncode == 0, run.stdout + run.stderr

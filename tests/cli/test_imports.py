"""What is imported when: a name costs what it needs, and no more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import nfsleuth

HEAVY = {"numpy", "numba", "polars", "matplotlib", "jinja2", "rich", "click"}
TESTS = str(Path(__file__).parents[1])


def loaded(code: str) -> set[str]:
    """Which heavy libraries a fresh Python has loaded after running `code`."""
    ask = f"import sys, json\nsys.path.insert(0, {TESTS!r})\n{code}\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    return HEAVY & {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def run(*arguments: str) -> str:
    return f"""
from nfsleuth import cli
try:
    cli.main({list(arguments)!r})
except SystemExit:
    pass
"""


FAKE = """
from nfsleuth import api
from report import make
api.identify = lambda *paths, **options: make.ordinary()
"""


def test_importing_nfsleuth_loads_nothing_heavy() -> None:
    assert loaded("import nfsleuth") == set()


@pytest.mark.parametrize("arguments", [("--help",), ("identify", "--help"), ("calls", "--help"), ("--version",)])
def test_help_loads_the_command_line_only(arguments: tuple[str, ...]) -> None:
    assert loaded(run(*arguments)) == {"click"}


@pytest.mark.parametrize("output", [(), ("--json",), ("--csv", "-")])
def test_identify_loads_no_tables_no_templates_and_no_plots(output: tuple[str, ...]) -> None:
    assert loaded(FAKE + run("identify", "x", *output)) <= {"click", "numpy", "numba"}


def test_reading_and_concluding_load_no_tables() -> None:
    everything = "import nfsleuth.capture, nfsleuth.trace.tracker, nfsleuth.clients.gather, nfsleuth.clients.split"
    assert loaded(f"{everything}, nfsleuth.evidence, nfsleuth.verdict") <= {"numpy", "numba"}


def test_only_the_command_that_runs_is_imported() -> None:
    code = run("identify", "--help") + "\nassert 'nfsleuth.cli.explain' not in sys.modules"
    assert loaded(code) == {"click"}


def test_every_public_name_is_there() -> None:
    for name in nfsleuth.__all__:
        assert getattr(nfsleuth, name) is not None
        assert name in dir(nfsleuth)
    assert nfsleuth.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = nfsleuth.nothing  # type: ignore[attr-defined]

"""Options and folders that all tests share.

Tests compile kernels in their own process, so that they can call any of them.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A shared machine may be slow at any moment, so no test fails for time alone; in CI the same examples are tried each time.
settings.register_profile("nfsleuth", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("nfsleuth"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "nfsleuth")

os.environ.setdefault("NFSLEUTH_KERNELS", "numba")  # before anything imports a kernel

REPOSITORY = Path(__file__).parent.parent
CAPTURES = Path(__file__).parent / "captures"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", action="store_true", help="write golden files instead of comparing with them")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, and say why."""
    for item in items:
        if "shared" in item.keywords and not os.environ.get("NFSLEUTH_CAPTURES"):
            item.add_marker(pytest.mark.skip(reason="NFSLEUTH_CAPTURES names no folder with more captures"))
        if "tshark" in item.keywords and shutil.which("tshark") is None:
            item.add_marker(pytest.mark.skip(reason="tshark is not installed"))


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written."""
    return bool(request.config.getoption("--golden"))

"""Tests with real guests: skipped with the reason where the machine cannot run them, failed if NFSLEUTH_LAB=required."""

from __future__ import annotations

import functools
import os

import pytest

from nfsleuth.lab import parts


@functools.cache
def lacking() -> str:
    """Why this machine cannot run a lab, "" if it can."""
    if os.geteuid() != 0:
        return "a lab needs root"
    missing = [part for part in parts.check(()) if not part.there]
    return f"no {', '.join(part.name for part in missing)}; {parts.cure(missing)}" if missing else ""


@pytest.fixture(autouse=True)
def _lab_or_a_reason(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("lab") and (why := lacking()):
        if os.environ.get("NFSLEUTH_LAB") == "required":
            pytest.fail(f"NFSLEUTH_LAB=required, but {why}")
        pytest.skip(why)

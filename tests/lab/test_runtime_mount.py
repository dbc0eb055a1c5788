"""`nfsleuth bench` on a mount of the Linux NFS client, which User-Mode Linux brings where the machine has none."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.kernel_mount import LOST, STOPPED, Mounted
from nfsleuth.bandwidth.timings import Timings, from_json
from nfsleuth.errors import Exit
from nfsleuth.lab import parts, supervise

pytestmark = [pytest.mark.lab, pytest.mark.slow]

SIZES = {512_000, 1 << 20, 2 << 20}
FILES = sorted(f"nfsleuth-bench-{size}" for size in SIZES)
WORDS = "--sizes 500K,1M,2M --block 4K --seed 1"
LONG = f"{WORDS} --rounds 400 --timeout 10"  # lasts until what happens has happened


@dataclass(frozen=True)
class Ended:
    """A run of `bench` in a guest. served: bytes that came from the server; left: files there in the end."""

    code: int
    served: int
    left: list[str]
    run: Timings


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs `bench` on a mount: its words, the NFS version, what happens to the server as which reading begins."""
    if not all(part.there for part in parts.check({"User-Mode Linux"})):
        why = "no User-Mode Linux; apt-get install user-mode-linux"
        (pytest.fail if os.environ.get("NFSLEUTH_LAB") == "required" else pytest.skip)(why)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))  # for the task, which is of this folder

    def timed(words: str, version: str, happens: str = "", at: int = 0) -> Ended:
        events: list[dict] = []
        with supervise.recorded() as run:
            supervise.apart(run, Mounted(run.scratch, tmp_path, words, version, happens, at), events.append)
        (told,) = events
        return Ended(**told, run=from_json((tmp_path / "run.json").read_text(), "run.json"))

    return timed


@pytest.mark.parametrize(("version", "filesystem"), [("3", "nfs"), ("4.2", "nfs4")])
def test_a_mount_of_the_kernel_is_timed_from_the_server_each_time(bench, version, filesystem) -> None:
    """The kernel's own count of bytes read from the server says that no reading came out of its cache."""
    ended = bench(f"{WORDS} --rounds 2", version)
    assert (ended.code, ended.run.problem, ended.left) == (Exit.DONE, None, [])
    assert (ended.run.kind, ended.run.filesystem, ended.run.client_cache) == ("mount", filesystem, "drop_caches")
    assert {result.size: result.trials for result in ended.run.results()} == dict.fromkeys(SIZES, 2)
    assert {trial.resident for trial in ended.run.trials} == {0.0}
    assert ended.served >= 3 * sum(SIZES), "with the warm-up"


def test_a_server_that_stops_leaves_what_was_measured(bench) -> None:
    """The mount is hard: reads of it wait for ever."""
    ended = bench(LONG, "4.1", STOPPED, at=7)
    assert ended.code == Exit.UNREADABLE
    assert "no sign of life for 10 s" in ended.run.problem
    assert len(ended.run.trials) >= 6
    assert ended.left == FILES
    assert any(all(name in note for name in FILES) for note in ended.run.notes if note.startswith("left behind"))


def test_a_mount_that_goes_stale_leaves_what_was_measured(bench) -> None:
    """The server comes back without the files."""
    ended = bench(LONG, "4.0", LOST, at=7)
    assert ended.code == Exit.UNREADABLE
    assert "Stale file handle; the mount is stale: mount it again" in ended.run.problem
    assert len(ended.run.trials) >= 6

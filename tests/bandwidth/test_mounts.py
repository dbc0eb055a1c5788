"""Timing on a mount of the kernel that fails: it hangs, goes stale, is full, may not be written.

The file system is FUSE (`faulty_mount`), whose requests wait in the kernel as those of NFS do.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nfsleuth import cli
from nfsleuth.bandwidth.active import Job, measure, supervise
from nfsleuth.bandwidth.active.stores import Cache
from nfsleuth.bandwidth.plan import Plan, file_name
from nfsleuth.errors import Exit, NfsleuthError

pytestmark = pytest.mark.slow

PLAN = Plan((300_000,), rounds=6, seed=1)
PATIENCE = 10  # s for the file system to appear


class Mount:
    """A mounted file system. path: where; behind: the folder that it shows."""

    def __init__(self, folder: Path) -> None:
        self.path, self.behind, self._faults = folder / "mount", folder / "behind", folder / "faults"
        for place in (self.path, self.behind):
            place.mkdir()
        self.works()

    def fails(self, operation: str, how: str) -> None:
        self._faults.write_text(f"{operation} {how}\n")

    def works(self) -> None:
        self._faults.write_text("")

    def daemon(self) -> subprocess.Popen:
        program = Path(__file__).with_name("faulty_mount.py")
        return subprocess.Popen(
            [sys.executable, program, self.behind, self.path, self._faults], stderr=subprocess.PIPE, text=True
        )

    def job(self, **fields) -> Job:
        return Job(str(self.path), PLAN, **{"cache": Cache.ADVISE, "timeout": 2.0} | fields)


def needs_fuse() -> None:
    """Skip where there is none."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("/dev/fuse may not be opened")
    try:
        import mfusepy  # noqa: F401
    except (ImportError, OSError) as error:  # OSError: no libfuse
        pytest.skip(f"mfusepy cannot be loaded ({error}); apt install libfuse3-3")


@pytest.fixture
def mount(tmp_path, monkeypatch):
    needs_fuse()
    monkeypatch.setattr(supervise, "STARTING", 20.0)
    monkeypatch.setattr(supervise, "FAREWELL", 0.5)
    found = Mount(tmp_path)
    daemon = found.daemon()
    deadline = time.monotonic() + PATIENCE
    while not found.path.is_mount():
        if daemon.poll() is not None or time.monotonic() > deadline:
            daemon.kill()
            said = daemon.communicate()[1].strip()
            assert any(word in said for word in ("not permitted", "ermission denied", "fusermount")), said
            pytest.skip(f"FUSE file systems may not be mounted here: {said[-100:]}")
        time.sleep(0.05)
    yield found
    found.works()
    daemon.kill()  # whoever hangs in a read of it gets an error now
    daemon.communicate()
    subprocess.run(["umount", "-l", found.path], check=False, capture_output=True)


def failing(mount: Mount, operation: str, how: str, readings: int):
    """A progress callback that lets `operation` fail once so many readings have begun."""
    begun = []

    def progress(what, size, done, left):
        if what == "reading" and begun.append(what) is None and len(begun) == readings:
            mount.fails(operation, how)

    return progress


def test_a_mount_is_timed(mount):
    run = measure(mount.job())
    assert run.problem is None
    assert run.filesystem.startswith("fuse")
    assert [(r.size, r.trials) for r in run.results()] == [(300_000, 6)]
    assert list(mount.behind.iterdir()) == []


def test_a_mount_that_hangs_in_a_read_leaves_what_was_measured(mount):
    began = time.monotonic()
    run = measure(mount.job(), failing(mount, "read", "hang", 4))
    assert time.monotonic() - began < 60
    assert "no sign of life for 2 s" in run.problem
    assert len(run.trials) in (3, 4)
    assert any(file_name(300_000) in note for note in run.notes if note.startswith("left behind"))


def test_a_mount_that_hangs_from_the_start_is_an_error(mount, monkeypatch):
    monkeypatch.setattr(supervise, "STARTING", 4.0)
    mount.fails("create", "hang")
    with pytest.raises(NfsleuthError, match="no sign of life") as ended:
        measure(mount.job())
    assert ended.value.exit_code == Exit.UNREADABLE


def test_a_mount_that_goes_stale_leaves_what_was_measured(mount):
    run = measure(mount.job(), failing(mount, "read", "ESTALE", 4))
    assert "Stale file handle; the mount is stale: mount it again" in run.problem
    assert len(run.trials) in (3, 4)
    assert list(mount.behind.iterdir()) == [], "its files are removed if they can be"


@pytest.mark.parametrize(
    ("operation", "how", "says"),
    [
        ("write", "ENOSPC", "No space left on device; free some space"),
        ("write", "EDQUOT", "your quota is used up"),
        ("create", "EROFS", "it is read-only: make the files on the server"),
        ("create", "EACCES", "you may not write there"),
        ("getattr", "EIO", "look at the server"),
    ],
)
def test_what_cannot_be_written_is_told_with_a_cure_and_leaves_nothing(mount, operation, how, says):
    mount.fails(operation, how)
    with pytest.raises(NfsleuthError) as ended:
        measure(mount.job())
    assert says in ended.value.message
    assert str(mount.path) in ended.value.message
    mount.works()
    assert list(mount.behind.iterdir()) == []


def test_a_read_only_export_is_timed_with_files_that_were_made_on_the_server(mount):
    assert measure(Job(str(mount.behind), PLAN, cache=Cache.ADVISE, keep=True)).problem is None
    mount.fails("create", "EROFS")
    run = measure(mount.job())
    assert run.problem is None
    assert run.results()[0].trials == 6
    assert any("were there already" in note for note in run.notes)


def test_files_that_stay_behind_are_named(mount):
    run = measure(mount.job(), failing(mount, "unlink", "EROFS", 4))
    assert run.problem is None
    assert any(file_name(300_000) in note and "left behind" in note for note in run.notes)


def test_the_command_prints_and_writes_what_there_is(mount, tmp_path, capsys, monkeypatch):
    """And exits with 3."""
    monkeypatch.setattr(supervise, "measure", lambda job, _: measure(job, failing(mount, "read", "EIO", 5)))
    monkeypatch.setattr("nfsleuth.bandwidth.active.measure", supervise.measure)
    with pytest.raises(SystemExit) as ended:
        cli.main(["bench", str(mount.path), "--sizes", "300K", "-o", str(tmp_path / "x.json"), "--cache", "advise"])
    assert ended.value.code == Exit.UNREADABLE
    assert "ended early" in capsys.readouterr().out
    kept = json.loads((tmp_path / "x.json").read_text())
    assert "Input/output error" in kept["problem"]
    assert kept["trials"]

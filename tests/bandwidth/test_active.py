"""Timing by reading: files are made, read, removed; what goes wrong ends the run with what there is."""

import errno
import io
import os
import signal
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from nfsleuth.bandwidth.active import Job, measure, stores, supervise
from nfsleuth.bandwidth.active import loop as timed
from nfsleuth.bandwidth.active.stores import Cache, Folder
from nfsleuth.bandwidth.plan import Plan, file_name
from nfsleuth.errors import NfsleuthError

MANY = 500  # rounds: far from done when the third has begun, however late that is heard of
SMALL = Plan((5000, 300_000), rounds=2, seed=1)


def job(folder, plan=SMALL, **fields) -> Job:
    return Job(str(folder), plan, **{"cache": Cache.ADVISE} | fields)


def test_files_are_read_and_removed(tmp_path):
    told = []
    run = measure(job(tmp_path, label="here"), lambda *what: told.append(what))
    assert run.problem is None
    assert [(r.size, r.trials) for r in run.results()] == [(5000, 2), (300_000, 2)]
    assert sum(t.warmup for t in run.trials) == 2
    assert all(t.seconds > 0 for t in run.trials)
    assert (run.label, run.kind, run.client_cache) == ("here", "local", "posix_fadvise(DONTNEED)")
    assert {what for what, *_ in told} == {"opening", "writing", "reading"}
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_kept_are_used_again_and_stay(tmp_path):
    first = measure(job(tmp_path, keep=True))
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    assert len(stamps) == 2
    second = measure(job(tmp_path))
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == stamps
    assert not first.problem
    assert not second.problem
    assert any("were there already" in note for note in second.notes)


def test_what_is_written_does_not_compress(tmp_path):
    import zlib

    file = Folder(str(tmp_path)).create(2 << 20, lambda _: None, lambda _: None)
    data = Path(file.path).read_bytes()
    assert len(zlib.compress(data)) > len(data)
    assert data[: 1 << 20] != data[1 << 20 :]


def test_a_file_with_holes_is_refused(tmp_path):
    with (tmp_path / file_name(1 << 20)).open("wb") as file:
        file.write(b"x" * 5000)
        file.truncate(1 << 20)
    with pytest.raises(NfsleuthError, match="holes"):
        measure(job(tmp_path, Plan((1 << 20,))))


def test_something_else_under_the_name_is_refused(tmp_path):
    (tmp_path / file_name(5000)).write_bytes(b"mine")
    with pytest.raises(NfsleuthError, match="move it away"):
        measure(job(tmp_path))
    assert (tmp_path / file_name(5000)).read_bytes() == b"mine"


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(NfsleuthError, match="no folder"):
        measure(job(tmp_path / "absent"))


def test_room_is_looked_at_first(tmp_path):
    with pytest.raises(NfsleuthError, match="choose smaller --sizes"):
        measure(job(tmp_path, Plan((1 << 41, 1 << 42))))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "cure"),
    [(errno.ENOSPC, "smaller --sizes"), (errno.EROFS, "on the server"), (errno.ESTALE, "mount it again")],
)
def test_what_a_file_system_says_comes_with_a_cure(code, cure):
    message = stores.explain(OSError(code, os.strerror(code)), "/mnt/f").message
    assert message.startswith(f"/mnt/f: {os.strerror(code)}")
    assert cure in message


def test_a_file_that_changes_ends_the_run(tmp_path):
    """Its size stays, so reading alone would not show it."""

    def change(what, size, done, left):
        if what == "reading" and seen.append(what) is None and len(seen) == 3:
            with (tmp_path / file_name(size)).open("r+b") as file:
                file.write(b"y" * size)

    seen = []
    run = measure(job(tmp_path, Plan((5000,), rounds=MANY)), change)
    assert "somebody changed it" in run.problem
    assert 0 < len(run.trials) < MANY
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_ends_early_ends_the_run(tmp_path):
    def cut(what, size, done, left):
        if what == "reading" and seen.append(what) is None and len(seen) == 3:
            os.truncate(tmp_path / file_name(size), size // 2)

    seen = []
    run = measure(job(tmp_path, Plan((5000,), rounds=MANY)), cut)
    assert run.problem
    assert 0 < len(run.trials) < MANY


def test_a_mount_that_hangs_leaves_what_was_measured(tmp_path, monkeypatch):
    """SIGSTOP stands in for a read that never returns: the worker says nothing any more."""
    workers = []
    start = supervise._start
    monkeypatch.setattr(supervise, "_start", lambda given: workers.append(start(given)) or workers[-1])
    monkeypatch.setattr(supervise, "FAREWELL", 0.2)

    def hang(what, size, done, left):
        if what == "reading" and seen.append(what) is None and len(seen) == 4:
            workers[0].send_signal(signal.SIGSTOP)

    seen = []
    run = measure(job(tmp_path, timeout=2), hang)
    assert "no sign of life for 2 s" in run.problem
    assert run.trials
    assert any(note.startswith("left behind") and file_name(5000) in note for note in run.notes)
    assert workers[0].poll() is not None


def test_ctrl_c_removes_the_files(tmp_path):
    def interrupt(what, size, done, left):
        if what == "reading":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(job(tmp_path), interrupt)
    assert list(tmp_path.iterdir()) == []


def test_the_server_is_asked_before_each_reading(tmp_path):
    asked = tmp_path / "asked"
    run = measure(job(tmp_path, server_drop=f"sh -c 'echo >> {asked}'"))
    assert asked.read_text().count("\n") == len(run.trials) == 6
    assert run.server_cache.startswith("by: sh")


@pytest.mark.parametrize("command", ["false", "/no/such/command", "'"])
def test_a_server_that_cannot_be_asked_is_an_error(tmp_path, command):
    with pytest.raises(NfsleuthError, match="--server-drop"):
        measure(job(tmp_path, server_drop=command))
    assert list(tmp_path.iterdir()) == []


def test_direct_reading_needs_whole_sectors(tmp_path):
    with pytest.raises(NfsleuthError, match="multiple of 512"):
        measure(job(tmp_path, Plan((5000,), block=1000), cache=Cache.DIRECT))


def test_dropping_the_cache_needs_root(tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "may_drop", lambda: False)
    folder = Folder(str(tmp_path))
    file = folder.create(300_000, lambda _: None, lambda _: None)
    with pytest.raises(NfsleuthError, match="root"):
        stores.choose_cache(folder, file, Cache.DROP, 4096)
    assert stores.choose_cache(folder, file, Cache.AUTO, 4096)[0] in (Cache.ADVISE, Cache.DIRECT)
    monkeypatch.setattr(Folder, "forget", lambda *_: 1.0)
    cache, notes = stores.choose_cache(folder, file, Cache.AUTO, 4096)
    assert cache is Cache.DIRECT
    assert any("round trip" in note for note in notes)


def test_how_much_lies_in_the_cache_is_seen(tmp_path):
    folder = Folder(str(tmp_path))
    file = folder.create(1 << 20, lambda _: None, lambda _: None)
    assert folder.forget(file, Cache.KEEP) == 1.0
    if stores.filesystem_of(str(tmp_path)) in ("ext4", "xfs", "btrfs"):
        assert folder.forget(file, Cache.ADVISE) < 0.1


def test_the_file_system_is_named(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"none / ext4 rw 0 0\nserver:/x {tmp_path}/a\\040b nfs4 rw 0 0\nnonsense\n")
    assert stores.filesystem_of(str(tmp_path / "a b" / "c"), str(mounts)) == "nfs4"
    assert stores.filesystem_of(str(tmp_path), str(mounts)) == "ext4"
    assert stores.filesystem_of("/", str(tmp_path / "absent")) == ""


def test_clock_steps_are_noted():
    from nfsleuth.bandwidth.timings import Timings

    run = Timings("/mnt", "local", 4096)
    supervise._remark(run, -3600.0)
    assert any("-3600.0 s" in note for note in run.notes)


def test_the_loop_reads_every_byte_once(tmp_path):
    data = os.urandom(3_000_001)
    (tmp_path / "f").write_bytes(data)
    into = timed.buffer(4096)
    got = []

    def read(buffer):
        count = file.readinto(buffer)
        got.append(bytes(buffer[:count]))
        return count

    with io.FileIO(tmp_path / "f") as file:
        timed.read_through(read, into, len(data), lambda _: None)
    assert b"".join(got) == data
    with io.FileIO(tmp_path / "f") as file, pytest.raises(timed.FileEndedError) as ended:
        timed.read_through(file.readinto, into, len(data) + 1, lambda _: None)
    assert ended.value.at == len(data)


def test_the_loop_keeps_up_with_dd(tmp_path):
    """At least 70 % of dd's rate in blocks of 4 KB on a cached file, in rounds that take turns.

    Rates are bytes per second of processor time, so what else the machine does counts for neither: reading from the
    cache waits for nothing.
    """
    size = 32 << 20
    path = tmp_path / "cached"
    path.write_bytes(os.urandom(1 << 20) * (size >> 20))
    into = timed.buffer(4096)
    ours, theirs = [], []
    for _ in range(11):
        began = time.process_time()
        with io.FileIO(path) as file:
            timed.read_through(file.readinto, into, size, lambda _: None)
        ours.append(time.process_time() - began)
        theirs.append(processor_time("dd", f"if={path}", "of=/dev/null", "bs=4k"))
    share = statistics.median(theirs) / statistics.median(ours)
    print(f"{share:.2f} of dd's rate")
    assert share >= 0.7, (ours, theirs)


def processor_time(*command: str) -> float:
    """Seconds of processor time that a command took, its start included."""
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_utime + used.ru_stime

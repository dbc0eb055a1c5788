"""The agent of a guest, run here with programs that do nothing: what it says, and when it waits to be told."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from nfsleuth.lab import initramfs
from nfsleuth.lab.agents import Agent

pytestmark = pytest.mark.skipif(shutil.which("dd") is None or shutil.which("awk") is None, reason="no dd or awk here")
MACHINE = ("hostname", "sync", "umount", "mount.nfs", "sleep")  # programs that would touch this machine, or take time


@pytest.fixture
def job(tmp_path: Path) -> Path:
    folder = tmp_path / "job"
    (folder / "share").mkdir(parents=True)
    (folder / "share" / "file").write_bytes(bytes(300_000))
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in MACHINE:
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    settings = {
        "role": "kernel-client", "hostname": "h", "mount_program": "mount.nfs", "source": "s:/export",
        "at": folder / "share", "options": "vers=3", "pause": "0", "name": "n",
    }  # fmt: skip
    (folder / "settings").write_text(initramfs.shell(settings))
    script = files("nfsleuth.lab").joinpath("agent.sh").read_text()
    (folder / "agent.sh").write_text(script.replace("/proc/sys/vm/drop_caches", "/dev/null"))
    return folder


def agent(job: Path, steps: str, monkeypatch: pytest.MonkeyPatch) -> Agent:
    (job / "steps").write_text(steps)
    monkeypatch.setenv("PATH", f"{job.parent / 'bin'}:{os.environ['PATH']}")
    started = Agent("web01", ["sh", str(job / "agent.sh"), str(job)], job / "log")
    started.expect("booted", 20)
    started.expect("ready", 20)
    started.tell("go")
    return started


def test_reads_are_timed(job, monkeypatch):
    heard: list[list[str]] = []
    running = agent(job, "read file 65536\nread file 65536\n", monkeypatch)
    running.expect("worked", 20, heard.append)
    running.tell("end")
    running.expect("ended", 20)
    reads = [words for words in heard if words[0] == "read"]
    assert [words[:3] for words in reads] == [["read", "file", "300000"]] * 2
    assert all(float(words[3]) > 0 for words in reads)


def test_while_it_is_recorded_it_waits_for_the_recorder_and_tells_of_each_read(job, monkeypatch):
    heard: list[list[str]] = []
    running = agent(job, "read file 4096\nrecord file 65536 3\n", monkeypatch)
    running.expect("recording", 20)
    with pytest.raises(
        Exception, match="web01: did not finish the reads that are recorded within 0 s; perhaps the mount hangs"
    ):
        running.expect("enough", 0.3, heard.append)
    assert heard == [], "nothing is read before the recorder is ready"
    running.tell("go")
    running.expect("enough", 20, heard.append)
    assert [words[:2] for words in heard] == [["watched", "300000"]] * 3 + [["taken", "0"]], "a native has no NIC here"
    running.expect("worked", 20)
    running.tell("end")
    running.expect("ended", 20)


@pytest.mark.parametrize(("seconds", "reads"), [(0, 1), (3600, 2)])
def test_a_slow_client_begins_no_further_round(job, monkeypatch, seconds, reads):
    heard: list[list[str]] = []
    # sleep(1) does nothing here, so it is idle that takes the time
    (job.parent / "bin" / "sleep").unlink()
    steps = f"idle 0.1\nread file 65536\nenough {seconds}\nread file 65536\nrecord file 65536 2\n"
    running = agent(job, steps, monkeypatch)
    running.expect("recording", 20, heard.append)
    running.tell("go")
    running.expect("enough", 20, heard.append)
    assert [words[0] for words in heard if words[0] != "step"] == ["read"] * reads + ["watched"] * reads + ["taken"]


def test_a_read_that_fails_fails_the_step(job, monkeypatch):
    running = agent(job, "record missing 4096 1\n", monkeypatch)
    running.expect("recording", 20)
    running.tell("go")
    with pytest.raises(Exception, match="step record missing 4096 1"):
        running.expect("enough", 20)


def test_the_shell_has_no_complaints(job):
    done = subprocess.run(["sh", "-n", str(job / "agent.sh")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

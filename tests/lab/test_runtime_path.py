"""`lab run path` with two real guests: what is recorded while they read over NFS, and the report that comes of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("elftools", reason="pyelftools is not installed: pip install nfsleuth[path]")

from nfsleuth.lab.outcome import recorded_from_json, timings_from_json
from nfsleuth.path import compare, perf_events, store
from nfsleuth.path.tree import grow

pytestmark = [
    pytest.mark.lab,
    pytest.mark.path,
    pytest.mark.slow,
    pytest.mark.skipif(not perf_events.UPROBE.exists(), reason="this kernel has no uprobes"),
]
SEGMENT = 1448  # bytes of a file in a full TCP segment with timestamps


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("path") / "run"
    words = ["lab", "run", "path", "--only", "rtl8139,user,tap", "--boots", "1", "--accel", "tcg", "-o", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "nfsleuth", *words], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "about 1 min" in done.stdout, "the time is estimated before"
    return folder


def recordings(folder: Path):
    for row in recorded_from_json(json.loads((folder / "path.json").read_text())):
        yield row, store.load(folder / "path" / row.file)


def test_both_guests_read_and_were_recorded(ran):
    timings = timings_from_json(json.loads((ran / "timings.json").read_text()))
    assert {row.client for row in timings} == {"rtl8139-user", "rtl8139-tap"}
    assert all(row.cpu > 0 for row in timings), "QEMU's CPU time was measured"
    found = {row.client: (row.reads, row.octets) for row, _ in recordings(ran)}
    assert found == dict.fromkeys(("rtl8139-user", "rtl8139-tap"), (2, 2 * (4 << 20)))


def test_every_frame_of_the_file_was_seen(ran):
    """Each segment once at least; a bridged RTL8139 loses some, which come again."""
    for row, recording in recordings(ran):
        says = compare.measures(recording, grow(recording))
        assert recording.lost == 0
        assert recording.guest.nics == ("rtl8139",)
        assert recording.guest.backends == (("user",) if row.client.endswith("user") else ("tap",))
        assert says["frames_in"] >= row.octets / SEGMENT
        assert says["frames_out"] > 0
        if row.client.endswith("tap"):
            assert says["nested"] == 0
            assert says["syscalls_out"] == pytest.approx(1, abs=0.05), "a frame, a system call"
        else:
            assert says["nested"] > 0
            assert says["syscalls_in"] < 1, "one recvfrom brings many frames"


def test_the_report_has_them(ran):
    text = (ran / "report.md").read_text()
    assert "| rtl8139 | user | 1 |" in text
    assert "| rtl8139 | tap | 1 |" in text
    assert "Fewer than 3 boots, so nothing is said of: rtl8139 on user" in text
    page = (ran / "study.html").read_text()
    assert "the way of a frame in user mode" in page
    assert "the way of a frame bridged" in page
    assert not list(ran.glob("*.pcapng")), "captures would be on the way"

"""What a run keeps when it is ended before its time: turns that are over, where nothing depends on the others."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.path.make import DELIVER, recording, send

from nfsleuth.lab import record, supervise
from nfsleuth.lab.experiment import load, text_of
from nfsleuth.lab.outcome import Recorded, Timing
from nfsleuth.path import store


@pytest.fixture
def lab(monkeypatch, tmp_path):
    """A lab that needs no machine: what it tells before it is ended is what a test puts into `events`."""
    scratch = tmp_path / "scratch"
    (scratch / "logs").mkdir(parents=True)
    (scratch / "path").mkdir()
    run = SimpleNamespace(scratch=scratch, events=[], ends=KeyboardInterrupt)

    def apart(_run, _task, heard):
        for event in run.events:
            heard(event)
        raise run.ends

    monkeypatch.setattr(supervise, "needs_root", lambda: None)
    monkeypatch.setattr(supervise, "sweep", list)
    monkeypatch.setattr(supervise, "recorded", lambda **_: contextlib.nullcontext(run))
    monkeypatch.setattr(supervise, "apart", apart)
    monkeypatch.setattr(record.parts, "fitted", lambda experiment: (experiment, {}))
    monkeypatch.setattr(record, "_kernels", lambda *_: {})
    monkeypatch.setattr(record, "_libslirp", lambda *_: None)
    return run


def told(scratch: Path, name: str) -> dict[str, object]:
    """What a client has told when its turn is over; its recording lies in the lab."""
    store.save(recording([send("sendto"), DELIVER]), scratch / "path" / f"{name}-1.uprobes.path")
    timings = [asdict(Timing(client=name, octets=4 << 20, seconds=0.1, round=n)) for n in range(1, 5)]
    one = Recorded(
        client=name, boot=1, method="uprobes", file=f"{name}-1.uprobes.path", reads=2, octets=8 << 20, seconds=0.4
    )
    return {"told": name, "kernel": "6.1", "boots": 1, "failed": "", "timings": timings, "steps": [], "inside": [],
            "recorded": [asdict(one)]}  # fmt: skip


@pytest.mark.parametrize("ends", [KeyboardInterrupt, SystemExit(143)])
def test_a_run_without_captures_keeps_what_is_over(lab, tmp_path, ends):
    lab.events, lab.ends = [{"accel": "tcg", "proved": False}, told(lab.scratch, "virtio-user")], ends
    done = record.record(load("path"), tmp_path / "out", given=text_of("path"), accelerator="tcg")
    assert done.ended == "ended by hand"
    assert (tmp_path / "out" / "path" / "virtio-user-1.uprobes.path").exists()
    assert json.loads((tmp_path / "out" / "run.json").read_text())["ended"] == "ended by hand"
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| virtio-net-pci | user | 1 | 41.9 |" in text
    assert "Ended before its time: ended by hand." in text


def test_a_run_under_capture_does_not(lab, tmp_path):
    lab.events = [told(lab.scratch, "virtio-user")]
    with pytest.raises(KeyboardInterrupt):
        record.record(load("paper"), tmp_path / "out", accelerator="tcg")


def test_recordings_are_safe_before_the_lab_ends(lab, tmp_path):
    lab.events, lab.ends = [told(lab.scratch, "virtio-user")], RuntimeError("killed")
    with pytest.raises(RuntimeError):
        record.record(load("path"), tmp_path / "out", accelerator="tcg")
    assert store.load(tmp_path / "out" / "path" / "virtio-user-1.uprobes.path").events.size

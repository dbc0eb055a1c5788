"""Reports of folders that runs left: of one, and of several as one; damaged ones are a message."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from tests.path.make import DELIVER, recording, send

from nfsleuth.cli import main
from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.lab import pages
from nfsleuth.lab.experiment import load, text_of
from nfsleuth.lab.outcome import Recorded, Timing
from nfsleuth.path import store
from nfsleuth.verdict.model import Report

OCTETS = 4 << 20
TAP = ("qemu_net_queue_send", ("tap:receive_iov", "writev"))
GUESTS = {"virtio-user": 4.0, "virtio-tap": 2.0, "rtl8139-user": 3.0, "rtl8139-tap": 1.0}  # and relative rates


def run_folder(folder: Path, boots: int = 2, failed: dict[str, str] | None = None, experiment: str = "path") -> Path:
    """What a run of `path` leaves, but small."""
    (folder / "path").mkdir(parents=True)
    timings, recorded = [], []
    for guest in load("path").guests:
        for boot in range(1, boots + 1) if guest.name in GUESTS else ():
            rate = 10e6 * GUESTS[guest.name] + boot
            timings += [
                Timing(client=guest.name, octets=OCTETS, seconds=OCTETS / rate, round=n, boot=boot) for n in range(1, 5)
            ]
            calls = [TAP, DELIVER] if guest.backend == "tap" else [send("sendto"), DELIVER]
            found = recording(calls)
            found = replace(found, guest=replace(found.guest, nics=(guest.nic,), backends=(guest.backend,)))
            file = f"{guest.name}-{boot}.uprobes.path"
            store.save(found, folder / "path" / file)
            recorded.append(
                Recorded(client=guest.name, boot=boot, method="uprobes", file=file, reads=1, octets=OCTETS, seconds=1.0)
            )
    told = {
        "experiment": experiment, "seed": 5, "accelerator": "tcg", "versions": {"qemu-system-x86": "7.2"},
        "kernels": dict.fromkeys(GUESTS, "6.1"), "failed": failed or {}, "left_out": {"virtio-vhost": "no vhost here"},
    }  # fmt: skip
    (folder / "experiment.toml").write_text(text_of("path"))
    (folder / "timings.json").write_text(json.dumps([asdict(row) for row in timings]))
    (folder / "path.json").write_text(json.dumps([asdict(row) for row in recorded]))
    (folder / "run.json").write_text(json.dumps(told))
    return folder


def report(capsys, *words: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["lab", "report", *map(str, words)])
    return int(ended.value.code or 0), capsys.readouterr().err


def test_a_report_has_table_advice_and_figures(capsys, tmp_path):
    run = run_folder(tmp_path / "run", failed={"rtl8139-passt": "boot 1: hangs"})
    assert report(capsys, run, "-o", tmp_path / "out") == (Exit.DONE, "")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| virtio-net-pci | user | 2 | 40.0 |" in text
    assert "- Fewer than 3 boots, so nothing is said of: virtio-net-pci on user (40.0)" in text
    assert "rtl8139 on passt: boot 1: hangs" in text
    assert "of it left" in text
    for name in ("heat-maps", "path-user", "path-tap"):
        assert f"]({name}.svg)" in text
        assert (tmp_path / "out" / f"{name}.svg").read_text().count("<svg") == 1
    page = (tmp_path / "out" / "study.html").read_text()
    assert "For someone without root" in page
    assert page.count("<svg") >= 4
    assert "Figures 3 and 4: the way of a frame in user mode" in page


def test_boots_of_several_runs_add_up(capsys, tmp_path):
    runs = [run_folder(tmp_path / name, boots) for name, boots in (("a", 2), ("b", 1))]
    both = pages.together([pages.load(run) for run in runs])
    assert sorted({row.boot for row in both.timings}) == [1, 2, 3]
    assert {(row.client, row.boot) for row in both.recorded} == {(name, boot) for name in GUESTS for boot in (1, 2, 3)}
    assert report(capsys, *runs, "-o", tmp_path / "out")[0] == Exit.DONE
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| virtio-net-pci | user | 3 | 40.0 (40.0 to 40.0) |" in text
    assert "- Take virtio-net-pci on user" in text


def test_parts_of_an_experiment_are_no_further_boots(tmp_path):
    whole = pages.load(run_folder(tmp_path / "run", 1))
    parts = [
        replace(whole, timings=[row for row in whole.timings if (row.client == "virtio-tap") is one])
        for one in (True, False)
    ]
    both = pages.together(parts)
    assert both.experiment.boots == 1
    assert sorted(both.timings, key=repr) == sorted(whole.timings, key=repr)


def test_the_capture_of_one_run_is_read_again(tmp_path, monkeypatch):
    """It tells what limited each configuration; of several runs, clients have several addresses."""
    read = []
    monkeypatch.setattr("nfsleuth.api.identify", lambda *files: read.append(files) or Report((), (), ()))
    folder = run_folder(tmp_path / "run", 1)
    paper = load("paper")
    assert pages.server_capture(paper, folder) is None
    (folder / "server.pcapng").touch()
    one = replace(pages.load(folder), experiment=paper, capture=pages.server_capture(paper, folder))
    for name, runs in (("a", [one]), ("b", [one, one])):
        (tmp_path / name).mkdir()
        pages.write(tmp_path / name, pages.together(runs))
    assert read == [(str(folder / "server.pcapng"),)]


def test_a_run_of_something_else_is_refused(tmp_path):
    one = pages.load(run_folder(tmp_path / "a"))
    other = replace(one, experiment=load("matrix"))
    with pytest.raises(NfsleuthError, match="runs of different experiments"):
        pages.together([one, other])


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("run.json", "{", "is no JSON"),
        ("run.json", "[]", "is not what `lab run` writes"),
        ("run.json", '{"experiment": "path"}', "is damaged"),
        ("timings.json", '[{"client": "x"}]', "is damaged"),
        ("path.json", '[{"client": "x"}]', "is damaged"),
        ("experiment.toml", "title = ", "not TOML"),
    ],
)
def test_a_damaged_folder_is_a_message(capsys, tmp_path, file, content, why):
    run = run_folder(tmp_path / "run", 1)
    (run / file).write_text(content)
    code, said = report(capsys, run, "-o", tmp_path / "out")
    assert code in (Exit.UNREADABLE, Exit.WRONG_USE)
    assert why in said


def test_recordings_lie_in_the_runs_own_folder(tmp_path):
    run = run_folder(tmp_path / "run", 1)
    rows = json.loads((run / "path.json").read_text())
    rows[0]["file"] = "../../secret.path"
    (run / "path.json").write_text(json.dumps(rows))
    assert all(path.parent == run / "path" for path in pages.load(run).paths.values())


def test_no_folder_of_a_run(capsys, tmp_path):
    code, said = report(capsys, tmp_path, "-o", tmp_path / "out")
    assert code == Exit.UNREADABLE
    assert "name folders that `lab run` made" in said


def test_a_run_in_which_all_failed_says_why(capsys, tmp_path):
    run = run_folder(tmp_path / "run", 1, failed={"virtio-user": "mount: timed out"})
    for name in ("timings.json", "path.json"):
        (run / name).write_text("[]")
    assert report(capsys, run, "-o", tmp_path / "out")[0] == Exit.DONE
    text = (tmp_path / "out" / "report.md").read_text()
    assert "- virtio-net-pci on user: mount: timed out" in text
    assert "No advice: nothing was measured on user or passt" in text
    assert "They are not drawn: nothing was recorded inside QEMU." in text


def test_recordings_of_an_experiment_with_captures_are_figures_only(tmp_path):
    measured = pages.load(run_folder(tmp_path / "run", 1))
    (tmp_path / "out").mkdir()
    pages.write(tmp_path / "out", replace(measured, experiment=load("paper")))
    text = (tmp_path / "out" / "report.md").read_text()
    assert "](path-user.svg)" in text
    assert "For someone without root" not in text, "its workload reads other files than are recorded"

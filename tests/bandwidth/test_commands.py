"""``bench`` and ``profile`` as commands: exit codes, first lines, files."""

import json
import shutil

import pytest

from bandwidth.flow import Link, slow_guest
from nfsleuth import cli
from nfsleuth.bandwidth.profile import from_toml
from nfsleuth.bandwidth.timings import Timings, Trial, to_json
from packets import pcap

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def run(capsys, *arguments) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def measured(capsys, tmp_path, label, *more):
    folder = tmp_path / "mount"
    folder.mkdir(exist_ok=True)
    file = tmp_path / f"{label.replace(' ', '-')}.json"
    code, out, err = run(
        capsys,
        "bench",
        folder,
        "--sizes",
        "4K,64K",
        "--rounds",
        3,
        "--label",
        label,
        "--cache",
        "advise",
        "-o",
        file,
        *more,
    )
    return file, code, out, err


def test_bench_measures_prints_and_writes(capsys, tmp_path):
    file, code, out, _ = measured(capsys, tmp_path, "native", "--plot", tmp_path / "figure.svg")
    assert code == 0
    assert out.startswith(f"native: {tmp_path / 'mount'} (")
    assert "The study's Table 2 beside this measurement" in out
    assert max(map(len, out.splitlines())) <= 80 or len(str(tmp_path)) > 30
    assert json.loads(file.read_text())["label"] == "native"
    assert (tmp_path / "figure.svg").read_text().lstrip().startswith("<?xml")
    assert list((tmp_path / "mount").iterdir()) == []


def test_bench_compares_earlier_runs(capsys, tmp_path):
    files = [measured(capsys, tmp_path, label)[0] for label in ("native", "virtio bridged")]
    code, out, _ = run(capsys, "bench", *files, "--plot", tmp_path / "both.png")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines() if line.startswith(("native ", "virtio,"))][:2] == [
        "native", "virtio,"
    ]  # fmt: skip
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")


def test_bench_writes_to_standard_output_once(capsys, tmp_path):
    saved, *_ = measured(capsys, tmp_path, "native")
    code, out, _ = run(capsys, "bench", saved, "-o", "-")
    assert code == 0
    assert json.loads(out)["label"] == "native"
    code, out, err = run(capsys, "bench", saved, "-o", "-", "--json")
    assert (code, out) == (2, "")
    assert err == "nfsleuth: --output and --json both want standard output; give one of them a FILE\n"


def test_a_run_that_came_no_further_than_the_warm_up_shows_no_table(capsys, tmp_path):
    """It has no rate that could stand beside the study's."""
    file = tmp_path / "early.json"
    trials = [Trial(4096, 0, 0.1, warmup=True)]
    file.write_text(json.dumps(to_json(Timings("/mnt", "mount", 4096, trials=trials, problem="it hung"))))
    _, out, _ = run(capsys, "bench", file)
    assert "Only the warm-up was read (1 readings)." in out
    assert "ended early: it hung." in out
    assert "Table 2" not in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("{absent}",), "no folder"),
        (("{folder}", "{folder}"), "one at a time"),
        (("{folder}", "--sizes", "1X"), "size '1X'"),
        (("{folder}", "--rounds", "0"), "0 rounds"),
        (("{folder}", "--timeout", "0"), "--timeout"),
        (("{folder}", "--plot", "x.gif"), ".svg"),
        (("{folder}", "{file}"), "files of earlier runs only"),
    ],
)
def test_wrong_use_of_bench_is_told(capsys, tmp_path, arguments, says):
    (tmp_path / "file").write_text("{}")
    places = {"absent": tmp_path / "absent", "folder": tmp_path, "file": tmp_path / "file"}
    code, out, err = run(capsys, "bench", *(a.format(**places) for a in arguments))
    assert (code, out) == (2, "")
    assert err.startswith("nfsleuth: ")
    assert says in err


def test_a_file_that_is_no_measurement_is_told(capsys, tmp_path):
    (tmp_path / "file").write_text("{}")
    code, _, err = run(capsys, "bench", tmp_path / "file")
    assert code == 3
    assert "holds no timings" in err


@pytest.fixture
def captures(tmp_path):
    """Three captures each of a quick client and of two slow ones."""
    found = {}
    for label, busy in (("native", 1.0), ("virtio bridged", 6.0), ("virtio nat", 16.0)):
        for n in range(3):
            link = slow_guest(Link().shake_hands(), int(700 / (busy + 2)), busy=busy * (1 + n / 20), seed=n)
            path = tmp_path / f"{label.replace(' ', '-')}-{n}.pcap"
            path.write_bytes(pcap(link.frames))
            found.setdefault(label, []).append(path)
    return found


def test_learn_show_merge_and_identify(capsys, tmp_path, captures):
    site = tmp_path / "site.toml"
    arguments = [word for label, files in captures.items() for word in ("--label", label, *files)]
    code, out, err = run(capsys, "profile", "learn", *arguments, "-o", site, "-q")
    assert (code, err) == (0, "")
    assert out.startswith("read 128K: native clients take in ")
    assert len(from_toml(site.read_text(), "site").rows) == 9

    code, out, _ = run(capsys, "profile", "show", site, "--json", "--plot", tmp_path / "p.pdf")
    (cell,) = [c for c in json.loads(out)["cells"] if c["size"] == 131_072]
    ratios = {label["label"]: label["ratio"] for label in cell["labels"]}
    assert 1 > ratios["virtio bridged"] > ratios["virtio nat"]
    assert (tmp_path / "p.pdf").read_bytes().startswith(b"%PDF")

    code, out, _ = run(capsys, "profile", "merge", site, site, "-o", tmp_path / "twice.toml")
    assert (tmp_path / "twice.toml").read_text() == site.read_text()

    target = captures["virtio nat"][0]
    page = tmp_path / "page.html"
    code, out, _ = run(capsys, "identify", target, "--profile", site, "--json", "-q", "--html", page)
    (client,) = json.loads(out)["clients"]
    (row,) = [e for e in client["evidence"] if e["rule"] == "read_speed"]
    assert row["counted"]
    assert row["says"] == "reads like virtio nat"
    assert client["reads"]["client_limited_MBps"] > 0
    assert client["rates"][0]["limited_by"]["client"] > 0.5
    assert "What limited" in page.read_text()


def test_labels_are_read_beside_captures(capsys, tmp_path, captures):
    for label, files in captures.items():
        for file in files:
            client = {"address": "10.0.0.7", "state": "native" if label == "native" else "bridged-vm", "nic": label}
            file.with_suffix(".labels.json").write_text(json.dumps({"clients": [client]}))
    code, _, err = run(
        capsys,
        "profile",
        "learn",
        *(file for files in captures.values() for file in files),
        "-o",
        tmp_path / "lab.toml",
        "-q",
    )
    assert code == 0, err
    rows = from_toml((tmp_path / "lab.toml").read_text(), "lab").rows
    assert {row.label for row in rows} == {"native", "virtio bridged", "virtio nat"}


def test_what_was_learnt_before_stays(capsys, tmp_path, captures):
    site = tmp_path / "site.toml"
    for label, files in captures.items():
        assert run(capsys, "profile", "learn", "--label", label, *files, "-o", site, "-q")[0] == 0
    assert len(from_toml(site.read_text(), "site").rows) == 9


def test_too_little_is_refused_and_said(capsys, tmp_path):
    path = tmp_path / "short.pcap"
    path.write_bytes(pcap(slow_guest(Link().shake_hands(), 20).frames))
    code, out, err = run(capsys, "profile", "learn", "--label", "native", path, "-o", tmp_path / "x.toml", "-q")
    assert (code, out) == (2, "")
    assert "nothing learnt" in err
    assert "read for longer" in err
    assert not (tmp_path / "x.toml").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("learn", "{capture}", "-o", "x.toml"), "labels.json"),
        (("learn", "--label", "mystery", "{capture}", "-o", "x.toml"), "say what it is"),
        (("show", "{capture}"), "profile"),
        (("show", "{absent}"), "profile"),
        (("merge", "{absent}", "-o", "-"), "profile"),
    ],
)
def test_wrong_use_of_profile_is_told(capsys, tmp_path, captures, arguments, says):
    places = {"capture": captures["native"][0], "absent": tmp_path / "absent"}
    code, _, err = run(capsys, "profile", *(a.format(**places) for a in arguments))
    assert code == 2
    assert says in err
    shutil.rmtree(tmp_path / "x.toml", ignore_errors=True)

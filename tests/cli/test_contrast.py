"""``nfsleuth contrast`` from the command line: what it prints and writes, and a message for each mistake."""

import json
import subprocess
import sys
from functools import partial

import pytest

from contrast import plant
from nfsleuth import api
from nfsleuth.errors import Exit

NOTHING = b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00" + bytes(8) + b"\x00\x00\x04\x00\x01\x00\x00\x00"  # a pcap without frames


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("captures")
    planted = "nfs4.LOCK.locktype"
    for label in "ab":
        (made / f"{label}.pcap").write_bytes(plant.clients(label, 1, 8, planted))
        clients = [
            {"address": plant.ADDRESS.format(int(label == "b"), 10 + n), "ports": [700 + n], "names": [], "kind": label}
            for n in range(8)
        ]
        text = json.dumps({"capture": f"{label}.pcap", "derived_from": None, "clients": clients})
        (made / f"{label}.labels.json").write_text(text)
    (made / "one.pcap").write_bytes(plant.clients("a", 1, 1))
    (made / "empty.pcap").write_bytes(NOTHING)
    (made / "bad.labels.json").write_text("{")
    for name, kind in (("other", "x"), ("blank", "  ")):
        text = json.dumps({"capture": "a.pcap", "clients": [{"address": "192.0.2.9", "kind": kind}]})
        (made / f"{name}.labels.json").write_text(text)
    return made


@pytest.fixture
def contrast(run):
    return partial(run, "contrast")


def test_labels_by_capture(contrast, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = ("--label", f"a={folder / 'a.pcap'}", "--label", f"b={folder / 'b.pcap'}", "-q")
    code, out, _ = contrast(*labels, "--write-rule", "lock_type", "--html", "page.html", "--sequence")
    assert code == Exit.DONE
    assert "nfs4.LOCK.locktype" in out
    assert "the same" in out
    assert max(map(len, out.splitlines())) <= 80
    assert 'RULE = "lock_type"' in (tmp_path / "lock_type.py").read_text()
    assert "nfs4.LOCK.locktype" in (tmp_path / "page.html").read_text()
    code, _, err = contrast(*labels, "--write-rule", "lock_type")
    assert code == Exit.WRONG_USE
    assert "is there already" in err
    code, _, err = contrast(*labels, "--write-rule", "other_rule", "--field", "nfs4.READ.count")
    assert "is in no finding" in err


def test_label_files(contrast, folder):
    files = (folder / "a.labels.json", folder / "b.labels.json")
    code, out, _ = contrast("--labels", *files, "--by", "kind", "--json", "-q")
    assert code == Exit.DONE
    answer = json.loads(out)
    assert answer["labels"] == {"a": 8, "b": 8}
    assert answer["findings"][0]["field"] == "nfs4.LOCK.locktype"
    assert {side["label"] for side in answer["findings"][0]["sides"]} == {"a", "b"}
    assert all(side["frame"] for side in answer["findings"][0]["sides"])


def test_two_captures(contrast, folder):
    code, out, _ = contrast(folder / "one.pcap", folder / "b.pcap", "-q")
    assert code == Exit.DONE
    assert "Cannot conclude" in out
    assert contrast(folder / "a.pcap", folder / "b.pcap", "--nfs", "3", "-q")[0] == Exit.DONE


def test_progress_goes_on_over_all_captures_and_readings(folder):
    captures = [("a", folder / "a.pcap"), ("b", folder / "b.pcap")]
    told = []
    api.named_profiles(captures, progress=lambda done, total: told.append((done, total)))
    whole = sum(path.stat().st_size for _, path in captures)
    assert {total for _, total in told} == {whole}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len(told) >= 4
    assert told[-1][0] == whole


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), Exit.WRONG_USE, "name two captures"),
        (("a.pcap",), Exit.WRONG_USE, "name two captures"),
        (("a.pcap", "a.pcap"), Exit.WRONG_USE, "named twice"),
        (("a.pcap", "-"), Exit.WRONG_USE, "read twice"),
        (("a.pcap", "empty.pcap"), Exit.NO_NFS, "empty.pcap: no NFS client"),
        (("a.pcap", "missing.pcap"), Exit.UNREADABLE, "missing.pcap"),
        (("a.pcap", "b.pcap", "--nfs", "4.2"), Exit.NO_NFS, "of version 4.2"),
        (("a.pcap", "b.pcap", "--write-rule", "A b"), Exit.WRONG_USE, "a rule's name"),
        (("--label", "native", "--label", "b=b.pcap"), Exit.WRONG_USE, "NAME=CAPTURE"),
        (("--label", "=a.pcap"), Exit.WRONG_USE, "NAME=CAPTURE"),
        (("--label", "a=a.pcap"), Exit.WRONG_USE, "all 8 clients are a; at least two labels"),
        (("--label", "a=a.pcap", "--label", "b=b.pcap", "--only", "c"), Exit.WRONG_USE, "no client is labelled c"),
        (("--label", "a=a.pcap", "b.pcap"), Exit.WRONG_USE, "b.pcap: has no label"),
        (("--label", "  =a.pcap"), Exit.WRONG_USE, "NAME=CAPTURE"),
        (("--label", f"{'x' * 61}=a.pcap"), Exit.WRONG_USE, "at most 60 characters"),
        (("--label", "a=a.pcap", "--label", "b=./a.pcap"), Exit.WRONG_USE, "./a.pcap: is named twice"),
        (("--label", "a=one.pcap"), Exit.WRONG_USE, "the only client is a; at least two labels"),
        (("a.pcap", "b.pcap", "--field", "tcp.window"), Exit.WRONG_USE, "--field goes with --write-rule"),
        (("a.pcap", "."), Exit.UNREADABLE, "is a folder"),
        (("--labels", "a.labels.json"), Exit.WRONG_USE, "--by KEY"),
        (("--by", "kind"), Exit.WRONG_USE, "--labels FILE"),
        (("--labels", "a.labels.json", "--by", "colour"), Exit.WRONG_USE, "there are address, kind"),
        (("--labels", "a.labels.json", "--by", "kind"), Exit.WRONG_USE, "all 8 clients are a; at least two labels"),
        (("--labels", "a.labels.json", "a.labels.json", "--by", "kind"), Exit.WRONG_USE, "a.pcap: is named twice"),
        (
            ("--labels", "a.labels.json", "--by", "kind", "--only", "c"),
            Exit.WRONG_USE,
            "no client is labelled c; there",
        ),
        (("--labels", "other.labels.json", "--by", "kind"), Exit.NO_NFS, "a.pcap: 192.0.2.9 is not in the capture"),
        (("--labels", "blank.labels.json", "--by", "kind"), Exit.WRONG_USE, "has the key kind"),
        (("--labels", "bad.labels.json", "--by", "kind"), Exit.WRONG_USE, "JSON is expected"),
        (("--labels", "missing.labels.json", "--by", "kind"), Exit.UNREADABLE, "cannot be read"),
    ],
)
def test_each_mistake_is_named(contrast, folder, monkeypatch, arguments, code, says):
    monkeypatch.chdir(folder)
    got, _, err = contrast(*arguments, "-q")
    assert (got, says in err) == (code, True), err
    assert len(err.strip().splitlines()) == 1


def test_help_ends_with_examples():
    done = subprocess.run(
        [sys.executable, "-m", "nfsleuth", "contrast", "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.rstrip().splitlines()[-1].strip().startswith("nfsleuth contrast")

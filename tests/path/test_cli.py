"""`nfsleuth path`: what is printed, where it goes, and what is said when something is wrong."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from click.testing import CliRunner
from tests.path.make import DELIVER, REPLY, recording, send

from nfsleuth.cli import nfsleuth
from nfsleuth.path import store
from nfsleuth.path.model import Method


def run(*words):
    return CliRunner().invoke(nfsleuth, ["path", *map(str, words)])


@pytest.fixture
def user(tmp_path):
    rec = recording([send(REPLY, ("sendto",)), ("slirp_pollfds_poll", DELIVER)])
    store.save(rec, tmp_path / "user.path")
    return tmp_path / "user.path"


@pytest.fixture
def tap(tmp_path):
    rec = recording([("qemu_net_queue_send", ("tap:receive_iov", "writev"))])
    store.save(replace(rec, guest=replace(rec.guest, backends=("tap",))), tmp_path / "tap.path")
    return tmp_path / "tap.path"


def test_show_prints_the_tree(user):
    done = run("show", user)
    assert done.exit_code == 0
    assert done.output.startswith("user.path: rtl8139 on user, QEMU 7.2.22, libslirp 4.7.0-1\n")
    assert max(map(len, done.output.splitlines())) <= 80
    assert len(run("show", "--all", user).output) >= len(done.output)


@pytest.mark.parametrize("form", ["json", "chrome"])
def test_json_forms(form, user, tmp_path):
    assert run("show", user, "--format", form, "-o", tmp_path / "x").exit_code == 0
    json.loads((tmp_path / "x").read_text())


@pytest.mark.parametrize("form", ["flame", "flow", "bars"])
def test_pictures(form, user, tmp_path):
    assert run("show", user, "--format", form, "-o", tmp_path / "x.svg").exit_code == 0
    assert ElementTree.parse(tmp_path / "x.svg").getroot().tag.endswith("svg")


def test_compare(user, tap):
    assert "A: rtl8139 on user, 1 boot" in run("compare", user, tap).output
    value = json.loads(run("compare", user, tap, "--json").output)
    assert value["schema"] == "nfsleuth.path-compare/1"
    assert value["names"] == ["rtl8139 on user", "rtl8139 on tap"]


def test_what_goes_wrong_is_one_line(user, tmp_path):
    for words, said in (
        (("show", tmp_path / "none"), "No such file"),
        (("compare", user), "two kinds of guests"),
        (("show", user, "-o", tmp_path / "no" / "x"), "there is no folder"),
        (("record", "--pid", "4194303", "-o", tmp_path / "x"), "there is no process 4194303"),
    ):
        done = run(*words)
        assert done.exit_code != 0
        assert done.output.startswith("nfsleuth: ")
        assert done.output.count("\n") == 1
        assert said in done.output


def test_samples_follow_no_calls(tmp_path):
    rec = recording([], method=Method.SAMPLING)
    samples = tuple(10 for _ in rec.functions)
    store.save(replace(rec, samples=samples, counts=()), tmp_path / "s.path")
    assert "samples follow no calls" in run("show", tmp_path / "s.path", "--format", "flow").output
    assert "own time by function (samples" in run("show", tmp_path / "s.path").output

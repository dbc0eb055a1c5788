"""A wrong process, no right to look, several guests: each is told what to do."""

from __future__ import annotations

import os

import pytest

from nfsleuth.errors import NfsleuthError
from nfsleuth.path import api, packages, process, target
from nfsleuth.path.process import Process


def test_another_program():
    with pytest.raises(NfsleuthError, match=rf"process {os.getpid()} is python[\d.]*, not QEMU"):
        process.find(os.getpid())


def test_no_process():
    with pytest.raises(NfsleuthError, match="there is no process 4194303; "):
        process.find(4194303)


def test_one_is_found_several_are_named(monkeypatch):
    two = [Process(7, 1, "qemu-system-x86_64"), Process(8, 1, "kvm")]
    monkeypatch.setattr(process, "everyone", lambda: iter(two[:1]))
    assert process.find(None).pid == 7
    monkeypatch.setattr(process, "everyone", lambda: iter(two))
    with pytest.raises(NfsleuthError, match=r"choose one with --pid: 7 \(qemu-system-x86_64\), 8 \(kvm\)"):
        process.find(None)
    monkeypatch.setattr(process, "everyone", lambda: iter([]))
    with pytest.raises(NfsleuthError, match="no QEMU runs"):
        process.find(None)


def test_without_root(monkeypatch):
    monkeypatch.setattr(process, "find", lambda _: Process(7, 1, "qemu-system-x86_64"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NfsleuthError, match="needs root"):
        api.record(None)


def test_other_machines(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(NfsleuthError, match="aarch64"):
        api.record(None)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ((5, 2, 0), []), ((7, 2, 22), []), ((10, 0, 2), []),
        ((8, 2, 0), ["QEMU 8.2: its tables are taken to be like those of one of 5.2, 7.2, 10.0"]),
        ((4, 2, 1), ["QEMU 4.2.1: tables of receive handlers are known for 5.1 to 10.0; only exported functions"]),
        ((99, 0, 0), ["QEMU 99.0.0: tables"]), (None, ["QEMU of unknown version: tables"]),
    ],
)  # fmt: skip
def test_versions_that_nobody_looked_at_are_said(version, said):
    notes = target.version_notes(version)
    assert len(notes) == len(said)
    assert all(note.startswith(begin) for note, begin in zip(notes, said, strict=True))


def test_a_process_is_known_by_its_start():
    me = process._began(os.getpid())
    assert Process(os.getpid(), me, "x").alive()
    assert not Process(os.getpid(), me + 1, "x").alive()


def test_mappings_and_memory_of_this_process():
    me = Process(os.getpid(), 0, "python")
    mapped = me.mappings()
    program = next(m for m in mapped if "x" in m.access and m.path.startswith("/"))
    assert program.end > program.start
    assert me.read(program.start, 16) == me.file_of(program).read_bytes()[program.offset : program.offset + 16]
    assert me.read(8, 16) == b""


def test_our_own_library_says_what_it_is_of():
    assert target.slirp_version("/x/path/libslirp_4.7.0-1_plain_0123456789ab/libslirp.so.0") == "libslirp 4.7.0-1 plain"
    assert target.slirp_version("/nowhere/libslirp.so.0") == "libslirp.so.0"


def test_files_without_a_package():
    assert packages.owner("/nowhere/at/all") == ""
    assert packages.source_of("no-such-package-at-all") == ("", "")

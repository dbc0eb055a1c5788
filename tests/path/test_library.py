"""The build of libslirp reads apt's configuration and changes nothing; the recorder's ring is read as it is written."""

from __future__ import annotations

import re
from importlib.resources import files
from types import SimpleNamespace

import numpy as np
import pytest

from nfsleuth.errors import NfsleuthError
from nfsleuth.path import instrumented, library

RECORDER = files("nfsleuth.path").joinpath("recorder.c").read_text()


def test_sources_become_those_of_source_packages(tmp_path):
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text(
        "# deb http://x y z\ndeb http://x stable main\ndeb-src http://x stable main\n"
    )
    (tmp_path / "sources.list.d" / "a.sources").write_text("Types: deb\nURIs: http://y\nSuites: stable\n")
    (tmp_path / "sources.list.d" / "b.sources.disabled").write_text("Types: deb\n")
    assert list(library.source_entries(tmp_path)) == [
        (".list", "deb-src http://x stable main\n"),
        (".sources", "Types: deb-src\nURIs: http://y\nSuites: stable\n"),
    ]


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(library, "source_of", lambda _: ("", ""))
    with pytest.raises(NfsleuthError, match="not installed"):
        library.build("plain")


def test_without_a_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(library, "source_of", lambda _: ("libslirp", "9.9"))
    monkeypatch.setattr("shutil.which", lambda program: None if program == "cc" else f"/bin/{program}")
    with pytest.raises(NfsleuthError, match=r"cc is missing, .*apt-get install gcc"):
        library.build("plain")


def test_both_sides_know_the_same_layout():
    assert int(re.search(r"#define THREADS (\d+)", RECORDER)[1]) == instrumented.THREADS
    assert 1 << int(re.search(r"#define NOTES \(1u << (\d+)\)", RECORDER)[1]) == instrumented.NOTES
    assert tuple(re.findall(r"^WRAP\(\w+, (\w+),", RECORDER, re.MULTILINE)) == library.WRAPPED


NOTES = instrumented.NOTES
SIZE = instrumented.NOTE.itemsize


class Memory:
    """A guest's memory that holds one ring, in which note number n has the time n."""

    def __init__(self):
        self.head = 0
        self.after = 0  # notes that are written while somebody reads

    def read(self, address, length):
        if (address, length) == (0, 8):
            return self.head.to_bytes(8, "little")
        first = (address - instrumented.RING_HEADER) // SIZE
        slots = np.arange(first, first + length // SIZE)
        newest = self.head - 1
        notes = np.zeros(len(slots), instrumented.NOTE)
        notes["time"] = newest - (newest - slots) % NOTES
        self.head += self.after
        self.after = 0
        return notes.tobytes()


def taken(memory, ring):
    instrumented._take(SimpleNamespace(process=memory), ring)
    return np.concatenate([np.zeros(0, instrumented.NOTE), *ring.parts])["time"]


def test_notes_are_read_across_the_rings_end():
    memory, ring = Memory(), instrumented._Ring(0)
    for head in (5, 5, NOTES - 2, NOTES + 3, 2 * NOTES + 1):
        memory.head = head
        assert taken(memory, ring).tolist() == list(range(head))
    assert ring.lost == 0


def test_notes_that_were_written_over_are_lost_and_counted():
    memory, ring = Memory(), instrumented._Ring(0)
    memory.head = NOTES + 10
    assert taken(memory, ring).tolist() == list(range(10, NOTES + 10))
    assert ring.lost == 10
    memory.head, memory.after = 2 * NOTES, 40
    found = taken(memory, ring)
    assert ring.lost == 10 + 30, "notes that were written over while we read"
    assert found[-1] == 2 * NOTES - 1
    assert len(found) + ring.lost == 2 * NOTES


def test_a_process_that_runs_the_distributions_library():
    with pytest.raises(NfsleuthError, match="nfsleuth path library"):
        instrumented._state(SimpleNamespace(slirp=None, process=SimpleNamespace(pid=7)))

"""What is saved is what is loaded, and nothing that is read can do harm."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.path.make import recording, send

from nfsleuth.errors import NfsleuthError
from nfsleuth.path import store
from nfsleuth.path.model import Cost, Overhead
from nfsleuth.path.store import load, save


@pytest.fixture
def made():
    rec = recording([send("sendto")], [send()], costs={"emulated": Cost(5.5, 2)})
    return replace(rec, overhead=Overhead(1e6, 5e5, 1e6, "tap0"), notes=("a note",), left_out=("x",), lost=3)


def same(a, b):
    plain = {name: value for name, value in vars(a).items() if name != "events"}
    return plain == {n: v for n, v in vars(b).items() if n != "events"} and np.array_equal(a.events, b.events)


def test_round_trip(made, tmp_path):
    save(made, tmp_path / "x.path")
    assert same(load(tmp_path / "x.path"), made)
    assert [p.name for p in tmp_path.iterdir()] == ["x.path"]


def packed(header, rest=b""):
    return zstandard.compress(json.dumps(header).encode() + b"\n" + rest)


def parts(made, tmp_path):
    save(made, tmp_path / "x.path")
    header, _, rest = (
        zstandard.ZstdDecompressor().decompressobj().decompress((tmp_path / "x.path").read_bytes()).partition(b"\n")
    )
    return json.loads(header), rest


CHANGES = {
    "schema": "nfsleuth.path/9",
    "events": 10**12,
    "method": "guess",
    "seconds": float("nan"),
    "threads": [],
    "functions": [{"name": 1}],
    "callers": "x" * 10,
    "counts": [1],
    "lost": -1,
    "guest": None,
    "costs": {"a": {"pair": 1e30, "inside": 0}},
    "notes": ["x" * 1000],
    "overhead": {"before": "much"},
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_header_that_cannot_be(name, made, tmp_path):
    header, rest = parts(made, tmp_path)
    (tmp_path / "y.path").write_bytes(packed(header | {name: CHANGES[name]}, rest))
    with pytest.raises(NfsleuthError, match=r"y\.path"):
        load(tmp_path / "y.path")


@pytest.mark.parametrize(
    ("column", "value"), [("function", 999), ("thread", 9), ("kind", 2), ("caller", 7), ("time", -1)]
)
def test_an_event_that_points_nowhere(column, value, made, tmp_path):
    events = made.events.copy()
    events[column][3] = value
    save(replace(made, events=events), tmp_path / "x.path")
    with pytest.raises(NfsleuthError, match="event"):
        load(tmp_path / "x.path")


def test_more_or_less_than_the_header_says(made, tmp_path):
    header, rest = parts(made, tmp_path)
    for content, word in ((rest[:-8], "cut short"), (rest + b"x", "more behind")):
        (tmp_path / "y.path").write_bytes(packed(header, content))
        with pytest.raises(NfsleuthError, match=word):
            load(tmp_path / "y.path")


def test_a_header_without_end_is_not_read_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "LONGEST_HEADER", 1 << 20)
    (tmp_path / "bomb").write_bytes(zstandard.compress(b"[" * (64 << 20)))
    with pytest.raises(NfsleuthError, match="header"):
        load(tmp_path / "bomb")


@pytest.mark.parametrize("content", [b"", b"pcap", bytes(100), packed([])])
def test_what_is_no_recording(content, tmp_path):
    (tmp_path / "y.path").write_bytes(content)
    with pytest.raises(NfsleuthError, match=r"y\.path: is no recording"):
        load(tmp_path / "y.path")


def test_what_is_not_there(tmp_path):
    with pytest.raises(NfsleuthError, match="No such file"):
        load(tmp_path / "nothing")
    with pytest.raises(NfsleuthError, match="cannot be written"):
        save(recording([]), tmp_path / "no" / "x.path")


@settings(max_examples=60)
@given(data=st.data())
def test_damage_is_noticed_or_harmless(data, tmp_path_factory):
    """Any byte of a file may be any other."""
    folder = tmp_path_factory.mktemp("damage")
    save(recording([send("sendto")]), folder / "x.path")
    raw = bytearray(zstandard.ZstdDecompressor().decompressobj().decompress((folder / "x.path").read_bytes()))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    (folder / "y.path").write_bytes(zstandard.compress(bytes(raw)))
    try:
        load(folder / "y.path")
    except NfsleuthError as error:
        assert "y.path" in error.message

"""One file at a time: the fast reader against the naive twin, and what it says about files that are cut or damaged."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture import build, naive
from capture.reading import read, trials
from nfsleuth.capture import open_trace
from nfsleuth.capture.clock import nanoseconds
from nfsleuth.errors import Exit, NfsleuthError

SHARED = os.environ.get("NFSLEUTH_CAPTURES")
FILES = sorted(
    path
    for folder in ("public/format", "lab")
    for path in (Path(SHARED, folder).rglob("*") if SHARED else ())
    if path.is_file() and path.suffix not in {".json", ".tsv", ".md", ".txt"}
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("captures")


def same(folder: Path, data: bytes, block: int) -> None:
    path = folder / "x"
    path.write_bytes(data)
    twin = naive.read(data)
    frames, sources = read(path, block=block)
    assert (frames is not None) == twin.readable
    if frames is None:
        assert "x: byte" in sources
        return
    source = sources[0]
    assert frames == twin.frames
    assert source.oddities == {name: count for name, count in twin.oddities.items() if count}
    assert source.frames == len(frames)
    assert source.bytes == len(data)
    assert all(0 <= byte <= len(data) for byte in source.oddity_bytes.values())


@given(build.CAPTURES, st.sampled_from([64, 100, 1000, 1 << 20]))
@trials()
def test_equals_the_naive_twin(folder, data, block):
    same(folder, data, block)


@given(build.CAPTURES, st.data())
@trials()
def test_mutated_bytes(folder, data, draw):
    broken = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(broken) - 1))
        broken[at] = draw.draw(st.sampled_from([0, 1, 4, 0x7F, 0x80, 0xFF]))
    same(folder, bytes(broken), draw.draw(st.sampled_from([64, 1 << 20])))


def example() -> dict[str, bytes]:
    records = [(5, 1, 60, b"a" * 50), (6, 2, 60, b""), (7, 3, 60, b"c" * 7)]
    little = build.section() + build.interface() + build.enhanced(b"abc", 7) + build.block("little", 77, b"z" * 100)
    big = build.section("big") + build.interface("big", resolution=9) + build.obsolete(b"abcd", 8, "big")
    return {
        "pcap": build.pcap(records),
        "snoop": build.snoop(records),
        "pcapng": little + build.simple(b"s") + big + build.simple(b"t", "big"),
    }


@pytest.mark.parametrize("kind", ["pcap", "snoop", "pcapng"])
def test_every_prefix(folder, kind):
    data = example()[kind]
    for end in range(len(data) + 1):
        same(folder, data[:end], 64)


@given(st.integers(0, 2**64 - 1), st.integers(0, 255), st.one_of(st.just(0), st.integers(-(2**63), 2**63 - 1)))
@trials(500)
def test_clock_is_exact(ticks, resolution, offset):
    got = nanoseconds(np.uint64(ticks), np.int64(resolution & 127), resolution > 127, np.int64(offset))
    assert (int(got[0]), bool(got[1])) == naive.clock(ticks, resolution, offset)


def test_wire_and_link_are_wiresharks(folder):
    path = folder / "fcs.pcap"
    path.write_bytes(build.pcap([(1, 2, 1500, b"ab")], link=0x14000001))  # FCS of 4 bytes, Ethernet
    assert read(path)[0] == [naive.Frame(1_000_002_000, 1, b"ab", 1500, 1)]


def test_frame_at_the_limit_and_above(folder):
    path = folder / "large"
    path.write_bytes(build.pcap([(1, 0, 0, b"a" * 262_144), (2, 0, 0, b"b" * 262_145)]))
    frames, sources = read(path, block=64)
    assert [len(frame.data) for frame in frames] == [262_144]
    assert sources[0].oddities == {"record_insane": 1}
    assert sources[0].oddity_frames == {"record_insane": 1}
    assert sources[0].oddity_bytes == {"record_insane": 24 + 16 + 262_144}


def test_numbers_count_what_wireshark_counts(folder):
    path = folder / "numbers"
    head = build.section() + build.interface()
    path.write_bytes(
        head + build.enhanced(b"a") + build.block("little", 0xBAD, bytes(4)) + build.block("little", 9, b"{}")
        + build.block("little", 5, bytes(12)) + build.enhanced(b"b")
    )  # fmt: skip
    assert [frame.number for frame in read(path)[0]] == [1, 4]


def test_many_interfaces_and_frames_between(folder):
    path = folder / "many"
    data = build.section() + b"".join(
        build.interface(link=link) + build.enhanced(b"x", 5, which=link) for link in range(50)
    )
    path.write_bytes(data)
    assert [frame.link for frame in read(path, block=64)[0]] == list(range(50))


def test_source_tells_times_and_format(folder):
    path = folder / "times"
    path.write_bytes(build.plain([3_000, 1_000, 2_000]))
    frames, (source,) = read(path)
    assert (source.first, source.last, source.format, source.frames) == (1_000, 3_000, "pcap", 3)
    assert source.oddities == {}
    assert [frame.time for frame in frames] == [3_000, 1_000, 2_000]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "byte 0: the file is empty"),
        (b"\xd4\xc3\xb2\xa1\2\0", "byte 6: the file ends inside its header"),
        (b"ERF\0 and more", "byte 0: not a pcap or pcapng file (magic 45 52 46 00); convert it with editcap -F pcapng"),
        (build.pcap([], version=(3, 0)), "byte 4: pcap version 3.0"),
        (build.section(version=(2, 0)), "byte 12: pcapng version 2.0"),
        (build.section().replace(b"\x4d\x3c", b"\0\0"), "byte 8: no pcapng byte-order magic"),
    ],
)
def test_hopeless_files(folder, data, says):
    path = folder / "hopeless"
    path.write_bytes(data)
    with pytest.raises(NfsleuthError) as caught:
        open_trace([path])
    assert f"hopeless: {says}" in caught.value.message
    assert caught.value.exit_code == Exit.UNREADABLE


def test_what_is_no_file(folder):
    for path, says in ((folder, "this is a folder"), (folder / "none", "no such file")):
        with pytest.raises(NfsleuthError, match=says) as caught:
            open_trace([path])
        assert caught.value.exit_code == Exit.UNREADABLE
    with pytest.raises(NfsleuthError) as caught:
        open_trace([])
    assert caught.value.exit_code == Exit.WRONG_USE


def test_progress(folder):
    path = folder / "progress"
    path.write_bytes(build.plain(range(100)))
    seen = []
    with open_trace([path], block=512, progress=lambda done, total: seen.append((done, total))) as trace:
        assert sum(len(chunk.frames) for chunk in trace) == 100
    size = path.stat().st_size
    assert seen == sorted(seen)
    assert len(seen) > 5
    assert seen[-1] == (size, size)


def unpacked(path: Path) -> bytes:
    if path.suffix != ".zst":
        return path.read_bytes()
    return subprocess.run(["zstd", "-dc", "--long=31", path], check=True, capture_output=True).stdout


@pytest.mark.shared
@pytest.mark.skipif(not FILES, reason="NFSLEUTH_CAPTURES is not set")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_shared_files_equal_the_twin(folder, path):
    """The first 300 kB of each, which cuts most of them."""
    data = unpacked(path)[:300_000]
    same(folder, data, 1 << 16)


@pytest.mark.shared
@pytest.mark.skipif(not FILES, reason="NFSLEUTH_CAPTURES is not set")
def test_labelled_files_are_read_to_their_end():
    for path in (path for path in FILES if path.parent.name == "lab"):
        with open_trace([path]) as trace:
            frames = sum(len(chunk.frames) for chunk in trace)
        assert frames == trace.sources[0].frames > 0
        assert trace.sources[0].oddities == {}
        assert trace.sources[0].format in {"pcap (zst)", "pcapng (zst)"}

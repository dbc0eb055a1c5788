"""Several files as one trace: time order, ties in the order of the paths, numbers counted through."""

from __future__ import annotations

import subprocess
import threading
from shutil import which

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture import build
from capture.reading import frames_of, read, trials
from nfsleuth.capture import open_trace
from nfsleuth.errors import NfsleuthError

needs_tshark = pytest.mark.skipif(which("tshark") is None, reason="tshark is not on the PATH")


def tagged(times, tag: int) -> bytes:
    """A pcap of ns resolution; each frame says which file it is from and which it is there."""
    records = [(t // 10**9, t % 10**9, 60, bytes([tag, n >> 8, n & 255]) + bytes(20)) for n, t in enumerate(times)]
    return build.pcap(records, magic=0xA1B23C4D)


def save(folder, captures):
    paths = []
    for index, data in enumerate(captures):
        paths.append(folder / f"{index}")
        paths[-1].write_bytes(data)
    return paths


@given(
    st.lists(st.lists(st.integers(1, 12), max_size=12).map(sorted), min_size=2, max_size=5),
    st.sampled_from([64, 300, 1 << 16]),
)
@trials(150)
def test_sorted_files_come_out_sorted(tmp_path_factory, times, block):
    paths = save(tmp_path_factory.mktemp("merge"), [tagged(t, tag) for tag, t in enumerate(times)])
    frames, sources = read(*paths, block=block)
    want = sorted((time, tag, n) for tag, ts in enumerate(times) for n, time in enumerate(ts))
    assert [(f.time, f.data[0], f.data[1] << 8 | f.data[2]) for f in frames] == want
    assert [f.number for f in frames] == list(range(1, len(want) + 1))
    assert [source.frames for source in sources] == [len(ts) for ts in times]
    assert [source.path for source in sources] == [str(path) for path in paths]


@given(st.lists(st.lists(st.integers(1, 9), max_size=9), min_size=2, max_size=4), st.sampled_from([64, 1 << 16]))
@trials(100)
def test_every_file_keeps_its_order(tmp_path_factory, times, block):
    """As a merge of heads does it, the earlier path first: what mergecap does, ties apart."""
    paths = save(tmp_path_factory.mktemp("merge"), [tagged(t, tag) for tag, t in enumerate(times)])
    frames, _ = read(*paths, block=block)
    want = []
    left = [list(enumerate(ts)) for ts in times]
    while any(left):
        tag = min((i for i in range(len(left)) if left[i]), key=lambda i: left[i][0][1])
        want.append((tag, left[tag].pop(0)[0]))
    assert [(f.data[0], f.data[1] << 8 | f.data[2]) for f in frames] == want


def test_rotated_set_passes_without_copying(tmp_path):
    parts = [range(start, start + 1000) for start in (3000, 1000, 2000)]
    paths = save(tmp_path, [tagged(part, tag) for tag, part in enumerate(parts)])
    with open_trace(paths, block=4096) as trace:
        times, buffers = [], set()
        for chunk in trace:
            times += [frame.time for frame in frames_of(chunk)]
            buffers.add(id(chunk.buffer))
    assert times == list(range(1000, 4000))
    assert len(buffers) >= 3  # each file's own


def test_large_overlap_in_bounded_chunks(tmp_path):
    paths = save(tmp_path, [tagged(range(tag, 60_000, 3), tag) for tag in range(3)])
    block = 1 << 14
    with open_trace(paths, block=block) as trace:
        last = 0
        for chunk in trace:
            assert len(chunk.buffer) <= block
            times = chunk.frames["time"]
            assert times[0] == last
            assert (times[1:] == times[:-1] + 1).all()
            last = times[-1] + 1
    assert last == 60_000


def test_numbers_behind_blocks_that_count_too(tmp_path):
    head = build.section() + build.interface(resolution=9)
    custom = build.block("little", 0xBAD, bytes(4))
    one = head + custom + build.enhanced(b"a", 1) + build.enhanced(b"c", 3) + custom
    two = head + build.enhanced(b"b", 2) + build.enhanced(b"d", 9)
    frames, _ = read(*save(tmp_path, [one, two]))
    assert [(frame.data, frame.number) for frame in frames] == [(b"a", 2), (b"b", 3), (b"c", 4), (b"d", 6)]


def test_files_without_frames_and_without_times(tmp_path):
    head = build.section() + build.interface(resolution=9)
    captures = [build.pcap([]), head + build.enhanced(b"b", 5) + build.simple(b"c"), head + build.simple(b"a"), head]
    frames, sources = read(*save(tmp_path, captures))
    assert [(frame.data, frame.number) for frame in frames] == [(b"a", 1), (b"b", 2), (b"c", 3)]
    assert [(source.first, source.frames) for source in sources] == [(None, 0), (5, 2), (None, 1), (None, 0)]


def test_pipe_beside_a_file(tmp_path):
    import os

    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    (path,) = save(tmp_path, [tagged([2, 4], 0)])
    writer = threading.Thread(target=fifo.write_bytes, args=(tagged([1, 3, 5], 1),), daemon=True)
    writer.start()
    frames, sources = read(path, fifo)
    writer.join(10)
    assert [frame.time for frame in frames] == [1, 2, 3, 4, 5]
    assert [source.frames for source in sources] == [2, 3]


def test_one_hopeless_file_is_named_at_once(tmp_path):
    paths = save(tmp_path, [tagged([1], 0), b"nothing"])
    with pytest.raises(NfsleuthError, match="1: byte 0: not a pcap"):
        open_trace(paths)


def test_more_files_than_may_be_open(tmp_path):
    """Files of a rotated set are opened one after the other."""
    import resource

    paths = save(tmp_path, [tagged([n], n & 255) for n in range(200)])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try:
        frames, _ = read(*paths)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [frame.time for frame in frames] == list(range(200))


def test_progress_adds_up(tmp_path):
    paths = save(tmp_path, [tagged(range(tag, 300, 2), tag) for tag in range(2)])
    seen = []
    with open_trace(paths, block=1000, progress=lambda done, total: seen.append((done, total))) as trace:
        for _ in trace:
            pass
    total = sum(path.stat().st_size for path in paths)
    assert seen[-1] == (total, total)
    assert all(done <= total for done, _ in seen)


@pytest.mark.tshark
@needs_tshark
def test_numbers_are_those_of_mergecap(tmp_path):
    times = [[10, 30, 20, 50], [5, 25, 26, 60], [70, 80]]
    paths = save(tmp_path, [tagged(t, tag) for tag, t in enumerate(times)])
    merged = tmp_path / "merged"
    subprocess.run(["mergecap", "-w", merged, *paths], check=True)
    assert [(f.number, f.data) for f in read(*paths)[0]] == [(f.number, f.data) for f in read(merged)[0]]

"""Reading ahead: the same chunks, each good while the next one is made, and an orderly end in every case."""

from __future__ import annotations

import os
import threading

import pytest

from capture import build
from capture.reading import read
from nfsleuth.capture import open_trace
from nfsleuth.capture.ahead import ahead
from nfsleuth.capture.frames import Chunk


def running():
    return [t for t in threading.enumerate() if "reading ahead" in t.name]


def test_one_chunk_is_made_while_another_is_used_and_no_more():
    made, begun = [], threading.Semaphore(0)

    def chunks():
        for number in range(5):
            made.append(number)
            begun.release()
            yield number

    begun_before = 0
    for number in ahead(chunks()):
        wanted = min(number + 2, 5)
        while begun_before < wanted:
            assert begun.acquire(timeout=10)
            begun_before += 1
        assert made == list(range(wanted))
    assert not running()


def test_what_the_reader_raises_is_raised_where_chunks_are_used():
    def chunks():
        yield Chunk(None, None)
        raise OSError("the disk is gone")

    got = ahead(chunks())
    next(got)
    with pytest.raises(OSError, match="the disk is gone"):
        next(got)
    assert not running()


def test_leaving_early_ends_the_thread(tmp_path):
    path = tmp_path / "long.pcap"
    path.write_bytes(build.pcap([(0, 0, 60, b"x" * 60)] * 1000))
    with open_trace([path], block=256, read_ahead=True) as trace:
        for _ in trace:
            assert running()
            break
    assert not running()


@pytest.mark.parametrize("block", [64, 100, 4096])
def test_the_same_frames_with_and_without(tmp_path, block):
    """Records of all sizes, also larger than the buffer, in two files that overlap in time."""
    paths = [tmp_path / "a.pcap", tmp_path / "b.pcap"]
    for which, path in enumerate(paths):
        sizes = [n * 37 % 300 for n in range(200)]
        path.write_bytes(build.pcap([(n, which, size, bytes([which]) * size) for n, size in enumerate(sizes)]))
    for some in (paths[:1], paths):
        with_, _ = read(*some, block=block, read_ahead=True)
        without, _ = read(*some, block=block, read_ahead=False)
        assert with_ == without
        assert len(with_) == 200 * len(some)


def test_pipes_are_not_read_ahead():
    """A thread that waits for a pipe could not be ended."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(build.pcap([(0, 0, 60, b"x" * 60)]))
    with open_trace([f"/dev/fd/{reading}"], read_ahead=True) as trace:
        for _ in trace:
            assert not running()

"""Compressed files and pipes: the same frames come out, as they arrive, and what is missing is told."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from capture import build, naive
from capture.reading import frames_of, read, trials
from nfsleuth.capture import BLOCK, open_trace
from nfsleuth.capture.streams import Plain, Zstd, ZstdFrames

NOISE = random.Random(1)  # bytes that do not compress, so that a cut falls into the middle
DATA = build.pcap([(second, 0, 1500, NOISE.randbytes(1000)) for second in range(300)])


@pytest.mark.parametrize("name", build.PACK)
@pytest.mark.parametrize("block", [64, 5000, 1 << 20])
def test_compressed(tmp_path, name, block):
    path = tmp_path / "no-telling-name"
    packed = build.PACK[name](DATA)
    path.write_bytes(packed)
    frames, (source,) = read(path, block=block)
    assert frames == naive.read(DATA).frames
    assert (source.format, source.bytes, source.oddities) == (f"pcap ({name})", len(packed), {})


@pytest.mark.parametrize("name", build.PACK)
def test_members_padding_and_rest(tmp_path, name):
    pack = build.PACK[name]
    path = tmp_path / "x"
    path.write_bytes(pack(DATA[:1000]) + pack(b"") + pack(DATA[1000:]))
    frames, (source,) = read(path, block=5000)
    assert frames == naive.read(DATA).frames
    assert source.oddities == {}
    path.write_bytes(pack(DATA) + b"garbage behind it")
    frames, (source,) = read(path)
    assert frames == naive.read(DATA).frames
    assert source.oddities == {"compression_rest": 1}


@pytest.mark.parametrize("name", build.PACK)
def test_cut_compressed(tmp_path, name):
    path = tmp_path / "x"
    packed = build.PACK[name](DATA)
    path.write_bytes(packed[: len(packed) * 9 // 10])
    frames, told = read(path)
    if frames is None:  # bzip2: nothing comes out before a block of 900 kB is whole
        assert name == "bz2"
        assert "damaged or cut bz2 stream" in told
        return
    whole = naive.read(DATA).frames
    assert 0 < len(frames) < len(whole)
    assert frames == whole[: len(frames)]
    assert told[0].oddities["compression_cut"] == 1


@pytest.mark.parametrize("name", build.PACK)
def test_every_prefix_of_compressed(tmp_path, name):
    path = tmp_path / "x"
    data = build.pcap([(1, 2, 60, bytes(60))] * 3)
    packed = build.PACK[name](data)
    for end in range(len(packed)):
        path.write_bytes(packed[:end])
        frames, told = read(path, block=64)
        assert frames is None or len(frames) == 3 or told[0].oddities["compression_cut"] == 1


@pytest.mark.parametrize("name", build.PACK)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 5))
@trials(20)
def test_mutated_compressed(tmp_path_factory, name, seed, count):
    path = tmp_path_factory.mktemp("mutated") / "x"
    packed = bytearray(build.PACK[name](DATA[:20_000]))
    chance = random.Random(seed)
    for _ in range(count):
        packed[chance.randrange(len(packed))] = chance.randrange(256)
    path.write_bytes(packed)
    frames, told = read(path)
    assert isinstance(told, str) if frames is None else told[0].frames == len(frames)


@pytest.mark.parametrize("level", [-5, 1, 19])
@pytest.mark.parametrize("checksum", [False, True])
def test_zstd_frames_end_where_the_library_ends(level, checksum):
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=checksum)
    stream = compressor.compressobj()  # the size of the content is not known
    open_ended = stream.compress(DATA) + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) + stream.flush()
    skippable = b"\x53\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
    for packed in (compressor.compress(bytes(500_000)), open_ended, compressor.compress(b""), skippable):
        for step in (1, 7, 100_000):
            follower = ZstdFrames()
            for at in range(0, len(packed), step):
                follower.follow(packed[at : at + step])
                assert follower.complete == (at + step >= len(packed))
            assert not follower.strayed


def test_zstd_long_window(tmp_path):
    path = tmp_path / "long.zst"
    parameters = zstandard.ZstdCompressionParameters(window_log=31, enable_ldm=True)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    path.write_bytes(stream.compress(DATA) + stream.flush())
    assert zstandard.get_frame_parameters(path.read_bytes()).window_size == 2**31
    assert read(path)[0] == naive.read(DATA).frames


def test_bomb_comes_out_in_pieces(tmp_path):
    path = tmp_path / "bomb"
    for name in ("zst", "xz", "gz", "lz4", "bz2"):
        path.write_bytes(build.PACK[name](build.pcap([]) + bytes(20_000_000)))
        with open_trace([path]) as trace:
            chunk = next(iter(trace))  # records of length 0, up to a full table
            assert len(chunk.buffer) == BLOCK
            assert 0 < len(chunk.frames) <= BLOCK // 16


@pytest.mark.parametrize("pack", [None, "gz", "zst"])
def test_pipe_is_read_while_it_is_written(tmp_path, pack):
    """The writer sends the next frame only when the reader has the one before."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got = threading.Semaphore(0)
    late = []

    def write() -> None:
        compressor = zstandard.ZstdCompressor().compressobj() if pack == "zst" else None
        if pack == "gz":
            import zlib

            compressor = zlib.compressobj(wbits=31)
        flush = {"gz": 2, "zst": zstandard.COMPRESSOBJ_FLUSH_BLOCK}.get(pack)  # 2: Z_SYNC_FLUSH

        with fifo.open("wb", buffering=0) as pipe:
            for number, piece in enumerate([build.pcap([]), *(build.plain([n])[24:] for n in range(5))]):
                data = piece if compressor is None else compressor.compress(piece) + compressor.flush(flush)
                for at in range(0, len(data), 11):
                    pipe.write(data[at : at + 11])
                if number and not got.acquire(timeout=10):
                    late.append(number)
            if compressor is not None:
                pipe.write(compressor.flush())

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    numbers = []
    with open_trace([fifo]) as trace:
        for chunk in trace:
            for frame in frames_of(chunk):
                numbers.append(frame.number)
                got.release()
        assert trace.sources[0].bytes > 0
        assert trace.sources[0].oddities == {}
    writer.join(10)
    assert late == []
    assert numbers == [1, 2, 3, 4, 5]


def test_standard_input_in_pieces():
    """`-`, in a process of its own: frames are printed before the pipe is closed."""
    code = (
        "from nfsleuth.capture import open_trace\n"
        "with open_trace(['-']) as trace:\n"
        "    for chunk in trace:\n"
        "        print(len(chunk.frames), flush=True)\n"
        "    print(trace.sources[0].path, trace.sources[0].frames, trace.sources[0].oddities)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(build.plain([1, 2]))
        process.stdin.flush()
        assert process.stdout.readline() == b"2\n"
        process.stdin.write(build.plain([3])[24:-5])
        process.stdin.flush()
        process.stdin.close()
        assert process.stdout.read() == b"- 2 {'file_cut': 1}\n"


def test_non_blocking_pipe():
    """Whoever started us may have set O_NONBLOCK: wait, do not fail."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    stream = Plain(f"/dev/fd/{reading}") if sys.platform == "darwin" else Plain(f"/proc/self/fd/{reading}")
    os.set_blocking(stream._file.fileno(), False)
    threading.Timer(0.05, os.write, (writing, b"late")).start()
    begin = time.monotonic()
    room = bytearray(8)
    assert stream.readinto(memoryview(room)) == 4
    assert room[:4] == b"late"
    assert time.monotonic() - begin < 5
    stream.close()
    os.close(reading)
    os.close(writing)


def test_zstd_is_recognised_by_a_skippable_frame(tmp_path):
    path = tmp_path / "pzstd"
    path.write_bytes(b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + build.PACK["zst"](DATA))
    assert isinstance(Zstd(Plain(str(path))), Zstd)
    frames, (source,) = read(path)
    assert len(frames) == 300
    assert (source.format, source.oddities) == ("pcap (zst)", {})

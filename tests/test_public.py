"""Captures that others made: none may crash the reader, and RPC calls are counted as tshark counts them."""

from __future__ import annotations

import bz2
import io
import os
import subprocess
from pathlib import Path

import pytest
import zstandard

import nfsleuth
from nfsleuth.errors import Exit, NfsleuthError

FOLDER = Path(os.environ.get("NFSLEUTH_CAPTURES", "/nonexistent"))
PUBLIC = sorted(
    path for path in (FOLDER / "public").rglob("*") if path.suffix in (".pcap", ".pcapng", ".snoop", ".bz2", ".cap")
)
LAB = sorted((FOLDER / "lab").glob("*.zst"))
# What is another version of its format than any that is in use.
UNREADABLE = ("pcap-invalid-version-1.pcap", "pcapng-invalid-vers-1.pcapng", "pcapng-invalid-vers-2.pcapng")
# Capture -> (calls by nfsleuth, calls by tshark, why they differ). The reasons were found by looking at the frames.
DIFFERENCES: dict[str, tuple[int, int, str]] = {
    "public/epam+nfstrace/traces/eth-ipv4-udp-nfsv3-dup-retransm.pcap": (
        16, 1, "the client's port is 53, so tshark takes every datagram but the first for DNS"
    ),
    "public/seladb+PcapPlusPlus/Tests/ExamplesTest/pcap_examples/ip-frag.pcap": (
        627, 508, "118 datagrams of which the first fragment was captured twice: tshark reassembles one from both, here it "
        "is a call that is sent again; and the datagram in frame 2604, which tshark does not get together"
    ),
    "public/seladb+PcapPlusPlus/Tests/Pcap++Test/PcapExamples/ip4_fragments.pcap": (
        9, 6, "the same: frames 20, 32 and 44 are first fragments captured twice"
    ),
    "public/the-tcpdump-group+tcpdump/tests/nfs-seg-fault-1.pcapng": (
        1, 0, "one segment of a WRITE whose end is missing: tshark waits for it, here the header is enough"
    ),
    "public/zeek+zeek/testing/btest/Traces/rpc-portmap-sadmind.pcap": (
        13, 18, "frames 3, 12, 16, 23, 26 call program 100232 over UDP; of programs that it does not decode, nfsleuth "
        "takes a datagram for RPC only where RPC was seen before"
    ),
    "lab/h29-reorder-nonmonotonic.pcap.zst": (
        1528, 1381, "frames were put out of order; tshark takes what comes late for a retransmission. 1528 is the number "
        "of the capture that this one was made from (d05)"
    ),
    "lab/h35-snap96-d05.pcap.zst": (
        1523, 1526, "frames 14442, 30552 and 31196 are TCP retransmissions, which tshark dissects again in a capture with "
        "a snaplen. Of 5 more calls of d05 neither can see the record mark"
    ),
}  # fmt: skip


def short(path: Path) -> str:
    return path.relative_to(FOLDER).as_posix()


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("path", PUBLIC, ids=short)
def test_no_capture_crashes_it(path):
    try:
        report = nfsleuth.identify(path)
    except NfsleuthError as error:
        assert error.exit_code == Exit.UNREADABLE
        assert path.name in UNREADABLE
        return
    assert path.name not in UNREADABLE
    (capture,) = report.captures
    assert capture.frames >= 0
    for verdict in report.clients:
        assert sum(verdict.states.values()) == pytest.approx(1)


def ours(path: Path) -> int:
    """RPC calls, those that were sent again included."""
    tables = nfsleuth.read(path)
    return len(tables.calls) + tables.found_odd.get("call_retransmitted", (0, 0))[0]


def by_tshark(path: Path, folder: Path) -> int:
    """RPC calls by tshark, which reads neither bzip2 nor the window of these zstd files."""
    if path.suffix in (".bz2", ".zst"):
        data = path.read_bytes()
        plain = folder / "capture"
        if path.suffix == ".bz2":
            plain.write_bytes(bz2.decompress(data))
        else:
            with plain.open("wb") as out:
                zstandard.ZstdDecompressor(max_window_size=1 << 27).copy_stream(io.BytesIO(data), out)
        path = plain
    decode = ["-d", "tcp.port==2049,rpc"]
    command = ["tshark", "-r", str(path), *decode, "-Y", "rpc.msgtyp==0", "-T", "fields", "-e", "rpc.msgtyp"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    return sum(line.split(",").count("0") for line in run.stdout.split())


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.tshark
@pytest.mark.parametrize("path", PUBLIC + LAB, ids=short)
def test_calls_are_counted_as_tshark_counts_them(path, tmp_path):
    if path.name in UNREADABLE:
        pytest.skip("nfsleuth refuses it: see above")
    mine, theirs = ours(path), by_tshark(path, tmp_path)
    if short(path) in DIFFERENCES:
        assert (mine, theirs) == DIFFERENCES[short(path)][:2]
    else:
        assert mine == theirs

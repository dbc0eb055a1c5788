"""Captures to order: bytes of pcap, pcapng and snoop files from named fields, and Hypothesis strategies for them."""

from __future__ import annotations

import bz2
import gzip
import lzma

import lz4.frame
import zstandard
from hypothesis import strategies as st

ORDERS = st.sampled_from(["little", "big"])
U32 = st.integers(0, 2**32 - 1)
FRAMES = st.binary(max_size=80)
PACK = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lz4": lz4.frame.compress,
    "zst": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
}


def words(order: str, *values: int) -> bytes:
    return b"".join(value.to_bytes(4, order) for value in values)


def pcap(records, *, order="little", magic=0xA1B2C3D4, version=(2, 4), link=1) -> bytes:
    """records: (seconds, fraction, wire, data)."""
    out = words(order, magic) + b"".join(n.to_bytes(2, order) for n in version) + words(order, 0, 0, 262144, link)
    for seconds, fraction, wire, data in records:
        out += words(order, seconds, fraction, len(data), wire)
        out += bytes(8) * (magic == 0xA1B2CD34) + data
    return out


def plain(times, order="little", size=40) -> bytes:
    """A pcap of ns resolution with frames at these times (ns), each of which holds its own time."""
    records = [(t // 10**9, t % 10**9, size, t.to_bytes(8, "big").ljust(size, b".")) for t in times]
    return pcap(records, order=order, magic=0xA1B23C4D)


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return words(order, kind, len(body) + 12) + body + words(order, len(body) + 12)


def option(order: str, code: int, value: bytes) -> bytes:
    return code.to_bytes(2, order) + len(value).to_bytes(2, order) + value + bytes(-len(value) % 4)


def section(order="little", version=(1, 0), options=b"") -> bytes:
    body = words(order, 0x1A2B3C4D) + b"".join(n.to_bytes(2, order) for n in version) + b"\xff" * 8
    return block(order, 0x0A0D0D0A, body + options)


def interface(order="little", link=1, snaplen=0, resolution=None, offset=None, options=b"") -> bytes:
    if resolution is not None:
        options += option(order, 9, bytes([resolution]))
    if offset is not None:
        options += option(order, 14, offset.to_bytes(8, order, signed=True))
    return block(order, 1, link.to_bytes(2, order) + bytes(2) + words(order, snaplen) + options)


def enhanced(data: bytes, ticks=0, order="little", which=0, wire=None) -> bytes:
    head = words(order, which, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data) if wire is None else wire)
    return block(order, 6, head + data)


def obsolete(data: bytes, ticks=0, order="little", which=0) -> bytes:
    head = which.to_bytes(2, order) + bytes(2) + words(order, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(order, 2, head + data)


def simple(data: bytes, order="little", wire=None) -> bytes:
    return block(order, 3, words(order, len(data) if wire is None else wire) + data)


def snoop(records) -> bytes:
    out = b"snoop\0\0\0" + words("big", 2, 4)
    for seconds, fraction, wire, data in records:
        pad = -len(data) % 4
        out += words("big", wire, len(data), 24 + len(data) + pad, 0, seconds, fraction) + data + bytes(pad)
    return out


@st.composite
def pcaps(draw) -> bytes:
    return pcap(
        draw(st.lists(st.tuples(U32, U32, U32, FRAMES), max_size=8)),
        order=draw(ORDERS),
        magic=draw(st.sampled_from([0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34])),
        version=draw(st.sampled_from([(2, 4), (2, 3), (2, 2), (543, 0)])),
        link=draw(st.sampled_from([1, 12, 101, 113, 276, 0x14000001, 0x00300001])),
    )


@st.composite
def sections(draw) -> bytes:
    order = draw(ORDERS)
    out = section(order, draw(st.sampled_from([(1, 0), (1, 2)])))
    ticks = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 2**51))
    which = st.integers(0, 3)
    steps = st.one_of(
        st.builds(
            interface,
            st.just(order),
            st.sampled_from([1, 113, 276]),
            st.sampled_from([0, 7, 262144]),
            st.one_of(st.none(), st.integers(0, 255)),
            st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(-(10**6), 10**6)),
            st.sampled_from([b"", option(order, 2, b"eth0")]),
        ),
        st.builds(enhanced, FRAMES, ticks, st.just(order), which, st.integers(0, 2000)),
        st.builds(obsolete, FRAMES, ticks, st.just(order), which),
        st.builds(simple, FRAMES, st.just(order), st.integers(0, 100)),
        st.builds(block, st.just(order), st.sampled_from([4, 5, 9, 10, 11, 0xBAD, 77]), st.binary(max_size=400)),
    )
    return out + interface(order) + b"".join(draw(st.lists(steps, max_size=8)))


PCAPNGS = st.lists(sections(), min_size=1, max_size=3).map(b"".join)
SNOOPS = st.lists(st.tuples(U32, U32, U32, FRAMES), max_size=6).map(snoop)
CAPTURES = st.one_of(pcaps(), PCAPNGS, SNOOPS)

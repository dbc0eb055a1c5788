"""`walk` against the tree: the same ends, the same fields, and nothing read where nothing is."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdr_values import ITEMS, encode, make, named, walked

from nfsleuth.wire.marks import N_MARKS, SHAPE, Mark
from nfsleuth.wire.programs import ARGS, CODE, NFS3_RESULTS, NFS4_ARGS, NFS4_RESULTS, Table
from nfsleuth.wire.walk import clear, has, walk
from nfsleuth.wire.xdr import CUT, MALFORMED, MESSAGE_LIMIT, Compiler, Struct, XdrError, decode, parse
from tracking import INTERPRETED

EXAMPLES = 60 if INTERPRETED else 250


def outcome(kind: Struct, data: bytes) -> int:
    """What `walk` should return, according to the decoder."""
    try:
        return decode(kind, data, 0, len(data))[1]
    except XdrError as error:
        return error.status


@pytest.mark.parametrize("seed", range(2 if INTERPRETED else 12))
def test_every_item_of_every_table(seed):
    rng = random.Random(seed)
    for name, kind, entry in ITEMS:
        value = make(kind, rng)
        out, found = bytearray(), {}
        encode(kind, value, out, found)
        data = bytes(out)
        assert decode(kind, data, 0, len(data)) == (value, len(data)), name
        end, marks = walked(entry, data)
        assert (end, named(marks)) == (len(data), named(found)), name


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.sampled_from(ITEMS), st.randoms(use_true_random=False))
def test_values_come_back_and_every_prefix_is_cut(item, rng):
    name, kind, entry = item
    value = make(kind, rng)
    out, found = bytearray(), {}
    encode(kind, value, out, found)
    data = bytes(out)
    assert decode(kind, data, 0, len(data))[0] == value
    assert walked(entry, data) == (len(data), found), name
    for end in range(len(data)):
        result, marks = walked(entry, data[:end])
        assert result == CUT, (name, end)
        assert marks.items() <= found.items(), (name, end)
        assert outcome(kind, data[:end]) == CUT, (name, end)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.sampled_from(ITEMS), st.randoms(use_true_random=False))
def test_damaged_bytes_end_as_the_decoder_says(item, rng):
    name, kind, entry = item
    out = bytearray()
    encode(kind, make(kind, rng), out, {})
    for _ in range(rng.randrange(1, 4)):
        if out:
            at = 4 * rng.randrange(len(out) // 4)
            out[at : at + 4] = rng.choice([0, 1, 2, 5, 0xFFFF, 2**26, 2**31, 2**32 - 1]).to_bytes(4, "big")
    data = bytes(out[: rng.randrange(len(out) + 1)] if rng.random() < 0.3 else out)
    assert walked(entry, data)[0] == outcome(kind, data), name


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.sampled_from(ITEMS), st.binary(max_size=200))
def test_any_bytes_are_safe(item, data):
    _, kind, entry = item
    assert walked(entry, data)[0] == outcome(kind, data)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.sampled_from(ITEMS), st.binary(max_size=120), st.binary(min_size=8, max_size=8))
def test_bytes_behind_the_end_do_not_matter(item, data, behind):
    _, _, entry = item
    assert walked(entry, data) == walked(entry, data + behind, end=len(data))


def test_a_cut_opaque_still_tells_its_length():
    data = (0).to_bytes(4, "big") * 2 + (65536).to_bytes(4, "big") + b"first bytes"
    end, found = walked(int(NFS4_RESULTS[25]), data)
    assert end == CUT
    assert named(found) == {"STATUS": (0, 4, 0), "COUNT": (12, 65536, 65536)}


def test_a_row_that_is_taken_is_kept():
    marks = np.empty(SHAPE, np.int64)
    clear(marks)
    data = np.frombuffer(b"\0\0\0\4name\0\0\0\3new\0", np.uint8)
    for begin, end in ((0, 8), (8, len(data))):
        assert walk(CODE, int(NFS4_ARGS[15]), data, begin, end, marks) == end
        assert marks[Mark.NAME].tolist() == [4, 4, 4]
    clear(marks)
    assert not has(marks, Mark.NAME)
    assert walk(CODE, int(NFS4_ARGS[15]), data, 8, len(data), marks) == len(data)
    assert has(marks, Mark.NAME)
    assert marks[Mark.NAME].tolist() == [12, 3, 3]


def test_no_entry_is_malformed():
    assert walked(-1, b"\0" * 100)[0] == MALFORMED


def test_of_two_equal_marks_the_first_wins():
    """LINK of NFSv3 holds two handles: the file's is the one it is about."""
    handle = b"\0\0\0\4%b"
    data = handle % b"file" + handle % b"dir." + b"\0\0\0\1n\0\0\0"
    end, found = walked(int(ARGS[Table.NFS3, 15]), data)
    assert (end, named(found)) == (len(data), {"HANDLE": (4, 4, 4), "NAME": (20, 1, 1)})


def test_an_error_has_a_status_and_no_more():
    end, found = walked(int(NFS4_RESULTS[25]), (10008).to_bytes(4, "big"))
    assert (end, named(found)) == (4, {"STATUS": (0, 4, 10008)})


@pytest.mark.parametrize("count", [2**32 - 1, MESSAGE_LIMIT + 1, MESSAGE_LIMIT // 4])
def test_lying_counts_end_at_once(count):
    """All items once more, each word in turn replaced by a count that no message can hold."""
    rng = random.Random(1)
    begin = time.monotonic()
    for name, kind, entry in ITEMS[:: 8 if INTERPRETED else 1]:
        out = bytearray()
        encode(kind, make(kind, rng), out, {})
        for at in range(0, len(out), 4):
            data = bytes(out[:at]) + count.to_bytes(4, "big") + bytes(out[at + 4 :])
            assert walked(entry, data)[0] in (CUT, MALFORMED, *range(len(data) + 1)), name
    assert time.monotonic() - begin < 20


@pytest.mark.skipif(INTERPRETED, reason="a megabyte is slow without compiled code")
def test_time_is_linear_in_the_bytes():
    """The densest input: a linked list whose elements take as few bytes as can be."""
    element = b"\0\0\0\1" + bytes(8) + bytes(4) + bytes(8)  # fileid, empty name, cookie
    head = bytes(4) + bytes(4) + bytes(8)  # status, no attributes, verifier
    data = head + element * 100_000
    begin = time.monotonic()
    assert walked(int(NFS3_RESULTS[16]), data)[0] == CUT
    assert time.monotonic() - begin < 1


def test_arrays_in_arrays():
    """Two levels of items that differ in length, marks inside, and a third level refused."""
    table = parse(
        "nested", "pair = name:opaque<>@NAME n:u32\nrow = pairs:pair<>\n1 F rows:row<> last:u32@COUNT -> void"
    )
    kind = table.procedures[1].args
    compiler = Compiler()
    entry = compiler.entry(kind)
    code = compiler.array()
    for seed in range(20):
        out, found = bytearray(), {}
        encode(kind, make(kind, random.Random(seed)), out, found)
        marks = np.empty(SHAPE, np.int64)
        clear(marks)
        assert walk(code, entry, np.frombuffer(bytes(out), np.uint8), 0, len(out), marks) == len(out)
        assert {m: tuple(marks[m].tolist()) for m in range(N_MARKS) if has(marks, m)} == found
    deeper = parse("deeper", "a = n:opaque<>\nb = n:a<>\nc = n:b<>\n1 F d:c<> -> void")
    with pytest.raises(ValueError, match="deeper than 2"):
        Compiler().entry(deeper.procedures[1].args)

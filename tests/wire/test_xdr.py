"""The notation of the tables, what it refuses, and the decoder."""

from __future__ import annotations

import pytest

from nfsleuth.wire.marks import Mark
from nfsleuth.wire.xdr import CUT, MALFORMED, Compiler, XdrError, decode, fixed_size, least_size, parse


def args(table: str):
    return parse("test", table).procedures[1].args


def test_every_form_of_type_decodes():
    kind = args(
        "LNK = 5\nhandle = opaque<8>\nwhere = dir:handle@HANDLE name:string<>\n"
        "1 MIX a:u32 b:i32 c:u64 d:i64 e:bool f:opaque[3] g:handle h:u32<2> i:u32? j:where* k:where\n"
        "    t:u32 {LNK 6: l:i32; else: void} -> void"
    )
    data = b"".join(
        [
            b"\0\0\0\1" + b"\xff\xff\xff\xfe" + b"\x80" + bytes(7) + b"\xff" * 8 + b"\0\0\0\1" + b"abc\0",
            b"\0\0\0\2gg\0\0" + b"\0\0\0\2\0\0\0\7\0\0\0\x08" + b"\0\0\0\0",
            b"\0\0\0\1" + b"\0\0\0\1d\0\0\0" + b"\0\0\0\1n\0\0\0" + b"\0\0\0\0",
            b"\0\0\0\0" + b"\0\0\0\0" + b"\0\0\0\6" + b"\xff\xff\xff\xff",
        ]
    )
    value, at = decode(kind, b"??" + data, 2, 2 + len(data))
    assert at == 2 + len(data)
    assert value == {
        "a": 1, "b": -2, "c": 1 << 63, "d": -1, "e": True, "f": b"abc", "g": b"gg", "h": [7, 8], "i": None,
        "j": [{"dir": b"d", "name": b"n"}], "k": {"dir": b"", "name": b""}, "t": 6, "l": -1,
    }  # fmt: skip
    assert list(value)[:3] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("notation", "data", "status"),
    [
        ("a:opaque<4>", b"\0\0\0\5aaaaa\0\0\0", MALFORMED),
        ("a:opaque<8>", b"\0\0\0\5aaaaa\0\0", CUT),
        ("a:opaque<>", b"\xff\xff\xff\xffaaaa", MALFORMED),
        ("a:u32<1>", b"\0\0\0\2" + bytes(8), MALFORMED),
        ("a:u32?", b"\0\0\0\2" + bytes(8), MALFORMED),
        ("a:u32*", b"\0\0\0\3" + bytes(8), MALFORMED),
        ("a:u32 {1: b:u32}", b"\0\0\0\2" + bytes(8), MALFORMED),
        ("a:u32 {1: b:u32; else: void}", b"\0\0\0\1", CUT),
        ("a:u64", bytes(7), CUT),
    ],
)
def test_bytes_that_cannot_be(notation, data, status):
    with pytest.raises(XdrError) as raised:
        decode(args(f"1 F {notation} -> void"), data, 0, len(data))
    assert raised.value.status == status


def test_a_bool_that_is_none_stays_visible():
    assert decode(args("1 F a:bool -> void"), b"\0\0\0\7", 0, 4)[0] == {"a": 7}


def test_results_with_a_status():
    kind = parse("test", "DENIED = 10\n1 F void => a:u32; DENIED: b:u64; else: c:u32").procedures[1].results
    assert decode(kind, bytes(3) + b"\0\0\0\0\1", 0, 8)[0] == {"status": 0, "a": 1}
    assert decode(kind, b"\0\0\0\x0a" + bytes(8), 0, 12)[0] == {"status": 10, "b": 0}
    assert decode(kind, b"\0\0\0\x0b" + bytes(4), 0, 8)[0] == {"status": 11, "c": 0}
    assert kind.fields[0].mark == Mark.STATUS


def test_sizes():
    fixed, variable = args("1 F a:u64 b:opaque[5] -> void"), args("1 F a:u32 {0: b:u64; else: c:opaque<>} -> void")
    assert (fixed_size(fixed), least_size(fixed)) == (16, 16)
    assert (fixed_size(variable), least_size(variable)) == (None, 8)


@pytest.mark.parametrize(
    "wrong",
    [
        "1 F a:u33 -> void",  # no such type
        "1 F a:u32",  # no results
        "1 F a:u32 b -> void",
        "1 F a:u32@NOWHERE -> void",
        "1 F a:u32 a:u32 -> void",
        "1 F a:opaque[2 -> void",
        "1 F a:u64 {0: void} -> void",  # discriminants have 4 bytes
        "1 F a:u32 {MISSING: void} -> void",
        "nothing = void\n1 F a:nothing<> -> void",
        "x = u32 u32",
    ],
)
def test_wrong_tables_are_refused(wrong):
    with pytest.raises(SyntaxError, match="test:"):
        parse("test", wrong)


def test_unmarked_fields_of_fixed_size_are_one_skip():
    compiler = Compiler()
    compiler.entry(args("t = s:i64 n:u32\n1 F a:u32 b:opaque[12] c:t d:u64@OFFSET e:u32 -> void"))
    assert compiler.array().reshape(-1, 3)[:, 0].tolist() == [3, 5, 3, 0]  # SKIP HYPER SKIP END
    assert compiler.code[1] == 4 + 12 + 12


def test_a_mark_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="mark"):
        Compiler().entry(args("1 F a:u32<>@COUNT -> void"))

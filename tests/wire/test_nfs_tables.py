"""The tables against bytes written by hand from the RFCs, against each other, and against real captures."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from xdr_values import named, walked

from nfsleuth.wire import nfs3, nfs4, programs
from nfsleuth.wire.nfs4 import CALLBACK, MAIN_RANK, NFS4, decode_compound
from nfsleuth.wire.programs import ARGS, NFS3_ARGS, NFS3_RESULTS, NFS4_ARGS, NFS4_RESULTS, PROTOCOLS, RESULTS, Table
from nfsleuth.wire.walk import row_of
from nfsleuth.wire.xdr import CUT, ENTRIES, XdrError, decode


def u32(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def u64(*values: int) -> bytes:
    return struct.pack(f">{len(values)}Q", *values)


def opaque(data: bytes) -> bytes:
    return u32(len(data)) + data + bytes(-len(data) % 4)


TEXTS = "HANDLE NAME NAME2 OWNER CLIENT_ID NETID ADDR IMPL_DOMAIN IMPL_NAME SESSION SEC_MACHINE PATH CALLER OH MON_NAME"


def texts(entry: int, data: bytes) -> dict[str, bytes | int]:
    """Marked fields, text as bytes and all else as numbers. The item must end with the data."""
    end, found = walked(int(entry), data)
    assert end == len(data)
    return {
        name: data[at : at + length] if name in TEXTS.split() else value
        for name, (at, length, value) in named(found).items()
    }


def test_every_operation_has_a_row():
    assert set(NFS4.procedures) == {*range(3, 76), programs.OP_ILLEGAL}
    assert set(CALLBACK.procedures) == {*range(3, 16), programs.OP_ILLEGAL}
    assert set(PROTOCOLS[Table.NFS3].procedures) == set(range(22))
    assert set(PROTOCOLS[Table.NFS2].procedures) == set(range(18))
    for row, protocol in enumerate(PROTOCOLS):
        known = [number in protocol.procedures for number in range(ENTRIES)]
        assert ((ARGS[row] >= 0) == known).all()
        assert ((RESULTS[row] >= 0) == known).all()
        assert protocol.title.replace("NFSv4 callback", "CALLBACK").replace("v", "") == Table(row).name


def test_names():
    assert programs.program_name(0x40000003) == "nfs_cb"
    assert programs.program_name(100003) == "nfs"
    assert programs.program_name(7) == "7"
    assert programs.procedure_name(100003, 3, 17) == "READDIRPLUS"
    assert programs.procedure_name(100003, 4, 1) == "COMPOUND"
    assert programs.procedure_name(100005, 3, 1) == "MNT"
    assert programs.procedure_name(100021, 4, 99) == "99"
    assert programs.operation_name(42) == "EXCHANGE_ID"
    assert programs.operation_name(11, callback=True) == "CB_SEQUENCE"
    assert programs.table_of(100021, 2) is Table.NLM3
    assert programs.table_of(100003, 5) is None
    for program, version, wanted in [(100003, 4, 2), (100021, 1, 7), (0x4000_0000, 1, 3), (0x6000_0000, 1, -1)]:
        assert row_of(programs.VERSIONS, program, version) == wanted
    assert nfs3.STATUS[70] == "NFS3ERR_STALE"
    assert nfs4.STATUS[10095] == "NFS4ERR_NOXATTR"


def test_what_a_compound_is_about():
    def about(*names: str) -> str:
        numbers = [next(p.number for p in NFS4.procedures.values() if p.name == name) for name in names]
        return names[max(range(len(names)), key=lambda i: (MAIN_RANK[numbers[i]], -i))]

    assert about("SEQUENCE", "PUTFH", "READ", "GETATTR") == "READ"
    assert about("PUTFH", "OPEN", "GETFH", "ACCESS", "GETATTR") == "OPEN"
    assert about("SEQUENCE", "PUTFH", "LOOKUP", "GETFH", "GETATTR") == "LOOKUP"
    assert about("SEQUENCE", "PUTFH", "ACCESS", "GETATTR") == "ACCESS"
    assert about("PUTFH", "SAVEFH", "PUTFH", "RENAME", "GETATTR") == "RENAME"
    assert about("SEQUENCE") == "SEQUENCE"
    assert MAIN_RANK[2] == 0


def test_setclientid():
    data = u64(0x5F00000000000001) + opaque(b"Linux NFSv4.0 client") + u32(0x40000000)
    data += opaque(b"tcp") + opaque(b"10.0.0.7.130.1") + u32(1)
    assert texts(NFS4_ARGS[35], data) == {
        "VERIFIER": 0x5F00000000000001,
        "CLIENT_ID": b"Linux NFSv4.0 client",
        "CB_PROGRAM": 0x40000000,
        "NETID": b"tcp",
        "ADDR": b"10.0.0.7.130.1",
    }
    in_use = u32(10017) + opaque(b"udp") + opaque(b"10.0.0.8.1.1")
    assert texts(NFS4_RESULTS[35], in_use)["ADDR"] == b"10.0.0.8.1.1"
    assert texts(NFS4_RESULTS[35], u32(0) + u64(77, 1)) == {"STATUS": 0, "CLIENTID": 77}


def test_exchange_id():
    implementation = u32(1) + opaque(b"kernel.org") + opaque(b"Linux 6.1") + u64(0) + u32(0)
    data = u64(9) + opaque(b"Linux NFSv4.2 host") + u32(0x101, 1, 1, 0xF, 2, 1, 2) + implementation
    found = texts(NFS4_ARGS[42], data)  # SP4_MACH_CRED with two bitmaps
    assert found["CLIENT_ID"] == b"Linux NFSv4.2 host"
    assert found["IMPL_NAME"] == b"Linux 6.1"
    assert found["IMPL_DOMAIN"] == b"kernel.org"
    assert (found["FLAGS"], found["VERIFIER"], found["IMPL_DATE"]) == (0x101, 9, 0)
    reply = u32(0) + u64(5) + u32(1, 0x20103, 0) + u64(0) + opaque(b"major") + opaque(b"scope") + implementation
    found = texts(NFS4_RESULTS[42], reply)
    assert (found["CLIENTID"], found["FLAGS"], found["IMPL_NAME"]) == (5, 0x20103, b"Linux 6.1")


def test_create_session():
    channel = u32(0, 1049620, 1049480, 7584, 8, 64, 0)
    sys = u32(1, 0xABCDEF) + opaque(b"client7") + u32(0, 0, 1, 0)
    data = u64(5) + u32(1, 3) + channel + channel + u32(0x40000000, 2, 0) + sys
    assert texts(NFS4_ARGS[43], data) == {
        "CLIENTID": 5,
        "CB_PROGRAM": 0x40000000,
        "SEC_STAMP": 0xABCDEF,
        "SEC_MACHINE": b"client7",
    }
    reply = u32(0) + b"0123456789abcdef" + u32(1, 3) + channel + channel
    assert texts(NFS4_RESULTS[43], reply) == {"STATUS": 0, "SESSION": b"0123456789abcdef"}


def test_open():
    owner = u64(5) + opaque(b"open id:\0\0\0\1")
    attributes = u32(2, 0, 2) + opaque(u32(0o644))
    head = u32(0, 3, 0) + owner
    found = texts(NFS4_ARGS[18], head + u32(1, 0) + attributes + u32(0) + opaque(b"report.txt"))
    assert found == {"CLIENTID": 5, "OWNER": b"open id:\0\0\0\1", "NAME": b"report.txt"}
    found = texts(NFS4_ARGS[18], head + u32(1, 3) + u64(99) + attributes + u32(4))  # EXCLUSIVE4_1, CLAIM_FH
    assert found == {"CLIENTID": 5, "OWNER": b"open id:\0\0\0\1", "EXCL_VERIFIER": 99}
    reply = u32(0) + u32(1) + b"s" * 12 + u32(1) + u64(1, 2) + u32(4, 0)
    for delegation in (
        u32(0),
        u32(1) + u32(1) + b"s" * 12 + u32(0, 0, 0, 0) + opaque(b"EVERYONE@"),
        u32(2) + u32(1) + b"s" * 12 + u32(0, 2, 8, 512, 0, 0, 0) + opaque(b""),
        u32(3, 1, 0),  # contention
        u32(3, 0),  # not wanted
    ):
        assert texts(NFS4_RESULTS[18], reply + delegation) == {"STATUS": 0}


def test_read_and_write():
    sessionless = b"i" * 16
    assert texts(NFS4_ARGS[25], sessionless + u64(1 << 40) + u32(65536)) == {"OFFSET": 1 << 40, "COUNT": 65536}
    assert texts(NFS4_RESULTS[25], u32(0, 1) + opaque(b"hello")) == {"STATUS": 0, "COUNT": 5}
    assert texts(NFS4_ARGS[38], sessionless + u64(3) + u32(2) + opaque(b"data!")) == {"OFFSET": 3, "COUNT": 5}
    assert texts(NFS4_RESULTS[38], u32(0, 5, 2) + u64(1)) == {"STATUS": 0, "COUNT": 5}
    handle = opaque(b"H" * 28)
    assert texts(NFS3_ARGS[6], handle + u64(8) + u32(99)) == {"HANDLE": b"H" * 28, "OFFSET": 8, "COUNT": 99}
    attributes = u32(1) + bytes(84)
    assert texts(NFS3_RESULTS[6], u32(0) + attributes + u32(5, 1) + opaque(b"hello")) == {"STATUS": 0, "COUNT": 5}
    assert texts(NFS3_RESULTS[6], u32(70) + u32(0)) == {"STATUS": 70}
    wcc = u32(1) + bytes(24) + u32(0)
    assert texts(NFS3_RESULTS[7], u32(0) + wcc + u32(5, 2) + u64(1)) == {"STATUS": 0, "COUNT": 5}
    holes = u32(0, 1, 2) + u32(1) + u64(0, 4096) + u32(0) + u64(4096) + opaque(b"xyz")
    assert texts(NFS4_RESULTS[68], holes)["COUNT"] == 3


def test_renames_keep_their_names_apart():
    assert texts(NFS4_ARGS[29], opaque(b"old") + opaque(b"new")) == {"NAME": b"old", "NAME2": b"new"}
    found = texts(NFS3_ARGS[14], opaque(b"dir1") + opaque(b"old") + opaque(b"dir2") + opaque(b"new"))
    assert (found["NAME"], found["NAME2"]) == (b"old", b"new")


def test_setattr_tells_its_attributes_whatever_the_status():
    assert texts(NFS4_RESULTS[34], u32(13, 0)) == {"STATUS": 13}
    assert texts(NFS4_RESULTS[34], u32(0, 2, 0, 2)) == {"STATUS": 0}


def test_the_side_protocols():
    row = Table.NLM4
    lock = opaque(b"host7") + opaque(b"F" * 32) + opaque(b"12@host7") + u32(12) + u64(0, 2**64 - 1)
    found = texts(ARGS[row, 2], opaque(b"\0\0\0\1") + u32(1, 1) + lock + u32(0, 3))
    assert found == {"CALLER": b"host7", "HANDLE": b"F" * 32, "OH": b"12@host7", "SVID": 12}
    assert texts(ARGS[row, 23], opaque(b"host7") + u32(4)) == {"CALLER": b"host7"}
    assert texts(ARGS[Table.MOUNT3, 1], opaque(b"/srv/home")) == {"PATH": b"/srv/home"}
    mounted = u32(0) + opaque(b"root-handle") + u32(2, 1, 390003)
    assert texts(RESULTS[Table.MOUNT3, 1], mounted)["HANDLE"] == b"root-handle"
    exports = u32(1) + opaque(b"/a") + u32(1) + opaque(b"10.0.0.0/8") + u32(1) + opaque(b"*") + u32(0)
    assert texts(RESULTS[Table.MOUNT3, 5], exports + u32(1) + opaque(b"/b") + u32(0, 0)) == {}
    assert texts(ARGS[Table.NSM1, 6], opaque(b"host7") + u32(5)) == {"MON_NAME": b"host7"}
    assert texts(ARGS[Table.PORTMAP2, 3], u32(100003, 3, 17, 0)) == {}


def test_compound():
    call = opaque(b"tag") + u32(1, 2) + u32(53) + b"S" * 16 + u32(1, 0, 0, 1) + u32(22) + opaque(b"fh")
    value, at = decode_compound(call, 0, len(call))
    assert at == len(call)
    assert value["tag"] == b"tag"
    assert [op["op"] for op in value["argarray"]] == [53, 22]
    assert value["argarray"][0]["sa_cachethis"] is True
    assert value["argarray"][1] == {"op": 22, "object": b"fh"}
    reply = u32(10008) + opaque(b"") + u32(1, 53, 10008)
    value, _ = decode_compound(reply, 0, len(reply), results=True)
    assert value == {"status": 10008, "tag": b"", "resarray": [{"op": 53, "status": 10008}]}
    with pytest.raises(XdrError):
        decode_compound(opaque(b"") + u32(1, 1, 76), 0, 16)


# Real captures


CAPTURES = os.environ.get("NFSLEUTH_CAPTURES")


def messages(path: Path):
    """(RPC message, whether it is whole) where one begins with the payload of an Ethernet/IPv4 packet.

    Over TCP, it must end with the packet, too. That makes a pcap reader of a dozen lines.
    """
    data = path.read_bytes()
    if path.suffix == ".zst":
        import zstandard

        data = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data).read()
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    at = 24
    while at + 16 <= len(data):
        captured, wire = struct.unpack(f"{order}II", data[at + 8 : at + 16])
        frame, at = data[at + 16 : at + 16 + captured], at + 16 + captured
        fragment = int.from_bytes(frame[20:22], "big")
        if frame[12:14] != b"\x08\x00" or fragment & 0x1FFF:
            continue
        length = int.from_bytes(frame[16:18], "big")
        body = frame[14 : 14 + length][4 * (frame[14] & 15) :]
        if frame[23] == 17:
            yield body[8:], captured == wire and not fragment & 0x2000
        elif frame[23] == 6:
            missing = max(0, 14 + length - captured)
            body = body[4 * (body[12] >> 4) :]
            if len(body) > 4 and int.from_bytes(body[:4], "big") == 0x80000000 + len(body) + missing - 4:
                yield body[4:], not missing


def bodies(path: Path):
    """(table, procedure, is a reply, bytes, whole) of every call and of every matched successful reply."""
    calls: dict[bytes, tuple[Table, int]] = {}
    for data, whole in messages(path):
        if len(data) < 28:
            continue
        kind = int.from_bytes(data[4:8], "big")
        if kind == 0 and data[8:12] == u32(2):
            program, version, procedure = struct.unpack(">III", data[12:24])
            table, at = programs.table_of(program, version), 24
            for _ in range(2):  # credentials and verifier
                at += 8 + (int.from_bytes(data[at + 4 : at + 8], "big") + 3 & ~3)
            if table is not None:
                calls[data[:4]] = (table, procedure)
                yield table, procedure, False, data[at:], whole
        elif kind == 1 and data[:4] in calls and data[8:12] == u32(0):
            at = 16 + 4 + (int.from_bytes(data[16:20], "big") + 3 & ~3)
            if data[at : at + 4] == u32(0):
                yield *calls[data[:4]], True, data[at + 4 :], whole


def walked_compound(table: Table, reply: bool, body: bytes) -> int:
    """Where a COMPOUND ends if `walk` goes over its operations."""
    head = "COMPOUND4res" if reply else "COMPOUND4args" if table is Table.NFS4 else "CB_COMPOUND4args"
    _, at = decode(NFS4.types[head], body, 0, len(body))
    (count,), at = struct.unpack_from(">I", body, at), at + 4
    for _ in range(count):
        (number,) = struct.unpack_from(">I", body, at)
        end, _ = walked(int((RESULTS if reply else ARGS)[table, number]), body[at + 4 :])
        assert end >= 0, (number, body[at:].hex())
        at += 4 + end
    return at


@pytest.mark.shared
@pytest.mark.skipif(not CAPTURES, reason="NFSLEUTH_CAPTURES does not name the captures")
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("public/epam+nfstrace/traces/eth-ipv4-udp-nfsv3-dup-retransm.pcap", 25),
        ("public/OISF+suricata-verify/tests/nfs3-01/input.pcap", 120),
        ("public/OISF+suricata-verify/tests/issue-3277-nfsv2-filestore/nfsv2.pcap", 100),
        ("public/OISF+suricata-verify/tests/nfs4-01/input.pcap", 50),
        ("public/epam+nfstrace/traces/eth-ipv4-tcp-nfsv41.pcap", 500),
        ("lab/a02-virtio-slirp-v4.0.pcap.zst", 500),
        ("lab/a08-virtio-bridged-v4.2.pcap.zst", 500),
        ("lab/a14-rtl8139-bridged-v3.pcap.zst", 500),
        ("lab/c15-ganesha-proxyv4.pcap.zst", 150),
    ],
)
def test_real_messages_end_where_the_tables_say(name, least):
    seen = 0
    for table, procedure, reply, body, whole in bodies(Path(CAPTURES) / name):
        if table in (Table.NFS4, Table.CALLBACK):
            if procedure == 1 and whole:
                _, at = decode_compound(body, 0, len(body), results=reply, callback=table is Table.CALLBACK)
                assert (at, walked_compound(table, reply, body)) == (len(body), len(body)), body.hex()
                seen += 1
            continue
        item = PROTOCOLS[table].procedures[procedure]
        end, _ = walked(int((RESULTS if reply else ARGS)[table, procedure]), body)
        assert end == (len(body) if whole else CUT), (table, item.name, body.hex())
        if whole:
            assert decode(item.results if reply else item.args, body, 0, len(body))[1] == len(body)
        seen += 1
    assert seen >= least

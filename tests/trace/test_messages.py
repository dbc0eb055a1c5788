"""What is read out of calls and replies, one kind of message at a time."""

from __future__ import annotations

import pytest

import packets as p
from nfsleuth.trace.tables import (
    CALL_CUT,
    CALL_FROM_SERVER,
    CALL_HIDDEN,
    CALL_RETRANSMITTED,
    Flavor,
    Identity,
    Neighbour,
    Program,
    Role,
    Version,
)
from packets import Conversation, Frame
from tracking import track

MS = 10**6


def spoken(*exchanges, options=(), **fields):
    """A conversation of (call, reply) pairs; None says nothing."""
    talk = Conversation(**fields).handshake(*options)
    for call, reply in exchanges:
        for side, message in ((0, call), (1, reply)):
            if message is not None:
                talk.send(side, p.record(message))
    return talk


def only(rows):
    assert len(rows) == 1
    return rows[0]


def test_a_syn_and_its_handshake():
    row = only(track(Conversation(ttl=(63, 64)).handshake().frames).connections)
    assert (row["syn_frame"], row["syn_ttl"], row["syn_mss"], row["syn_wscale"]) == (1, 63, 1460, 7)
    assert (row["handshake"], row["role"], row["client_port"]) == (1000, Role.SYN, 777)
    assert row["syn_flags"] == 1 | 2  # DF, an IP id


def test_setclientid():
    call = p.call(
        1, version=4, procedure=1, arguments=p.compound(p.setclientid(0x1122334455667788, "Linux NFSv4.0 web01"))
    )
    seen = track(spoken((call, p.reply(1, p.compound_results(p.u32(35, 0) + p.u64(77, 8))))).frames)
    assert seen.of_kind(Identity.CLIENT_ID) == [(b"Linux NFSv4.0 web01", 0x1122334455667788, 0)]
    assert seen.of_kind(Identity.CALLBACK) == [(b"tcp\x0010.0.2.15.3.9", p.CALLBACK, 0)]
    assert seen.of_kind(Identity.CLIENTID) == [(b"", 77, 0)]
    assert seen.connections["versions"][0] == Version.V4_0


def test_exchange_id_and_sequence():
    asked = p.call(1, version=4, procedure=1, arguments=p.compound(p.exchange_id(9, "Linux NFSv4.2 web01"), minor=2))
    then = p.call(2, version=4, procedure=1, arguments=p.compound(p.sequence4(), p.putfh(), p.read4(8, 100), minor=2))
    read = p.compound_results(p.sequence4_result(), p.ok(22), p.read4_result(bytes(90)))
    seen = track(spoken((asked, p.reply(1, p.compound_results(status=10008))), (then, p.reply(2, read))).frames)
    assert seen.of_kind(Identity.CLIENT_OWNER) == [(b"Linux NFSv4.2 web01", 9, 0x101)]
    assert seen.of_kind(Identity.IMPLEMENTATION) == [(b"kernel.org\0Linux 6.1.0", 0, 0)]
    halves = int.from_bytes(b"01234567", "big"), int.from_bytes(b"89abcdef", "big")
    assert {(a, b) for _, a, b in seen.of_kind(Identity.SESSION)} == {halves}
    row = seen.calls[seen.calls["xid"] == 2][0]
    assert (row["main"], row["ops"][:3].tolist(), row["offset"], row["count"], row["bytes"]) == (
        25,
        [53, 22, 25],
        8,
        100,
        90,
    )
    assert seen.connections["versions"][0] == Version.V4_2
    assert seen.connections["errors"][0] == 1


def test_operations_behind_data_that_is_not_looked_at_are_none():
    """The data of a WRITE is passed over, with what follows it, and never shows operations of a call before."""
    getattr_ = p.u32(9, 1, 0x18)
    short = p.call(1, version=4, procedure=1, arguments=p.compound(p.putfh(), p.lookup4(), p.u32(10), p.u32(12)))
    long = p.call(
        2, version=4, procedure=1, arguments=p.compound(p.putfh(), p.write4(0, bytes(9000)), getattr_, getattr_)
    )
    rows = track(
        spoken((short, None), (long, p.reply(2, p.compound_results(p.ok(22), p.write4_result(9000))))).frames
    ).calls
    counted = {int(row["xid"]): (int(row["ops_count"]), row["ops"][:5].tolist()) for row in rows}
    assert counted == {1: (4, [22, 15, 10, 12, 0]), 2: (4, [22, 38, 0, 0, 0])}


def test_the_session_is_told_by_replies_alone():
    """One-way captures; an NFSv3 reply does not look like that."""
    replies = [p.reply(2, p.compound_results(p.sequence4_result(), p.ok(22))), p.reply(3, p.read3_results(b"x" * 100))]
    seen = track([f for f in spoken(*((None, r) for r in replies)).frames if f.data[6:12] == p.mac(p.SERVER_MAC)])
    assert len(seen.of_kind(Identity.SESSION)) == 1
    assert seen.odd["reply_unmatched"] == 2


def test_the_same_text_is_reported_once_per_connection():
    calls = [(p.call(n), p.reply(n)) for n in range(5)]
    seen = track(spoken(*calls).frames + spoken(*calls, ports=(778, 2049)).frames)
    assert seen.of_kind(Identity.MACHINE_NAME) == [(b"web01", 7, 0)] * 2


@pytest.mark.parametrize(
    ("program", "version", "procedure", "arguments", "results", "status"),
    [
        (p.MOUNT, 3, 1, p.opaque("/export"), p.u32(0) + p.opaque(b"handle") + p.u32(1, 1), 0),
        (p.MOUNT, 3, 1, p.opaque("/export"), p.u32(13), 13),
        (p.MOUNT, 3, 3, p.opaque("/export"), b"", 0),  # UMNT returns nothing
        (p.MOUNT, 3, 5, b"", p.u32(1) + p.opaque("/export") + p.u32(0, 0), 0),  # EXPORT: a list, no status
        (p.PORTMAP, 2, 3, p.u32(p.NFS, 3, 6, 0), p.u32(2049), 0),
        (p.NFSACL, 3, 1, p.opaque(b"handle") + p.u32(1), p.u32(70), 70),
        (p.NFS, 3, 0, b"", b"", 0),
        (p.NFS, 3, 1, p.opaque(b"handle"), p.u32(10001), 10001),
        (p.NFS, 2, 8, bytes(32) + p.u32(0, 4096, 0) + p.opaque(b"x" * 90), p.u32(0) + bytes(68), 0),
    ],
)
def test_results_of_every_program(program, version, procedure, arguments, results, status):
    call = p.call(1, program, version, procedure, arguments)
    seen = track(spoken((call, p.reply(1, results))).frames)
    row = only(seen.calls)
    assert (row["status"], row["flags"]) == (status, 0)
    assert seen.odd == {}
    if (version, procedure) == (2, 8):
        assert (row["offset"], row["count"], row["bytes"]) == (4096, 90, 90)
        assert (seen.connections["writes"][0], seen.connections["write_bytes"][0]) == (1, 90)


def test_denied_and_failed_calls():
    seen = track(spoken((p.call(1), p.denied(1)), (p.call(2), p.reply(2, accept=3))).frames)
    assert seen.calls["status"].tolist() == [-200, -103]
    assert seen.connections["errors"][0] == 0


def test_a_mount_names_its_path():
    seen = track(spoken((p.call(1, p.MOUNT, 3, 1, p.opaque("/export")), None), ports=(777, 20048)).frames)
    assert seen.of_kind(Identity.MOUNT_PATH) == [(b"/export", 0, 0)]
    assert seen.connections["programs"][0] == Program.MOUNT
    assert seen.odd == {"call_unanswered": 1}


def test_hidden_arguments_are_counted_but_not_read():
    secret = p.call(
        1, version=4, procedure=1, arguments=b"\xff" * 64, credential=p.auth_gss(3), verifier=p.auth(6, bytes(28))
    )
    seen = track(spoken((secret, p.reply(1, b"\xff" * 64, verifier=p.auth(6, bytes(28))))).frames)
    assert seen.calls["flags"][0] == CALL_HIDDEN
    assert seen.calls["flavor"][0] == Flavor.GSS
    assert seen.connections["flavors"][0] == Flavor.GSS | Flavor.GSS_HIDDEN
    assert seen.odd == {"body_hidden": 1}


def test_integrity_leaves_arguments_readable():
    """RFC 2203 section 5.3.3.4.2: a length and a sequence number stand before them."""
    lookup = p.u32(64, 1) + p.lookup3(name="secret-name")
    call = p.call(1, procedure=3, arguments=lookup, credential=p.auth_gss(2), verifier=p.auth(6, bytes(28)))
    reply = p.reply(1, p.u32(12, 1) + p.u32(2, 0), verifier=p.auth(6, bytes(28)))
    seen = track(spoken((call, reply)).frames)
    assert seen.names == [b"secret-name"]
    assert (seen.calls["status"][0], seen.calls["flavor"][0]) == (2, Flavor.GSS)


def test_after_auth_tls_nothing_is_read():
    """RFC 9289: what follows is TLS, in both directions, and never taken for RPC."""
    talk = spoken((p.call(1, credential=p.AUTH_TLS), p.reply(1, verifier=p.auth(0, p.STARTTLS))))
    talk.send(0, b"\x16\x03\x01\x02\0" + bytes(512)).send(1, b"\x16\x03\x03\0\x7a" + bytes(122))
    talk.send(0, b"\x17\x03\x03\0\x48" + p.record(p.call(9)))
    for cuts in ((), range(len(talk.frames))):
        seen = track(talk.frames, cuts=cuts)
        assert seen.connections["calls"][0] == 1
        assert seen.connections["flavors"][0] == Flavor.TLS
        assert seen.odd == {"tls": 1}


def test_tls_that_was_begun_before_the_capture():
    talk = Conversation()
    for _ in range(4):
        talk.raw(0, b"\x17\x03\x03\0\x60" + bytes(96))
    seen = track(talk.frames)
    assert (seen.odd, seen.connections["flavors"][0]) == ({"tls": 1}, Flavor.TLS)


def test_another_protocol_is_given_up():
    talk = Conversation(ports=(40_000, 80)).handshake()
    for _ in range(80):
        talk.raw(0, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").raw(1, b"HTTP/1.1 200 OK\r\n\r\n")
    seen = track(talk.frames)
    assert seen.odd == {"not_rpc": 1}
    assert seen.connections["calls"][0] == 0


def test_callbacks_come_from_the_server():
    """NFSv4.1: over the client's connection, with the xid of a call that is outstanding."""
    session = p.compound(p.sequence4(), p.putfh(), minor=1)
    talk = Conversation().handshake()
    talk.send(0, p.record(p.call(5, version=4, procedure=1, arguments=session)))
    back = p.opaque("") + p.u32(1, 0, 0)
    talk.send(1, p.record(p.call(5, p.CALLBACK, 1, 1, back, credential=p.AUTH_NONE)))
    talk.send(0, p.record(p.reply(5, p.u32(0) + p.opaque("") + p.u32(0))))
    talk.send(1, p.record(p.reply(5, p.compound_results(p.sequence4_result(), p.ok(22)))))
    seen = track(talk.frames)
    row = only(seen.connections)
    assert (row["calls"], row["replies"], row["programs"]) == (1, 1, Program.NFS | Program.CALLBACK)
    flags = {int(c["program"]): int(c["flags"]) for c in seen.calls}
    assert flags == {p.NFS: 0, p.CALLBACK: CALL_FROM_SERVER}
    assert seen.calls["reply_frame"].min() > 0
    assert seen.odd == {}


def test_a_call_that_is_sent_again():
    talk = Conversation().handshake()
    call = p.record(p.call(1, procedure=3, arguments=p.lookup3()))
    talk.send(0, call).send(0, call).send(1, p.record(p.reply(1, p.u32(2, 0))))
    seen = track(talk.frames)
    assert (seen.connections["calls"][0], seen.connections["replies"][0]) == (2, 1)
    assert only(seen.calls)["flags"] == CALL_RETRANSMITTED
    assert seen.odd == {"call_retransmitted": 1}


def test_who_calls_nfs_is_the_client_whatever_its_port():
    talk = Conversation(ports=(2049, 40_000))
    talk.raw(1, b"").raw(0, p.record(p.call(1)))
    row = only(track(talk.frames).connections)
    assert (row["client_port"], row["server_port"], row["role"]) == (2049, 40_000, Role.RPC)


def test_a_call_cut_by_the_snaplen_is_counted():
    talk = spoken((p.call(1, procedure=3, arguments=p.lookup3(name="a-long-name" * 9)), p.reply(1, p.u32(2, 0))))
    seen = track(talk.frames, snaplen=140)
    assert only(seen.calls)["flags"] & CALL_CUT
    assert (seen.connections["calls"][0], seen.connections["replies"][0]) == (1, 1)
    assert seen.odd == {"record_cut": 1}
    (name,) = seen.of_kind(Identity.MACHINE_NAME)
    assert b"web01".startswith(name[0])


# Time with READ calls outstanding (trace.transfers)


def reads(*steps):
    """steps: (ms, "call" or "reply" or bytes of a reply that is still to come, xid)."""
    talk = Conversation().handshake()
    begin = talk.time
    for ms, what, xid in steps:
        talk.time = begin + ms * MS
        if what == "call":
            talk.raw(0, p.record(p.call(xid, procedure=6, arguments=p.read3(count=3000))))
        elif what == "reply":
            talk.raw(1, p.record(p.reply(xid, p.read3_results(bytes(100)))))
        else:
            talk.raw(1, what)
    row = only(track(talk.frames).connections)
    return row["read_busy"] / MS


LONG = p.record(p.reply(1, p.read3_results(bytes(3000))))


def test_busy_from_call_to_reply():
    assert reads((0, "call", 1), (10, "reply", 1), (100, "call", 2), (105, "reply", 2)) == 15


def test_busy_until_the_last_byte_of_the_reply():
    assert reads((0, "call", 1), (10, LONG[:1400], 1), (12, LONG[1400:2800], 1), (14, LONG[2800:], 1)) == 14


def test_busy_is_counted_once_for_reads_side_by_side():
    assert reads((0, "call", 1), (1, "call", 2), (10, "reply", 2), (12, "reply", 1)) == 12
    assert reads((0, "call", 1), (5, "call", 2), (10, "reply", 1), (12, "reply", 2)) == 12


def test_a_read_without_a_reply_does_not_make_a_connection_busy():
    assert reads((0, "call", 1), (1, "call", 2), (2, "reply", 2), (5000, "call", 3), (5003, "reply", 3)) == 4


def test_last_call():
    """Of the client: neither replies nor keep-alives nor callbacks."""
    talk = spoken((p.call(1), p.reply(1)))
    when = talk.frames[3].time
    talk.raw(0, b"", sequence=talk.number(0) - 1)
    talk.send(1, p.record(p.call(9, p.CALLBACK, 1, 0, credential=p.AUTH_NONE)))
    row = only(track(talk.frames).connections)
    assert (row["last_call"], row["keepalives"].tolist()) == (when, [1, 0])
    assert only(track(Conversation().handshake().frames).connections)["last_call"] == 0


# Beside TCP


def datagram(message, side=0, **fields):
    ends = ("10.0.0.7", "10.0.0.1")[:: 1 if side == 0 else -1]
    ports = (777, 2049)[:: 1 if side == 0 else -1]
    return Frame(p.ethernet(p.ipv4(p.udp(message, *ports), *ends, protocol=17, **fields)))


def test_rpc_over_udp():
    frames = [datagram(p.call(1, p.NFS, 3, 3, p.lookup3(name="over-udp"))), datagram(p.reply(1, p.u32(2, 0)), 1)]
    seen = track([*frames, datagram(b"something else entirely")])
    row = only(seen.connections)
    assert (row["transport"], row["calls"], row["replies"], row["errors"]) == (17, 1, 1, 1)
    assert seen.names == [b"over-udp"]


def fragments(payload, sizes, protocol):
    """An IPv4 datagram in fragments."""
    out, at = [], 0
    for size in sizes:
        part = payload[at : at + size]
        more = at + size < len(payload)
        out.append(Frame(p.ethernet(p.ipv4(part, protocol=protocol, at=at, more=more, df=False, identification=77))))
        at += size
    return out


def test_udp_in_fragments():
    call = p.call(1, p.NFS, 3, 7, p.write3(data=bytes(4000)))
    seen = track(fragments(p.udp(call), [1480, 1480, 1480], 17))
    assert (seen.connections["calls"][0], only(seen.calls)["count"]) == (1, 4000)
    assert seen.odd == {"call_unanswered": 1}


def test_tcp_in_fragments():
    records = b"".join(p.record(p.call(n, procedure=3, arguments=p.lookup3(name=f"f{n}"))) for n in range(30))
    seen = track(fragments(p.tcp(records, 777, 2049), [104, 800, 800, 1480, 1480], 6))
    assert seen.connections["calls"][0] == 30
    assert seen.connections["payload"][0].sum() == len(records)


def test_neighbours():
    frames = [
        Frame(p.ethernet(p.arp(), kind=0x0806)),
        Frame(p.stp()),
        Frame(p.ethernet(p.ipv4(b"", protocol=112))),
        Frame(p.ethernet(p.ipv6(b"\x88" + bytes(23), hops=255, protocol=58))),
        *Conversation().handshake().frames,
    ]
    seen = track(frames)
    kinds = {(int(n["kind"]), int(n["mac"])) for n in seen.neighbours}
    assert {(Neighbour.ARP, 0x525400000007), (Neighbour.BRIDGE, 0x525400AABBCC)} <= kinds
    assert {(Neighbour.ROUTER, 0x525400000007), (Neighbour.ND, 0x525400000007)} <= kinds


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        (Frame(b"short"), "frame_cut"),
        (Frame(p.ethernet(p.ipv4()[:19], kind=0x0800)), "frame_cut"),
        (Frame(p.ethernet(p.ipv4(b"short"))), "frame_cut"),
        (Frame(p.ethernet(p.ipv4(total=10))), "ip_malformed"),
        (Frame(p.ethernet(p.ipv4(b"\0" * 12 + b"\x10" + b"\0" * 7))), "tcp_malformed"),
        (Frame(p.ethernet(p.ipv4(b"", protocol=47))), "tunnel"),
        (Frame(p.ethernet(p.ipv4(p.udp(b"x" * 50, 9, 4789), protocol=17))), "tunnel"),
        (Frame(p.ethernet(p.ipv4(b"", protocol=132))), "transport_other"),
        (Frame(p.ethernet(p.ipv4(p.tcp(flags=p.SYN, options=b"\2\0\0\0")))), "tcp_options_malformed"),
        (Frame(b"", link=147), "link_unknown"),
        (Frame(p.ethernet(p.arp(), kind=0x0806)), "not_ip"),
    ],
)
def test_what_is_odd_is_counted(frame, name):
    assert track([frame]).odd == {name: 1}

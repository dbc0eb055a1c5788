"""The header readers of `wire` behind a function that Python can call, one for all layers."""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import entry
from nfsleuth.wire import ethernet, fields, ip, rpc, tcp
from nfsleuth.wire.packet import PACKET, Header

LINK, IPV4, IPV6, TCP, UDP, SYN = range(6)
FIELD_U8, FIELD_BE16, FIELD_BE32, FIELD_BE48, FIELD_BE64, FIELD_LE32 = range(6)


@entry
def _read(layer, rows, buf, at, end, wire_end, link):
    p = rows[0]
    if layer == LINK:
        return np.int64(ethernet.read_link(p, buf, at, end, link))
    if layer == IPV4:
        return np.int64(ip.read_ipv4(p, buf, at, end, wire_end))
    if layer == IPV6:
        return np.int64(ip.read_ipv6(p, buf, at, end, wire_end))
    if layer == TCP:
        return np.int64(tcp.read_tcp(p, buf, end))
    if layer == UDP:
        return np.int64(tcp.read_udp(p, buf, end))
    tcp.read_syn_options(p, buf, end)
    return np.int64(0)


def read(layer, data, *, link=1, wire=None, before=None, behind=b""):
    """(Header, PACKET row as a dict) of `data`. before: a row to start from. behind: bytes that are not the frame's."""
    rows = np.zeros(1, PACKET)
    for name, value in (before or {}).items():
        rows[name] = value
    buf = np.frombuffer(data + behind, np.uint8).copy()
    wire_end = len(data) if wire is None else wire
    status = _read(layer, rows, buf, np.int64(0), np.int64(len(data)), np.int64(wire_end), np.int64(link))
    return Header(int(status)), {name: int(rows[name][0]) for name in PACKET.names}


@entry
def _field(which, buf, at):
    if which == FIELD_U8:
        return np.uint64(fields.u8(buf, at))
    if which == FIELD_BE16:
        return np.uint64(fields.be16(buf, at))
    if which == FIELD_BE32:
        return np.uint64(fields.be32(buf, at))
    if which == FIELD_BE48:
        return np.uint64(fields.be48(buf, at))
    if which == FIELD_BE64:
        return np.uint64(fields.be64(buf, at))
    return np.uint64(fields.le32(buf, at))


def field(which, data, at):
    return int(_field(which, np.frombuffer(data, np.uint8).copy(), np.int64(at)))


@entry
def _rpc(record, buf, at, end):
    if record == 1:
        return np.int64(rpc.plausible_record(buf, at, end))
    if record == 2:
        return np.int64(rpc.is_starttls(buf, at, end))
    return np.int64(rpc.plausible_message(buf, at, end))


def message_kind(data):
    """CALL, REPLY or -1."""
    return int(_rpc(0, np.frombuffer(data, np.uint8).copy(), np.int64(0), np.int64(len(data))))


def record_kind(data):
    return int(_rpc(1, np.frombuffer(data, np.uint8).copy(), np.int64(0), np.int64(len(data))))


def is_starttls(data):
    return bool(_rpc(2, np.frombuffer(data, np.uint8).copy(), np.int64(0), np.int64(len(data))))

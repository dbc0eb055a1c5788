"""Packets to order: named fields come in, real bytes go out. One function per header, innermost first, so that they
nest:

    ethernet(ipv4(tcp(record(call(7, NFS, 3, 6, read3(b"handle", 0, 4096))), 777, 2049), "10.0.0.7", "10.0.0.1"))

`Conversation` strings them together to a TCP connection; `chunk` and `pcap` make of frames what a tracker and a reader
take. Nothing here is shared with the code under test but the numbers of the RFCs, written down once more.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from struct import pack

import numpy as np

from nfsleuth.capture.frames import FRAME, Chunk

ETHERNET, NULL, RAW, LOOP, SLL, SLL2 = 1, 0, 101, 108, 113, 276  # link types
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
PORTMAP, NFS, MOUNT, NLM, NSM, NFSACL, CALLBACK = 100000, 100003, 100005, 100021, 100024, 100227, 0x40000000
CLIENT_MAC, SERVER_MAC = "52:54:00:00:00:07", "0c:c4:7a:00:00:01"
MSS, NOP, SCALE = pack(">BBH", 2, 4, 1460), b"\1", b"\3\3\7"
SACK_OK, TIMESTAMP = b"\4\2", pack(">BBII", 8, 10, 12345, 0)
LINUX_SYN = MSS + SACK_OK + TIMESTAMP + NOP + SCALE  # options of a Linux SYN, in its order
STARTTLS = b"STARTTLS"


@dataclass(frozen=True)
class Frame:
    """A frame as a reader hands it out."""

    data: bytes
    time: int = 0  # ns
    link: int = ETHERNET
    wire: int = -1  # length on the wire, -1: all was captured


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def address(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


# Link layers


def ethernet(payload=b"", *, source=CLIENT_MAC, destination=SERVER_MAC, kind=None, vlans=(), tag=0x8100) -> bytes:
    """kind: None takes it from the version of the IP packet inside."""
    tags = b"".join(pack(">HH", tag, vlan) for vlan in vlans)
    return mac(destination) + mac(source) + tags + pack(">H", _kind(payload) if kind is None else kind) + payload


def sll(payload, *, source=CLIENT_MAC) -> bytes:
    return pack(">HHH", 0, 1, 6) + mac(source) + bytes(2) + pack(">H", _kind(payload)) + payload


def sll2(payload, *, source=CLIENT_MAC) -> bytes:
    return pack(">HHIHBB", _kind(payload), 0, 2, 1, 0, 6) + mac(source) + bytes(2) + payload


def null(payload, *, order="little") -> bytes:
    return (2 if payload[0] >> 4 == 4 else 30).to_bytes(4, order) + payload


def arp(sender_mac=CLIENT_MAC, sender="10.0.0.7", target="10.0.0.1", operation=1) -> bytes:
    return pack(">HHBBH", 1, 0x0800, 6, 4, operation) + mac(sender_mac) + address(sender) + bytes(6) + address(target)


def stp(bridge="52:54:00:aa:bb:cc") -> bytes:
    """An Ethernet frame with a configuration BPDU (802.1D)."""
    root = pack(">H", 0x8000) + mac(bridge)
    bpdu = b"\x42\x42\x03" + pack(">HBBB", 0, 0, 0, 0) + root + bytes(4) + root + pack(">HHHHH", 0x8001, 0, 20, 2, 15)
    return mac("01:80:c2:00:00:00") + mac(bridge) + pack(">H", len(bpdu)) + bpdu


def _kind(packet: bytes) -> int:
    return 0x86DD if packet and packet[0] >> 4 == 6 else 0x0800


# Network layers


def ipv4(payload=b"", source="10.0.0.7", destination="10.0.0.1", *, protocol=6, ttl=64, options=b"", identification=1,
         at=0, more=False, df=True, total=None) -> bytes:  # fmt: skip
    """at: offset of a fragment in bytes. total: the length field, if it is to lie."""
    header = 20 + len(options)
    flags = (df << 14) | (more << 13) | (at // 8)
    size = header + len(payload) if total is None else total
    fixed = pack(">BBHHHBBH", 0x40 | header // 4, 0, size, identification, flags, ttl, protocol, 0)
    return fixed + address(source) + address(destination) + options + payload


def ipv6(
    payload=b"", source="fd00::7", destination="fd00::1", *, protocol=6, hops=64, extensions=(), length=None
) -> bytes:
    """extensions: (kind, header without its first byte); the first byte, next header, is filled in."""
    kinds = [kind for kind, _ in extensions] + [protocol]
    inner = b"".join(bytes([kinds[i + 1]]) + body for i, (_, body) in enumerate(extensions)) + payload
    size = len(inner) if length is None else length
    return pack(">IHBB", 6 << 28, size, kinds[0], hops) + address(source) + address(destination) + inner


def fragment6(at: int, more: bool, identification=9) -> tuple[int, bytes]:
    """A fragment header for `ipv6`."""
    return 44, b"\0" + pack(">HI", at | more, identification)


# Transport layers


def tcp(
    payload=b"", source=777, destination=2049, *, sequence=0, acknowledged=0, flags=ACK, window=500, options=b""
) -> bytes:
    options += bytes(-len(options) % 4)
    sizes = pack(">BBHHH", (20 + len(options)) << 2, flags, window, 0, 0)
    return (
        pack(">HHII", source, destination, sequence & 0xFFFFFFFF, acknowledged & 0xFFFFFFFF) + sizes + options + payload
    )


def udp(payload=b"", source=777, destination=2049) -> bytes:
    return pack(">HHHH", source, destination, 8 + len(payload), 0) + payload


# RPC and XDR


def u32(*values: int) -> bytes:
    return b"".join(pack(">I", value & 0xFFFFFFFF) for value in values)


def u64(*values: int) -> bytes:
    return b"".join(pack(">Q", value) for value in values)


def opaque(data: bytes | str) -> bytes:
    data = data.encode() if isinstance(data, str) else data
    return u32(len(data)) + data + bytes(-len(data) % 4)


def auth(flavor: int, body=b"") -> bytes:
    return u32(flavor, len(body)) + body


def auth_sys(name="web01", *, stamp=7, uid=0, gid=0, gids=()) -> bytes:
    return auth(1, u32(stamp) + opaque(name) + u32(uid, gid, len(gids), *gids))


def auth_gss(service=1, *, procedure=0, sequence=1, handle=b"context.") -> bytes:
    """service: 1 none, 2 integrity, 3 privacy."""
    return auth(6, u32(1, procedure, sequence, service) + opaque(handle))


AUTH_NONE, AUTH_TLS = auth(0), auth(7)


def call(xid, program=NFS, version=3, procedure=0, arguments=b"", *, credential=None, verifier=AUTH_NONE) -> bytes:
    credential = auth_sys() if credential is None else credential
    return u32(xid, 0, 2, program, version, procedure) + credential + verifier + arguments


def reply(xid, results=b"", *, accept=0, verifier=AUTH_NONE) -> bytes:
    return u32(xid, 1, 0) + verifier + u32(accept) + results


def denied(xid) -> bytes:
    return u32(xid, 1, 1, 1, 1)  # AUTH_ERROR, AUTH_BADCRED


def record(message: bytes, fragments=1) -> bytes:
    """A message with its record mark, or in several fragments."""
    size = max(-(-len(message) // fragments), 1)
    parts = [message[i : i + size] for i in range(0, len(message), size)] or [b""]
    return b"".join(u32(len(p) | (i == len(parts) - 1) << 31) + p for i, p in enumerate(parts))


# NFSv3 (RFC 1813)


def lookup3(directory=b"root-handle", name="file") -> bytes:
    return opaque(directory) + opaque(name)


def read3(handle=b"file-handle", offset=0, count=4096) -> bytes:
    return opaque(handle) + u64(offset) + u32(count)


def read3_results(data: bytes) -> bytes:
    return u32(0, 0, len(data), 0) + opaque(data)


def write3(handle=b"file-handle", offset=0, data=b"") -> bytes:
    return opaque(handle) + u64(offset) + u32(len(data), 2) + opaque(data)


def write3_results(count: int) -> bytes:
    return u32(0, 0, 0, count, 2) + bytes(8)


# NFSv4 (RFC 7531, RFC 5662)


def compound(*operations: bytes, minor=0, tag="", count=None) -> bytes:
    return opaque(tag) + u32(minor, len(operations) if count is None else count) + b"".join(operations)


def compound_results(*results: bytes, status=0, tag="") -> bytes:
    return u32(status) + opaque(tag) + u32(len(results)) + b"".join(results)


def putfh(handle=b"dir-handle") -> bytes:
    return u32(22) + opaque(handle)


def lookup4(name="file") -> bytes:
    return u32(15) + opaque(name)


def read4(offset=0, count=4096) -> bytes:
    return u32(25, 1) + bytes(12) + u64(offset) + u32(count)


def read4_result(data: bytes) -> bytes:
    return u32(25, 0, 0) + opaque(data)


def write4(offset=0, data=b"") -> bytes:
    return u32(38, 1) + bytes(12) + u64(offset) + u32(2) + opaque(data)


def write4_result(count: int) -> bytes:
    return u32(38, 0, count, 2) + bytes(8)


def ok(operation: int) -> bytes:
    """The result of an operation that returns a status only."""
    return u32(operation, 0)


def renew(clientid: int) -> bytes:
    return u32(30) + u64(clientid)


def sequence4(session=b"0123456789abcdef", slot=0, number=1) -> bytes:
    return u32(53) + session + u32(number, slot, slot, 1)


def sequence4_result(session=b"0123456789abcdef") -> bytes:
    return u32(53, 0) + session + u32(1, 0, 0, 0, 0)


def setclientid(verifier: int, owner: str, netid="tcp", addr="10.0.2.15.3.9", program=CALLBACK) -> bytes:
    return u32(35) + u64(verifier) + opaque(owner) + u32(program) + opaque(netid) + opaque(addr) + u32(1)


def exchange_id(verifier: int, owner: str, flags=0x101, implementation=("kernel.org", "Linux 6.1.0", 0)) -> bytes:
    domain, name, seconds = implementation
    impl = u32(1) + opaque(domain) + opaque(name) + u64(seconds) + u32(0)
    return u32(42) + u64(verifier) + opaque(owner) + u32(flags, 0) + impl


# Connections and captures


@dataclass
class Conversation:
    """A TCP connection between two machines. Side 0 is the client, 1 the server; times go on by `step` ns per frame."""

    client: str = "10.0.0.7"
    server: str = "10.0.0.1"
    ports: tuple[int, int] = (777, 2049)
    macs: tuple[str, str] = (CLIENT_MAC, SERVER_MAC)
    start: tuple[int, int] = (1000, 900_000)  # initial sequence numbers
    time: int = 1_700_000_000_000_000_000
    step: int = 1000
    ttl: tuple[int, int] = (64, 64)
    frames: list[Frame] = field(default_factory=list)
    sent: list[int] = field(default_factory=lambda: [0, 0])  # bytes per side

    def handshake(self, options=LINUX_SYN) -> Conversation:
        self.raw(0, sequence=self.start[0], flags=SYN, options=options, acknowledged=0)
        self.raw(1, sequence=self.start[1], flags=SYN | ACK, options=MSS, acknowledged=self.start[0] + 1)
        self.raw(0)
        return self

    def send(self, side: int, *records: bytes, size=1448) -> Conversation:
        """Send bytes in segments of at most `size`."""
        data = b"".join(records)
        for at in range(0, len(data), size):
            self.raw(side, data[at : at + size])
        return self

    def raw(self, side: int, payload=b"", **fields) -> Conversation:
        """One segment. Without `sequence` it is the next one."""
        fields = {"sequence": self.number(side), "acknowledged": self.number(1 - side)} | fields
        if fields["sequence"] == self.number(side):
            self.sent[side] += len(payload)
        self.frames.append(Frame(self.frame(side, payload, **fields), self.time))
        self.time += self.step
        return self

    def number(self, side: int) -> int:
        """Sequence number of the next byte."""
        return (self.start[side] + 1 + self.sent[side]) & 0xFFFFFFFF

    def frame(self, side: int, payload: bytes, **fields) -> bytes:
        ends = (self.client, self.server) if side == 0 else (self.server, self.client)
        segment = tcp(payload, self.ports[side], self.ports[1 - side], **fields)
        network = ipv6 if ":" in self.client else ipv4
        hops = {"hops" if ":" in self.client else "ttl": self.ttl[side]}
        return ethernet(
            network(segment, *ends, **hops), source=self.macs[side], destination=self.macs[1 - side]
        )  # fmt: skip


def chunk(frames, *, snaplen=1 << 18, first=1) -> Chunk:
    """Frames as a reader hands them out, numbered from `first` on; each cut at `snaplen`."""
    table = np.zeros(len(frames), FRAME)
    parts, offset = [], 0
    for i, frame in enumerate(frames):
        data = frame.data[:snaplen]
        wire = len(frame.data) if frame.wire < 0 else frame.wire
        table[i] = (offset, frame.time, first + i, len(data), wire, frame.link)
        parts.append(data)
        offset += len(data)
    buffer = np.frombuffer(b"".join(parts) or b"\0", np.uint8).copy()
    return Chunk(buffer, table)


def pcap(frames, link=ETHERNET) -> bytes:
    """A capture file with ns resolution."""
    out = [pack("<IHHIIII", 0xA1B23C4D, 2, 4, 0, 0, 1 << 18, link)]
    for frame in frames:
        wire = len(frame.data) if frame.wire < 0 else frame.wire
        out += [pack("<IIII", frame.time // 10**9, frame.time % 10**9, len(frame.data), wire), frame.data]
    return b"".join(out)

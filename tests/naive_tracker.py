"""The tracker once more, in the obvious way: segments kept in lists, bytes joined, messages cut out of them, dicts.

It sees the whole capture at once and has no bounds. For captures without losses it says what `nfsleuth.trace` must say;
messages are decoded by the tree decoder of `wire.xdr`, not by the compiled code that the tracker runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import unpack_from

from nfsleuth.trace.tables import Identity
from nfsleuth.wire.programs import PROTOCOLS, Table
from nfsleuth.wire.xdr import decode

End = tuple[bytes, int]  # address, port
HEAD = 1024  # bytes of a message that the tracker looks at
READS, WRITES = {(3, 6), (4, 25)}, {(3, 7), (4, 38)}


@dataclass
class Segment:
    number: int  # sequence
    data: bytes
    frame: int
    time: int


@dataclass
class Message:
    data: bytes
    frame: int  # and time, of the last byte of its first record mark
    time: int
    end: int  # time of its last byte
    number: int = 0  # in its stream


@dataclass
class Call:
    xid: int
    program: int
    version: int
    procedure: int
    main: int  # operation
    ops: list[int]
    frame: int
    time: int
    size: int
    bytes_read: int = 0
    status: int = -1
    reply_frame: int = 0
    reply_time: int = 0
    retransmitted: bool = False


@dataclass
class Connection:
    ends: tuple[End, End]  # client, server
    calls: list[Call] = field(default_factory=list)
    count: int = 0  # calls, with retransmitted ones
    replies: int = 0
    unmatched: int = 0
    errors: int = 0
    reads: int = 0
    read_bytes: int = 0
    busy: list[tuple[int, int, int]] = field(default_factory=list)  # READ: number of the reply, call, end of the reply
    identities: set[tuple[int, bytes, int, int]] = field(default_factory=set)


def follow(frames) -> list[Connection]:
    """Every TCP connection of a capture of whole Ethernet frames, in the order of their first frames."""
    streams: dict[tuple[End, End], list[Segment]] = {}
    starts: dict[tuple[End, End], int] = {}
    pairs: dict[frozenset[End], tuple[End, End]] = {}
    for number, frame in enumerate(frames, 1):
        source, destination, sequence, syn, payload = _headers(frame.data)
        key = (source, destination)
        pairs.setdefault(frozenset(key), key)
        if syn:
            starts[key] = sequence + 1
        elif payload:
            streams.setdefault(key, []).append(Segment(sequence, payload, number, frame.time))
    connections = []
    for a, b in pairs.values():
        client, server = (a, b) if b[1] == 2049 else (b, a)
        sent = [_messages(streams.get(way, []), starts.get(way)) for way in ((client, server), (server, client))]
        connections.append(_converse(Connection((client, server)), *sent))
    return connections


def _headers(data: bytes):
    at = 14
    if data[12:14] == b"\x08\x00":
        total, addresses, transport = unpack_from(">H", data, at + 2)[0], at + 12, at + (data[at] & 15) * 4
        end, width = at + total, 4
    else:
        addresses, transport, width = at + 8, at + 40, 16
        end = transport + unpack_from(">H", data, at + 4)[0]
    ports = unpack_from(">HH", data, transport)
    sequence = unpack_from(">I", data, transport + 4)[0]
    payload = data[transport + (data[transport + 12] >> 4) * 4 : end]
    source = (data[addresses : addresses + width], ports[0])
    destination = (data[addresses + width : addresses + 2 * width], ports[1])
    return source, destination, sequence, bool(data[transport + 13] & 2), payload


def _messages(segments: list[Segment], start: int | None) -> list[Message]:
    """Join a direction's bytes, remember which segment brought each first, and cut the records out."""
    if not segments:
        return []
    begin = segments[0].number if start is None else start
    stream, origin = bytearray(), []
    waiting = sorted(segments, key=lambda s: ((s.number - begin + (1 << 31)) % (1 << 32), s.frame))
    for segment in waiting:
        offset = (segment.number - begin + (1 << 31)) % (1 << 32) - (1 << 31)
        assert offset <= len(stream), "the capture has a gap"
        new = segment.data[len(stream) - offset :] if len(stream) - offset < len(segment.data) else b""
        stream += new
        origin += [segment] * len(new)
    messages, at, parts, first = [], 0, [], None
    while at + 4 <= len(stream):
        mark = int.from_bytes(stream[at : at + 4], "big")
        first = first or origin[at + 3]
        size = mark & 0x7FFFFFFF
        parts.append(bytes(stream[at + 4 : at + 4 + size]))
        at += 4 + size
        if at > len(stream):
            break
        if mark >> 31:
            messages.append(Message(b"".join(parts), first.frame, first.time, origin[at - 1].time, len(messages)))
            parts, first = [], None
    return messages


def _converse(connection: Connection, asked: list[Message], answered: list[Message]) -> Connection:
    waiting: dict[int, Call] = {}
    answers = {int.from_bytes(m.data[:4], "big"): m for m in reversed(answered)}
    for message in asked:
        call = _call(connection, message)
        connection.count += 1
        earlier = waiting.get(call.xid)
        if earlier is not None and (earlier.reply_time == 0 or message.time < earlier.reply_time):
            earlier.retransmitted = True
            continue
        waiting[call.xid] = call
        connection.calls.append(call)
        if call.xid in answers:
            _answer(connection, call, answers.pop(call.xid))
    connection.unmatched = len(answers)
    return connection


def _call(connection: Connection, message: Message) -> Call:
    data = message.data
    xid, _, _, program, version, procedure, flavor, size = unpack_from(">8I", data)
    if flavor == 1:
        stamp, length = unpack_from(">II", data, 32)
        uid = unpack_from(">I", data, 40 + (length + 3) // 4 * 4)[0]
        connection.identities.add((Identity.MACHINE_NAME, data[40 : 40 + length], stamp, uid))
    at = 32 + size
    at += 8 + unpack_from(">I", data, at + 4)[0]
    call = Call(xid, program, version, procedure, 0, [], message.frame, message.time, len(data))
    if version == 4 and procedure == 1:
        _compound(connection, call, data, at)
    elif procedure:
        values, _ = decode(PROTOCOLS[Table.NFS3].procedures[procedure].args, data, at, len(data))
        call.main = procedure
        if procedure == 3:
            connection.identities.add((Identity.FILE_NAME, values["what"]["name"], 3, 0))
    return call


def _compound(connection: Connection, call: Call, data: bytes, at: int) -> None:
    tag = unpack_from(">I", data, at)[0]
    at += 4 + (tag + 3) // 4 * 4
    _minor, count = unpack_from(">II", data, at)
    at += 8
    for _ in range(count):
        operation = unpack_from(">I", data, at)[0]
        values, at = decode(PROTOCOLS[Table.NFS4].procedures[operation].args, data, at + 4, len(data))
        call.ops.append(operation)
        if operation in (25, 38):
            call.main = operation
        if operation == 15:
            connection.identities.add((Identity.FILE_NAME, values["objname"], 15, 0))
        if operation == 30:
            connection.identities.add((Identity.CLIENTID, b"", values["clientid"], 0))


def _answer(connection: Connection, call: Call, message: Message) -> None:
    data = message.data
    connection.replies += 1
    call.reply_frame, call.reply_time = message.frame, message.time
    at = 24 + unpack_from(">I", data, 16)[0]
    call.status = unpack_from(">I", data, at)[0] if call.procedure and len(data) > at else 0
    connection.errors += call.status > 0
    if call.version == 3 and call.procedure == 6:
        call.bytes_read = unpack_from(">I", data, at + 8)[0] if call.status == 0 else 0
    elif call.main == 25:
        call.bytes_read = _read_by_compound(call, data, at)
    if (call.version, call.main) in READS:
        connection.reads += 1
        connection.read_bytes += call.bytes_read
        connection.busy.append((message.number, call.time, message.end))


def _read_by_compound(call: Call, data: bytes, at: int) -> int:
    if call.status:
        return 0
    at += 12 + (unpack_from(">I", data, at + 4)[0] + 3) // 4 * 4
    for operation in call.ops:
        values, at = decode(PROTOCOLS[Table.NFS4].procedures[operation].results, data, at + 4, len(data))
        if operation == 25:
            return len(values["data"])
    return 0


def busy(reads: list[tuple[int, int, int]]) -> int:
    """Time with a READ outstanding, by the rule of `trace.transfers`: a reply may lengthen the last stretch only."""
    stretches: list[list[int]] = [[0, 0]]
    for _, begin, end in sorted(reads):
        if begin > stretches[-1][1]:
            stretches.append([begin, end])
        else:
            floor = stretches[-2][1]
            stretches[-1] = [min(stretches[-1][0], max(begin, floor)), max(stretches[-1][1], end)]
    return sum(end - begin for begin, end in stretches)


def union(reads: list[tuple[int, int, int]]) -> int:
    """Time that at least one of them covers."""
    total, until = 0, 0
    for _, begin, end in sorted(reads, key=lambda r: r[1]):
        total += max(end - max(begin, until), 0)
        until = max(until, end)
    return total

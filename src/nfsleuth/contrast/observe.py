"""A trace is decoded in full: what its tracker finds comes in, a `Profile` per client goes out.

The tracker finds the messages and matches calls with replies; its `watch` hands the beginnings of all messages over
before they are decoded. Of these a sample is read field by field (`messages`), with the headers of the frames that they
lie in, and SYNs. The sample is even-handed: of every kind of message of a client - procedure and length - the first few
(8, of many clients 2), then the 16th, 32nd, 64th and so on. Counts, times and the order of operations are of all calls.

Plain Python reads about 10,000 messages a second, so that the sample, not the trace, sets the time. Memory is bounded
by clients times fields times values.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from nfsleuth.capture.frames import Chunk
from nfsleuth.contrast.headers import read_headers
from nfsleuth.contrast.messages import Call, Reading, read_call, read_reply
from nfsleuth.contrast.sketch import MOST_STEPS, Profile, Step
from nfsleuth.trace.rows import Rows
from nfsleuth.trace.state import ENDED, IN_CHUNK, Control
from nfsleuth.trace.tables import CALL, CALL_FROM_SERVER
from nfsleuth.wire import ethernet, ip, rpc, tcp
from nfsleuth.wire.programs import NFS, operation_name, procedure_name, program_name

FIRST, LEAST_FIRST = 8, 2  # messages of a kind and client that are read before the sample thins out
FIRST_OF_ALL = 512  # the same of all clients together: many clients make up for fewer messages of each
MOST_MESSAGES = 120_000  # calls of a trace that are read, shared among its clients
LEAST_MESSAGES, LIMIT_MESSAGES = 64, 4096  # calls of one client
MOST_KINDS = 1 << 20  # kinds that are counted
MOST_OPERATIONS = 1 << 12  # names of operations and procedures of a trace: those without a name are the wire's numbers
MOST_WAITING = 1 << 14  # calls that are remembered until their reply comes
MOST_CONNECTIONS = 1 << 18  # connections whose client is remembered
MOST_TIMES = 4096  # gaps and latencies of a client that are kept
SYNS = 32  # SYNs of a client that are read
HEADERS = 32  # calls of a client whose frame's headers are read before the sample thins out
MOST_HEADERS = 256  # bytes of a frame in which its headers are
CALLS_AT_ONCE = 1 << 18  # CALL rows that are counted at once
TAIL = 64  # operations before the end of the trace that are kept
WHOLE = 1024  # lengths above are kinds by their power of two

Key = tuple[int, int, int]  # address in two halves and port of a client's connection


@dataclass(slots=True)
class Ledger:
    """What is counted of one client while the trace is read, beside its fields."""

    operations: Counter[str] = field(default_factory=Counter)
    gaps: list[np.ndarray] = field(default_factory=list)
    latencies: list[np.ndarray] = field(default_factory=list)
    kept: int = 0
    calls: int = 0
    errors: int = 0
    call_bytes: int = 0
    first: int = 0
    last: int = 0
    head: list[np.ndarray] = field(default_factory=list)
    heads: int = 0
    tail: np.ndarray = field(default_factory=lambda: np.empty(0, CALL))
    connections: Counter[str] = field(default_factory=Counter)
    handshakes: list[int] = field(default_factory=list)
    syns: int = 0
    read: int = 0  # calls decoded field by field
    sent: int = 0  # of these, calls that the client sent itself: no callbacks


class Observer:
    """Fills the profiles of one trace.

    profiles: to be filled. whose: the profile (its index) of a client's connection, by address and port, or by the
    address alone with port 0.
    """

    def __init__(self, profiles: list[Profile], whose: Mapping[Key, int], skip: frozenset[Key] = frozenset()) -> None:
        self.profiles = profiles
        self.ledgers = [Ledger() for _ in profiles]
        self._whose, self._skip = whose, skip
        self._share = min(max(MOST_MESSAGES // max(len(profiles), 1), LEAST_MESSAGES), LIMIT_MESSAGES)
        self._first = min(max(FIRST_OF_ALL // max(len(profiles), 1), LEAST_FIRST), FIRST)
        self._kinds: dict[int, int] = {}  # kind of a message -> how many were met
        self._waiting: OrderedDict[int, tuple[int, Call]] = OrderedDict()  # by connection and xid, see `watch`
        self._by_uid: OrderedDict[int, int] = OrderedDict()  # connection -> profile
        self._frames = np.empty(0, np.int64)
        self._chunk: Chunk | None = None
        self._held: list[tuple[np.ndarray, np.ndarray]] = []  # calls that are not counted yet, with their profiles
        self._held_rows = 0
        self._names: set[str] = set()  # of operations that are counted
        self.unknown = 0  # messages of connections that are nobody's

    # Frames

    def chunk(self, chunk: Chunk) -> None:
        """A chunk before the tracker reads it: its SYNs, and where its frames lie."""
        self._chunk = chunk
        self._frames = chunk.frames["number"]
        index, sources = syns(chunk)
        for place, source in zip(index.tolist(), sources, strict=True):
            mine = self._at(source)
            if mine >= 0 and self.ledgers[mine].syns < SYNS:
                self.ledgers[mine].syns += 1
                self._header(mine, place, "tcp.syn")

    def _header(self, mine: int, index: int, kind: str = "tcp") -> None:
        """Read the headers of a frame that client number `mine` sent."""
        assert self._chunk is not None
        row = self._chunk.frames[index]
        at = int(row["offset"])
        frame = self._chunk.buffer[at : at + min(int(row["captured"]), MOST_HEADERS)].tobytes()
        found = read_headers(frame, int(row["link"]))
        if found is None:
            return
        profile = self.profiles[mine]
        profile.contexts |= {"ip", "tcp", kind}
        if any(path == "eth.src" for path, _ in found):
            profile.contexts.add("eth")
        profile.see(found, int(row["number"]))

    def _at(self, key: Key) -> int:
        if key in self._skip:
            return -1
        found = self._whose.get(key)
        return self._whose.get((key[0], key[1], 0), -1) if found is None else found

    # Messages

    def watch(self, state: np.void, buffer: np.ndarray) -> None:
        """Take in the messages that a tracker has found; see `Tracker`."""
        rows = state["messages"][: state["control"][Control.MESSAGES]]
        rows = rows[(rows["where"] != ENDED) & (rows["length"] >= 24)]
        if not len(rows):
            return
        slots = rows["stream"].astype(np.int64) >> 1
        owners = self._owners(state["conns"], slots)
        self.unknown += int((owners < 0).sum())
        head = _heads(rows, buffer, state["arena"])
        mine = owners >= 0
        sampled = np.zeros(len(rows), bool)
        sampled[self._sample(np.flatnonzero((head[:, 1] == rpc.CALL) & mine), rows, head, owners)] = True
        keys = state["conns"]["uid"][slots].astype(np.int64) << 32 | head[:, 0]
        wanted = np.concatenate([np.fromiter(self._waiting, np.int64, len(self._waiting)), keys[sampled]])
        index = np.flatnonzero(sampled | ((head[:, 1] == rpc.REPLY) & mine & np.isin(keys, wanted)))
        for i, key in zip(index.tolist(), keys[index].tolist(), strict=True):
            if sampled[i]:
                self._call(key, int(owners[i]), rows[i], _bytes(rows[i], buffer, state["arena"]))
            elif key in self._waiting:
                self._reply(key, rows[i], _bytes(rows[i], buffer, state["arena"]))

    def _owners(self, conns: np.ndarray, slots: np.ndarray) -> np.ndarray:
        """Per message the profile of its connection, -1 nobody's."""
        distinct, back = np.unique(slots, return_inverse=True)
        found = np.empty(len(distinct), np.int64)
        for i, slot in enumerate(distinct.tolist()):
            conn = conns[slot]
            uid = int(conn["uid"])
            known = self._by_uid.get(uid)
            if known is None:
                known = self._by_uid[uid] = self._client_of(conn)
                if len(self._by_uid) > MOST_CONNECTIONS:
                    self._by_uid.popitem(last=False)
            found[i] = known
        return found[back]

    def _client_of(self, conn: np.void) -> int:
        """Either end may be the client: which one, the tracker may not know yet."""
        first = int(conn["flip"])
        for side in (first, 1 - first):
            mine = self._at((int(conn["hi"][side]), int(conn["lo"][side]), int(conn["port"][side])))
            if mine >= 0:
                return mine
        return -1

    def _sample(self, calls: np.ndarray, rows: np.ndarray, head: np.ndarray, owners: np.ndarray) -> np.ndarray:
        """Which of the calls are read: per client and kind the first ones, then those whose number is a power of 2."""
        if not len(calls):
            return calls
        size = rows["bytes"][calls]
        size = np.where(size < WHOLE, size, WHOLE + np.log2(np.maximum(size, 1)).astype(np.int64))
        kinds = owners[calls].astype(np.uint64)
        for column in (head[calls, 3], head[calls, 4], head[calls, 5], size):
            kinds = kinds * _MIX + column.astype(np.uint64)
        kinds ^= kinds >> np.uint64(29)
        distinct, back, counts = np.unique(kinds, return_inverse=True, return_counts=True)
        order = np.argsort(back, kind="stable")
        rank = np.empty(len(calls), np.int64)
        rank[order] = np.arange(len(calls)) - np.repeat(np.cumsum(counts) - counts, counts)
        before = np.fromiter((self._kinds.get(k, 0) for k in distinct.tolist()), np.int64, len(distinct))
        for kind, count in zip(distinct.tolist(), (before + counts).tolist(), strict=True):
            if kind in self._kinds or len(self._kinds) < MOST_KINDS:
                self._kinds[kind] = count
        number = before[back] + rank
        chosen = in_sample(number, self._first)
        picked: list[int] = []
        for i in np.flatnonzero(chosen).tolist():
            ledger = self.ledgers[int(owners[calls[i]])]
            # Beyond its share a client still gets what is new, so that the end of a long trace is not missed.
            if ledger.read < self._share or (number[i] == 0 and ledger.read < 2 * self._share):
                ledger.read += 1
                picked.append(i)
        return calls[picked]

    def _call(self, key: int, mine: int, row: np.void, message: bytes) -> None:
        call = read_call(message)
        if call is None:
            return
        self._take(mine, call, int(row["frame"]))
        self.profiles[mine].messages += 1
        if not call.method.callback:
            self._sent(mine, int(row["frame"]))
        self._waiting[key] = (mine, call)
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popitem(last=False)

    def _sent(self, mine: int, frame: int) -> None:
        """A client sent a call, which begins in `frame`: if that is in this chunk, its headers may be read."""
        ledger = self.ledgers[mine]
        if in_sample(ledger.sent, HEADERS) and len(self._frames):
            index = frame - int(self._frames[0])
            if 0 <= index < len(self._frames) and self._frames[index] == frame:
                self._header(mine, index)
        ledger.sent += 1

    def _reply(self, key: int, row: np.void, message: bytes) -> None:
        mine, call = self._waiting.pop(key)
        self._take(mine, read_reply(call, message), int(row["frame"]))

    def _take(self, mine: int, reading: Reading, frame: int) -> None:
        profile = self.profiles[mine]
        profile.contexts.update(reading.contexts)
        if reading.cut:
            profile.cut.add(reading.cut)
        profile.see(reading.fields, frame)

    # Rows

    def rows(self, rows: Rows) -> None:
        """Take in rows of the tracker: connections that ended, and calls with their replies."""
        for conn in rows.connections:
            mine = self._at((int(conn["client_hi"]), int(conn["client_lo"]), int(conn["client_port"])))
            if mine >= 0:
                self._connection(self.profiles[mine], self.ledgers[mine], conn)
        if len(rows.calls):
            calls = rows.calls[(rows.calls["flags"] & CALL_FROM_SERVER) == 0]
            owners = self._owners_of(calls["uid"])
            known = owners >= 0
            self._held.append((owners[known], calls[known]))
            self._held_rows += int(known.sum())
            if self._held_rows >= CALLS_AT_ONCE:
                self._count()

    def _count(self) -> None:
        """Count the calls that are held, client by client, in the order of their frames."""
        if not self._held_rows:
            return
        owners = np.concatenate([o for o, _ in self._held])
        calls = np.concatenate([c for _, c in self._held])
        self._held, self._held_rows = [], 0
        order = np.lexsort((calls["call_frame"], owners))
        owners, calls = owners[order], calls[order]
        methods, names = _methods(calls)
        mine, starts = np.unique(owners, return_index=True)
        for index, begin, end in zip(mine.tolist(), starts.tolist(), [*starts[1:].tolist(), len(owners)], strict=True):
            ledger = self.ledgers[index]
            for method, count in enumerate(np.bincount(methods[begin:end]).tolist()):
                for name in names[method] if count else ():
                    if name in self._names or len(self._names) < MOST_OPERATIONS:
                        self._names.add(name)
                        ledger.operations[name] += count
                    else:
                        self.profiles[index].dropped += count
            self._calls(ledger, calls[begin:end])

    def _owners_of(self, uids: np.ndarray) -> np.ndarray:
        distinct, back = np.unique(uids, return_inverse=True)
        return np.fromiter((self._by_uid.get(u, -1) for u in distinct.tolist()), np.int64, len(distinct))[back]

    @staticmethod
    def _connection(profile: Profile, ledger: Ledger, conn: np.void) -> None:
        kind = "tcp" if conn["transport"] == ip.PROTOCOL_TCP else "udp"
        ledger.connections[kind] += 1
        if conn["nfs_calls"]:
            ledger.connections["nfs"] += 1
        if kind == "udp":
            return
        if conn["handshake"] >= 0 and len(ledger.handshakes) < SYNS:
            ledger.handshakes.append(int(conn["handshake"]))
        frames = max(int(conn["frames"][0]), 1)
        profile.contexts.add("tcp.flow")
        profile.see(
            [
                ("tcp.flow.keepalives", int(conn["keepalives"][0] > 0)),
                ("tcp.flow.zero windows", int(conn["zero_windows"][0] > 0)),
                ("tcp.flow.repeated", int(conn["retransmitted"][0] > 0)),
                ("tcp.flow.bytes per frame", int(conn["payload"][0]) // frames),
            ],
            int(conn["first_frame"]),
        )

    def _calls(self, ledger: Ledger, calls: np.ndarray) -> None:
        """Count the calls of one client, in the order of their frames."""
        times = calls["call_time"]
        ledger.calls += len(calls)
        ledger.errors += int((calls["status"] > 0).sum())
        ledger.call_bytes += int(calls["call_bytes"].sum())
        ledger.first = min(ledger.first or int(times.min()), int(times.min()))
        ledger.last = max(ledger.last, int(times.max()))
        if ledger.kept < MOST_TIMES:
            ledger.gaps.append(np.diff(np.sort(times))[:MOST_TIMES])
            answered = calls[calls["reply_time"] > 0][:MOST_TIMES]
            ledger.latencies.append(answered["reply_time"] - answered["call_time"])
            ledger.kept += len(calls)
        if ledger.heads < MOST_STEPS - TAIL:
            taken = calls[: MOST_STEPS - TAIL - ledger.heads].copy()
            ledger.head.append(taken)
            ledger.heads += len(taken)
            calls = calls[len(taken) :]
        if len(calls):
            ledger.tail = np.concatenate([ledger.tail, calls])[-TAIL:].copy()

    def finish(self) -> None:
        """The trace has ended: count what is held."""
        self._count()

    def steps(self, mine: int) -> list[Step]:
        """The first and last operations of a client, in the order of their frames."""
        ledger = self.ledgers[mine]
        rows = np.concatenate([*ledger.head, ledger.tail, np.empty(0, CALL)])
        return _steps(rows[np.argsort(rows["call_frame"], kind="stable")], ledger.first)


def in_sample(number: np.ndarray | int, first: int) -> np.ndarray:
    """Whether what was met `number` times before is read: the first ones, then those whose number is a power of 2."""
    found: np.ndarray = np.logical_or(number < first, (number & (number - 1)) == 0)
    return found


_MIX = np.uint64(0x9E37_79B9_7F4A_7C15)


def syns(chunk: Chunk) -> tuple[np.ndarray, list[Key]]:
    """The TCP SYNs and SYN-ACKs of a chunk, where headers have a fixed length: their indices and senders."""
    frames, buffer = chunk.frames, chunk.buffer
    at, size = frames["offset"], frames["captured"].astype(np.int64)
    network = np.full(len(frames), -1, np.int64)
    for link, length in _NETWORK_AT.items():
        network[frames["link"] == link] = length
    usable = (network >= 0) & (size >= network + 40)
    index = np.flatnonzero(usable)
    place = at[index] + network[index]
    for _ in range(2):  # 802.1Q tags
        tagged = (
            (frames["link"][index] == ethernet.LINK_ETHERNET) & (buffer[place - 2] == 0x81) & (buffer[place - 1] == 0)
        )
        place = np.minimum(place + np.where(tagged, 4, 0), at[index] + size[index] - 40)
    version = buffer[place] >> 4
    four = (version == 4) & (buffer[place + 9] == ip.PROTOCOL_TCP)
    six = (version == 6) & (buffer[place + 6] == ip.PROTOCOL_TCP)
    transport = place + np.where(four, (buffer[place] & 0xF).astype(np.int64) * 4, 40)
    inside = (four | six) & (transport + 14 <= at[index] + size[index])
    found = inside & (buffer[np.where(inside, transport + 13, 0)] & tcp.SYN > 0)
    return index[found], _senders(buffer, place[found], transport[found], four[found])


def _senders(buffer: np.ndarray, network: np.ndarray, transport: np.ndarray, four: np.ndarray) -> list[Key]:
    """Source address, IPv4 mapped, and port of the frames whose headers begin there."""
    address = np.zeros((len(network), 16), np.uint8)
    address[:, 10:12] = 0xFF
    address[four, 12:] = buffer[network[four][:, None] + np.arange(12, 16)]
    address[~four] = buffer[network[~four][:, None] + np.arange(8, 24)]
    high, low = address.view(">u8").T.tolist()
    port = buffer[transport].astype(np.int64) << 8 | buffer[transport + 1]
    return list(zip(high, low, port.tolist(), strict=True))


_NETWORK_AT = {
    ethernet.LINK_ETHERNET: 14,
    ethernet.LINK_SLL: 16,
    ethernet.LINK_SLL2: 20,
    ethernet.LINK_RAW: 0,
    ethernet.LINK_RAW_BSD: 0,
    ethernet.LINK_RAW_OPENBSD: 0,
    ethernet.LINK_IPV4: 0,
    ethernet.LINK_IPV6: 0,
    ethernet.LINK_NULL: 4,
    ethernet.LINK_LOOP: 4,
}


def _heads(rows: np.ndarray, buffer: np.ndarray, arena: np.ndarray) -> np.ndarray:
    """The first six words of each message: int64[n, 6]."""
    words = np.empty((len(rows), 6), np.int64)
    for source, mine in ((buffer, rows["where"] == IN_CHUNK), (arena, rows["where"] != IN_CHUNK)):
        octets = source[rows["at"][mine][:, None] + np.arange(24)]
        words[mine] = np.ascontiguousarray(octets).view(">u4").reshape(-1, 6)
    return words


def _bytes(row: np.void, buffer: np.ndarray, arena: np.ndarray) -> bytes:
    source = buffer if row["where"] == IN_CHUNK else arena
    at = int(row["at"])
    return source[at : at + int(row["length"])].tobytes()


def _methods(calls: np.ndarray) -> tuple[np.ndarray, list[list[str]]]:
    """What each call does, as a number: int64[n]; and the names of the operations that each number stands for."""
    count = np.minimum(calls["ops_count"], calls["ops"].shape[1])
    kinds = np.zeros(len(calls), np.uint64)
    for column in (calls["program"], calls["version"], calls["procedure"], count, *calls["ops"].T):
        kinds = (kinds ^ (kinds >> np.uint64(31))) * _MIX + column.astype(np.uint64)
    _, first, back = np.unique(kinds, return_index=True, return_inverse=True)
    return back, [_operations_of(calls[i]) for i in first.tolist()]


def _operations_of(row: np.void) -> list[str]:
    count = min(int(row["ops_count"]), len(row["ops"]))
    return _operations(int(row["program"]), int(row["version"]), int(row["procedure"]), row["ops"][:count].tolist())


def _operations(program: int, version: int, procedure: int, operations: Iterable[int]) -> list[str]:
    """What a call does, in names as paths begin."""
    protocol = f"{program_name(program)}{version}" if version < 100 else program_name(program)
    if program == NFS and version == 4 and procedure == 1:
        return [f"{protocol}.{operation_name(number)}" for number in operations if number]
    return [f"{protocol}.{procedure_name(program, version, procedure)}"]


def _steps(rows: np.ndarray, start: int) -> list[Step]:
    """CALL rows as steps; times count from `start`."""
    methods, names = _methods(rows)
    texts = [f"{n[0].partition('.')[0]}.{' '.join(x.partition('.')[2] for x in n)}" if n else "nfs4." for n in names]
    columns = (methods, rows["call_time"] - start, rows["status"], rows["call_frame"])
    return [
        Step(time, texts[method], _said(status), frame)
        for method, time, status, frame in zip(*(c.tolist() for c in columns), strict=True)
    ]


def _said(status: int) -> str:
    """A CALL row's status in words, "" well."""
    if status == 0:
        return ""
    return "no reply" if status == -1 else f"status {status}" if status > 0 else "not decoded"

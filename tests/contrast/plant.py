"""Captures of made-up clients whose every field is known: NFSv4 calls out of the tables, one field planted by label.

    capture = clients("b", seed=7, count=8, planted="nfs4.LOCK.locktype")

Each client sends every operation of NFSv4.0 in a COMPOUND of its own, and a mount and reads of NFSv3. A field's habit is
decided by its path: the same for all; one of three values for each client; its own for each client; another at each
run. The planted field alone follows the label. Nothing here is shared with the code that is tested but the tables.
"""

from __future__ import annotations

import random
import zlib
from struct import pack

from nfsleuth.wire.mount import MOUNT3
from nfsleuth.wire.nfs3 import NFS3
from nfsleuth.wire.nfs4 import NFS4
from nfsleuth.wire.xdr import Array, Chain, Maybe, Number, Opaque, Struct
from packets import MOUNT, NFS, Conversation, auth_sys, call, pcap, record, reply, u32

HABITS = ("constant", "constant", "choice", "own", "run")
# Operations whose arguments identify the client would make it another one; those that are read by `identify` stay out.
LEFT_OUT = {"SETCLIENTID", "EXCHANGE_ID", "CREATE_SESSION", "ILLEGAL", "SEQUENCE", "SETCLIENTID_CONFIRM", "RENEW"}
OPERATIONS = [p for p in NFS4.procedures.values() if p.name not in LEFT_OUT and p.args.fields]
PROCEDURES = [p for p in NFS3.procedures.values() if p.number in (1, 2, 3, 4, 6, 7, 16, 17, 20, 21)]
ADDRESS = "10.9.{}.{}"


class Values:
    """What one client, in one run, writes into each field."""

    def __init__(self, label: str, name: int, run: int, planted: str, seed: int) -> None:
        self.label, self.name, self.run, self.planted, self.seed = label, name, run, planted, seed
        self.paths: set[str] = set()

    def number(self, path: str) -> int:
        self.paths.add(path)
        fixed = random.Random(zlib.crc32(path.encode()))
        habit = fixed.choice(HABITS)
        base = fixed.randrange(1, 1 << 16)
        if path == self.planted:
            return base + (self.label == "b")
        if habit == "constant":
            return base
        mine = random.Random(f"{path} {self.name} {self.seed}")
        if habit == "choice":
            return base + mine.randrange(3)
        if habit == "own":
            return mine.randrange(1 << 31)
        return random.Random(f"{path} {self.name} {self.run} {self.seed}").randrange(1 << 31)


def encode(kind, path: str, values: Values) -> bytes:
    """A value of any type: arrays of one item, optional ones there, the first arm of each union."""
    if isinstance(kind, Number):
        value = values.number(path)
        return pack(">I", value % 2 if kind.boolean else value & 0x7FFF_FFFF) if kind.size == 4 else pack(">Q", value)
    if isinstance(kind, Opaque):
        text = f"{values.number(path):x}".encode()
        if kind.fixed:
            return text.rjust(kind.length, b"0")[-kind.length :] + bytes(-kind.length % 4)
        text = text[: kind.length]
        return u32(len(text)) + text + bytes(-len(text) % 4)
    if kind is NFS4.types["bitmap4"]:
        return u32(1, 1 << values.number(path) % 8)
    if kind is NFS4.types["fattr4"]:
        return u32(1, 1 << 4, 8) + pack(">Q", values.number(f"{path}.size"))
    if isinstance(kind, Struct):
        out = b"".join(encode(f.type, f"{path}.{f.name}", values) for f in kind.fields[: -1 if kind.is_union else None])
        if not kind.is_union:
            return out
        label, arm = next(iter(kind.arms.items()))
        return out + u32(label) + encode(arm, path, values)
    if isinstance(kind, Array):
        return u32(1) + encode(kind.item, f"{path}[]", values)
    if isinstance(kind, Maybe):
        return u32(1) + encode(kind.item, path, values)
    assert isinstance(kind, Chain)
    return u32(1) + encode(kind.item, f"{path}[]", values) + u32(0)


def conversations(values: Values) -> list[Conversation]:
    """What one client sends: over NFSv4.0, and a mount and NFSv3."""
    address = ADDRESS.format(int(values.label == "b"), 10 + values.name)
    mac = f"02:00:00:00:{int(values.label == 'b'):02x}:{values.name:02x}"
    start = 1_700_000_000_000_000_000 + values.name * 10**9
    name = auth_sys(f"host{values.label}{values.name}", stamp=0)
    four = Conversation(
        address, ports=(700 + values.name, 2049), macs=(mac, "0c:c4:7a:00:00:01"), time=start
    ).handshake()
    three = Conversation(address, ports=(800 + values.name, 2049), macs=four.macs, time=start + 10**8).handshake()
    mount = Conversation(address, ports=(900 + values.name, 20048), macs=four.macs, time=start + 2 * 10**8).handshake()
    for number, operation in enumerate(OPERATIONS, 1):
        arguments = encode(operation.args, f"nfs4.{operation.name}", values)
        body = u32(0, 0, 1, operation.number) + arguments
        four.send(0, record(call(number, NFS, 4, 1, body, credential=name)))
        four.send(1, record(reply(number, u32(10013, 0, 1, operation.number, 10013))))
    for number, procedure in enumerate(PROCEDURES, 1):
        arguments = encode(procedure.args, f"nfs3.{procedure.name}", values)
        three.send(0, record(call(number, NFS, 3, procedure.number, arguments, credential=name)))
    path = encode(MOUNT3.procedures[1].args, "mount3.MNT", values)
    mount.send(0, record(call(1, MOUNT, 3, 1, path, credential=name)))
    return [four, three, mount]


def clients(label: str, seed: int, count: int, planted: str = "", run: int = 0) -> bytes:
    """A capture of `count` clients."""
    frames = [
        frame
        for name in range(count)
        for conversation in conversations(Values(label, name, run, planted, seed))
        for frame in conversation.frames
    ]
    return pcap(sorted(frames, key=lambda f: f.time))


def fields() -> list[str]:
    """Paths that can be planted: every number and text that the made-up clients send, but bools and file contents."""
    values = Values("a", 0, 0, "", 0)
    conversations(values)
    return sorted(p for p in values.paths if not _boolean(p) and not p.endswith((".data", ".d_data")))


def _boolean(path: str) -> bool:
    """Whether one more would not always show: bools are taken modulo 2."""
    protocol, name, *rest = path.split(".")
    table = {"nfs4": NFS4, "nfs3": NFS3, "mount3": MOUNT3}[protocol]
    kind = next(p.args for p in table.procedures.values() if p.name == name)
    return _at(kind, rest)


def _at(kind, rest) -> bool:
    if isinstance(kind, Array | Maybe | Chain):
        return _at(kind.item, rest)
    if isinstance(kind, Number):
        return kind.boolean
    if not isinstance(kind, Struct) or kind is NFS4.types["fattr4"]:
        return False
    for field in kind.fields:
        if rest and field.name == rest[0].removesuffix("[]"):
            return _at(field.type, rest[1:])
    return kind.is_union and _at(next(iter(kind.arms.values())), rest)

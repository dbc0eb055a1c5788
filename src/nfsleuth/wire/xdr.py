"""Protocol tables in a notation of their own: read into a tree, decoded by it, and compiled to what `walk` runs.

In comes the text of a protocol table (`nfs3.TABLE` is one), out come `Protocol`s: types and procedures by name and
number. `decode` reads a value of any type out of bytes; `Compiler` turns types into the integers of one code array.

The notation follows RFC 4506 in meaning. A statement begins in the first column and goes on in indented lines; ``#``
starts a comment.

    NF4LNK = 5                                       a constant
    bitmap4 = u32<>                                  another name for a type
    stateid4 = seqid:u32 other:opaque[12]            a structure: name:type, in the order of the wire
    createtype4 = type:u32 {NF4LNK: linkdata:opaque<>; NF4BLK NF4CHR: devdata:specdata4; else: void}
                                                     a union: the last field chooses; without `else`, others are errors
    25 READ file:nfs_fh3 offset:u64 -> data:opaque<>     a procedure: number, name, arguments -> results
    25 READ stateid:stateid4 => eof:bool; else: void     the same, where results are a union over a status: after `=>`
                                                     stands what follows status 0; `else: void` need not be written

Types are ``u32 i32 u64 i64 bool``, ``opaque[8]`` (exactly 8 bytes), ``opaque<8>`` (at most 8), ``opaque<>``, the
same for ``string``, a name defined above, and any of these followed by ``<max>`` or ``<>`` (array), ``?`` (optional: a
bool, then perhaps the value) or ``*`` (linked list: each element behind a true bool, a false one ends it). ``@MARK``
behind a field tells `walk` to report where it lies; on a structure it means the first field of that.

Names are those of the RFCs, with two liberties: the arm of a union continues the structure that its discriminant ends
(READ results are ``status eof data``, not ``status resok4.eof resok4.data``), and the status of results is always
called ``status``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from nfsleuth.wire.marks import Mark

MESSAGE_LIMIT = 1 << 26  # bytes: no length without a maximum may go above. The largest transfers in use are 4 MiB
CUT = -1  # status: the bytes ended before the value did
MALFORMED = -2  # status: a length above its maximum, a bool that is neither 0 nor 1, a discriminant without an arm
ENTRIES = 80  # procedures or operations of an entry table: NFSv4 ends at 75, OP_ILLEGAL stays outside


class XdrError(ValueError):
    """Bytes that are not a value of the type. `status` is CUT or MALFORMED, `at` the offset that was reached."""

    def __init__(self, status: int, at: int) -> None:
        super().__init__(f"{'cut short' if status == CUT else 'malformed'} at byte {at}")
        self.status = status
        self.at = at


# The tree. Nodes are told apart by identity: equal ones may stand in different places.


class Number(NamedTuple):
    """An integer of 4 or 8 bytes."""

    size: int
    signed: bool = False
    boolean: bool = False


class Opaque(NamedTuple):
    """Bytes, padded to a multiple of 4. `length` is exact if `fixed`, else the maximum."""

    length: int
    fixed: bool


class Array(NamedTuple):
    """A count, at most `limit`, and that many items."""

    item: Type
    limit: int


class Maybe(NamedTuple):
    """A bool, and the item if it is true."""

    item: Type


class Chain(NamedTuple):
    """A linked list."""

    item: Type


class Field(NamedTuple):
    """A named member of a structure; `mark` is a Mark or -1."""

    name: str
    type: Type
    mark: int = -1


class Struct(NamedTuple):
    """Fields in order. If `arms` or `default` is set, the last field chooses what follows."""

    fields: tuple[Field, ...] = ()
    arms: Mapping[int, Struct] = MappingProxyType({})
    default: Struct | None = None

    @property
    def is_union(self) -> bool:
        """Whether an arm follows the fields."""
        return bool(self.arms) or self.default is not None


Type: TypeAlias = Number | Opaque | Array | Maybe | Chain | Struct
Value: TypeAlias = Any  # int, bool, bytes, list or dict of these, None: what `decode` returns

VOID = Struct()
NUMBERS: dict[str, Type] = {
    "u32": Number(4),
    "i32": Number(4, signed=True),
    "u64": Number(8),
    "i64": Number(8, signed=True),
    "bool": Number(4, boolean=True),
}


class Procedure(NamedTuple):
    """A procedure of an RPC program, or an operation of a COMPOUND."""

    number: int
    name: str
    args: Struct
    results: Struct


class Protocol(NamedTuple):
    """One version of an RPC program, as its table tells it."""

    title: str
    types: dict[str, Type]
    constants: dict[str, int]
    procedures: dict[int, Procedure]


def fixed_size(kind: Type) -> int | None:
    """Bytes that every value of the type takes, or None if they differ."""
    if isinstance(kind, Number):
        return kind.size
    if isinstance(kind, Opaque):
        return padded(kind.length) if kind.fixed else None
    if isinstance(kind, Struct) and not kind.is_union:
        sizes = [fixed_size(f.type) for f in kind.fields]
        return None if None in sizes else sum(s for s in sizes if s is not None)
    return None


def least_size(kind: Type) -> int:
    """Bytes of the shortest value of the type."""
    if isinstance(kind, Number):
        return kind.size
    if isinstance(kind, Opaque):
        return padded(kind.length) if kind.fixed else 4
    if isinstance(kind, Struct):
        arms = [least_size(arm) for arm in (*kind.arms.values(), kind.default) if arm is not None]
        return sum(least_size(f.type) for f in kind.fields) + min(arms, default=0)
    return 4


def padded(length: int) -> int:
    """`length` rounded up to a multiple of 4 (RFC 4506 section 4.9)."""
    return (length + 3) & ~3


# Reading the notation


_TOKEN = re.compile(r"\w+|->|=>|[:;{}<>\[\]?*@=]")


def parse(title: str, text: str, base: Protocol | None = None, constants: Mapping[str, int] | None = None) -> Protocol:
    """Read a table.

    title: shown in messages. base: a protocol whose types, constants and procedures this one continues; those defined
    again replace it. constants: further names for discriminants. Raises SyntaxError with the statement that is wrong.
    """
    protocol = Protocol(
        title,
        dict(base.types) if base else dict(NUMBERS),
        {**(base.constants if base else {"FALSE": 0, "TRUE": 1}), **(constants or {})},
        dict(base.procedures) if base else {},
    )
    for statement in _statements(text):
        try:
            _Parser(_TOKEN.findall(statement), protocol).statement()
        except (IndexError, KeyError, ValueError) as error:
            raise SyntaxError(f"{title}: {' '.join(statement.split())}: {error!r}") from error
    return protocol


def _statements(text: str) -> list[str]:
    """The statements of a table, comments taken out, continuation lines joined."""
    statements: list[str] = []
    for full in text.splitlines():
        line = full.partition("#")[0].rstrip()
        if line[:1].isspace():
            statements[-1] += line
        elif line:
            statements.append(line)
    return statements


class _Parser:
    """Reads one statement into `protocol`. Raises ValueError, KeyError or IndexError where it does not understand."""

    def __init__(self, tokens: list[str], protocol: Protocol) -> None:
        self.tokens = [*tokens, ""]  # "" ends it, so that `peek` needs no check
        self.at = 0
        self.protocol = protocol

    @property
    def peek(self) -> str:
        return self.tokens[self.at]

    def take(self, wanted: str = "") -> str:
        token = self.tokens[self.at]
        if not token or (wanted and token != wanted):
            raise ValueError(f"expected {wanted or 'more'}, found {token or 'the end'}")
        self.at += 1
        return token

    def accept(self, token: str) -> bool:
        found = self.peek == token
        self.at += found
        return found

    def statement(self) -> None:
        name = self.take()
        if name.isdigit():
            self._procedure(int(name))
        else:
            self.take("=")
            if self.peek.isdigit():
                self.protocol.constants[name] = int(self.take())
            else:
                self.protocol.types[name] = self._struct() if self.tokens[self.at + 1] == ":" else self._type()
        if self.peek:
            raise ValueError(f"did not expect {self.peek}")

    def _procedure(self, number: int) -> None:
        name = self.take()
        args = self._struct()
        if self.accept("=>"):
            arms = {0: self._struct()}
            arms, default = self._arms(arms) if self.accept(";") else (arms, None)
            results = Struct((Field("status", NUMBERS["u32"], Mark.STATUS),), arms, default or VOID)
        else:
            self.take("->")
            results = self._struct()
        self.protocol.procedures[number] = Procedure(number, name, args, results)

    def _struct(self) -> Struct:
        if self.accept("void"):
            return VOID
        fields = [self._field()]
        while self.peek and self.tokens[self.at + 1] == ":":
            fields.append(self._field())
        names = [f.name for f in fields]
        if len(set(names)) < len(names):
            raise ValueError("a field name is there twice")
        if not self.accept("{"):
            return Struct(tuple(fields))
        if not isinstance(fields[-1].type, Number) or fields[-1].type.size != 4:
            raise ValueError("the field before { must be a number of 4 bytes")
        arms, default = self._arms({})
        self.take("}")
        return Struct(tuple(fields), arms, default)

    def _arms(self, arms: dict[int, Struct]) -> tuple[dict[int, Struct], Struct | None]:
        """Arms up to the closing brace or the end, added to `arms`; and the default."""
        default = None
        while True:
            labels = [self.take()]
            while not self.accept(":"):
                labels.append(self.take())
            arm = self._struct()
            for label in labels:
                if label == "else":
                    default = arm
                else:
                    arms[int(label) if label.isdigit() else self.protocol.constants[label]] = arm
            if not self.accept(";"):
                return arms, default

    def _field(self) -> Field:
        name = self.take()
        self.take(":")
        kind = self._type()
        return Field(name, kind, Mark[self.take()] if self.accept("@") else -1)

    def _type(self) -> Type:
        name = self.take()
        kind = self._opaque() if name in ("opaque", "string") else self.protocol.types[name]
        while self.peek in ("<", "?", "*"):
            if self.accept("?"):
                kind = Maybe(kind)
            elif self.accept("*"):
                kind = Chain(kind)
            else:
                least = least_size(kind)
                if least < 4:
                    raise ValueError("an array of items without bytes has no end")
                kind = Array(kind, min(self._limit(), MESSAGE_LIMIT // least))
        return kind

    def _opaque(self) -> Opaque:
        if self.accept("["):
            length = int(self.take())
            self.take("]")
            return Opaque(length, fixed=True)
        return Opaque(min(self._limit(), MESSAGE_LIMIT), fixed=False)

    def _limit(self) -> int:
        self.take("<")
        limit = int(self.take()) if self.peek != ">" else MESSAGE_LIMIT
        self.take(">")
        return limit


# Decoding with the tree


def decode(kind: Type, buf: bytes | memoryview, at: int, end: int) -> tuple[Value, int]:
    """Read a value of type `kind` from ``buf[at:end]``; returns it and the offset behind it.

    A structure is a dict in the order of the wire, an arm's fields behind the discriminant. Arrays and linked lists are
    lists, opaque and string are bytes, an absent optional is None, a bool is True or False (a number if the wire holds
    one that XDR does not allow). Raises XdrError where `walk` would return CUT or MALFORMED.
    """
    if isinstance(kind, Number):
        return _decode_number(kind, buf, at, end)
    if isinstance(kind, Opaque):
        length = kind.length
        if not kind.fixed:
            length, at = _decode_length(kind.length, buf, at, end)
        _need(padded(length), at, end)
        return bytes(buf[at : at + length]), at + padded(length)
    if isinstance(kind, Struct):
        return _decode_struct(kind, buf, at, end)
    if isinstance(kind, Maybe):
        present, at = _decode_bool(buf, at, end)
        return decode(kind.item, buf, at, end) if present else (None, at)
    items = []
    if isinstance(kind, Array):
        count, at = _decode_length(kind.limit, buf, at, end)
        for _ in range(count):
            item, at = decode(kind.item, buf, at, end)
            items.append(item)
        return items, at
    present, at = _decode_bool(buf, at, end)
    while present:
        item, at = decode(kind.item, buf, at, end)
        items.append(item)
        present, at = _decode_bool(buf, at, end)
    return items, at


def _need(size: int, at: int, end: int) -> None:
    if end - at < size:
        raise XdrError(CUT, at)


def _decode_number(kind: Number, buf: bytes | memoryview, at: int, end: int) -> tuple[int, int]:
    _need(kind.size, at, end)
    value = int.from_bytes(buf[at : at + kind.size], "big", signed=kind.signed)
    return (bool(value) if kind.boolean and value < 2 else value), at + kind.size


def _decode_length(limit: int, buf: bytes | memoryview, at: int, end: int) -> tuple[int, int]:
    _need(4, at, end)
    length = int.from_bytes(buf[at : at + 4], "big")
    if length > limit:
        raise XdrError(MALFORMED, at)
    return length, at + 4


def _decode_bool(buf: bytes | memoryview, at: int, end: int) -> tuple[bool, int]:
    present, at = _decode_length(1, buf, at, end)
    return bool(present), at


def _decode_struct(kind: Struct, buf: bytes | memoryview, at: int, end: int) -> tuple[dict[str, Value], int]:
    values: dict[str, Value] = {}
    for member in kind.fields:
        values[member.name], at = decode(member.type, buf, at, end)
    if kind.is_union:
        arm = kind.arms.get(values[kind.fields[-1].name], kind.default)
        if arm is None:
            raise XdrError(MALFORMED, at - 4)
        rest, at = _decode_struct(arm, buf, at, end)
        values.update(rest)
    return values, at


# Compiling the tree

# Instructions are three words (opcode, a, b), SWITCH has a tail. A mark is a Mark or -1, an address the index of a word
END = 0  # the item is complete
JUMP = 1  # a: address
NEXT = 2  # a: address of the item. One item of an array is done
SKIP = 3  # a: bytes
FIXED = 4  # a: mark, b: length of the opaque, which is a multiple of 4
HYPER = 5  # a: mark. A number of 8 bytes
NUMBER = 6  # a: mark. A number of 4 bytes; so begin all that follow, which do more with it
OPAQUE = 7  # a: mark, b: maximal length
ZERO = 8  # a: mark, b: where to go on if the number is not 0
WORDS = 9  # a: bytes of an item, b: maximal count. An array of items of one size without marks
MAYBE = 10  # a: where to go on if absent
SWITCH = 11  # a: mark, b: arms. Tail: address of the default or -1, then (value, address) for each arm
ARRAY = 12  # a: where to go on if it is empty, b: maximal count. The item follows, and NEXT behind it
WIDTH = 3
NESTING = 2  # arrays within arrays: `walk` counts in that many registers


class Compiler:
    """Collects code. `entry` adds a structure and says where its code begins; the structures must outlive it."""

    def __init__(self) -> None:
        self.code: list[int] = []
        self._skip = 0  # bytes of fields not yet turned into a SKIP
        self._entries: dict[int, int] = {}  # by id of the structure
        self._plain: dict[int, int | None] = {}  # `_plain_size` by id of the structure
        self._depth = 0

    def entry(self, item: Struct) -> int:
        """Address of the code that walks `item`."""
        if id(item) not in self._entries:
            begin = len(self.code)
            self._entries[id(item)] = begin
            self._struct(item, -1)
            self._emit(END)
            self._shorten(begin)
        return self._entries[id(item)]

    def array(self) -> np.ndarray:
        """The code: int32[n]."""
        return np.array(self.code, np.int32)

    def _here(self) -> int:
        """Address of the next instruction, which others may jump to: what is pending comes before it."""
        if self._skip:
            self.code += (SKIP, self._skip, 0)
            self._skip = 0
        return len(self.code)

    def _emit(self, opcode: int, a: int = 0, b: int = 0) -> int:
        here = self._here()
        self.code += (opcode, a, b)
        return here

    def _shorten(self, begin: int) -> None:
        """Turn jumps to END into END. Only a word that is an opcode may be looked at, hence the walk by widths."""
        at, code = begin, self.code
        while at < len(code):
            if code[at] == JUMP and code[code[at + 1]] == END:
                code[at : at + 2] = (END, 0)
            at += WIDTH + (1 + 2 * code[at + 2] if code[at] == SWITCH else 0)

    def _type(self, kind: Type, mark: int) -> None:
        if isinstance(kind, Struct):
            size = self._plain_size(kind) if mark < 0 else None
            if size is None:
                self._struct(kind, mark)
            else:
                self._skip += size
        elif isinstance(kind, Opaque) and not kind.fixed:
            self._emit(OPAQUE, mark, kind.length)
        elif isinstance(kind, Opaque | Number):
            self._fixed(kind, mark)
        elif mark >= 0:
            raise ValueError("a mark belongs on a number, on bytes, or on a structure that begins with one")
        elif isinstance(kind, Array):
            self._array(kind)
        else:
            absent = self._emit(MAYBE)
            self._type(kind.item, -1)
            if isinstance(kind, Chain):
                self._emit(JUMP, absent)
            self.code[absent + 1] = self._here()

    def _fixed(self, kind: Opaque | Number, mark: int) -> None:
        size = kind.size if isinstance(kind, Number) else kind.length
        if mark < 0:
            self._skip += padded(size)
        elif size == 8:  # verifiers, too: they read well as numbers
            self._emit(HYPER, mark)
        elif isinstance(kind, Number):
            self._emit(NUMBER, mark)
        elif size % 4:
            raise ValueError("FIXED takes multiples of 4 only")
        else:
            self._emit(FIXED, mark, size)

    def _plain_size(self, kind: Struct) -> int | None:
        """Size of a structure that is always as long and without marks, else None."""
        if id(kind) not in self._plain:
            self._plain[id(kind)] = None if _has_marks(kind) else fixed_size(kind)
        return self._plain[id(kind)]

    def _array(self, kind: Array) -> None:
        size = self._plain_size(kind.item) if isinstance(kind.item, Struct) else fixed_size(kind.item)
        if size is not None:
            self._emit(WORDS, size, kind.limit)
            return
        self._depth += 1
        if self._depth > NESTING:
            raise ValueError(f"arrays nest deeper than {NESTING}")
        begin = self._emit(ARRAY, 0, kind.limit)
        self._type(kind.item, -1)
        self._emit(NEXT, begin + WIDTH)
        self.code[begin + 1] = self._here()
        self._depth -= 1

    def _struct(self, item: Struct, mark: int) -> None:
        plain = item.fields[:-1] if item.is_union else item.fields
        for member in plain:
            self._type(member.type, mark if mark >= 0 else member.mark)
            mark = -1
        if item.is_union:
            self._union(item, mark if mark >= 0 else item.fields[-1].mark)

    def _union(self, item: Struct, mark: int) -> None:
        """ZERO where only 0 differs from the default, as in nearly all results; SWITCH otherwise."""
        chosen = [*item.arms.values(), *([item.default] if item.default is not None else [])]
        bodies = list({id(arm): arm for arm in chosen if arm.fields}.values())  # labels may share an arm
        if item.default is not None and not bodies:
            self._fixed(Number(4), mark)
            return
        zero = set(item.arms) == {0} and item.default is not None and bool(item.arms[0].fields)
        begin = self._emit(ZERO, mark) if zero else self._emit(SWITCH, mark, len(item.arms))
        self.code += [] if zero else [-1] * (1 + 2 * len(item.arms))
        addresses, after = self._bodies(bodies)
        default = -1 if item.default is None else addresses.get(id(item.default), after)
        if zero:
            self.code[begin + 2] = default
            return
        tail = [default]
        for value, arm in item.arms.items():
            tail += (value, addresses.get(id(arm), after))
        self.code[begin + WIDTH : begin + WIDTH + len(tail)] = tail

    def _bodies(self, bodies: list[Struct]) -> tuple[dict[int, int], int]:
        """Code of the arms, one behind the other; returns where each begins (by id), and where all of them go on."""
        addresses: dict[int, int] = {}
        jumps: list[int] = []
        for body in bodies:
            addresses[id(body)] = self._here()
            self._struct(body, -1)
            if body is not bodies[-1]:
                jumps.append(self._emit(JUMP))
        after = self._here()
        for jump in jumps:
            self.code[jump + 1] = after
        return addresses, after


def _has_marks(kind: Type) -> bool:
    return isinstance(kind, Struct) and any(f.mark >= 0 or _has_marks(f.type) for f in kind.fields)


def entry_tables(compiler: Compiler, procedures: Mapping[int, Procedure]) -> tuple[np.ndarray, np.ndarray]:
    """Entry tables of a protocol: int32[ENTRIES] for arguments and for results, -1 where there is no such procedure."""
    args = np.full(ENTRIES, -1, np.int32)
    results = np.full(ENTRIES, -1, np.int32)
    for number, procedure in procedures.items():
        if number < ENTRIES:
            args[number] = compiler.entry(procedure.args)
            results[number] = compiler.entry(procedure.results)
    return args, results

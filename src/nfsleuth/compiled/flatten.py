"""An object file of LLVM comes in, an image goes out: code that is right wherever it is put, for `image` to load.

LLVM can link an object file into a process, but loading LLVM for that takes 30 ms and 2,000 pages: more than going
through a small capture. So the process that compiles, which has LLVM anyway, links as far as can be done before it is
known where the code will lie. That is nearly all: code for x86-64 reaches its own functions, constants and jump tables
by their distance, and distances within the image are settled here. What remains are the few functions outside, such as
memcpy. A call of one goes to a stub within the image, which jumps to the address that stands behind it, and which
`image` writes there.

Only what LLVM is known to emit for kernels is understood. Whatever else an object file holds (data that is written to,
absolute addresses, a function outside that is not expected) raises `UnsuitableError`, and LLVM links that kernel at
each start.

Sources: System V gABI, chapter 4 (ELF64 object files); System V ABI, AMD64 Architecture Processor Supplement, section
4.4 (relocation types, whose names and letters S, A, P, L and formulas are those of its table 4.9).
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import NamedTuple

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
RELOCATION = struct.Struct("<QQq")

IDENTITY = b"\x7fELF\x02\x01\x01"  # 64 bits, little-endian, version 1
RELOCATABLE, X86_64 = 1, 62
PROGBITS, SYMTAB, STRTAB, RELA, NOBITS, REL = 1, 2, 3, 4, 8, 9
WRITE, ALLOC, TLS = 0x1, 0x2, 0x400
UNDEFINED = 0  # section number of symbols that are in none
UNWINDING = ".eh_frame"  # what an exception would need to pass through; kernels never raise

# Relocation type -> bytes of the field. All are the distance S + A - P; of PLT32, where the symbol is a function
# outside, L + A - P, with the stub as its entry of the procedure linkage table.
PC32, PLT32, PC64 = 2, 4, 24
WIDTHS = {PC32: 4, PLT32: 4, PC64: 8}

STUB = bytes.fromhex("ff2502000000 0f0b")  # jmp *2(%rip); ud2, which is never reached; then 8 bytes for the address
ADDRESS = 8  # bytes
LARGEST_ALIGNMENT = 4096  # of a section; an image begins with a page


class UnsuitableError(Exception):
    """An object file that is not, or does not hold, what this module understands."""


class Image(NamedTuple):
    """Code that is right wherever it lies."""

    code: bytes
    entry: int  # where in `code` the function begins
    outside: dict[str, int]  # where in `code` the addresses of functions outside go, 8 bytes each


class _Section(NamedTuple):
    name: str
    kind: int
    flags: int
    size: int
    content: bytes
    link: int
    info: int
    alignment: int


class _Symbol(NamedTuple):
    name: str
    section: int
    value: int


def flatten(content: bytes, entry: str, outside: Collection[str]) -> Image:
    """Link an object file into an image that begins anywhere on a page.

    entry: name of the function that will be called. outside: names of functions that `image` can find. Raises
    `UnsuitableError`.
    """
    try:
        sections = _sections(content)
        symbols = _symbols(sections)
        places, code = _lay_out(sections)
        stubs = _add_stubs(code, {s.name for s in symbols if s.section == UNDEFINED} & set(outside))
        targets = [_target(symbol, sections, places, stubs) for symbol in symbols]
        for section in sections:
            if section.kind == RELA and section.info in places:
                _relocate(code, places[section.info], sections[section.info].size, section.content, targets)
    except (struct.error, ValueError, IndexError, OverflowError) as error:
        raise UnsuitableError(f"not an object file: {error}") from error
    found = [at for symbol, at in zip(symbols, targets, strict=True) if symbol.name == entry and at is not None]
    if len(found) != 1:
        raise UnsuitableError(f"{len(found)} functions of the name {entry[:60]!r}")
    return Image(bytes(code), found[0], {name: at + len(STUB) for name, at in stubs.items()})


def _sections(content: bytes) -> list[_Section]:
    """All sections, in the order by which relocations and symbols count them."""
    identity, kind, machine, _, _, _, at, _, _, _, _, size, count, names = HEADER.unpack_from(content)
    if not identity.startswith(IDENTITY) or (kind, machine, size) != (RELOCATABLE, X86_64, SECTION.size):
        raise UnsuitableError("not an object file for x86-64")
    headers = [SECTION.unpack_from(content, at + i * size) for i in range(count)]
    texts = content[headers[names][4] :]
    found = []
    for name, section, flags, _, offset, length, link, info, alignment, _ in headers:
        if section == REL:
            raise UnsuitableError("relocations without addends, which this processor's ABI does not use")
        if offset + length > len(content) and section != NOBITS:
            raise UnsuitableError("a section reaches beyond the end of the file")
        held = content[offset : offset + length] if section in (PROGBITS, SYMTAB, STRTAB, RELA) else b""
        found.append(_Section(_text(texts, name), section, flags, length, held, link, info, alignment))
    return found


def _symbols(sections: list[_Section]) -> list[_Symbol]:
    """The symbols, in the order by which relocations count them."""
    tables = [s for s in sections if s.kind == SYMTAB]
    if len(tables) != 1:
        raise UnsuitableError(f"{len(tables)} symbol tables")
    texts = sections[tables[0].link].content
    return [
        _Symbol(_text(texts, name), section, value)
        for name, _, _, section, value, _ in SYMBOL.iter_unpack(tables[0].content)
    ]


def _text(texts: bytes, at: int) -> str:
    """A name of a string table."""
    return texts[at : texts.index(b"\0", at)].decode()


def _lay_out(sections: list[_Section]) -> tuple[dict[int, int], bytearray]:
    """The sections that a process needs, one behind the other: where each lies, by its number, and all of them."""
    places: dict[int, int] = {}
    code = bytearray()
    for number, section in enumerate(sections):
        if not section.flags & ALLOC or section.name == UNWINDING or not section.size:
            continue
        if section.kind != PROGBITS or section.flags & (WRITE | TLS) or section.alignment > LARGEST_ALIGNMENT:
            raise UnsuitableError(f"a section of another kind: {section.name}")
        code += bytes(-len(code) % max(section.alignment, 1))
        places[number] = len(code)
        code += section.content
    return places, code


def _add_stubs(code: bytearray, names: Collection[str]) -> dict[str, int]:
    """Add a stub per function outside; returns where each lies, by name."""
    stubs = {}
    for name in sorted(names):
        code += bytes(-len(code) % len(STUB))
        stubs[name] = len(code)
        code += STUB + bytes(ADDRESS)
    return stubs


def _target(symbol: _Symbol, sections: list[_Section], places: dict[int, int], stubs: dict[str, int]) -> int | None:
    """Where in the image a symbol lies, S; None: not in it."""
    if symbol.section == UNDEFINED:
        return stubs.get(symbol.name)
    if symbol.section not in places or symbol.value > sections[symbol.section].size:
        return None
    return places[symbol.section] + symbol.value


def _relocate(code: bytearray, begin: int, size: int, relocations: bytes, targets: list[int | None]) -> None:
    """Fill in the distances of one section, which is `size` bytes from `begin`."""
    for offset, info, addend in RELOCATION.iter_unpack(relocations):
        kind, symbol = info & 0xFFFFFFFF, targets[info >> 32]
        if kind not in WIDTHS or offset + WIDTHS[kind] > size or symbol is None:
            raise UnsuitableError(f"a relocation of type {kind} at {offset:#x}, to what lies at {symbol}")
        at = begin + offset
        code[at : at + WIDTHS[kind]] = _signed(symbol + addend - at, WIDTHS[kind])


def _signed(distance: int, width: int) -> bytes:
    try:
        return distance.to_bytes(width, "little", signed=True)
    except OverflowError:
        raise UnsuitableError(f"a distance of {distance} does not fit into {width} bytes") from None

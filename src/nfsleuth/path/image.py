"""What is known of a program or library without running it: an `Image` is made by `elf`, and looked at by all others.

Addresses are those of the file (as `objdump` prints them), not those of a process.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Addresses = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Segment:
    """A part of the file that is loaded into memory."""

    address: int
    offset: int  # in the file
    content: bytes
    executable: bool


@dataclass(frozen=True)
class Image:
    """A program or library. Functions are ordered by `starts`; those without a name in `names` are known by address."""

    name: str  # of the file, without folders
    build_id: str
    segments: tuple[Segment, ...]
    names: dict[int, str]  # start of a function -> its name
    sources: tuple[str, ...]  # where names come from, such as "exported"
    starts: Addresses  # of functions, ascending, from the frame descriptions (.eh_frame)
    ends: Addresses
    pointers: dict[int, int] = field(default_factory=dict)  # R_X86_64_RELATIVE: place of a pointer -> where it points

    def bytes_at(self, address: int, length: int) -> bytes:
        """At most `length` bytes of the file's content at `address`; fewer at the end of a segment."""
        for segment in self.segments:
            at = address - segment.address
            if 0 <= at < len(segment.content):
                return segment.content[at : at + length]
        return b""

    def text_at(self, address: int) -> str | None:
        """The printable C string at `address`, or None."""
        content = self.bytes_at(address, 80).partition(b"\0")[0]
        text = content.decode("ascii", errors="replace")
        return text if text and text.isascii() and text.isprintable() else None

    def offset_of(self, address: int) -> int | None:
        """Where `address` lies in the file; None if it is not loaded from it."""
        for segment in self.segments:
            if 0 <= address - segment.address < len(segment.content):
                return address - segment.address + segment.offset
        return None

    def address_of(self, offset: int) -> int | None:
        """The address of the byte at `offset` of the file; None if it is not loaded."""
        for segment in self.segments:
            if 0 <= offset - segment.offset < len(segment.content):
                return offset - segment.offset + segment.address
        return None

    def function_at(self, address: int) -> int | None:
        """The start of the function that holds `address`."""
        index = int(np.searchsorted(self.starts, address, side="right")) - 1
        return int(self.starts[index]) if index >= 0 and address < self.ends[index] else None

    def is_function(self, address: int) -> bool:
        """Whether a function starts there."""
        index = bisect.bisect_left(self.starts, address)
        return index < len(self.starts) and int(self.starts[index]) == address

    def named(self) -> dict[str, int]:
        """Names to starts of functions."""
        return {name: start for start, name in self.names.items()}


def is_emulated(instruction: bytes) -> bool:
    """Whether the kernel emulates the instruction that a uprobe replaces; else it single-steps it, which costs 10 us.

    Those that it emulates: push of a register, nop, call, jmp and conditional jumps (Linux, arch/x86/kernel/uprobes.c,
    push_setup_xol_ops and branch_setup_xol_ops).
    """
    code = instruction[1:] if instruction[:1] == b"\x41" else instruction  # REX.B: push %r8 .. %r15
    if not code:
        return False
    first = code[0]
    if 0x50 <= first <= 0x57:
        return True
    if instruction[:1] == b"\x41":
        return False
    while code[:1] == b"\x66":  # operand size prefixes of long nops
        code = code[1:]
    if code[:1] == b"\x90" or code[:2] == b"\x0f\x1f" or code[:3] == b"\x2e\x0f\x1f":
        return True
    return first in (0xE8, 0xE9, 0xEB) or 0x70 <= first <= 0x7F or (code[:1] == b"\x0f" and 0x80 <= code[1] <= 0x8F)

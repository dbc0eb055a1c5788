"""Read an ELF file: a path comes in, an `Image` goes out, with names from the file itself and from its debug file.

A distribution's binaries are stripped: what is left are exported names (.dynsym), sometimes a small compressed table
(.gnu_debugdata), frame descriptions for all functions (.eh_frame), and relocations of tables of pointers. A debug file
is looked for by build id in /usr/lib/debug and in the cache, and, if DEBUGINFOD_URLS names servers, there
(debuginfod(8)).
"""

from __future__ import annotations

import contextlib
import http.client
import io
import lzma
import os
import re
import struct
import urllib.request
from pathlib import Path
from typing import IO, Any

import numpy as np

from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.kernel_cache import user_cache
from nfsleuth.path.image import Addresses, Image, Segment

DEBUG = Path("/usr/lib/debug/.build-id")
RELATIVE = 8  # R_X86_64_RELATIVE
X86_64 = "EM_X86_64"
LONGEST_DEBUG = 2 << 30  # bytes of a debug file that are fetched
LONGEST_SECTION = 1 << 28  # bytes of a section that is unpacked
PATIENCE = 20  # seconds that a server of debug files may be silent
HEADER = 12  # bytes of .eh_frame_hdr before its table (LSB 5.0, 10.6.2)
TABLE_ENCODING = 0x3B  # pairs of 4 byte numbers, relative to the section


def read(path: Path, name: str | None = None, *, debug: bool = True) -> Image:
    """The image of the program or library `path`; `name` is what it is called, if `path` is a link of /proc.

    Raises NfsleuthError if it is no ELF file of x86-64.
    """
    try:
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile
    except ImportError:
        raise NfsleuthError("recording needs pyelftools; pip install 'nfsleuth[path]'", Exit.PARTS_MISSING) from None
    name = name or path.name
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            if elf["e_machine"] != X86_64:
                raise NfsleuthError(f"{name}: is for {elf['e_machine']}; path reads programs for x86-64 only")
            return _image(elf, name, debug)
    except OSError as error:
        raise NfsleuthError(f"{name}: cannot be read ({error.strerror}); run as root", Exit.UNREADABLE) from None
    except (ELFError, lzma.LZMAError, struct.error, ValueError, IndexError, KeyError) as error:
        raise NfsleuthError(f"{name}: is no ELF file that can be read ({error})", Exit.UNREADABLE) from None


def _image(elf: Any, name: str, debug: bool) -> Image:  # noqa: ANN401 (pyelftools has no types)
    build_id = _build_id(elf)
    names: dict[int, str] = {}
    sources = []
    tables = [("exported", elf, ".dynsym"), ("symbol table", elf, ".symtab")]
    with contextlib.ExitStack() as opened:
        small = elf.get_section_by_name(".gnu_debugdata")
        if small:
            from elftools.elf.elffile import ELFFile

            tables.append((".gnu_debugdata", ELFFile(io.BytesIO(_unpacked(small.data()))), ".symtab"))
        if debug and (file := debug_file(build_id)):
            from elftools.elf.elffile import ELFFile

            tables.append(("debug file", ELFFile(opened.enter_context(file.open("rb"))), ".symtab"))
        for source, where, section in tables:
            found = _symbols(where, section)
            if found.keys() - names.keys():
                sources.append(source)
            names |= {address: text for address, text in found.items() if address not in names}
    starts, ends = _frames(elf)
    return Image(name, build_id, _segments(elf), names, tuple(sources), starts, ends, _pointers(elf))


def _unpacked(content: bytes) -> bytes:
    """A section that is compressed as xz. Raises ValueError or LZMAError if it is damaged, or grows too large."""
    unpacker = lzma.LZMADecompressor()
    found = unpacker.decompress(content, LONGEST_SECTION)
    if not unpacker.eof:
        raise ValueError("a compressed section is cut short or too large")
    return found


def _segments(elf: Any) -> tuple[Segment, ...]:  # noqa: ANN401
    return tuple(
        Segment(s["p_vaddr"], s["p_offset"], s.data(), bool(s["p_flags"] & 1))
        for s in elf.iter_segments()
        if s["p_type"] == "PT_LOAD"
    )


def _build_id(elf: Any) -> str:  # noqa: ANN401
    section = elf.get_section_by_name(".note.gnu.build-id")
    if section:
        for note in section.iter_notes():
            if note["n_type"] == "NT_GNU_BUILD_ID":
                return str(note["n_desc"])
    return ""


def _symbols(elf: Any, section: str) -> dict[int, str]:  # noqa: ANN401
    """Functions of a symbol table: address -> name; of several names for one address the shortest."""
    table = elf.get_section_by_name(section)
    if table is None or table["sh_type"] == "SHT_NOBITS":
        return {}
    raw = np.frombuffer(table.data(), SYMBOL)
    functions = raw[((raw["info"] & 15) == 2) & (raw["section"] != 0)]  # STT_FUNC, defined
    text = table.stringtable.data() if hasattr(table.stringtable, "data") else b""
    found: dict[int, str] = {}
    for at, address in zip(functions["name"].tolist(), functions["value"].tolist(), strict=True):
        name = text[at : text.find(b"\0", at)].decode("utf-8", errors="replace")
        # Static functions that the compiler cut in pieces are name.part.0, name.cold and the like.
        name = name if name.endswith(".cold") else name.partition(".")[0]
        if name and (address not in found or len(name) < len(found[address])):
            found[address] = name
    return found


SYMBOL = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"), ("size", "<u8")]
)
RELOCATION = np.dtype([("place", "<u8"), ("info", "<u8"), ("addend", "<i8")])


def _pointers(elf: Any) -> dict[int, int]:  # noqa: ANN401
    section = elf.get_section_by_name(".rela.dyn")
    if section is None:
        return {}
    raw = np.frombuffer(section.data(), RELOCATION)
    relative = raw[(raw["info"] & 0xFFFFFFFF) == RELATIVE]
    return dict(zip(relative["place"].tolist(), relative["addend"].tolist(), strict=True))


def _frames(elf: Any) -> tuple[Addresses, Addresses]:  # noqa: ANN401
    """Start and end of every function, from the sorted table in .eh_frame_hdr and the descriptions it points to."""
    index, frames = elf.get_section_by_name(".eh_frame_hdr"), elf.get_section_by_name(".eh_frame")
    none = np.zeros(0, np.int64)
    if index is None or frames is None:
        return none, none
    content = index.data()
    if len(content) < HEADER or content[3] != TABLE_ENCODING:
        return none, none
    table = np.frombuffer(content[HEADER : HEADER + 8 * int.from_bytes(content[8:12], "little")], "<i4").reshape(-1, 2)
    starts = table[:, 0].astype(np.int64) + index["sh_addr"]
    at = table[:, 1].astype(np.int64) + index["sh_addr"] - frames["sh_addr"]
    raw = np.frombuffer(frames.data(), np.uint8)
    # A description: length, place of its CIE, start, length of the function; 4 bytes each in what gcc and clang write.
    at = np.clip(at + 12, 0, max(0, len(raw) - 4))
    lengths = np.stack([raw[at + n] for n in range(4)], axis=1).view("<u4").reshape(-1).astype(np.int64)
    return starts, starts + lengths


def debug_file(build_id: str) -> Path | None:
    """The debug file of the binary with `build_id`: of this machine, or fetched; None if there is none."""
    if not re.fullmatch(r"[0-9a-f]{8,64}", build_id):
        return None
    local = DEBUG / build_id[:2] / f"{build_id[2:]}.debug"
    if local.exists():
        return local
    kept = cache() / "debug" / f"{build_id}.debug"
    if kept.exists():
        return kept
    for url in os.environ.get("DEBUGINFOD_URLS", "").split():
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            return _fetched(f"{url.rstrip('/')}/buildid/{build_id}/debuginfo", kept)
    return None


def _fetched(url: str, kept: Path) -> Path:
    if not url.startswith(("http://", "https://")):
        raise ValueError(url)
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_name(f".{kept.name}.{os.getpid()}")
    try:
        with (
            urllib.request.urlopen(url, timeout=PATIENCE) as answer,  # noqa: S310 (http and https only)
            partial.open("wb") as file,
        ):
            copied, length = _copy(answer, file), answer.headers["Content-Length"]
        if length is not None and copied != int(length):  # a connection that breaks off is no error of `read`
            raise ValueError("cut short")
        partial.replace(kept)  # under its name only when it is whole
    finally:
        partial.unlink(missing_ok=True)
    return kept


def _copy(source: IO[bytes], target: IO[bytes]) -> int:
    """Bytes that were copied."""
    done = 0
    while piece := source.read(1 << 20):
        done += len(piece)
        if done > LONGEST_DEBUG:
            raise ValueError("too long")
        target.write(piece)
    return done


def cache() -> Path:
    """Where fetched and built files are kept: below the user's cache."""
    return Path(user_cache(), "nfsleuth", "path")


def data_address(path: Path, name: str) -> int | None:
    """The address of the exported variable `name` of a library; None if it has none."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        with path.open("rb") as file:
            table: Any = ELFFile(file).get_section_by_name(".dynsym")
            found = table.get_symbol_by_name(name) if table else None
            return int(found[0]["st_value"]) if found else None
    except (OSError, ELFError):
        return None

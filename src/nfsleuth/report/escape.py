r"""Text that came out of a capture, made safe to show: what could move a cursor or turn text around becomes visible.

A machine name is whatever its sender wrote: it may hold terminal escapes, line feeds, or Unicode controls that
reorder the letters around them (Unicode Technical Report 36, section 2.6; Unicode Annex 9). Such characters are shown
as ``\x1b`` and ``\u202e``. JSON output does not need this module: it escapes all that is not printable ASCII, and
loses nothing.
"""

from __future__ import annotations

import unicodedata

# Controls, formats (bidirectional overrides, zero-width characters), surrogates, private use, unassigned, and line,
# paragraph and other separators: everything that is not a mark on the screen. The ordinary space is let through.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
_FORMULA = frozenset("=+-@")


def visible(text: str) -> str:
    r"""`text` with every character that is not plainly visible written as ``\xNN``, ``\uNNNN`` or ``\UNNNNNNNN``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c == " " or unicodedata.category(c) not in _HIDDEN else _escaped(c) for c in text)


def cell(text: str) -> str:
    r"""`visible` text for a spreadsheet: a first character that would start a formula is written as ``\xNN``."""
    text = visible(text)
    return _escaped(text[0]) + text[1:] if text[:1] in _FORMULA and text[:1] else text


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def columns(text: str) -> int:
    """Terminal columns that `text` takes: 2 for a wide East Asian character, 0 for one that combines, else 1."""
    if text.isascii():
        return len(text)
    return sum(_columns(c) for c in text)


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def shortened(text: str, width: int, *, keep_end: bool = False) -> str:
    """`text` in at most `width` columns; what is left out, at the end or in the middle, is marked by one ``…``."""
    if columns(text) <= width:
        return text
    if width <= 1:
        return "…"[:width]
    tail = _fitting(text[::-1], (width - 1) // 2)[::-1] if keep_end else ""
    return _fitting(text, width - 1 - columns(tail)) + "…" + tail


def _fitting(text: str, width: int) -> str:
    """The longest beginning of `text` that takes at most `width` columns."""
    used = 0
    for index, character in enumerate(text):
        used += _columns(character)
        if used > width:
            return text[:index]
    return text


def padded(text: str, width: int, *, right: bool = False) -> str:
    """`text` shortened or filled with spaces to exactly `width` columns; `right` aligns it there."""
    text = shortened(text, width)
    fill = " " * (width - columns(text))
    return fill + text if right else text + fill

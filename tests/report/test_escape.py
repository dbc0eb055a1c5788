"""Text from a capture cannot move a cursor, turn text around, start a formula, or take more room than it is given."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfsleuth.report.escape import cell, columns, padded, shortened, visible

TEXT = st.text(st.characters(codec=None), max_size=60)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("vm-a", "vm-a"),
        ("a b", "a b"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\r\nb\0", "a\\x0d\\x0ab\\x00"),
        ("\x7f\x9b31m", "\\x7f\\x9b31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("\u2028\ud800\ue000", "\\u2028\\ud800\\ue000"),
        ("\U000e0041", "\\U000e0041"),
        ("Büro-宽", "Büro-宽"),
    ],
)
def test_what_is_not_a_mark_on_the_screen_is_written_out(sent: str, shown: str) -> None:
    assert visible(sent) == shown


@given(TEXT)
def test_visible_text_has_no_hidden_character_and_can_be_encoded(text: str) -> None:
    shown = visible(text)
    assert all(c == " " or unicodedata.category(c)[0] not in "CZ" for c in shown)
    assert shown.encode() is not None
    assert visible(shown) == shown


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_a_cell_never_starts_a_formula(start: str) -> None:
    assert cell(f"{start}cmd|'/C calc'!A0") == f"\\x{ord(start):02x}cmd|'/C calc'!A0"
    assert cell("") == ""
    assert cell("a=b") == "a=b"


@given(TEXT, st.integers(0, 30), st.booleans())
def test_shortened_text_fits_and_says_that_it_was_cut(text: str, width: int, keep_end: bool) -> None:
    shown = shortened(text, width, keep_end=keep_end)
    assert columns(shown) <= width
    assert shown == text or "…" in shown or width == 0


@given(TEXT, st.integers(1, 30), st.booleans())
def test_padded_text_takes_exactly_its_columns(text: str, width: int, right: bool) -> None:
    assert columns(padded(visible(text), width, right=right)) == width


def test_the_end_is_kept_where_it_matters() -> None:
    assert shortened("2001:db8:1234:5678::1#2", 13, keep_end=True) == "2001:d…8::1#2"
    assert shortened("2001:db8:1234:5678::1#2", 13) == "2001:db8:123…"

"""Integers out of bytes, against Python's own."""

from __future__ import annotations

from headers import FIELD_BE16, FIELD_BE32, FIELD_BE48, FIELD_BE64, FIELD_LE32, FIELD_U8, field
from hypothesis import given, settings
from hypothesis import strategies as st

SIZES = {FIELD_U8: 1, FIELD_BE16: 2, FIELD_BE32: 4, FIELD_BE48: 6, FIELD_BE64: 8, FIELD_LE32: 4}


@settings(deadline=None)
@given(st.sampled_from(sorted(SIZES)), st.binary(min_size=8, max_size=24), st.data())
def test_fields(which, data, draw):
    """Up to the last byte, and never beyond: the buffer is as long as it says."""
    size = SIZES[which]
    at = draw.draw(st.integers(0, len(data) - size))
    order = "little" if which == FIELD_LE32 else "big"
    assert field(which, data, at) == int.from_bytes(data[at : at + size], order)


def test_no_bit_is_lost_at_the_top():
    assert field(FIELD_BE32, b"\xff" * 4, 0) == 2**32 - 1
    assert field(FIELD_BE64, b"\xff" * 8, 0) == 2**64 - 1
    assert field(FIELD_BE16, b"\x12\x34", 0) == 0x1234

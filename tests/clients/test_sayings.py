"""What identity rows say, by numbers: against a dictionary that is asked row by row."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nfsleuth.clients.sayings import NUMBERED, WORDS, Sayings
from nfsleuth.trace.tables import IDENTITY, Identity

KINDS = [Identity.MACHINE_NAME, Identity.FILE_NAME, Identity.SESSION, Identity.CLIENTID]
# Texts that differ at their ends only, around the length by which they are compared.
TEXTS = st.builds(
    lambda size, last: (b"x" * size + last)[-size:] if size else b"",
    st.sampled_from([0, 1, 7, 8, 9, 8 * WORDS - 1, 8 * WORDS, 8 * WORDS + 1, 100]),
    st.sampled_from([b"", b"y", b"\0", b"\0\0"]),
)
ROWS = st.tuples(
    st.sampled_from(KINDS), TEXTS, st.sampled_from([0, 1, 1 << 63]), st.sampled_from([0, 5]), st.booleans()
)
EVERYTHING = np.ones((2, len(Identity) + 1), np.bool_)


def table(rows):
    made, text = np.zeros(len(rows), IDENTITY), b""
    for i, (kind, said, a, b, from_client) in enumerate(rows):
        made[i] = (i, kind, from_client, 0, len(said), len(text), a, b, i + 1, 1000 + i)
        text += said
    return made, text


@given(st.lists(st.lists(ROWS, max_size=20), min_size=1, max_size=4), st.booleans())
def test_numbers_are_those_of_a_dictionary(parts, at_once):
    sayings, expected, found = Sayings(), {}, []
    tables = [table(rows) for rows in parts]
    for some in [tables] if at_once else [[one] for one in tables]:
        found.append(sayings.read([rows for rows, _ in some], [text for _, text in some], EVERYTHING))
    plain = [
        expected.setdefault(
            (kind, said, a if kind in NUMBERED else 0, b if kind == Identity.SESSION else 0), len(expected)
        )
        for rows in parts
        for kind, said, a, b, _ in rows
    ]
    assert [int(n) for held in found for n in held.said] == plain
    assert dict(sayings) == expected
    assert [int(t) for held in found for t in held.time] == [1000 + i for rows in parts for i in range(len(rows))]


def test_only_what_is_wanted_is_read():
    wanted = np.zeros_like(EVERYTHING)
    wanted[1, Identity.MACHINE_NAME] = True
    rows = [(kind, b"node1", 0, 0, sent) for kind in KINDS for sent in (True, False)]
    sayings = Sayings()
    held = sayings.read(*zip(table(rows), strict=True), wanted)
    assert (held.uid.tolist(), held.frame.tolist()) == ([0], [1])
    assert list(sayings) == [(Identity.MACHINE_NAME, b"node1", 0, 0)]

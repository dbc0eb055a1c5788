"""What strands have seen, counted by column: against one sighting after the other."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nfsleuth.clients.batch import FLAVORS, _Columns
from nfsleuth.clients.facts import Seen, Sighting

VALUES = st.integers(0, 2)  # few, so that connections of a strand often agree
ROWS = st.lists(st.tuples(st.integers(0, 4), VALUES, st.booleans(), VALUES, st.booleans()), min_size=1, max_size=30)


def columns(rows):
    """`_Columns` of connections, strand by strand in order of frames, and each of the other columns of `rows`."""
    strands = sorted({row[0] for row in rows})
    ranked = sorted((strands.index(strand), *others) for strand, *others in rows)
    strand, *others = (np.array(column) for column in zip(*ranked, strict=True))
    at = np.arange(1, len(rows) + 1)
    return _Columns(strand, at, 100 * at, 100 * at + 7), others


def counted(columns, *parts):
    """The same, one connection after the other. parts: which rows, and what each of them says."""
    found = [Seen() for _ in columns.starts]
    for which, says in parts:
        for row in np.flatnonzero(which).tolist():
            span = Sighting(1, (row + 1,), 100 * (row + 1), 100 * (row + 1) + 7)
            for value in says(row):
                have = found[columns.strand[row]].sightings
                have[value] = have[value] + span if value in have else span
    return found


@given(ROWS, st.booleans())
def test_values_are_counted_as_they_stand(rows, every):
    made, (values, which, others, where) = columns(rows)
    which |= every
    parts = ((which, values), (where & (others != values), others))
    for some in (parts[:1], parts):
        naive = counted(made, *((mask, lambda row, column=column: [f"v{column[row]}"]) for mask, column in some))
        assert made.seen("v{}".format, *some) == naive


@given(ROWS)
def test_bits_are_counted_as_they_stand(rows):
    made, (low, _, high, _) = columns(rows)
    bits = (low | high << 2).astype(np.uint8)
    naive = counted(
        made,
        (np.ones(len(bits), np.bool_), lambda row: [name for bit, name in FLAVORS.items() if bits[row] & bit]),
    )
    assert made.seen_bits(FLAVORS, bits) == naive


def test_connections_that_say_the_same_share_a_sighting():
    made, (values, which, _, _) = columns([(0, 1, True, 0, True), (0, 1, True, 0, True), (1, 2, True, 0, True)])
    one, other = made.seen(int, (which, values)), made.seen_bits({1: "a", 2: "b"}, values)
    assert one == [Seen({1: Sighting(2, (1, 2), 100, 207)}), Seen({2: Sighting(1, (3,), 300, 307)})]
    assert one[0].sightings[1] is other[0].sightings["a"]

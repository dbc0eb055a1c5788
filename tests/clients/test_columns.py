"""Ordering and numbering of columns, and adding many facts up at a time, against the plain ways to do the same."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfsleuth.clients.columns import Some, combined, distinct, ordered, places, together
from nfsleuth.clients.facts import MOST, ClientId, Facts, Seen, Traffic, merged
from nfsleuth.trace.rows import joined
from nfsleuth.trace.tables import CLOCK, CONNECTION

# Few different values, near each other or as far apart as 64 bits allow.
NUMBERS = st.sampled_from([0, 1, 2, 7, 1 << 20, (1 << 31) - 1, 1 << 31, 1 << 40, (1 << 62) + 1, (1 << 63) - 1])
ROWS = st.lists(st.tuples(NUMBERS, NUMBERS | st.sampled_from([(1 << 63) + 1, (1 << 64) - 1]), NUMBERS), max_size=30)


def columns_of(rows: list[tuple[int, int, int]]) -> tuple[np.ndarray, ...]:
    return tuple(np.array([row[i] for row in rows], dtype) for i, dtype in enumerate((np.int64, np.uint64, np.int64)))


@given(st.lists(NUMBERS, max_size=30))
def test_order_is_that_of_a_stable_sort(keys):
    assert ordered(np.array(keys, np.int64)).tolist() == sorted(range(len(keys)), key=keys.__getitem__)


@given(ROWS)
def test_combined_keys_sort_as_rows_do(rows):
    keys = combined(columns_of(rows)).tolist()
    assert all((keys[i] < keys[j]) == (rows[i] < rows[j]) for i in range(len(rows)) for j in range(len(rows)))
    assert all(key >= 0 for key in keys)


@given(ROWS)
def test_distinct_rows_are_numbered_in_their_order(rows):
    numbers, where = distinct(*columns_of(rows))
    kept = sorted(set(rows))
    assert [rows[i] for i in where] == kept
    assert numbers.tolist() == [kept.index(row) for row in rows]


def test_some_rows_of_a_table():
    table = np.zeros(5, CONNECTION)
    table["uid"], table["frames"] = np.arange(5), np.arange(10).reshape(5, 2)
    some = Some(table, np.array([3, 1]))
    assert (len(some), some["uid"].tolist(), some["frames"].tolist()) == (2, [3, 1], [[6, 7], [2, 3]])


def test_joined_rows_are_a_copy_that_can_be_written():
    parts = [np.zeros(2, CLOCK), np.zeros(0, CLOCK), np.ones(1, CLOCK)]
    rows = joined(parts, CLOCK)
    rows["uid"][0] = 9
    assert (rows["uid"].tolist(), rows["value"].tolist(), parts[0]["uid"][0]) == ([9, 0, 1], [0, 0, 1], 0)
    assert len(joined([], CLOCK)) == 0


def facts(number: int, ports: list[int]) -> Facts:
    made = Facts(
        f"10.0.0.{number}", connections=1, reads=Traffic(number, 2, 3), first=number, last=number and 2 * number
    )
    for port in ports:
        made.ports.see(port, 1 + port % 7, 100 + port)
    made.client_ids = tuple(ClientId(b"o", verifier, 0, verifier, 1) for verifier in sorted(set(ports)))
    return made


@given(st.lists(st.builds(facts, st.integers(0, 3), st.lists(st.integers(0, 5), max_size=6)), min_size=1, max_size=6))
def test_many_at_a_time_are_as_one_after_the_other(parts):
    before = [list(part.ports.sightings.items()) for part in parts]
    assert merged(parts) == reduce(add, parts)
    assert [list(part.ports.sightings.items()) for part in parts] == before


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_what_is_let_go_does_not_depend_on_how_many_are_added_up_at_a_time(order):
    seen = [Seen[int](), Seen[int](), Seen[int]()]
    for i, some in enumerate(seen):
        for value in range(i * 100, i * 100 + MOST):
            some.see(value, value)
    a, b, c = (Facts("10.0.0.1", ports=seen[i]) for i in order)
    whole = merged([a, b, c])
    assert whole == (a + b) + c == a + (b + c)
    assert (len(whole.ports), whole.ports.total) == (MOST, 3 * MOST)


@given(ROWS)
def test_rows_stand_together_in_an_order_that_keeps_the_first_of_equal_ones_first(rows):
    order, new = together(*columns_of(rows))
    assert sorted(order.tolist()) == list(range(len(rows)))
    for place, row in enumerate(order.tolist()):
        assert new[place] == (place == 0 or rows[row] != rows[order[place - 1]])
    firsts = {rows[row]: row for row in reversed(order[new].tolist())}
    assert firsts == {rows[row]: row for row in reversed(range(len(rows)))}


@given(st.sets(st.integers(0, 60) | NUMBERS), st.lists(st.integers(0, 60) | NUMBERS, max_size=30))
def test_places_of_values(kept, values):
    ascending = sorted(kept)
    found = places(np.array(values, np.int64), np.array(ascending, np.int64))
    assert found.tolist() == [ascending.index(value) if value in kept else -1 for value in values]

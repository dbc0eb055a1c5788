"""Events are matched as a stack per thread would, whatever is missing at the ends."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.path.make import NUMBER, STEP, events

from nfsleuth.path.calls import DEEPEST, nest
from nfsleuth.path.model import EVENT, Kind


def naive(found):
    """Thread by thread with a list of open calls; (function, begin, end, function around it or None)."""
    done = []
    for thread in sorted(set(found["thread"].tolist())):
        open_calls = []
        for event in found[found["thread"] == thread]:
            function, time = int(event["function"]), int(event["time"])
            if event["kind"] == Kind.ENTER:
                open_calls.append([function, time, None, open_calls[-1] if open_calls else None])
                done.append(open_calls[-1])
            elif any(call[0] == function for call in open_calls):
                while open_calls[-1][0] != function:
                    open_calls.pop()
                open_calls.pop()[2] = time
    result = []
    for function, begin, end, outer in done:
        around = outer
        while around is not None and around[2] is None:
            around = around[3]
        if end is not None:
            result.append((function, begin, end, around and (around[0], around[1])))
    return result


def as_naive(nested):
    calls = nested.calls
    rows = list(zip(*(calls[n].tolist() for n in ("function", "begin", "end", "parent")), strict=True))
    return [(f, b, e, (rows[p][0], rows[p][1]) if p >= 0 else None) for f, b, e, p in rows]


def test_calls_nest():
    nested = nest(events([("slirp_input", "m_get", ("tcp_input", "m_get"))]))
    assert nested.calls["parent"].tolist() == [-1, 0, 0, 2]
    assert nested.calls["depth"].tolist() == [0, 1, 1, 2]
    assert (nested.calls["end"] - nested.calls["begin"]).tolist() == [7 * STEP, STEP, 3 * STEP, STEP]
    assert (nested.unfinished, nested.unbegun) == (0, 0)


def test_threads_have_stacks_of_their_own():
    one, two = events(["m_get"]), events([], ["m_get"])
    both = np.concatenate([one, two])
    both["time"] = [0, 30, 10, 20]  # the second call lies within the first in time
    assert nest(both).calls["parent"].tolist() == [-1, -1]


def test_what_the_recording_cuts_is_counted_and_left_out():
    whole = events([("slirp_input", ("tcp_input", "m_get"), "m_get")])
    begun = nest(whole[:5])  # the outermost call has no end
    assert as_naive(begun) == [
        (NUMBER["tcp_input"], STEP, 4 * STEP, None),
        (NUMBER["m_get"], 2 * STEP, 3 * STEP, (NUMBER["tcp_input"], STEP)),
    ]
    assert begun.unfinished == 1
    ended = nest(whole[4:])
    assert ended.unbegun == 2  # tcp_input and slirp_input
    assert ended.calls["function"].tolist() == [NUMBER["m_get"]]


def test_nothing_gives_nothing():
    assert len(nest(np.zeros(0, EVENT)).calls) == 0


def test_a_stack_that_never_shrinks_is_cut():
    deep = np.zeros(5 * DEEPEST, EVENT)
    deep["time"] = np.arange(len(deep))
    nested = nest(deep)
    assert (len(nested.calls), nested.unfinished) == (0, len(deep))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 1)), max_size=60),
)
def test_the_naive_twin_agrees(rows):
    found = np.array([(t, 0, f, thread, kind) for t, (f, thread, kind) in enumerate(rows)], EVENT)
    nested = nest(found)
    assert as_naive(nested) == naive(found)
    assert len(nested.calls) + nested.unfinished == int((found["kind"] == Kind.ENTER).sum())

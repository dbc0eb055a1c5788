"""Events to calls: the events of a recording come in, a table of calls goes out, each with the call it was made in.

Each thread has a stack of its own: a NIC model may send in the thread of a virtual CPU while the main loop receives.
A recording begins and ends anywhere, so a call whose beginning or end is missing is counted and left out; calls within
it are kept, as calls of whoever is known to be around them.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nfsleuth.path.model import Events, Kind

DEEPEST = 200  # a real stack of watched functions has 30

CALL = np.dtype(
    [
        ("begin", "<i8"),  # ns
        ("end", "<i8"),
        ("parent", "<i4"),  # row of the call that this one was made in; -1 without. Always a smaller number.
        ("caller", "<u4"),  # as in events
        ("function", "<u2"),
        ("depth", "<u2"),  # 0 without a parent
        ("thread", "u1"),
    ]
)
Calls = npt.NDArray[np.void]


@dataclass(frozen=True)
class Nested:
    """Calls in the order of their beginnings, thread by thread, and what did not fit."""

    calls: Calls
    unfinished: int  # began, and did not end within the recording
    unbegun: int  # ended, and did not begin within it


def nest(events: Events) -> Nested:
    """Match beginnings and ends."""
    began, ends, parents, unbegun = [], array("q"), array("q"), 0
    for thread in np.unique(events["thread"]).tolist():
        mine = events[events["thread"] == thread]
        unbegun += _match(mine, ends, parents)
        began.append(mine[mine["kind"] == Kind.ENTER])
    begun = np.concatenate(began) if began else events
    end = np.frombuffer(ends, np.int64) if ends else np.zeros(0, np.int64)
    finished = end >= 0
    parent, depth = _without(parents, finished.tolist())
    calls = np.zeros(len(parent), CALL)
    for name in ("caller", "function", "thread"):
        calls[name] = begun[name][finished]
    calls["begin"], calls["parent"], calls["depth"] = begun["time"][finished], parent, depth
    calls["end"] = np.maximum(end[finished], calls["begin"])
    return Nested(calls, int((~finished).sum()), unbegun)


def _match(events: Events, ends: array[int], parents: array[int]) -> int:
    """Add, for each beginning in a thread, when the call ended (-1: never) and the row of the call around it (or -1).

    Returns how many ends have no beginning.
    """
    rows: list[int] = []  # the stack
    functions: list[int] = []  # of those rows
    unbegun = 0
    columns = (events[name].tolist() for name in ("time", "function", "kind"))
    for time, function, kind in zip(*columns, strict=True):
        if kind == Kind.ENTER:
            if len(rows) >= DEEPEST:  # what it holds was left without a trace, or the file is hostile
                rows.clear()
                functions.clear()
            parents.append(rows[-1] if rows else -1)
            rows.append(len(ends))
            functions.append(function)
            ends.append(-1)
        elif function in functions:
            while functions.pop() != function:
                rows.pop()  # its end is missing
            ends[rows.pop()] = time
        else:
            unbegun += 1
    return unbegun


def _without(parents: array[int], finished: list[bool]) -> tuple[list[int], list[int]]:
    """Parent and depth of each finished call, with unfinished ones taken out of the chain of parents."""
    around: list[int] = []  # of all rows: the finished call around them, by its number among finished ones
    numbers: list[int] = []  # of all rows: their own number
    parent: list[int] = []
    depth: list[int] = []
    for row, ended in zip(parents, finished, strict=True):
        outer = -1 if row < 0 else numbers[row] if finished[row] else around[row]
        around.append(outer)
        numbers.append(len(parent))
        if ended:
            parent.append(outer)
            depth.append(0 if outer < 0 else depth[outer] + 1)
    return parent, depth

"""A tally and its byte-by-byte twin agree in every figure; hostile values do no harm; memory is bounded."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nfsleuth.sharing.kernel import class_of
from nfsleuth.sharing.tables import EVENT, FINE, MOST_SHARERS, Kind
from nfsleuth.sharing.tally import Tally
from sharing.naive import Naive

BLOCK = 512
UNIT = BLOCK // 64
CACHES = range(1, 40)


def events(rows) -> np.ndarray:
    """EVENT rows of dicts; what is not said is 0."""
    table = np.zeros(len(rows), EVENT)
    for row, said in zip(table, rows, strict=True):
        for name, value in said.items():
            row[name] = value
    return table


def read(host, guest, file, offset, size, time=0, **more):
    return {"kind": Kind.READ, "host": host, "guest": guest, "file": file, "offset": offset, "bytes": size,
            "time": time, **more}  # fmt: skip


@st.composite
def traces(draw, aligned=UNIT, longest=4 * BLOCK, last=6 * BLOCK):
    """A few guests of a few hosts read and write a few files; time goes on, mostly."""
    rows, now = [], 1000
    for _ in range(draw(st.integers(1, 40))):
        now += draw(st.integers(-3, 100))
        kind = draw(st.sampled_from([Kind.READ] * 8 + [Kind.WRITE] * 2 + [Kind.CHANGED, Kind.SIGHTED]))
        guest = draw(st.integers(0, 5))
        offset = draw(st.integers(0, last // aligned)) * aligned
        size = draw(st.integers(1, longest // aligned)) * aligned
        called = now - draw(st.integers(0, 60))
        known = draw(st.sampled_from([0, 0, 1, 2]))
        rows.append(
            {
                "kind": kind,
                "host": guest // 2,
                "guest": guest,
                "file": draw(st.integers(0, 2)),
                "offset": offset,
                "bytes": size,
                "time": now,
                "called": called,
                "known": known,
                "change": draw(st.integers(0, 2)),
            }
        )
    return rows


def fed(rows, *, cuts=1, **options) -> Tally:
    tally = Tally(block=BLOCK, **options)
    table = events(rows)
    for piece in np.array_split(table, cuts):
        tally.feed(piece)
    return tally


@settings(max_examples=200, deadline=None)
@given(rows=traces(), cuts=st.integers(1, 4))
def test_every_figure_is_that_of_the_twin(rows, cuts):
    tally, naive = fed(rows, cuts=cuts), Naive(BLOCK, CACHES)
    for row in rows:
        naive.feed(row)
    assert tally.rate == 1
    assert tally.hidden_changes == naive.hidden
    for host, row in enumerate(tally.hosts):
        assert (row["sent"], row["own"], row["others"], row["changed"]) == (
            naive.sent[host], naive.own[host], naive.others[host], naive.changed[host],
        )  # fmt: skip
        assert row["taken"] == row["sent"]
        assert tally.reach(host).tolist() == [float(naive.reach[host][n + 1]) for n in range(MOST_SHARERS)]
        waits = Counter()
        for wait, size in naive.waits[host].items():
            waits[class_of(np.int64(wait), FINE)] += size
        assert {i: n for i, n in enumerate(tally.waits(host)) if n} == waits
        saved = np.cumsum(tally.distances(host))
        assert [saved[min(c, len(saved)) - 1] if len(saved) else 0 for c in CACHES] == [
            naive.hits[host, c] for c in CACHES
        ]
    for use in tally.uses:
        twin = naive.by_use[int(use["host"]), int(use["file"])]
        for name in ("reads", "sent", "distinct", "shared", "changed"):
            assert use[name] == twin[name], name
    assert len(tally.uses) == len(naive.by_use)

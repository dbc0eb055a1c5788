"""A tally and its byte-by-byte twin agree in every figure; hostile values do no harm; memory is bounded."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nfsleuth.sharing import kernel
from nfsleuth.sharing.kernel import class_of
from nfsleuth.sharing.tables import BLOCK as ROW
from nfsleuth.sharing.tables import EVENT, FINE, MOST_SHARERS, NEWEST, NODE, WHOLE, Control, Kind
from nfsleuth.sharing.tally import Budget, Tally
from sharing.naive import Naive
from tracking import CHECKED, INTERPRETED

BLOCK = 512
UNIT = BLOCK // 64
CACHES = range(1, 40)
EXAMPLES = 20 if INTERPRETED else 70 if CHECKED else 200
TINY = Budget(blocks=1 << 10, newest=0)


def events(rows) -> np.ndarray:
    """EVENT rows of dicts; what is not said is 0."""
    table = np.zeros(len(rows), EVENT)
    for row, said in zip(table, rows, strict=True):
        for name, value in said.items():
            row[name] = value
    return table


def read(host, guest, file, offset, size, time=0, **more):
    return {"kind": Kind.READ, "known": 0, "host": host, "guest": guest, "file": file, "offset": offset, "bytes": size,
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


def compare(tally: Tally, naive: Naive, weight: float = 1.0) -> None:
    """Every figure of a tally is that of the twin, or so many times it."""
    for host, row in enumerate(tally.hosts):
        for name in ("own", "others", "changed"):
            assert row[name] == weight * getattr(naive, name)[host], name
        reached = [weight * naive.reach[host][n + 1] for n in range(MOST_SHARERS)]
        assert tally.reach(host).tolist() == reached
        waits = Counter()
        for wait, size in naive.waits[host].items():
            waits[class_of(np.int64(wait), FINE)] += weight * size
        assert {i: n for i, n in enumerate(tally.waits(host)) if n} == waits
        saved = np.cumsum(tally.distances(host))
        assert [saved[min(c, len(saved)) - 1] if len(saved) else 0 for c in naive.caches] == [
            weight * naive.hits[host, c] for c in naive.caches
        ]
        groups = tally.groups(host)
        assert groups[:, -1].sum() == pytest.approx(row["taken"])
        assert groups[:, :-1].sum() == pytest.approx(row["own"] + row["others"])
    for use in tally.uses:
        twin = naive.by_use[int(use["host"]), int(use["file"])]
        for name in ("distinct", "shared", "changed"):
            assert use[name] == weight * twin[name], name


@settings(max_examples=EXAMPLES, deadline=None)
@given(rows=traces(), cuts=st.integers(1, 4))
def test_every_figure_is_that_of_the_twin(rows, cuts):
    tally, naive = fed(rows, cuts=cuts), Naive(BLOCK, CACHES)
    for row in rows:
        naive.feed(row)
    assert tally.rate == 1
    assert tally.hidden_changes == naive.hidden
    compare(tally, naive)
    for host, row in enumerate(tally.hosts):
        assert row["sent"] == row["taken"] == naive.sent[host]
    for use in tally.uses:
        twin = naive.by_use[int(use["host"]), int(use["file"])]
        assert (use["reads"], use["sent"]) == (twin["reads"], twin["sent"])
    assert len(tally.uses) == len(naive.by_use)
    assert not any(tally.left_out.values())
    assert tally.unaligned == 0


def in_sample(rate: float, file: int, block: int) -> bool:
    """Whether a tally with the default seed has a block in its sample."""
    control = np.zeros(len(Control), np.int64)
    control[Control.SEED] = 1813
    with np.errstate(over="ignore"):
        return int(kernel._hash(control, np.int32(file), np.int64(block)) >> np.uint64(32)) < round(rate * WHOLE)


@settings(max_examples=EXAMPLES, deadline=None)
@given(rows=traces(), rate=st.sampled_from([0.25, 0.5]))
def test_a_sample_is_the_twin_of_the_blocks_in_it(rows, rate):
    """Each figure stands for 1 / rate as much, and a distance is counted in blocks of the sample."""
    rows = [row | {"known": 0} for row in rows]  # attributes are looked at whether a block is in the sample or not
    tally, naive = fed(rows, rate=rate, budget=Budget(newest=0)), Naive(BLOCK, CACHES)
    for row in rows:
        if row["kind"] != Kind.READ:
            naive.feed(row)
            continue
        begin, end = row["offset"], row["offset"] + row["bytes"]
        for block in range(begin // BLOCK, (end - 1) // BLOCK + 1):
            if in_sample(rate, row["file"], block):
                part = max(begin, block * BLOCK), min(end, (block + 1) * BLOCK)
                naive.feed(row | {"offset": part[0], "bytes": part[1] - part[0]})
    compare(tally, naive, 1 / rate)
    assert sum(h["sent"] for h in tally.hosts) == sum(r["bytes"] for r in rows if r["kind"] == Kind.READ)


@settings(max_examples=EXAMPLES, deadline=None)
@given(rows=traces(aligned=1, last=3 * BLOCK))
def test_edges_inside_a_unit_are_off_by_less_than_it_and_told(rows):
    """The twin knows bytes, the tally units of 8: they differ by less than a unit per edge of a read or a write."""
    rows = [row | {"known": 0} for row in rows]
    tally, naive = fed(rows), Naive(BLOCK, CACHES)
    for row in rows:
        naive.feed(row)
    odd = [r for r in rows if r["kind"] == Kind.READ and r["offset"] % UNIT]
    assert tally.unaligned == len(odd)
    edges = sum((r["offset"] % UNIT > 0) + ((r["offset"] + r["bytes"]) % UNIT > 0) for r in rows)
    for host, row in enumerate(tally.hosts):
        assert row["sent"] == row["taken"] == naive.sent[host]
        saved = naive.own[host] + naive.others[host]
        assert abs(row["own"] + row["others"] - saved) <= edges * UNIT


def test_the_end_of_a_file_needs_no_alignment():
    tally = fed([read(0, 0, 0, 0, 1003), read(0, 1, 0, 0, 1003), read(0, 0, 0, 512, 491)])
    assert tally.uses["distinct"].tolist() == [1003]
    assert (tally.hosts["own"][0], tally.hosts["others"][0]) == (491, 1003)


HUGE = 2**63 - 1


@pytest.mark.parametrize(
    ("offset", "size"),
    [(HUGE, 1), (HUGE, HUGE), (2**62, 1), (2**62 - 1, 2), (1, 2**62), (-1, 5), (0, 0), (0, -1), (-HUGE - 1, HUGE)],
)
def test_ranges_that_no_file_has_are_left_out(offset, size):
    tally = fed([read(0, 0, 0, offset, size), {"kind": Kind.WRITE, "file": 0, "offset": offset, "bytes": size}])
    assert tally.left_out["offsets"] == 1
    assert tally.left_out["bytes"] == max(size, 0)
    assert len(tally.uses) == 0


def test_a_read_far_out_is_counted():
    tally = fed([read(0, 0, 0, 2**62 - BLOCK, BLOCK)] * 2)
    assert tally.hosts["own"].tolist() == [BLOCK]


def test_a_read_of_4_gib_keeps_to_the_budget():
    """A count of 2**32 - 1: the sample becomes smaller, the memory does not grow."""
    tally = Tally(block=4096, budget=TINY)
    size = 2**32 - 1 if not INTERPRETED else 2**24 - 1
    tally.feed(events([read(0, 0, 0, 0, size)]))
    assert tally.blocks <= TINY.blocks
    assert len(tally._blocks) <= TINY.blocks
    assert len(tally._nodes) <= 2 * TINY.blocks
    assert tally.rate < 0.5
    assert tally.hosts["sent"][0] == size
    assert tally.uses["distinct"][0] == pytest.approx(size, rel=0.25)


def test_the_sample_shrinks_when_the_budget_is_used_up_and_stays_true():
    """Four guests of two hosts read files of 8 MiB in blocks, twice."""
    tally = Tally(block=512, budget=TINY)
    blocks = 2**14 if not INTERPRETED else 2**11
    rows = np.zeros(blocks, EVENT)
    rows["bytes"], rows["offset"] = 512, 512 * np.arange(blocks)
    for _ in range(2):
        for guest in range(4):
            rows["guest"], rows["host"] = guest, guest % 2
            tally.feed(rows)
    assert tally.rate == pytest.approx(TINY.blocks / (2 * blocks), rel=0.6)
    assert tally.blocks <= TINY.blocks
    for host in (0, 1):
        row, whole = tally.hosts[host], 512 * blocks
        assert row["sent"] == 4 * whole
        assert row["taken"] == pytest.approx(4 * whole, rel=0.2)
        assert tally.uses["distinct"][host] == pytest.approx(whole, rel=0.2)
        assert tally.reach(host)[1] == pytest.approx(whole, rel=0.2)
        used = np.flatnonzero(tally.distances(host))
        assert (used[-1] + 1) / tally.rate == pytest.approx(blocks, rel=0.2), "a loop finds each block at its end"


def test_shared_by_more_guests_than_are_told_apart():
    tally = fed([read(0, guest, 0, 0, BLOCK) for guest in range(MOST_SHARERS + 10)])
    assert tally.reach(0).tolist() == [BLOCK] * MOST_SHARERS
    assert tally.hosts["others"][0] == BLOCK * (MOST_SHARERS + 9)


def test_hosts_and_files_beyond_the_budget_are_left_out():
    small = Budget(blocks=64, uses=2, files=3, hosts=2)
    rows = [read(host, host, file, 0, 10) for host in range(3) for file in range(4)]
    tally = fed(rows, budget=small)
    assert len(tally.uses) == 2
    assert tally.left_out == {"offsets": 0, "files": 10, "bytes": 100}
    assert sum(h["sent"] for h in tally.hosts) == 20


def test_many_hosts_have_places_of_their_own():
    """Their places are moved and closed up again and again, and every figure stays."""
    rng = np.random.default_rng(3)
    rows = [
        read(int(host), int(host), 0, int(block) * BLOCK, BLOCK, time)
        for time, (host, block) in enumerate(zip(rng.integers(0, 30, 4000), rng.integers(0, 60, 4000), strict=True))
    ]
    tally, naive = fed(rows, cuts=7), Naive(BLOCK, range(1, 70))
    for row in rows:
        naive.feed(row)
    compare(tally, naive)
    assert tally.rate == 1


@pytest.mark.parametrize("block", [0, 256, 513, 1 << 25, -4096])
def test_blocks_that_cannot_be(block):
    with pytest.raises(ValueError, match="power of 2"):
        Tally(block=block)


@pytest.mark.parametrize("rate", [0, -1, 1.5, float("nan")])
def test_rates_that_cannot_be(rate):
    with pytest.raises(ValueError, match="rate"):
        Tally(rate=rate)


def test_a_row_is_as_large_as_the_documents_say():
    """docs/limits.md promises 170 bytes per block: a row, two nodes, two buckets, up to four places with distances; and
    70 bytes per block of the newest: one place and a half, each with its cell of the tree and its distance."""
    assert ROW.itemsize + 2 * NODE.itemsize + 2 * 4 + 4 * (4 + 8) <= 170
    assert 1.5 * (NEWEST.itemsize + 4 + 8) <= 70


def hits_of(tally: Tally, naive: Naive, host: int, depth: int) -> tuple[list[float], list[float]]:
    """Bytes hit by caches of 1 to `depth` blocks: by what the newest blocks say, and by the twin."""
    found = tally.newest(host)
    assert len(found) == depth
    return np.cumsum(found).tolist(), [naive.hits[host, c] for c in range(1, depth + 1)]


@settings(max_examples=EXAMPLES, deadline=None)
@given(rows=traces(aligned=BLOCK, longest=3 * BLOCK), rate=st.sampled_from([0.01, 0.5]), depth=st.integers(1, 20))
def test_small_caches_are_exact_in_any_sample(rows, rate, depth):
    """Whole blocks, of which more or fewer are in use than the depth allows for."""
    rows = [row | {"known": 0} for row in rows]
    tally = fed(rows, rate=rate, hosts=3, budget=Budget(newest=3 * depth))
    naive = Naive(BLOCK, range(1, depth + 1))
    for row in rows:
        naive.feed(row)
    for host in range(len(tally.hosts)):
        found, true = hits_of(tally, naive, host, depth)
        assert found == true
        assert tally.groups(host)[:, -1].sum() == pytest.approx(tally.hosts[host]["taken"])
        far = tally.distances(host).sum()
        assert tally.groups(host)[:, :-1].sum() == pytest.approx(far)
        assert far + tally.hosts[host]["taken"] >= 0


@settings(max_examples=EXAMPLES, deadline=None)
@given(rows=traces(), rate=st.sampled_from([0.01, 0.5]))
def test_parts_of_blocks_are_exact_while_their_blocks_are_among_the_newest(rows, rate):
    rows = [row | {"known": 0} for row in rows]
    tally, naive = fed(rows, rate=rate, hosts=3, budget=Budget(newest=3 * 40)), Naive(BLOCK, range(1, 41))
    for row in rows:
        naive.feed(row)
    for host, row in enumerate(tally.hosts):
        found, true = hits_of(tally, naive, host, 40)
        assert found == true
        assert tally.distances(host).sum() == 0, "no cache is too small"
        assert row["own"] >= 0


@pytest.mark.parametrize("newest", [2, 100, 1500, 4000])
def test_small_caches_stay_exact_when_the_sample_begins_late(newest):
    """All is counted at first; then the budget is used up, and what is known of the newest blocks is handed over."""
    rng = np.random.default_rng(11)
    count = 6000 if not INTERPRETED else 3000
    drawn = (1500 * rng.random(count) ** 2).astype(int)
    rows = [
        read(int(host), int(host), 0, int(block) * BLOCK, 2 * UNIT, time)
        for time, (host, block) in enumerate(zip(rng.integers(0, 2, count), drawn, strict=True))
    ]
    rows[count // 2 : count // 2] = [{"kind": Kind.WRITE, "file": 0, "offset": 0, "bytes": 64 * BLOCK, "time": count}]
    depth = newest // 2
    caches = sorted({1, 2, 10, depth // 2, depth - 1, depth} & set(range(1, depth + 1)))
    tally, naive = Tally(block=BLOCK, hosts=2, budget=Budget(blocks=1 << 10, newest=newest)), Naive(BLOCK, caches)
    for piece in np.array_split(events(rows), 5):
        tally.feed(piece)
    for row in rows:
        naive.feed({"known": 0} | row)
    assert tally.rate < 1
    for host in (0, 1):
        sums = np.cumsum(tally.newest(host))
        assert [sums[c - 1] for c in caches] == [naive.hits[host, c] for c in caches]
        row = tally.hosts[host]
        assert tally.groups(host)[:, -1].sum() == pytest.approx(row["taken"], rel=0.1)
        assert row["taken"] + sums[-1] == pytest.approx(row["sent"], rel=0.2), "the sample stands for the rest"


def test_hosts_that_were_not_announced_are_sampled_only():
    rows = [read(host, host, 0, n * BLOCK, BLOCK) for host in range(2) for n in (0, 1, 0, 1)]
    tally = fed(rows, rate=0.5, hosts=1, budget=Budget(newest=8))
    assert tally.newest(0).tolist() == [0, 2 * BLOCK, *[0] * 6]
    assert len(tally.newest(1)) == 0


@pytest.mark.parametrize("seed", [0, 1, 1813])
def test_of_every_run_a_sample_holds_the_same_share(seed):
    """One of 128 blocks is exactly 8 of each 1,024, in places of no order that a stride could meet."""
    control = np.zeros(len(Control), np.int64)
    control[Control.SEED] = seed
    places = []
    with np.errstate(over="ignore"):
        for run in range(12):
            keys = [int(kernel._hash(control, np.int32(3), np.int64(1024 * run + n))) >> 57 for n in range(1024)]
            places.append([n for n, key in enumerate(keys) if key == 0])
    assert [len(p) for p in places] == [8] * 12
    assert len({tuple(p) for p in places}) == 12
    assert len({n % 64 for p in places for n in p}) > 30

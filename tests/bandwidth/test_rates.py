"""What limited a client, against traces of clients and servers whose speeds are known."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bandwidth.flow import MS, Link, reads, slow_guest
from nfsleuth.clients.gather import Gatherer
from nfsleuth.clients.rates import (
    LIMITS,
    Cell,
    Histogram,
    Kind,
    Limit,
    Rates,
    bins,
    limits,
    measured,
)
from nfsleuth.trace.tables import INTERVAL, Spent
from nfsleuth.trace.tracker import Tracker
from packets import chunk
from tracking import ORDINARY


def rows_of(frames):
    tracker = Tracker(budget=ORDINARY)
    return [*tracker.feed(chunk(frames)), *tracker.finish()]


def intervals(link: Link) -> np.ndarray:
    return np.concatenate([rows.intervals for rows in rows_of(link.frames)])


def rates(link: Link) -> Rates:
    return measured(intervals(link))[0]


def shares(link: Link, operation="read") -> dict[str, float]:
    """Share of each limit in all of the trace."""
    cell = rates(link).of(operation)
    return {name: cell.share(limit) for name, limit in zip(LIMITS, Limit, strict=True)}


def test_a_slow_server_is_told():
    """Replies are delayed by 5 ms."""
    found = shares(reads(Link().shake_hands(), server=5))
    assert found["server"] > 0.9
    assert found["client"] < 0.1


def test_a_shaped_link_at_the_capture_is_told():
    """100 Mbit/s: a segment every 121 µs, each acknowledged at once."""
    link = Link().shake_hands()
    for _ in range(20):
        xid = link.ask()
        link.wait(0.05)
        link.answer(xid, gap=0.06, after=lambda _: (link.wait(0.061), link.acknowledge()))
        link.wait(0.05)
    found = shares(link)
    assert found["network"] > 0.9
    assert found["server"] < 0.1


def test_a_shaped_link_beyond_the_capture_is_told():
    """The server's segments leave at once; the link lets them through one by one, so acknowledgments come steadily."""
    link = Link().shake_hands()
    for _ in range(20):
        before = link.talk.number(1)
        xid = link.ask()
        link.wait(0.05)
        link.answer(xid, gap=0.001)
        for at in range(before + 2896, link.talk.number(1), 2896):
            link.wait(0.242)
            link.acknowledge(at)
        link.wait(0.1)
        link.acknowledge()
        link.wait(0.05)
    found = shares(link)
    assert found["network"] > 0.9


def test_a_slow_guest_is_told():
    link = slow_guest(Link().shake_hands())
    found = shares(link)
    assert found["client"] > 0.9
    assert rates(link).of("read").client_limited >= 4


def test_its_own_speed_is_without_the_server():
    """131 kB in 8 ms of its own, whether the server takes 0.1 or 6 ms beside."""
    quick, slow = (rates(reads(Link().shake_hands(), server=ms, ack=6, turn=2)) for ms in (0.1, 6))
    assert quick.client_limited_rate == pytest.approx(131.2e3 / 8e-3 / 1e6, rel=0.06)
    assert slow.client_limited_rate == pytest.approx(quick.client_limited_rate, rel=0.06)
    assert slow.of("read").rate < 0.7 * quick.of("read").rate


def test_a_full_window_is_the_clients():
    """256 kB replies through a window of 64 kB that opens 3 ms later, again and again."""
    link = Link().shake_hands()
    for _ in range(12):
        before = link.talk.number(1)
        xid = link.ask(262_144)

        def stall(sent, before=before):
            if sent % 65160 == 0:  # 45 segments
                link.acknowledge(before + sent, window=0)
                link.wait(3)
                link.acknowledge(before + sent, window=65536)

        link.acknowledge(window=65536)
        link.answer(xid, 262_144, gap=0.001, after=stall)
        link.acknowledge(window=65536)
        link.wait(0.05)
    found = rates(link).of("read")
    assert found.share(Limit.CLIENT) > 0.9
    assert found.zero_windows == 12 * 4


def test_a_window_of_unknown_scale_claims_nothing():
    """Without the SYN nobody knows whether 512 is 512 bytes or 64 kB."""
    link = Link()
    for _ in range(20):
        xid = link.ask()
        link.answer(xid, gap=0.2, after=lambda sent: link.acknowledge(window=512 << 7) if sent % 14480 == 0 else None)
        link.wait(0.05)
    assert shares(link)["client"] < 0.1


@pytest.mark.parametrize(("scaling", "expected"), [(True, "network"), (False, "client")])
def test_windows_are_scaled_only_if_both_sides_scale(scaling, expected):
    """A window field of 512 is 64 kB in a scale of 7, and 512 bytes, too few for a segment, without scaling."""
    link = Link()
    if scaling:
        link.shake_hands()
    else:
        link.talk.handshake()  # its SYN-ACK has no scale
    for _ in range(20):
        xid = link.ask()
        link.answer(xid, gap=0.2, after=lambda sent: link.acknowledge(window=512 << 7) if sent % 14480 == 0 else None)
        link.acknowledge(window=512 << 7)
        link.wait(0.05)
    found = shares(link)
    assert max(found, key=found.get) == expected


def test_an_idle_application_is_told():
    found = shares(reads(Link().shake_hands(), turn=30, count=20))
    assert found["application"] > 0.9
    assert found["client"] < 0.05


def test_a_pause_of_seconds_parts_intervals():
    link = reads(Link().shake_hands(), 10)
    link.wait(5000)
    reads(link, 10)
    found = intervals(link)
    assert len(found) == 2
    assert found["idle"][0] == -1
    assert found["idle"][1] == pytest.approx(5000 * MS, rel=0.01)
    assert (found["end"] - found["begin"]).max() < 100 * MS


def test_losses_are_the_networks():
    """A segment is lost, and repeated after 200 ms."""
    link = Link().shake_hands()
    for _ in range(10):
        before = link.talk.number(1)
        xid = link.ask()
        link.answer(xid, gap=0.001)
        link.wait(0.1)
        link.acknowledge(before + 14480)
        link.wait(200)
        link.frame(1, bytes(1448), sequence=before + 14480)
        link.wait(0.1)
        link.acknowledge()
        link.wait(0.05)
    found = rates(link).of("read")
    assert found.retransmitted == 10
    # Until the segment is repeated nothing tells a loss from a client that takes its time.
    assert found.share(Limit.NETWORK) + found.share(Limit.CLIENT) > 0.95


@pytest.mark.parametrize(("queued", "expected"), [(False, "slots"), (True, "server")])
def test_slots_and_a_slow_server_are_told_apart(queued, expected):
    """Four calls are outstanding all the time. A call that is alone takes 2 ms; so do four, or else they queue."""
    link = Link().shake_hands()
    alone = link.ask()
    link.wait(2)
    link.answer(alone, gap=0.0005)
    link.acknowledge()
    waiting = [link.ask() for _ in range(4)]
    for _ in range(150):
        link.wait(2.0 if queued else 0.5)
        link.answer(waiting.pop(0), gap=0.0)
        link.acknowledge()
        waiting.append(link.ask())
    found = shares(link)
    assert max(found, key=found.get) == expected


def test_a_slow_writer_is_told_and_so_is_a_server_slow_to_write():
    draw = random.Random(2)
    slow_client, slow_server, shaped = (Link().shake_hands() for _ in range(3))
    for _ in range(12):
        xid = slow_client.write(jitter=lambda: draw.choice((0.0, 0.0, 0.0, 1.0)))
        slow_client.written(xid)
        xid = slow_server.write(gap=0.001)
        slow_server.wait(20)
        slow_server.written(xid)
        xid = shaped.write(gap=0.121)
        shaped.written(xid)
    assert shares(slow_client, "write")["client"] > 0.9
    assert shares(slow_server, "write")["server"] > 0.9
    assert shares(shaped, "write")["network"] > 0.9


def test_sizes_and_calls_are_counted_apart():
    link = reads(Link().shake_hands(), 300, size=4096)
    link.wait(1000)
    reads(link, 10, size=1 << 20)
    found = rates(link).cells
    assert set(found) == {Kind("read", 4096), Kind("read", 1 << 20)}
    assert found[Kind("read", 4096)].calls == 300
    assert found[Kind("read", 1 << 20)].calls == 10
    assert found[Kind("read", 1 << 20)].bytes == pytest.approx(10 << 20, rel=0.001)


def test_acknowledgment_strides_are_counted():
    assert rates(reads(Link().shake_hands())).of("read").stride == pytest.approx(131_072, rel=0.01)


def untimed(link: Link) -> tuple[int, int]:
    """Stretches of the only connection that no rate is taken of, and bytes of messages in them."""
    (row,) = np.concatenate([rows.connections for rows in rows_of(link.frames)])
    return int(row["untimed"]), int(row["untimed_bytes"])


def test_little_is_not_measured_and_counted():
    link = reads(Link().shake_hands(), 3, size=4096)
    assert not len(intervals(link))
    sent = sum(link.talk.number(side) - 1 - link.talk.start[side] for side in (0, 1))
    assert untimed(link) == (1, sent - 3 * 2 * 4)  # without record marks
    link.wait(1000)
    assert untimed(reads(link, 20))[0] == 1


def test_calls_without_replies_are_not_measured_and_counted():
    link = Link().shake_hands()
    for _ in range(20):
        link.write()
    assert measured(intervals(link)) == {}
    assert untimed(link)[0] == 1


def test_what_a_gap_spoils_is_counted():
    """A third of the frames is missing, out of the middle of a message, and with them record marks."""
    link = reads(Link().shake_hands(), 9)
    third = len(link.frames) // 3
    del link.frames[third : 2 * third]
    stretches, octets = untimed(link)
    assert stretches >= 1
    assert octets + intervals(link)["bytes"].sum() >= 5 * 131_072


def test_calls_that_are_never_answered_do_not_count_for_ever():
    link = Link().shake_hands()
    link.ask()
    link.wait(10_000)
    found = shares(reads(link, ack=2))
    assert found["client"] > 0.8


def test_time_that_goes_backwards_is_no_time():
    link = reads(Link().shake_hands(), 20)
    link.wait(-3_600_000)
    reads(link, 20)
    found = intervals(link)
    assert (found["end"] >= found["begin"]).all()
    assert (found["spent"] >= 0).all()
    assert (found["spent"].sum(axis=1) <= found["end"] - found["begin"]).all()


def test_sequence_numbers_wrap_around():
    link = Link()
    link.talk.start = (2**32 - 500, 2**32 - 400_000)
    plain, wrapped = Link().shake_hands(), link.shake_hands()
    assert shares(slow_guest(wrapped)) == shares(slow_guest(plain))


def test_facts_carry_rates():
    link = slow_guest(Link().shake_hands())
    gatherer = Gatherer()
    for rows in rows_of(link.frames):
        gatherer.add(rows)
    (strand,) = gatherer.facts().clients.strands.values()
    assert strand.facts.rates == rates(link)
    assert strand.facts.reads.calls == 40


frames_at_random = st.lists(
    st.tuples(
        st.integers(0, 1), st.sampled_from((0, 1, 24, 1448, 5000)), st.integers(-5000, 200_000), st.integers(0, 70_000),
        st.integers(0, 40_000), st.sampled_from((0, 100, 65535)),
    ),
    max_size=60,
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(frames_at_random)
def test_whatever_comes_times_stay_within_their_interval(frames):
    link = reads(Link().shake_hands(), 4)
    for side, length, wait, sequence, acknowledged, window in frames:
        link.now += wait * 100
        start = link.talk.start
        link.frame(
            side,
            bytes(length),
            sequence=start[side] + sequence,
            acknowledged=start[1 - side] + acknowledged,
            window=window,
        )
    reads(link, 10)
    found = intervals(link)
    assert (found["spent"] >= 0).all()
    assert (found["spent"].sum(axis=1) <= found["end"] - found["begin"]).all()
    assert all((time >= 0).all() for time in limits(found))


# Values that add up


def some_rates(seed: int) -> Rates:
    draw = np.random.default_rng(seed)
    rows = np.zeros(40, INTERVAL)
    rows["uid"] = 1
    rows["begin"] = draw.integers(0, 10**12, 40)
    spent = draw.integers(0, 10**8, (40, len(Spent)))
    rows["spent"] = spent
    rows["end"] = rows["begin"] + spent.sum(axis=1)
    rows["calls"] = draw.integers(1, 50, 40)
    rows["bytes"] = draw.integers(1, 10**7, (40, 2))
    rows["squares"] = rows["bytes"] * draw.choice((4096.0, 131072.0), (40, 1))
    return measured(rows)[1]


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_rates_add_up_in_any_order(a, b, c):
    x, y, z = some_rates(a), some_rates(b), some_rates(c)
    assert (x + y) + z == x + (y + z) == (z + x) + y
    assert x + Rates() == x == Rates() + x


@given(st.lists(st.floats(0.001, 100_000), min_size=1, max_size=50))
def test_histograms_keep_values_within_a_step(values):
    found = Histogram()
    for value in values:
        found += Histogram(type(found.bins)(bins(np.array([value])).tolist()))
    assert found.total == len(values)
    assert found.quantile(0.5) == pytest.approx(sorted(values)[(len(values) - 1) // 2], rel=0.045)
    assert list(found.quantiles([0.1, 0.5, 0.9])) == [found.quantile(share) for share in (0.1, 0.5, 0.9)]
    assert Histogram().quantile(0.5) is None


def test_a_cell_knows_its_shares():
    cell = replace(Cell(), time=(30, 10, 50, 0, 10))
    assert cell.share(Limit.SERVER) == 0.5
    assert Cell().share(Limit.CLIENT) == 0
    assert Cell().rate is None

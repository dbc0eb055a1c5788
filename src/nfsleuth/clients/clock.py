"""Samples of a connection's TCP clock come in (CLOCK rows), how fast that clock runs goes out: a `Clock`, or None.

TSval (RFC 7323) counts ticks of the sender's clock. Against the capture's clock it drifts by the difference of two
oscillators: the *skew*, parts per million, positive if the client's clock is fast. T. Kohno, A. Broido, kc claffy,
"Remote physical device fingerprinting" (IEEE Trans. Dependable and Secure Computing 2(2), 2005) find it by a linear
programme: packets are late, never early, so of all lines above the points (capture time, client's time less capture
time) the one that lies closest to them has the skew as its slope. It is the edge of the points' upper convex hull
above their mean. The rate alone is used: where a clock began is random per connection on Linux (net/core/secure_seq.c).

A clock that stood still for a while (a paused guest, a suspended machine) shows as a step down: a *pause*.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from nfsleuth.clients.columns import places, starts_of

# Ticks per second that systems use: Linux 1000 since 2017 (before that CONFIG_HZ), 1,000,000 with tcp_usec_ts (2023);
# the BSDs and macOS 1000, or 2 and 10 in old ones; Windows 1000, before 100; Solaris 100 and 1000.
HERTZ = (1, 2, 10, 100, 250, 300, 500, 512, 1000, 1024, 1_000_000)
RIGHT = 0.01  # share by which a rate may be off one of these: far more than any clock is, half of 1000 to 1024
FEWEST = 20  # samples that make a line
SHORTEST = 10_000_000_000  # ns of a line
TOP = 5  # points nearest to the line by which each half tells how near they come
LEAST_PAUSE = 0.4  # s: more than packets are late by
AROUND = 4  # samples on either side of a step that must agree
MOST_PAUSES = 8
RESOLUTION = 1e-6  # s, of capture times
HALVINGS = 64


class Clock(NamedTuple):
    """What the timestamps of one connection tell. In this order, the best known skew comes first."""

    error: float  # ppm, standard deviation of `ppm`
    ppm: float  # how much the clock is fast
    begin: int  # ns since 1970 of the first sample
    span: int  # ns, of the samples that the line was drawn through
    hertz: int
    samples: int
    frame: int  # of the first sample
    pauses: tuple[tuple[int, int], ...]  # when (ns since 1970) and for how long (ns) it stood still


def measured(rows: np.ndarray, uids: np.ndarray, ports: np.ndarray) -> dict[int, Clock]:
    """CLOCK[n] as `Clock` per connection number.

    uids: int64[m] connections that are asked for, ascending. ports: uint16[m] their client's; rows from another port
    are the server's, taken before it was known who is the client.
    """
    of = places(rows["uid"], uids)
    enough = np.bincount(of + 1, minlength=len(uids) + 1) >= FEWEST  # most connections are short
    asked = np.flatnonzero((of >= 0) & enough[of + 1])
    mine = asked[ports[of[asked]] == rows["port"][asked]]
    mine = mine[np.lexsort((rows["frame"][mine], rows["time"][mine], of[mine]))]
    rows = rows.take(mine)  # faster than by an index
    starts = starts_of(rows["uid"])
    clocks = zip(rows["uid"][starts].tolist(), _fitted(rows, starts), strict=True)
    return {uid: clock for uid, clock in clocks if clock is not None}


def fit(rows: np.ndarray) -> Clock | None:
    """CLOCK[n] of one clock, in order of time, as a `Clock`; None if they are too few or no clock's."""
    return next(_fitted(rows, np.arange(min(len(rows), 1))), None)


def _fitted(rows: np.ndarray, starts: np.ndarray) -> Iterator[Clock | None]:
    """`fit` of each of the clocks in CLOCK[n]: from one of int64[m] `starts` up to the next.

    What most of them are turned down for is looked at for all at once.
    """
    counts = np.diff(starts, append=len(rows))
    span = rows["time"][starts + counts - 1] - rows["time"][starts]
    time = (rows["time"] - np.repeat(rows["time"][starts], counts)) / 1e9
    steps: np.ndarray = np.diff(rows["value"].astype(np.int64), prepend=0)
    ticks = np.cumsum((steps + (1 << 31)) % (1 << 32) - (1 << 31))  # across the wrap, back for late segments
    ticks -= np.repeat(ticks[starts], counts)
    nominal = np.where((counts >= FEWEST) & (span >= SHORTEST), _hertz(time, ticks, counts), 0)
    for start, count, hertz in zip(starts.tolist(), counts.tolist(), nominal.tolist(), strict=True):
        mine = slice(start, start + count)
        yield _clock(rows[mine], time[mine], ticks[mine], hertz) if hertz else None


def _clock(rows: np.ndarray, time: np.ndarray, ticks: np.ndarray, hertz: int) -> Clock | None:
    """The clock whose `ticks`, int64[n] at float64[n] `time` (s), were taken as CLOCK[n]; both begin with 0."""
    ahead = ticks / hertz - time
    breaks, pauses = _breaks(rows["time"], ahead)
    first, last = max(zip([0, *breaks], [*breaks, len(rows)], strict=True), key=lambda s: time[s[1] - 1] - time[s[0]])
    part = slice(first, last)
    if last - first < FEWEST or (time[last - 1] - time[first]) * 1e9 < SHORTEST:
        return None
    slope, error = _line(time[part], ahead[part])
    return Clock(
        error=round(error * 1e6, 3),
        ppm=round(slope * 1e6, 3),
        begin=int(rows["time"][first]),
        span=int(rows["time"][last - 1] - rows["time"][first]),
        hertz=hertz,
        samples=last - first,
        frame=int(rows["frame"][first]),
        pauses=pauses,
    )


def _hertz(time: np.ndarray, ticks: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """int64[m] the nominal rate of each clock, 0 if it has none; int64[m] `counts` samples of one follow each other.

    It is that of the middle one of the rates over half of the samples, so that a pause does not matter.
    """
    of = np.repeat(np.arange(len(counts)), counts)
    half = counts // 2
    place = np.arange(len(time)) - np.repeat(np.cumsum(counts) - counts, counts)
    early = np.flatnonzero(place < (counts - half)[of])
    late = early + half[of[early]]
    apart = time[late] - time[early]
    forward = np.flatnonzero(apart > 0)
    early, late = early[forward], late[forward]
    rates = (ticks[late] - ticks[early]) / apart[forward]
    known = np.bincount(of[early], minlength=len(counts))
    some = np.flatnonzero(known)
    middle = (np.cumsum(known) - known + known // 2)[some]
    rate = rates[np.lexsort((rates, of[early]))[middle], np.newaxis]
    nearest = np.array(HERTZ)[np.argmin(np.abs(rate - HERTZ) / HERTZ, axis=1)]
    hertz = np.zeros(len(counts), np.int64)
    hertz[some] = np.where(np.abs(rate[:, 0] - nearest) <= RIGHT * nearest, nearest, 0)
    return hertz


def _breaks(times: np.ndarray, ahead: np.ndarray) -> tuple[list[int], tuple[tuple[int, int], ...]]:
    """Samples before which the clock stepped, either way; and the steps down, as pauses.

    A late packet steps down and up again, so the best of some samples on either side are compared.
    """
    breaks: list[int] = []
    pauses: list[tuple[int, int]] = []
    for at in (np.flatnonzero(np.abs(np.diff(ahead)) > LEAST_PAUSE) + 1).tolist():
        start = breaks[-1] if breaks else 0
        lost = float(ahead[max(start, at - AROUND) : at].max() - ahead[at : at + AROUND].max())
        if abs(lost) > LEAST_PAUSE:
            breaks.append(at)
            if lost > 0 and len(pauses) < MOST_PAUSES:
                pauses.append((int(times[at]), round(lost * 1e9)))
    return breaks, tuple(pauses)


def _line(time: np.ndarray, ahead: np.ndarray) -> tuple[float, float]:
    """Slope of the lowest line above the points, and its standard deviation, both seconds per second.

    The deviation has two parts, taken as if independent: how far each half's best points lie apart (the true line is
    about as far above the best one), over the distance of the halves; and half the difference of the halves' own
    slopes, which shows a rate that changes.
    """
    slope = upper_slope(time, ahead)
    middle = time.mean()
    halves = [time <= middle, time > middle]
    distance = float(time[halves[1]].mean() - time[halves[0]].mean())
    height = float((ahead - slope * time).max())
    slack = []
    for half in halves:
        below = np.sort(height - (ahead - slope * time)[half])[:TOP]
        slack.append(float(below[-1] - below[0]) / max(len(below) - 1, 1) + RESOLUTION)
    own = [upper_slope(time[half], ahead[half]) for half in halves]
    return slope, math.hypot(slack[0] / distance, slack[1] / distance, (own[1] - own[0]) / 2)


def upper_slope(x: np.ndarray, y: np.ndarray) -> float:
    """Slope of the line above all points, float64[n] each, whose mean distance from them is least; 0 for equal `x`.

    It is the edge of the upper hull above the mean of `x`. With the slope s, the points that stick out most on either
    side of the mean (largest y - s x) are the edge's ends if they stick out alike; the line through them is the next
    guess, kept within what is known to be too low and too high.
    """
    middle = x.mean()
    left, right = x <= middle, x > middle
    if not right.any():
        return 0.0
    xl, yl, xr, yr = x[left], y[left], x[right], y[right]
    low, high, slope = -np.inf, np.inf, 0.0
    for _ in range(HALVINGS):
        i, j = int(np.argmax(yl - slope * xl)), int(np.argmax(yr - slope * xr))
        through = float((yr[j] - yl[i]) / (xr[j] - xl[i]))
        if through == slope:
            break
        low, high = (max(low, slope), high) if through > slope else (low, min(high, slope))
        slope = through if low < through < high else (low + high) / 2
    return slope

"""Clocks that stood still at the same moment for the same time.

What it sees: steps down in the TCP timestamps of two clients (`clients.clock`), of more than 0.4 s, that begin within
half a second and are equally long within 50 ms.
Why it tells hosts apart: a guest's clock stops while it is paused: by a snapshot, a migration, or a host that is
suspended or out of memory. All guests of a suspended host stop at once.
Known confusions: a step of the capture's own clock moves all clients: where more than half of the clocks of that moment
step, nothing follows. A backup that snapshots guests of two hosts at once.
Example: two clients whose clocks both lost 3.20 s at 14:00:07.
Source: QEMU's `stop` stops the guest's clocks; Linux' CLOCK_MONOTONIC does not count suspend (time(7)). A prior.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from nfsleuth.hosts.model import Scene, Tie, Weight

RULE = "clock_pause"
WEIGHTS = {"one pause": Weight(3.0, "prior")}
SECOND = 1_000_000_000
BEGIN, LENGTH = SECOND // 2, SECOND // 20  # ns
MOST_NEAR = 64  # pauses that begin together: with more, it is no host that paused
MOST = 0.5  # share of the clocks that may step together


def find(scene: Scene) -> Iterator[Tie]:
    """A tie per pair with a pause in common: the first such."""
    pauses: list[tuple[int, int, int, int]] = sorted(
        {
            (*pause, n, clock.frame)
            for n, member in enumerate(scene.members)
            for clock in member.facts.clocks
            for pause in clock.pauses
        }
    )
    begins = [pause[0] for pause in pauses]
    tied: set[tuple[int, int]] = set()
    for begin, length, a, frame in pauses:
        near = pauses[bisect_left(begins, begin - BEGIN) : bisect_right(begins, begin + BEGIN)][: MOST_NEAR + 1]
        if len(near) > MOST_NEAR:
            continue
        alike = {n: f for _, its, n, f in near if n != a and abs(its - length) <= LENGTH}
        running = sum(any(c.begin <= begin <= c.begin + c.span + length for c in m.facts.clocks) for m in scene.members)
        stepped = {a, *(n for _, _, n, _ in near)}
        if len(stepped) > max(2, MOST * max(running, len(stepped))):
            continue
        for b, its_frame in sorted(alike.items()):
            pair = (min(a, b), max(a, b))
            if pair not in tied:
                tied.add(pair)
                frames = tuple(sorted({frame, its_frame}))
                yield Tie(
                    *pair, RULE, "clocks stood still together", WEIGHTS["one pause"], f"{length / SECOND:.2f} s", frames
                )

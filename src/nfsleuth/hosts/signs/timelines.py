"""Time lines of clients' transfers as the signs about throughput use them: all of one grain, of the busiest clients."""

from __future__ import annotations

from heapq import nsmallest

import numpy as np

from nfsleuth.clients.columns import starts_of
from nfsleuth.hosts.model import Member, Scene

NONE = np.empty(0, np.int64)
BUSIEST = 128  # clients whose time lines are compared, pair by pair


def busiest(scene: Scene) -> list[int]:
    """Numbers of the clients that moved most, at most `BUSIEST`."""
    moved = {n: m.facts.reads.bytes + m.facts.writes.bytes for n, m in enumerate(scene.members)}
    some = [n for n, octets in moved.items() if octets]
    return sorted(nsmallest(BUSIEST, some, key=lambda n: (-moved[n], n)))


def moments(member: Member, fineness: int) -> dict[int, int]:
    """Bytes by moment of ``1 << fineness`` ns since 1970; nothing if the client's own time line is coarser."""
    places, starts = _merged(member, fineness)
    if not len(starts):  # as of most clients: no amounts, not even a column of them
        return {}
    octets = np.add.reduceat(member.facts.rates.timeline.amounts[:, 0], starts)
    return dict(zip(places[starts].tolist(), octets.tolist(), strict=True))


def busy(member: Member, fineness: int) -> np.ndarray:
    """int64[n] the moments of `moments`, ascending."""
    places, starts = _merged(member, fineness)
    found: np.ndarray = places[starts]
    return found


def _merged(member: Member, fineness: int) -> tuple[np.ndarray, np.ndarray]:
    """Moments of a time line as those that are longer, and where each of these begins."""
    line = member.facts.rates.timeline
    if not len(line.places) or line.fineness > fineness:
        return NONE, NONE
    places = line.places >> (fineness - line.fineness)
    return places, starts_of(places)

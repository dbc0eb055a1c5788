"""Time lines of clients' transfers as the signs about throughput use them: all of one grain, of the busiest clients."""

from __future__ import annotations

from heapq import nsmallest

from nfsleuth.hosts.model import Member, Scene

BUSIEST = 128  # clients whose time lines are compared, pair by pair


def busiest(scene: Scene) -> list[int]:
    """Numbers of the clients that moved most, at most `BUSIEST`."""
    moved = {n: m.facts.reads.bytes + m.facts.writes.bytes for n, m in enumerate(scene.members)}
    some = [n for n, octets in moved.items() if octets]
    return sorted(nsmallest(BUSIEST, some, key=lambda n: (-moved[n], n)))


def moments(member: Member, fineness: int) -> dict[int, int]:
    """Bytes by moment of ``1 << fineness`` ns since 1970; nothing if the client's own time line is coarser."""
    line = member.facts.rates.timeline
    found: dict[int, int] = {}
    if len(line) and line.fineness <= fineness:
        places = line.places >> (fineness - line.fineness)
        for place, octets in zip(places.tolist(), line.amounts[:, 0].tolist(), strict=True):
            found[place] = found.get(place, 0) + octets
    return found

"""Clocks that run equally fast, and unlike most others.

What it sees: the skew of each client's TCP timestamps against the capture's clock (`clients.clock`: the slope of the
upper convex hull, with its standard deviation), combined over its connections.
Why it tells hosts apart: bridged guests whose clocks nobody disciplines run by their host's oscillator; behind a
user-mode network the timestamps are the host's own. Oscillators differ by tens of parts per million.
Known confusions: NTP. Disciplined clocks all have a skew near 0 to the capture (which should be disciplined too), so
agreement there says nothing: it is as likely on two hosts, and weighs 0. A guest that disciplines its own clock hides
its host's. A capture of under a minute rarely tells 10 ppm apart. Temperature moves a clock by about 1 ppm.
Example: +41.3 and +41.1 ppm, both 0.3 ppm sure, among clients near 0.
Source: Kohno, Broido, claffy 2005 (about 6 bits of entropy: the weight is capped at 4 nats); Polcak, Frankova 2014
(short captures and NTP make it unreliable); how skews spread (by about 1 ppm where disciplined, by 30 where not) is a
prior.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from nfsleuth.evidence.gate import hops, usual_ttl
from nfsleuth.hosts.model import Member, Scene, Tie, Weight

RULE = "clock_skew"
SOURCE = "prior; Kohno, Broido, claffy 2005"
CAP, FLOOR = 4.0, -1.0  # nats. Two skews of one host's guests differ once one of them is disciplined
WEIGHTS = {"equal and distinct, at most": Weight(CAP, SOURCE), "surely different": Weight(FLOOR, SOURCE)}
WANDER = 0.5  # ppm, standard deviation by which equal clocks still differ: temperature
MOST_ERROR = 10.0  # ppm: a skew that is less well known is none
DISTINCT = 3.0  # ppm, and as many standard deviations: nearer to 0 a clock may be a disciplined one
DISCIPLINED, SPREAD = 1.0, 30.0  # ppm, by which clocks spread that are disciplined, and those that are not
WINDOW = 3.0  # standard deviations within which two clocks may be one
FAR = 6.0  # from where on they are two
FEW = 20  # clients with a distinct skew
NEAREST = 32  # clients with the most similar clocks that each is compared with


def find(scene: Scene) -> Iterator[Tie]:
    """A tie per pair of distinct skews that agree or that surely differ, each client with its nearest."""
    known = sorted((skew, n) for n, skew in enumerate(map(skew_of, scene.members)) if skew is not None)
    told = [(ppm, error, n) for (ppm, error), n in known if abs(ppm) > DISTINCT * max(error, 1.0)]
    others = max(len(told) - 1, 0)
    for i, (ppm, error, n) in enumerate(told):
        for other, its_error, m in told[i + 1 : i + 1 + NEAREST]:
            if _address(scene, n) == _address(scene, m):
                continue  # one stack has one clock, however many clients it speaks for
            nats = weight(ppm, error, other, its_error, others)
            if nats:
                says = "clocks equally fast" if nats > 0 else "clocks of two machines"
                seen = f"{ppm:+.1f} and {other:+.1f} ppm, each within {error:.1f} and {its_error:.1f}"
                frames = tuple(sorted({scene.members[k].facts.clocks[0].frame for k in (n, m)}))
                yield Tie(min(n, m), max(n, m), RULE, says, Weight(nats, SOURCE), seen, frames)


def skew_of(member: Member) -> tuple[float, float] | None:
    """ppm and its standard deviation over a client's connections, weighted by how well each is known; None if it is
    not known well enough, or if the timestamps are a router's."""
    clocks = [c for c in member.facts.clocks if c.error <= MOST_ERROR]
    ttl = usual_ttl(member.facts)
    if not clocks or (ttl is not None and hops(ttl) > 1):
        return None
    weights = [1 / max(c.error, 1e-3) ** 2 for c in clocks]
    mean = sum(w * c.ppm for w, c in zip(weights, clocks, strict=True)) / sum(weights)
    # Connections that disagree by more than their errors allow make the mean less sure.
    chi = sum(w * (c.ppm - mean) ** 2 for w, c in zip(weights, clocks, strict=True)) / max(len(clocks) - 1, 1)
    return round(mean, 3), round(math.sqrt(max(1.0, chi) / sum(weights)), 3)


def weight(a: float, a_error: float, b: float, b_error: float, others: int = 1) -> float:
    """Nats for two distinct skews (ppm, standard deviations): how likely their difference is on one host, against how
    likely a clock of another host comes this near. `PRIOR` suits some `FEW` others; among more of them, as many more
    come near by chance, and the weight is less by the logarithm of that."""
    spread = math.sqrt(a_error**2 + b_error**2 + WANDER**2)
    apart = abs(a - b) / spread
    if apart > FAR:
        return FLOOR
    if apart > WINDOW:
        return 0.0
    by_chance = max(_normal(b, math.hypot(DISCIPLINED, spread)), _normal(b, SPREAD))
    nats = min(CAP, math.log(_normal(a - b, spread) / by_chance)) - math.log(max(1.0, others / FEW))
    return max(0.0, nats)


def _normal(x: float, deviation: float) -> float:
    return math.exp(-((x / deviation) ** 2) / 2) / (deviation * math.sqrt(2 * math.pi))


def _address(scene: Scene, number: int) -> str:
    return scene.members[number].facts.address

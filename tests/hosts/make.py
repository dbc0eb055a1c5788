"""Clients, verdicts and scenes made by hand."""

from __future__ import annotations

import numpy as np

from evidence.make import BOOT, facts, household
from nfsleuth.clients.clock import Clock
from nfsleuth.clients.facts import Traffic
from nfsleuth.clients.rates import Rates
from nfsleuth.clients.timeline import Timeline
from nfsleuth.evidence import Rules
from nfsleuth.evidence.model import HYPOTHESES, State
from nfsleuth.hosts.clustering import probability
from nfsleuth.hosts.imports.known import Known, Switch
from nfsleuth.hosts.model import PRIOR, Member, Scene, Sign
from nfsleuth.hosts.signs import heuristics


def member(number: int = 1, state: State = State.BRIDGED, sure: float = 0.98, **more) -> Member:
    """A client 10.77.0.(100 + NUMBER) with a MAC of QEMU's, or as `more` says; `exactly`: values of Facts as they are."""
    exactly = more.pop("exactly", {})
    given = {
        "address": f"10.77.0.{100 + number}",
        "mac": f"52:54:00:00:00:{number:02x}",
        "ports": (700 + number,),
        **more,
    }
    evidence = given.pop("evidence", ())
    made = facts(**given)
    for name, value in exactly.items():
        setattr(made, name, value)
    states = dict.fromkeys(HYPOTHESES, (1 - sure) / (len(HYPOTHESES) - 1)) | {state: sure}
    virtual = 0.05 if state in (State.NATIVE, State.HYPERVISOR) else 0.95
    return Member(f"c{number}", made, states, virtual, evidence)


def scene(*members: Member, known: Known | None = None, link_speed: int = 0, neighbours=()) -> Scene:
    around = household(*(m.facts for m in members), neighbours=neighbours)
    return Scene(members, around, Rules.builtin(), known or Known(), link_speed)


def said(rule: str, where: Scene) -> dict[tuple[int, int], float]:
    """Nats of one rule for each pair that it says something about."""
    found: dict[tuple[int, int], float] = {}
    pairs = [(a, b) for b in range(len(where.members)) for a in range(b)]
    for sign in heuristics()[rule].find(where):
        rows = [(p, sign.between(*p)) for p in pairs] if isinstance(sign, Sign) else [((sign.a, sign.b), sign.sign())]
        for pair, row in rows:
            if row is not None:
                assert row.rule == rule
                assert row.seen
                assert row.says
                found[pair] = found.get(pair, 0.0) + row.weight
    return found


def posterior(nats: float) -> float:
    return probability(nats + PRIOR)


def switch(name: str = "sw1", **ports: list[str]) -> Switch:
    return Switch(name, {port: frozenset(macs) for port, macs in ports.items()})


def clock(ppm: float, error: float = 0.3, frame: int = 9, pauses=()) -> Clock:
    return Clock(error, ppm, BOOT, 600 * 10**9, 1000, 400, frame, pauses)


def busy(rates: dict[int, int], fineness: int = 26) -> dict[str, object]:
    """Facts of a client that read so many bytes in each moment."""
    amounts = np.array([[rates[at], 0, 0, 0, 0, 0] for at in sorted(rates)])
    line = Timeline(fineness, np.array(sorted(rates)), amounts)
    return {"rates": Rates({}, line), "reads": Traffic(1, sum(rates.values()), 1)}

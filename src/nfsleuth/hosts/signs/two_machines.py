"""Two clients that are machines themselves.

What it sees: clients that are probably native, each with a MAC of its own by a maker of hardware.
Why it tells hosts apart: a machine is not inside another one.
Known confusions: a guest that was given a maker's MAC or a real card looks native; its probability says how likely.
Example: 10.0.0.7 with a Dell's MAC and 10.0.0.8 with an Intel's.
Source: the verdicts; the weight is a prior.
"""

from __future__ import annotations

from collections.abc import Iterator

from nfsleuth.evidence.gate import whose_mac
from nfsleuth.evidence.model import State
from nfsleuth.hosts.model import NOTHING, Place, Scene, Sign, Weight

RULE = "two_machines"
WEIGHTS = {"two machines": Weight(-2.0, "prior")}
LEAST = 0.5  # probability of "native"


def find(scene: Scene) -> Iterator[Sign]:
    """Each machine's MAC is a place."""
    places = {}
    for n, member in enumerate(scene.members):
        gate = whose_mac(member.facts, scene.around, scene.rules)
        native = member.states[State.NATIVE]
        if gate.is_clients and native >= LEAST:
            places[n] = Place(gate.mac, f"native ({native:.2f}), {gate.mac}", native)
    yield Sign(RULE, places, NOTHING, "", WEIGHTS["two machines"], "two machines with a MAC each")

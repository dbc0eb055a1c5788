"""Who boots when: an experiment comes in, turns go out, in the order in which they are played.

With several rounds each has an order of its own, drawn from the seed: what else the machine does meanwhile, or how warm
it is, then falls on no client more than on another. So has a single round of an experiment that records without
captures, since runs of it add up.

What is recorded inside QEMU is not under capture: a capture on a guest's own side would be on the way of its frames
(QEMU's filter-dump), and any costs time. So experiments with captures record when those have ended, in boots of their
own. The others do it in the same boot, after the work, when all that is compiled on the way is compiled.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from nfsleuth.lab.model import Experiment, Guest, Native


@dataclass(frozen=True)
class Turn:
    """One boot of one client."""

    client: Guest | Native
    boot: int = 1  # which of its boots, from 1: the number of the round
    work: bool = True  # it does its workload
    method: str = ""  # by which its QEMU is recorded, "" if it is not


@dataclass(frozen=True)
class Turns:
    """All turns of a run."""

    captured: tuple[Turn, ...]
    after: tuple[Turn, ...]  # when captures have ended


def plan(experiment: Experiment) -> Turns:
    """The turns of `experiment`."""
    first, *more = experiment.path.method if experiment.path else ("",)
    together = bool(first) and not experiment.captures
    captured: list[Turn] = []
    after: list[Turn] = []
    for boot in range(1, experiment.boots + 1):
        for client in _order(experiment, boot):
            method = first if together and _recorded(client, first) else ""
            captured.append(Turn(client, boot, True, method))
            rest = more if together else [first, *more] if first else []
            own = [Turn(client, boot, False, method) for method in rest if _recorded(client, method)]
            (captured if together else after).extend(own)
    return Turns(tuple(captured), tuple(after))


def _order(experiment: Experiment, boot: int) -> Iterable[Guest | Native]:
    clients = list(experiment.clients)
    if experiment.in_rounds:
        random.Random(f"{experiment.seed} round {boot}").shuffle(clients)  # noqa: S311 (an order, no secret)
    return clients


def _recorded(client: Guest | Native, method: str) -> bool:
    """Whether the client has a QEMU that `method` can record: the library that takes notes is that of `user`."""
    if not isinstance(client, Guest) or client.kernel == "uml":
        return False
    return method != "instrumented" or client.backend == "user"

"""Read rates: timings of single files come in, medians with their spread go out, by client and configuration."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from nfsleuth.lab.model import Experiment, Guest, Native
from nfsleuth.lab.outcome import Timing
from nfsleuth.report.study_values import TABLE_2

STUDY: Mapping[str, float] = TABLE_2  # MB/s by configuration, the fastest first
STUDY_NICS = {"virtio-net-pci": "virtio", "rtl8139": "RTL8139"}
STUDY_BACKENDS = {"tap": "bridged", "user": "NAT"}


class Spread(NamedTuple):
    """A median with the lowest and the highest of `rounds` values."""

    median: float
    low: float
    high: float
    rounds: int


def spread(values: Sequence[float]) -> Spread:
    """The spread of at least one value."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


def configuration(client: Guest | Native) -> str:
    """The name of the study's configuration that `client` is, "" if it is none."""
    if isinstance(client, Native):
        return "" if client.container else "native"
    if client.kernel == "uml":
        return ""
    nic, backend = STUDY_NICS.get(client.nic), STUDY_BACKENDS.get(client.backend)
    return f"{nic}, {backend}" if nic and backend else ""


def counted(experiment: Experiment, timings: Iterable[Timing]) -> list[Timing]:
    """The readings that count: all but those of a workload's `warmup`."""
    warmup = {client.name: experiment.workload(client).warmup for client in experiment.clients}
    return [timing for timing in timings if timing.round > warmup.get(timing.client, 0)]


def by_client(timings: Iterable[Timing]) -> dict[str, Spread]:
    """MB/s (10⁶ bytes) of each client over its rounds; the rate of a round is all its bytes by all its seconds."""
    octets: dict[tuple[str, int, int], int] = {}
    seconds: dict[tuple[str, int, int], float] = {}
    for timing in timings:
        key = timing.client, timing.boot, timing.round
        octets[key] = octets.get(key, 0) + timing.octets
        seconds[key] = seconds.get(key, 0.0) + timing.seconds
    rounds: dict[str, list[float]] = {}
    for key, total in octets.items():
        client, took = key[0], seconds[key]
        if took > 0:
            rounds.setdefault(client, []).append(total / took / 1e6)
    return {client: spread(rates) for client, rates in rounds.items()}


def by_configuration(experiment: Experiment, timings: Iterable[Timing]) -> dict[str, Spread]:
    """MB/s by configuration of the study, in its order. Of several clients of one configuration the first counts."""
    rates = by_client(timings)
    found: dict[str, Spread] = {}
    for client in experiment.clients:
        name = configuration(client)
        if name and client.name in rates:
            found.setdefault(name, rates[client.name])
    return {name: found[name] for name in STUDY if name in found}


def seconds_by_size(timings: Iterable[Timing], client: str) -> dict[int, Spread]:
    """Seconds that `client` took to read a file, by its size in bytes, over the rounds."""
    found: dict[int, list[float]] = {}
    for timing in timings:
        if timing.client == client:
            found.setdefault(timing.octets, []).append(timing.seconds)
    return {octets: spread(found[octets]) for octets in sorted(found)}


def turned_round(measured: Mapping[str, Spread]) -> list[tuple[str, str]]:
    """Pairs of configurations, faster first in the study, that this run has the other way round."""
    names = [name for name in STUDY if name in measured]
    return [
        (fast, slow)
        for number, fast in enumerate(names)
        for slow in names[number + 1 :]
        if measured[fast].median < measured[slow].median
    ]

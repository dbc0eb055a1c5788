"""Readings by client: timings of single files come in, a run of each client goes out, as `nfsleuth bench` has them."""

from __future__ import annotations

from collections.abc import Iterable

from nfsleuth.bandwidth import timings as readings
from nfsleuth.bandwidth.timings import Timings
from nfsleuth.lab.model import Experiment, Guest, Native
from nfsleuth.lab.outcome import Timing
from nfsleuth.report.study_values import TABLE_2

STUDY_NICS = {"virtio-net-pci": "virtio", "rtl8139": "RTL8139"}
STUDY_BACKENDS = {"tap": "bridged", "user": "NAT"}


def configuration(client: Guest | Native) -> str:
    """The name of the study's configuration that `client` is, "" if it is none."""
    if isinstance(client, Native):
        return "" if client.container else "native"
    if client.kernel == "uml":
        return ""
    nic, backend = STUDY_NICS.get(client.nic), STUDY_BACKENDS.get(client.backend)
    return f"{nic}, {backend}" if nic and backend else ""


def counted(experiment: Experiment, timings: Iterable[Timing]) -> list[Timing]:
    """The readings that count: all but those of a workload's `warmup`.

    Where boots are compared, only the middle one of each boot and size: two boots differ more than two readings of one,
    and an interval over readings would be too narrow.
    """
    warmup = {client.name: experiment.workload(client).warmup for client in experiment.clients}
    found = [timing for timing in timings if timing.round > warmup.get(timing.client, 0)]
    if not experiment.in_rounds:
        return found
    boots: dict[tuple[str, int, int], list[Timing]] = {}
    for timing in found:
        boots.setdefault((timing.client, timing.boot, timing.octets), []).append(timing)
    return [sorted(one, key=lambda t: t.seconds)[len(one) // 2] for one in boots.values()]


def by_client(experiment: Experiment, timings: Iterable[Timing]) -> dict[str, Timings]:
    """What each client read; the study's configurations come first, in its order.

    A run's label is the configuration that the client is the first of, else the client's name. Readings that took no
    time by the client's clock are left out.
    """
    rows: dict[str, list[dict[str, object]]] = {}
    for timing in timings:
        if timing.seconds > 0:
            rows.setdefault(timing.client, []).append(timing.as_json())
    first = {configuration(client): client.name for client in reversed(experiment.clients)}
    labels = {client.name: client.name for client in experiment.clients} | {
        name: label for label, name in first.items() if label
    }
    order = list(TABLE_2)
    found = {}
    for client in sorted(experiment.clients, key=lambda c: _place(order, labels[c.name])):
        block = experiment.workload(client).block
        mine = {client.name: labels[client.name]}
        for run in readings.from_rows(rows.get(client.name, []), experiment.server.address, block, mine):
            run.client_cache = "dropped before each reading"  # agent.sh does; libnfs keeps nothing
            found[client.name] = run
    return found


def _place(order: list[str], label: str) -> int:
    return order.index(label) if label in order else len(order)

"""The study's page beside a run: its Tables 1 and 2 and Figures 1 and 2, with what this run measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nfsleuth.bandwidth import timings as readings
from nfsleuth.clients.rates import Rates
from nfsleuth.lab.model import Experiment
from nfsleuth.lab.outcome import Timing
from nfsleuth.lab.results.rates import by_configuration, configuration, counted
from nfsleuth.lab.results.report import Extra
from nfsleuth.path.study import HOW
from nfsleuth.report import study
from nfsleuth.verdict.model import Verdict

LEAST = 2  # configurations of the study that make a comparison


def page(
    experiment: Experiment,
    timings: Sequence[Timing],
    clients: Sequence[Verdict],
    conditions: Sequence[str],
    version: str,
    extra: Extra | None = None,
) -> str | None:
    """One HTML page; None if clients read at the same time, or too few of them are configurations of the study and
    nothing was recorded inside QEMU.

    clients: what `identify` found in a capture of the run, for what limited each of them. conditions: lines for the
    page's end. version: of nfsleuth.
    """
    timings, extra = counted(experiment, timings), extra or Extra()
    few = len(by_configuration(experiment, timings)) < LEAST
    if experiment.start != "in turn" or (few and not extra.sections):
        return None
    named = [(client, configuration(client)) for client in experiment.clients]
    labels = {client.name: name for client, name in named if name}
    block = {experiment.workload(client).block for client, _ in named}
    rows: list[Mapping[str, Any]] = [timing.as_json() for timing in timings]
    runs = readings.from_rows(rows, experiment.server.address, min(block), labels)
    for run in runs:  # the agent does it; libnfs, which reads as the native client, keeps nothing
        run.client_cache = "dropped before each reading"
    rates = {name: rates_of(experiment, client.name, clients) for client, name in named if name}
    known = {name: found for name, found in rates.items() if found is not None}
    drawn = extra.drawn()
    lines = [*conditions, *([] if extra.pictures else [f"Figures 3 to 5 are not drawn. {HOW}"])]
    return study.page(study.Study(runs, known, lines, drawn, extra.sections), version)


def rates_of(experiment: Experiment, name: str, clients: Sequence[Verdict]) -> Rates | None:
    """What a capture tells of the client `name`, which its address shows, or its host name too."""
    client = next(client for client in experiment.clients if client.name == name)
    there = [verdict.facts for verdict in clients if verdict.facts.address == experiment.wire_address(client)]
    if len(there) > 1:
        there = [facts for facts in there if client.hostname in facts.names.sightings]
    return there[0].rates if len(there) == 1 else None

"""The study beside a run: what this run measured of the study's configurations, as `nfsleuth.report.study` takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nfsleuth.bandwidth.timings import Timings
from nfsleuth.clients.rates import Rates
from nfsleuth.lab.model import Experiment
from nfsleuth.lab.results.rates import configuration
from nfsleuth.path.study import HOW
from nfsleuth.report.sections import Picture, Section
from nfsleuth.report.study import Study
from nfsleuth.report.study_values import TABLE_2
from nfsleuth.verdict.model import Verdict

LEAST = 2  # configurations of the study that make a comparison
HEAT_MAPS = "NIC models and backends as heat maps"


@dataclass(frozen=True)
class Extra:
    """What recordings inside QEMU add to a report. heat_maps: an SVG file."""

    sections: tuple[Section, ...] = ()
    heat_maps: bytes | None = None
    pictures: tuple[Picture, ...] = ()

    def drawn(self) -> list[Picture]:
        """All figures, as elements of a page."""
        if self.heat_maps is None:
            return [*self.pictures]
        text = self.heat_maps.decode()
        maps = Picture(HEAT_MAPS, text[text.index("<svg") :], "Dark is good; - was not measured.", "heat-maps")
        return [maps, *self.pictures]


def is_study(experiment: Experiment) -> bool:
    """Whether several of the study's configurations read, one after the other, so that rates can be compared."""
    return experiment.start == "in turn" and len({*map(configuration, experiment.clients)} - {""}) >= LEAST


def study(
    experiment: Experiment,
    runs: Mapping[str, Timings],
    clients: Sequence[Verdict],
    conditions: Sequence[str],
    extra: Extra,
) -> Study | None:
    """None if clients read at the same time, or too few of them were configurations of the study and nothing was
    recorded inside QEMU.

    runs: by client. clients: what `identify` found in a capture of the run, for what limited each of them.
    """
    named = {name: run for name, run in runs.items() if run.label in TABLE_2}
    if not extra.sections and (not is_study(experiment) or len(named) < LEAST):
        return None
    rates = {run.label: rates_of(experiment, name, clients) for name, run in named.items()}
    known = {label: found for label, found in rates.items() if found is not None}
    missing = "" if extra.pictures else f"They are not drawn: nothing was recorded inside QEMU. {HOW}"
    return Study([*named.values()], known, conditions, extra.drawn(), extra.sections, missing)


def rates_of(experiment: Experiment, name: str, clients: Sequence[Verdict]) -> Rates | None:
    """What a capture tells of the client `name`, which its address shows, or its host name too."""
    client = next(client for client in experiment.clients if client.name == name)
    there = [verdict.facts for verdict in clients if verdict.facts.address == experiment.wire_address(client)]
    if len(there) > 1:
        there = [facts for facts in there if client.hostname in facts.names.sightings]
    return there[0].rates if len(there) == 1 else None

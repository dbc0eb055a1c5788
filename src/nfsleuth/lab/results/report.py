"""The report of a run in Markdown: the study's Table 2 with this run beside it, figures, every client, conditions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nfsleuth.lab.model import Experiment, Guest, Native
from nfsleuth.lab.outcome import Timing
from nfsleuth.lab.results.figures import figures
from nfsleuth.lab.results.rates import STUDY, Spread, by_client, by_configuration, counted, turned_round
from nfsleuth.report.escape import visible
from nfsleuth.report.sections import Picture, Section, picture_text, section_text

HEAT_MAPS = "NIC models and backends as heat maps"
TITLES = {
    "table-2": "Read rates of the study's configurations, beside this run",
    "figure-1": "Figure 1: time to read a small file",
    "figure-2": "Figure 2: time to read a large file",
}


@dataclass(frozen=True)
class Extra:
    """What recordings inside QEMU add to a report. heat_maps: an SVG file."""

    sections: tuple[Section, ...] = ()
    heat_maps: bytes | None = None
    pictures: tuple[Picture, ...] = ()

    def drawn(self) -> list[Picture]:
        """All figures, as elements of a page."""
        text = self.heat_maps.decode() if self.heat_maps else ""
        maps = (
            [Picture(HEAT_MAPS, text[text.index("<svg") :], "Dark is good; - was not measured.", "heat-maps")]
            if text
            else []
        )
        return [*maps, *self.pictures]


def pages(
    experiment: Experiment, timings: Sequence[Timing], run: Mapping[str, Any], extra: Extra | None = None
) -> dict[str, bytes]:
    """report.md and its figures, by file name. `run`: what run.json holds."""
    timings, extra = counted(experiment, timings), extra or Extra()
    drawn = figures(experiment, timings)
    more = {f"{picture.name}.svg": picture for picture in extra.drawn()}
    text = markdown(experiment, timings, run, sorted(drawn), extra.sections, more)
    return {"report.md": text.encode(), **drawn, **{name: picture.svg.encode() for name, picture in more.items()}}


def markdown(
    experiment: Experiment,
    timings: Sequence[Timing],
    run: Mapping[str, Any],
    images: Sequence[str] = (),
    sections: Sequence[Section] = (),
    pictures: Mapping[str, Picture] | None = None,
) -> str:
    """The report as text. `images`: names of the figures that lie beside it; `pictures`: further ones, by name."""
    measured = by_configuration(experiment, timings)
    parts = [f"# {visible(experiment.title)}", _summary(experiment, timings, run)]
    if len(measured) > 1 and experiment.start == "in turn":  # else rates are not comparable
        parts += ["## Table 2 of the study, and this run", _table2(measured), _order(measured), _images(images)]
    elif images:
        parts += ["## Figures", _images(images)]
    parts += [section_text(section) for section in sections]
    parts += [picture_text(picture, {picture.title: name}) for name, picture in (pictures or {}).items()]
    if not sections and (grid := _grid(experiment, timings)):
        parts += ["## NIC models and backends", "Read rate, MB/s: median over the rounds.", grid]
    parts += ["## Clients", _clients(experiment, timings, run), "## Conditions"]
    parts.append("\n".join(f"- {line}" for line in conditions(experiment, run)))
    return "\n\n".join(part for part in parts if part) + "\n"


def _summary(experiment: Experiment, timings: Sequence[Timing], run: Mapping[str, Any]) -> str:
    octets = sum(timing.octets for timing in timings)
    failed = len(run.get("failed", {}))
    return (
        f"Experiment `{experiment.name}`, seed {experiment.seed}: {len(experiment.clients)} clients, {failed} of them "
        f"failed; {octets / 1e6:.0f} MB read in {len(timings)} files. Accelerator: "
        f"{visible(str(run.get('accelerator') or 'unknown'))}."
    )


def _table2(measured: Mapping[str, Spread]) -> str:
    native = measured.get("native")
    rows = []
    for name, rate in measured.items():
        share = f"{rate.median / native.median:.2f}" if native else "-"
        between = f"{rate.low:.1f} to {rate.high:.1f}"
        study = STUDY[name]
        rows.append((name, study, f"{study / STUDY['native']:.2f}", f"{rate.median:.1f}", between, share, rate.rounds))
    head = ("configuration", "study, MB/s", "of native", "this run, MB/s", "lowest to highest", "of native", "rounds")
    return table(head, rows)


def _order(measured: Mapping[str, Spread]) -> str:
    """Whether the order of the study holds, in words."""
    ranked = sorted(measured, key=lambda name: -measured[name].median)
    said = f"From fast to slow, this run: {'; '.join(ranked)}. The study: {'; '.join(measured)}. "
    turned = turned_round(measured)
    if not turned:
        return said + "The order is the same."
    return said + "The other way round here: " + "; ".join(f"{slow} before {fast}" for fast, slow in turned) + "."


def _images(images: Sequence[str]) -> str:
    stems = [name.removesuffix(".svg") for name in images if name.endswith(".svg")]
    return "\n\n".join(f"![{TITLES.get(stem, stem)}]({stem}.svg)" for stem in stems)


def _grid(experiment: Experiment, timings: Sequence[Timing]) -> str:
    """Median rates by NIC model and backend, "" unless there are several of both."""
    rates = by_client(timings)
    guests = [guest for guest in experiment.guests if guest.name in rates and guest.kernel != "uml"]
    nics = list(dict.fromkeys(guest.nic for guest in guests))
    backends = list(dict.fromkeys(guest.backend for guest in guests))
    cells: dict[tuple[str, str], list[float]] = {}
    for guest in guests:
        cells.setdefault((guest.nic, guest.backend), []).append(rates[guest.name].median)
    if len(nics) < 2 or len(backends) < 2:
        return ""
    rows = [(nic, *(_cell(cells.get((nic, backend), [])) for backend in backends)) for nic in nics]
    return table(("NIC", *backends), rows)


def _cell(rates: Sequence[float]) -> str:
    return " / ".join(f"{rate:.1f}" for rate in rates)


def _clients(experiment: Experiment, timings: Sequence[Timing], run: Mapping[str, Any]) -> str:
    rates = by_client(timings)
    failed, kernels = run.get("failed", {}), run.get("kernels", {})
    rows = []
    for client in experiment.clients:
        rate = rates.get(client.name)
        what = f"{rate.median:.1f} ({rate.low:.1f} to {rate.high:.1f})" if rate else "-"
        done = "done" if rate or client.name in kernels else "did not run"
        end = visible(str(failed.get(client.name, "")))[:60] or done
        kernel = visible(str(kernels.get(client.name, "")))
        rows.append((client.name, client.host, _connected(client), client.version, kernel, what, end))
    return table(("client", "host", "connected", "NFS", "kernel", "MB/s", "end"), rows)


def _connected(client: Guest | Native) -> str:
    if isinstance(client, Native):
        return f"{client.client}, container" if client.container else client.client
    return f"{client.nic}, {client.backend}"


def conditions(experiment: Experiment, run: Mapping[str, Any]) -> list[str]:
    """Under what circumstances it ran, a line each."""
    left_out = [*experiment.left_out, *(f"{name}: {why}" for name, why in run.get("left_out", {}).items())]
    versions = sorted(run.get("versions", {}).items())
    shaped = [f"{host.name} {host.rate / 1e6:g} Mbit/s" for host in experiment.hosts if host.rate]
    accelerator = visible(str(run.get("accelerator") or "unknown"))
    translated = ": every instruction of a guest is translated, so rates and delays are not those of real hosts"
    return [
        f"Accelerator: {accelerator}{translated if accelerator == 'tcg' else ''}.",
        "All hosts are namespaces of one machine: clients that run at one time share its processors.",
        f"Links: {', '.join(shaped) or 'not shaped'}.",
        *([f"Ended before its time: {visible(str(run['ended']))}."] if run.get("ended") else []),
        *(f"{visible(name)} {visible(str(version))}" for name, version in versions),
        *(f"Left out: {visible(line)}" for line in left_out),
    ]


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)

"""The report of a run in Markdown: the study with this run beside it, figures, every client, conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nfsleuth.bandwidth.numbers import Interval
from nfsleuth.bandwidth.timings import Timings
from nfsleuth.lab.model import Experiment, Guest, Native
from nfsleuth.lab.outcome import Timing
from nfsleuth.lab.results.rates import by_client
from nfsleuth.lab.results.study import study
from nfsleuth.report import study as beside
from nfsleuth.report.escape import visible
from nfsleuth.report.markdown import plain, table
from nfsleuth.verdict.model import Verdict


def pages(
    experiment: Experiment,
    timings: Sequence[Timing],
    run: Mapping[str, Any],
    *,
    clients: Sequence[Verdict] = (),
    pictures: Sequence[beside.Picture] = (),
    version: str = "",
) -> dict[str, bytes]:
    """report.md and its figures by file name, and study.html where configurations of the study read in turn.

    run: what run.json holds. clients: what `identify` found in a capture of the run. pictures: figures of what happened
    inside QEMU. version: of nfsleuth.
    """
    runs = by_client(experiment, timings)
    lines = conditions(experiment, run)
    studied = study(experiment, runs, clients, lines, pictures)
    drawn = beside.images(studied) if studied else beside.drawn(list(runs.values()), bars=experiment.start == "in turn")
    text = _markdown(
        experiment, timings, run, runs, [*lines, *beside.notes([*runs.values()] if studied else [])], studied, drawn
    )
    found = {"report.md": text.encode(), **drawn}
    return found | ({"study.html": beside.page(studied, version).encode()} if studied else {})


def _markdown(
    experiment: Experiment,
    timings: Sequence[Timing],
    run: Mapping[str, Any],
    runs: Mapping[str, Timings],
    lines: Sequence[str],
    studied: beside.Study | None,
    drawn: Mapping[str, bytes],
) -> str:
    """The report as text. lines: conditions. drawn: figures that lie beside it."""
    rates = {name: found[0] for name, one in runs.items() if (found := one.bandwidth())}
    parts = [f"# {visible(experiment.title)}", _summary(experiment, timings, run)]
    if studied:
        parts += beside.sections(studied)
    elif drawn:
        parts += ["## Figures", "\n\n".join(f"![{name}]({name})" for name in drawn if name.endswith(".svg"))]
    if grid := _grid(experiment, rates):
        parts += ["## NIC models and backends", "Read rate, MB/s: median over the readings of the largest files.", grid]
    parts += ["## Clients", _clients(experiment, rates, run), "## Conditions"]
    parts.append("\n".join(f"- {plain(line)}" for line in lines))
    return "\n\n".join(part for part in parts if part) + "\n"


def _summary(experiment: Experiment, timings: Sequence[Timing], run: Mapping[str, Any]) -> str:
    octets = sum(timing.octets for timing in timings)
    failed = len(run.get("failed", {}))
    return (
        f"Experiment `{experiment.name}`, seed {experiment.seed}: {len(experiment.clients)} clients, {failed} of them "
        f"failed; {octets / 1e6:.0f} MB read in {len(timings)} files. Accelerator: "
        f"{visible(str(run.get('accelerator') or 'unknown'))}."
    )


def _grid(experiment: Experiment, rates: Mapping[str, Interval]) -> str:
    """Median rates by NIC model and backend, "" unless there are several of both."""
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


def _clients(experiment: Experiment, rates: Mapping[str, Interval], run: Mapping[str, Any]) -> str:
    failed, kernels = run.get("failed", {}), run.get("kernels", {})
    rows = []
    for client in experiment.clients:
        rate = rates.get(client.name)
        what = beside.rate_text(rate) if rate else "-"
        end = visible(str(failed.get(client.name, "")))[:60] or "done"
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
        *(f"{visible(name)} {visible(str(version))}" for name, version in versions),
        *(f"Left out: {visible(line)}" for line in left_out),
    ]

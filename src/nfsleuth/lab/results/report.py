"""The report of a run in Markdown: the study with this run beside it, figures, every client, conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nfsleuth.bandwidth.numbers import Interval
from nfsleuth.bandwidth.plan import human
from nfsleuth.bandwidth.timings import Timings
from nfsleuth.lab.model import Experiment, Guest, Native
from nfsleuth.lab.outcome import Timing
from nfsleuth.lab.results.rates import by_client, counted
from nfsleuth.lab.results.study import Extra, study
from nfsleuth.report import study as beside
from nfsleuth.report.escape import visible
from nfsleuth.report.sections import markdown_table, picture_text, plain, section_text, table_of
from nfsleuth.verdict.model import Verdict


def pages(
    experiment: Experiment,
    timings: Sequence[Timing],
    run: Mapping[str, Any],
    *,
    clients: Sequence[Verdict] = (),
    extra: Extra | None = None,
    version: str = "",
) -> dict[str, bytes]:
    """report.md and its figures by file name, and study.html where configurations of the study read in turn.

    run: what run.json holds. clients: what `identify` found in a capture of the run. extra: what recordings inside QEMU
    add. version: of nfsleuth.
    """
    extra = extra or Extra()
    runs = by_client(experiment, counted(experiment, timings))
    lines = conditions(experiment, run)
    rates = {name: found[0] for name, one in runs.items() if (found := one.bandwidth())}
    if studied := study(experiment, runs, clients, lines, extra):
        shown, files = beside.sections(studied), beside.images(studied)
        lines = [*lines, *beside.notes(studied.runs)]
    else:
        shown, files = _figures(experiment, runs, extra)
    parts = [f"# {visible(experiment.title)}", _summary(experiment, timings, run), *shown]
    if not extra.sections and (grid := _grid(experiment, rates)):
        parts += ["## NIC models and backends", "Read rate, MB/s: median over readings of the largest files.", grid]
    parts += ["## Clients", _clients(experiment, rates, run), "## Conditions"]
    parts.append("\n".join(f"- {plain(line)}" for line in lines))
    files["report.md"] = ("\n\n".join(parts) + "\n").encode()
    if studied:
        files["study.html"] = beside.page(studied, version).encode()
    return files


def _figures(experiment: Experiment, runs: Mapping[str, Timings], extra: Extra) -> tuple[list[str], dict[str, bytes]]:
    """What is shown where there is no study to compare with: parts of the text, and files beside it."""
    files = beside.drawn([*runs.values()], bars=experiment.start == "in turn")
    parts = ["## Figures"] if files else []
    parts += [f"![{name}]({name})" for name in files if name.endswith(".svg")]
    parts += [section_text(section) for section in extra.sections]
    parts += [picture_text(picture) for picture in extra.drawn()]
    return parts, files | {f"{picture.name}.svg": picture.svg.encode() for picture in extra.drawn()}


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
    return markdown_table(table_of(("NIC", *backends), rows))


def _cell(rates: Sequence[float]) -> str:
    return " / ".join(f"{rate:.1f}" for rate in rates)


def _clients(experiment: Experiment, rates: Mapping[str, Interval], run: Mapping[str, Any]) -> str:
    failed, kernels = run.get("failed", {}), run.get("kernels", {})
    rows = []
    for client in experiment.clients:
        rate = rates.get(client.name)
        what = beside.interval_text(rate)
        done = "done" if rate or client.name in kernels else "did not run"
        end = visible(str(failed.get(client.name, "")))[:60] or done
        kernel = str(kernels.get(client.name, ""))
        rows.append((client.name, client.host, _connected(client), client.version, kernel, what, end))
    return markdown_table(table_of(("client", "host", "connected", "NFS", "kernel", "MB/s", "end"), rows))


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
        *_read(experiment),
        *(f"{visible(kernel)}: {', '.join(names)}." for kernel, names in _kernels(run).items()),
        *([f"Ended before its time: {visible(str(run['ended']))}."] if run.get("ended") else []),
        *(f"{visible(name)} {visible(str(version))}" for name, version in versions),
        *(f"Left out: {visible(line)}" for line in left_out),
    ]


def _read(experiment: Experiment) -> list[str]:
    """What was read how often, a line per workload that somebody did."""
    done = {workload.name: workload for workload in map(experiment.workload, experiment.clients) if workload.files}
    return [
        f"Files of {', '.join(map(human, one.files))}: {one.rounds} rounds, {one.warmup or 'none'} of them to warm up."
        for one in done.values()
    ]


def _kernels(run: Mapping[str, Any]) -> dict[str, list[str]]:
    """The clients by what they say of their kernel."""
    found: dict[str, list[str]] = {}
    for name, kernel in run.get("kernels", {}).items():
        if kernel:
            found.setdefault(f"Linux {kernel}" if str(kernel)[:1].isdigit() else str(kernel), []).append(visible(name))
    return found

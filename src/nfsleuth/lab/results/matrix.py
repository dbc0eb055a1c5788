"""NIC models and backends side by side: what each boot measured comes in, a table, heat maps and advice go out.

All numbers are medians over boots with 95 % bootstrap intervals over boots (`bandwidth.numbers`): two boots of a guest
differ more than two reads of one boot. The advice is worked out from them, so it says no more than they do.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nfsleuth.bandwidth.numbers import LEAST_FOR_INTERVAL, Interval, bootstrapped, bootstrapped_ratio
from nfsleuth.bandwidth.plan import human
from nfsleuth.lab.model import BACKENDS, Experiment, Guest
from nfsleuth.lab.outcome import Recorded, Timing
from nfsleuth.report import figures
from nfsleuth.report.figures import Grid
from nfsleuth.report.sections import Section, Table
from nfsleuth.report.study import interval_text

ROOTLESS = ("user", "passt")  # backends that somebody without root can use: no interface has to be made for them
UPROBES = "uprobes"
UNSURE = 0.2  # per cent of frames that may pass between two ends of counting, the recorder's and the guest's
Measures = Mapping[str, float]  # of `path.compare.measures`


@dataclass(frozen=True)
class Cell:
    """A NIC model on a backend: each list has a value per boot that could tell it."""

    nic: str
    backend: str
    rates: tuple[float, ...]  # MB/s of reads that nothing recorded
    cpu: tuple[float, ...]  # ms of CPU time that QEMU took for an MB of them
    recorded: tuple[float, ...]  # MB/s of reads that were recorded
    measures: Mapping[str, tuple[float, ...]]  # by key; frames are per read
    why: str = ""  # why boots, or all of them, have nothing

    @property
    def name(self) -> str:
        """What people call it: "rtl8139 on user"."""
        return f"{self.nic} on {self.backend}"

    @property
    def rate(self) -> Interval | None:
        """MB/s, None without a read."""
        return bootstrapped(self.rates) if self.rates else None

    def median(self, key: str) -> float | None:
        """The median of a measure over boots, None where no boot could tell it."""
        values = self.measures.get(key, ())
        return statistics.median(values) if values else None


@dataclass(frozen=True)
class Matrix:
    """All cells of an experiment, also those that could not be."""

    cells: tuple[Cell, ...]
    octets: int  # of one recorded read
    boots: int  # rounds that were wished for

    @property
    def nics(self) -> tuple[str, ...]:
        """NIC models, in the order of the experiment."""
        return tuple(dict.fromkeys(cell.nic for cell in self.cells))

    @property
    def backends(self) -> tuple[str, ...]:
        """Backends, in the order of the experiment."""
        return tuple(dict.fromkeys(cell.backend for cell in self.cells))

    def measured(self) -> list[Cell]:
        """Cells with a read rate, the fastest first."""
        return sorted((cell for cell in self.cells if cell.rates), key=lambda cell: -statistics.median(cell.rates))


def gather(
    experiment: Experiment,
    timings: Iterable[Timing],
    recorded: Iterable[Recorded],
    measured: Mapping[str, Measures],
    run: Mapping[str, Any],
) -> Matrix:
    """The matrix of a run. timings: those that count. measured: what each file of `recorded` says. run: run.json."""
    assert experiment.path, "only such experiments are recorded"
    rates: dict[str, dict[int, list[float]]] = {}
    costs: dict[str, dict[int, list[float]]] = {}
    for timing in timings:
        rates.setdefault(timing.client, {}).setdefault(timing.boot, []).append(timing.rate)
        if timing.cpu > 0 and timing.octets:
            costs.setdefault(timing.client, {}).setdefault(timing.boot, []).append(timing.cpu * 1e9 / timing.octets)
    boots: dict[str, list[Recorded]] = {}
    for row in recorded:
        if row.method == UPROBES:
            boots.setdefault(row.client, []).append(row)
    cells = []
    for guest in experiment.guests:
        mine = [row for row in boots.get(guest.name, []) if row.reads]
        broken = [measured.get(row.file, {}) for row in boots.get(guest.name, []) if not row.reads]
        each = [_per_read(measured.get(row.file, {}), row) for row in mine]
        keys = {key for measures in each for key in measures}
        cells.append(
            Cell(
                guest.nic, guest.backend,
                _medians(rates.get(guest.name, {})),
                _medians(costs.get(guest.name, {})),
                tuple(row.rate for row in mine),
                {key: tuple(measures[key] for measures in each if key in measures) for key in sorted(keys)},
                "; ".join(filter(None, (_why(guest, run), *map(_seen, broken)))),
            )
        )  # fmt: skip
    cells += _impossible(experiment)
    return Matrix(tuple(_in_order(cells, experiment)), experiment.path.file, experiment.boots)


def _medians(boots: Mapping[int, Sequence[float]]) -> tuple[float, ...]:
    """A value per boot."""
    return tuple(statistics.median(found) for found in boots.values())


def _per_read(measures: Measures, row: Recorded) -> Measures:
    """Frames per read; and how many of those that the NIC model was handed the guest's driver never saw."""
    found = {key: value / row.reads if key.startswith("frames_") else value for key, value in measures.items()}
    handed = measures.get("frames_in", 0.0)
    if row.taken and handed:
        found["lost"] = max(0.0, 1 - row.taken / handed) * 100
    return found


def _why(guest: Guest, run: Mapping[str, Any]) -> str:
    failed, left_out = run.get("failed", {}), run.get("left_out", {})
    return str(failed.get(guest.name) or left_out.get(guest.name) or "")


def _seen(measures: Measures) -> str:
    """What a recording shows of reads that did not end."""
    if not {"frames_in", "burst", "waiting"} <= measures.keys():
        return ""
    return (
        f"{measures['frames_in']:,.0f} frames were handed to it, half of them {measures['burst']:.0f} or more at once; "
        f"{measures['waiting']:.0f} % of the time none came for 0.2 s or longer"
    )


def _impossible(experiment: Experiment) -> list[Cell]:
    """Cells of combinations that the experiment's matrix leaves out, by what it says of them."""
    found = []
    for line in experiment.left_out:
        name, _, why = line.partition(": ")
        nic, _, backend = name.rpartition("-")
        if backend in BACKENDS:
            found.append(Cell(_long(nic, experiment), backend, (), (), (), {}, why))
    return found


def _long(nic: str, experiment: Experiment) -> str:
    """The NIC model that a guest's name begins with: names leave a common ending away."""
    return next((g.nic for g in experiment.guests if g.name == f"{nic}-{g.backend}"), nic)


def _in_order(cells: Sequence[Cell], experiment: Experiment) -> list[Cell]:
    nics = list(dict.fromkeys(guest.nic for guest in experiment.guests))
    backends = list(BACKENDS)
    return sorted(
        cells, key=lambda c: (nics.index(c.nic) if c.nic in nics else len(nics), c.nic, backends.index(c.backend))
    )


def sections(matrix: Matrix) -> list[Section]:
    """The table of the matrix, what it costs to record, and the advice that follows."""
    size = human(matrix.octets)
    return [
        Section(
            "NIC models and backends",
            "Recorded by uprobes. Medians over boots; in brackets 95 % intervals over boots. MB/s is of reads that "
            "nothing recorded, the first of each boot left out, and CPU the time that QEMU, and passt, took for "
            "them. Times are us a frame, less the probes' part: from the network layer to the system call that "
            "sends it, that call, and handing a frame to the NIC model; < is as measured, and mostly probes. Frames "
            f"and system calls are counted: frames for one read of {size}, half of those in come at once with so "
            "many without a pause of 0.1 ms; lost are those that the NIC model was handed and the guest's driver "
            "never saw; system calls per frame.",
            table(matrix) if matrix.measured() else None,
            _failures(matrix),
        ),
        Section("For someone without root", "", None, advice(matrix)),
        Section(
            "What recording costs the guest",
            "The same guest reads a file of the same size without and with its QEMU recorded.",
            overhead(matrix) if any(cell.recorded for cell in matrix.cells) else None,
        ),
    ]


def table(matrix: Matrix) -> Table:
    """A row per NIC model and backend."""
    titles = (
        "NIC", "backend", "boots", "MB/s", "CPU, ms/MB", "out, us", "its call, us", "in, us", "frames out", "frames in",
        "at once", "lost, %", "calls out", "calls in",
    )  # fmt: skip
    rows = []
    for cell in matrix.cells:
        if not cell.rates:
            continue
        frames = (*(_number(cell.median(key), 0) for key in ("frames_out", "frames_in", "burst")), _lost(cell))
        calls = (_number(cell.median(key), 2) for key in ("syscalls_out", "syscalls_in"))
        times = (_time(cell, "until_syscall"), _number(cell.median("syscall"), 1), _time(cell, "to_guest"))
        boots, rate = str(len(cell.rates)), interval_text(cell.rate)
        rows.append((cell.nic, cell.backend, boots, rate, _cost(cell), *times, *frames, *calls))
    return Table(titles, tuple(rows), frozenset(range(2, len(titles))))


def overhead(matrix: Matrix) -> Table:
    """Read rates without and with a recorder, where both were measured."""
    rows = []
    for cell in matrix.cells:
        if cell.rates and cell.recorded:
            rates = interval_text(cell.rate), interval_text(bootstrapped(cell.recorded))
            left = interval_text(bootstrapped_ratio(cell.recorded, cell.rates), 2)
            rows.append((cell.nic, cell.backend, *rates, left))
    return Table(("NIC", "backend", "MB/s without", "MB/s with", "of it left"), tuple(rows), frozenset((2, 3, 4)))


def _failures(matrix: Matrix) -> list[str]:
    """What has no numbers, or not in each boot, and why; equal reasons of one backend together."""
    found: dict[tuple[str, str, bool], list[str]] = {}
    for cell in matrix.cells:
        if cell.why:
            why = cell.why.replace(f" of {cell.nic};", " of these;")  # a reason that names the model is one for several
            found.setdefault((cell.backend, why, bool(cell.recorded)), []).append(cell.nic)
    return [
        f"{', '.join(nics)} on {backend}{' (other boots went well)' if some else ''}: {why}"
        for (backend, why, some), nics in found.items()
    ]


def advice(matrix: Matrix) -> list[str]:
    """Which backend and NIC model to take without root, and on what evidence."""
    cells = matrix.measured()
    mine = [cell for cell in cells if cell.backend in ROOTLESS]
    if not mine:
        return [f"No advice: nothing was measured on {' or '.join(ROOTLESS)}, which need no root."]
    few = [cell for cell in mine if len(cell.rates) < LEAST_FOR_INTERVAL]
    sure = [cell for cell in mine if cell not in few]
    lines = [_best(sure)] if sure else []
    lines += [_cheapest(sure)] if sum(bool(cell.cpu) for cell in sure) > 1 else []
    lines += [_backends(matrix, sure)] if len({cell.backend for cell in sure}) > 1 else []
    lines += [_slowest(sure)] if len(sure) > 1 else []
    others = [cell for cell in cells if cell.backend not in ROOTLESS and len(cell.rates) >= LEAST_FOR_INTERVAL]
    if sure and others:
        lines.append(_with_root(sure[0], others[0]))
    if lossy := [cell for cell in mine if (cell.median("lost") or 0) >= UNSURE]:
        lines.append(_lossy(lossy))
    if failed := [cell.name for cell in matrix.cells if cell.backend in ROOTLESS and cell.why]:
        lines.append(f"Do not count on {', '.join(failed)}: see above for what went wrong.")
    if few:
        names = ", ".join(f"{cell.name} ({_number(statistics.median(cell.rates), 1)})" for cell in few)
        lines.append(f"Fewer than {LEAST_FOR_INTERVAL} boots, so nothing is said of: {names}.")
    return lines


def _best(mine: Sequence[Cell]) -> str:
    best, *rest = mine
    alike = [cell for cell in rest if not _apart(best, cell)]
    if not alike:
        said = f"Take {best.name}: {interval_text(best.rate)} MB/s, the fastest of {len(mine)} that need no root."
        return said + " It is surely faster than all others." if rest else said
    names = ", ".join(f"{cell.name} ({_number(statistics.median(cell.rates), 1)})" for cell in alike)
    said = f"The fastest of {len(mine)} that need no root is {best.name}: {interval_text(best.rate)} MB/s. "
    said += f"Not told apart from it, so that it may be first by chance: {names}."
    costs = [cell for cell in (best, *alike) if cell.cpu]
    if not costs:
        return said
    cheap = min(costs, key=lambda cell: statistics.median(cell.cpu))
    return said + f" Of these take {cheap.name}: it costs the least CPU time for an MB, {_cost(cheap)} ms."


def _cheapest(mine: Sequence[Cell]) -> str:
    """By CPU time, which the load of the machine disturbs less than rates."""
    first, *rest = sorted((cell for cell in mine if cell.cpu), key=lambda cell: statistics.median(cell.cpu))
    ratio = bootstrapped_ratio(rest[-1].cpu, first.cpu)
    sure = ratio is not None and ratio.low is not None and ratio.low > 1
    return (
        f"Least CPU time for an MB: {first.name}, {_cost(first)} ms; {rest[-1].name}, the dearest, takes "
        f"{interval_text(ratio, 2)} times as much{'' if sure else ', if more at all'}."
    )


def _backends(matrix: Matrix, mine: Sequence[Cell]) -> str:
    """The two backends, NIC by NIC."""
    first, second = ROOTLESS
    pairs = [
        (a, b)
        for nic in matrix.nics
        for a in mine
        for b in mine
        if (a.nic, a.backend, b.nic, b.backend) == (nic, first, nic, second)
    ]
    if not pairs:
        return f"No NIC model was measured on both {first} and {second}."
    ratios = [statistics.median(a.rates) / statistics.median(b.rates) for a, b in pairs]
    apart = sum(_apart(a, b) for a, b in pairs), sum(_apart(b, a) for a, b in pairs)
    return (
        f"{first} against {second}, over {len(pairs)} NIC models that were measured on both: {first} is surely faster "
        f"with {apart[0]}, {second} with {apart[1]}; the median ratio is {statistics.median(ratios):.2f}."
    )


def _slowest(mine: Sequence[Cell]) -> str:
    best, worst = mine[0], mine[-1]
    ratio = bootstrapped_ratio(best.rates, worst.rates)
    said = f"{best.name} reads {interval_text(ratio, 2)} times as fast as {worst.name}, the slowest"
    return f"The choice matters: {said}." if _apart(best, worst) else f"The choice hardly matters: {said}, if at all."


def _lossy(mine: Sequence[Cell]) -> str:
    """What loses frames, whatever the load of the machine, the slowest last."""
    said = [
        f"{cell.name} ({_number(cell.median('lost'), 1)} %, {_number(statistics.median(cell.rates), 1)} MB/s)"
        for cell in mine
    ]
    return f"Their NIC model loses frames that it is handed: {', '.join(said)}."


def _with_root(best: Cell, other: Cell) -> str:
    ratio = bootstrapped_ratio(other.rates, best.rates)
    said = f"With root the fastest is {other.name}: {interval_text(other.rate)} MB/s, "
    said += f"{interval_text(ratio, 2)} of {best.name}"
    if ratio is None or ratio.low is None or ratio.high is None:
        return said + "."
    if ratio.low > 1:
        return said + ": root pays."
    return said + (": root buys nothing here." if ratio.high < 1 else ": they cannot be told apart.")


def _apart(faster: Cell, slower: Cell) -> bool:
    """Whether one is surely faster: 95 % of the ratios of medians, drawn over boots, lie above 1."""
    ratio = bootstrapped_ratio(faster.rates, slower.rates)
    return ratio is not None and ratio.low is not None and ratio.low > 1


def heat_maps(matrix: Matrix) -> bytes | None:
    """The matrix as an SVG of colours with the numbers in them; None unless there are several of both."""
    if len(matrix.nics) < 2 or len(matrix.backends) < 2 or not matrix.measured():
        return None
    wanted = (
        ("read rate, MB/s", "rate", 1), ("CPU time of QEMU and passt, ms/MB", "cpu", 0),
        ("a frame out to its system call, us, with probes", "until_syscall", 1),
        ("a frame in to the NIC model, us, with probes", "to_guest", 1),
        (f"frames in for {human(matrix.octets)}", "frames_in", 0), ("of them lost by the NIC model, %", "lost", 1),
        ("system calls per frame out", "syscalls_out", 2), ("system calls per frame in", "syscalls_in", 2),
    )  # fmt: skip
    grids = []
    for title, key, digits in wanted:
        values = {(cell.nic, cell.backend): _value(cell, key) for cell in matrix.cells}
        if all(value is None for value in values.values()):
            continue
        grids.append(Grid(title, matrix.nics, matrix.backends, values, digits, more_is_better=key == "rate"))
    return figures.render(figures.heat_maps(grids), "svg")


def _value(cell: Cell, key: str) -> float | None:
    if key in ("rate", "cpu"):
        values = cell.rates if key == "rate" else cell.cpu
        return statistics.median(values) if values else None
    found = cell.median(key)
    return 0.0 if key == "lost" and found is not None and found < UNSURE else found


def _cost(cell: Cell) -> str:
    return interval_text(bootstrapped(cell.cpu), 0) if cell.cpu else "-"


def _lost(cell: Cell) -> str:
    """Frames that the model was handed and the guest's driver never saw; some are on the way when counting begins."""
    lost = cell.median("lost")
    return _number(lost, 1) if lost is None or lost >= UNSURE else "0"


def _time(cell: Cell, key: str) -> str:
    """A time less its probes if all boots could tell it, else the time with them as a bound."""
    less, measured = cell.measures.get(f"{key}_corrected", ()), cell.measures.get(key, ())
    if less and len(less) == len(measured):
        return f"{statistics.median(less):.1f}"
    return f"< {statistics.median(measured):.1f}" if measured else "-"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"

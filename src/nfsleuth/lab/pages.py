"""Reports of runs: what a run measured, or the folders of several runs, come in; pages and figures are written.

Runs of one experiment add up: their boots are counted on. So a matrix that takes an hour can be measured in pieces.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.lab import experiment as experiments
from nfsleuth.lab import results
from nfsleuth.lab.model import Experiment
from nfsleuth.lab.outcome import Recorded, Timing, recorded_from_json, timings_from_json
from nfsleuth.lab.results import matrix
from nfsleuth.path import compare, store
from nfsleuth.path import study as path_study
from nfsleuth.path.tree import grow
from nfsleuth.verdict.model import Verdict

LARGEST = 64 << 20  # bytes of a file of JSON


@dataclass(frozen=True)
class Measured:
    """What a run, or several, left for a report."""

    experiment: Experiment
    timings: Sequence[Timing]
    recorded: Sequence[Recorded]
    run: Mapping[str, Any]  # run.json
    paths: Mapping[str, Path]  # Recorded.file -> where it lies
    capture: Path | None = None  # at the server


def write(folder: Path, measured: Measured) -> None:
    """Write report.md with its figures, and study.html if there is something to put beside the study."""
    grown, says = _grown(measured)
    pictures = tuple(path_study.pictures(grown))
    extra = results.Extra(pictures=pictures)
    if measured.experiment.path and measured.experiment.in_rounds:
        warm = results.counted(measured.experiment, measured.timings)
        found = matrix.gather(measured.experiment, warm, measured.recorded, says, measured.run)
        extra = results.Extra(tuple(matrix.sections(found)), matrix.heat_maps(found), pictures)
    version = metadata.version("nfsleuth")
    files = results.pages(
        measured.experiment, measured.timings, measured.run, clients=_clients_in(measured), extra=extra, version=version
    )
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _clients_in(measured: Measured) -> Sequence[Verdict]:
    """What `identify` finds in the capture, if it is to stand beside the study."""
    from nfsleuth import api

    if not measured.capture or not results.is_study(measured.experiment):
        return ()
    return api.identify(str(measured.capture)).clients


def _grown(measured: Measured) -> tuple[list[path_study.Grown], dict[str, Mapping[str, float]]]:
    """The recordings as trees, without their events, and what each says by its file."""
    grown: list[path_study.Grown] = []
    says: dict[str, Mapping[str, float]] = {}
    for row in measured.recorded:
        recording = store.load(measured.paths[row.file])
        tree = grow(recording) if len(recording.events) else None
        recording = replace(recording, events=recording.events[:0])
        if row.reads:
            grown.append((recording, tree))
        says[row.file] = compare.measures(recording, tree)
    return grown, says


def load(folder: Path) -> Measured:
    """What the run in `folder` left. NfsleuthError if it is no folder of a run."""
    run = _json(folder / "run.json", dict)
    try:
        text = (folder / "experiment.toml").read_text(encoding="utf-8", errors="replace")
        experiment = experiments.read(text, str(run["experiment"]), seed=int(run["seed"]))
        timings = timings_from_json(_json(folder / "timings.json", list))
        rows = _json(folder / "path.json", list) if (folder / "path.json").exists() else []
        recorded = recorded_from_json(rows)
    except OSError as error:
        raise NfsleuthError(f"{error.filename}: cannot be read ({error.strerror})", Exit.UNREADABLE) from None
    except (KeyError, TypeError, ValueError) as error:
        raise NfsleuthError(f"{folder}: is damaged ({error}); run the experiment again", Exit.UNREADABLE) from None
    known = [row for row in recorded if Path(row.file).name == row.file]
    paths = {row.file: folder / "path" / row.file for row in known}
    return Measured(experiment, timings, known, run, paths, server_capture(experiment, folder))


def server_capture(experiment: Experiment, folder: Path) -> Path | None:
    """The capture at the server that a run left in `folder`, if it made one and it is still there."""
    files = [folder / f"{one.name}.{one.format}" for one in experiment.captures if one.at == "server" and not one.any]
    return next((file for file in files if file.exists()), None)


def _json(file: Path, kind: type[Any]) -> Any:  # noqa: ANN401 (what JSON holds)
    try:
        with file.open("rb") as opened:
            found = json.loads(opened.read(LARGEST))
    except OSError as error:
        message = f"{file}: cannot be read ({error.strerror}); name folders that `lab run` made"
        raise NfsleuthError(message, Exit.UNREADABLE) from None
    except (ValueError, RecursionError):
        raise NfsleuthError(f"{file}: is no JSON; run the experiment again", Exit.UNREADABLE) from None
    if not isinstance(found, kind):
        raise NfsleuthError(f"{file}: is not what `lab run` writes; run the experiment again", Exit.UNREADABLE)
    return found


def together(runs: Sequence[Measured]) -> Measured:
    """Several runs of one experiment as one. NfsleuthError if they are of several.

    Of several nothing is told out of their captures: in each of them clients have addresses of their own.
    """
    first = runs[0]
    for other in runs[1:]:
        if _clients(other.experiment) != _clients(first.experiment):
            names = f"{first.experiment.name} and {other.experiment.name}"
            raise NfsleuthError(f"these are runs of different experiments ({names}); report them apart")
    timings: list[Timing] = []
    recorded: list[Recorded] = []
    paths: dict[str, Path] = {}
    boots: Counter[str] = Counter()  # of each client so far: runs may be of different clients
    for number, run in enumerate(runs):
        timings += [replace(row, boot=row.boot + boots[row.client]) for row in run.timings]
        for row in run.recorded:
            file = f"{number}/{row.file}"
            recorded.append(replace(row, boot=row.boot + boots[row.client], file=file))
            paths[file] = run.paths[row.file]
        boots = Counter({row.client: row.boot for row in sorted(timings, key=lambda row: row.boot)})
    capture = first.capture if len(runs) == 1 else None
    experiment = replace(first.experiment, boots=max(boots.values(), default=0))
    return Measured(experiment, timings, recorded, _conditions(runs), paths, capture)


def _clients(experiment: Experiment) -> set[tuple[str, ...]]:
    """What makes runs comparable, whatever their seeds."""
    work = {g.name: replace(experiment.workload(g), patience=0, enough=0) for g in experiment.guests}
    return {(g.name, g.nic, g.backend, g.kernel, g.version, repr(work[g.name])) for g in experiment.guests}


def _conditions(runs: Sequence[Measured]) -> dict[str, Any]:
    """run.json of all: what is said of one of them is said of all, failures with the run that they are from."""
    found: dict[str, Any] = {}
    for run in runs:
        found |= {name: value for name, value in run.run.items() if name not in ("failed", "left_out")}
    for name in ("kernels", "versions"):
        found[name] = {key: value for run in runs for key, value in run.run.get(name, {}).items()}
    ran = {row.client for run in runs for row in run.timings}
    found["left_out"] = {n: w for run in runs for n, w in run.run.get("left_out", {}).items() if n not in ran}
    found["failed"] = _joined((name, why) for run in runs for name, why in run.run.get("failed", {}).items())
    return found


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, dict[str, None]] = {}
    for name, why in pairs:
        found.setdefault(name, {})[str(why)] = None
    return {name: "; ".join(whys) for name, whys in found.items()}

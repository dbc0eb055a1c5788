"""What timing gave: trials come in, medians with intervals go out, and JSON that can be read back.

Rates are MB/s with 10⁶ bytes, sizes are bytes, times seconds of a monotonic clock.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct, field, to_builtins

from nfsleuth.bandwidth.numbers import Interval, bootstrapped
from nfsleuth.bandwidth.plan import LARGE, human
from nfsleuth.errors import Exit, NfsleuthError

SCHEMA = "nfsleuth.bench/1"
FAMILY = "nfsleuth.bench/"
LARGEST_JSON = 64 << 20


class Trial(Struct, frozen=True):
    """One file read once from begin to end.

    warmup: read before the clock mattered; does not count. resident: share of the file that was still in the client's
    cache when the clock started, None where that cannot be told.
    """

    size: int
    round: int
    seconds: float
    warmup: bool = False
    resident: float | None = None

    @property
    def rate(self) -> float:
        """MB/s."""
        return self.size / self.seconds / 1e6


class SizeResult(Struct, frozen=True):
    """The trials of one size together."""

    size: int
    trials: int
    seconds: Interval
    rate: Interval  # MB/s


class Timings(Struct):
    """One run.

    label: what was measured, in the words of whoever did ("virtio bridged"). target: folder or URL. kind: "local",
    "mount", "libnfs" or "guest". client_cache, server_cache: how they were emptied between trials, in words. notes:
    what a reader must know. problem: why the run ended early, None if it is whole. loop_rate: MB/s that the reading
    loop itself reaches in this block size on bytes in memory; a result near it measured the loop. overhead: seconds
    that were taken off each trial, what timing an empty file took.
    """

    target: str
    kind: str
    block: int
    label: str = ""
    filesystem: str = ""
    client_cache: str = ""
    server_cache: str = ""
    trials: list[Trial] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problem: str | None = None
    seed: int = 0
    rounds: int = 0
    loop_rate: float | None = None
    overhead: float = 0.0
    started: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    def counted(self) -> dict[int, list[Trial]]:
        """Trials that count, by size, ascending."""
        found: dict[int, list[Trial]] = {}
        for trial in sorted(self.trials, key=lambda t: (t.size, t.round)):
            if not trial.warmup:
                found.setdefault(trial.size, []).append(trial)
        return found

    def results(self) -> list[SizeResult]:
        """A row per size, ascending."""
        return [
            SizeResult(
                size,
                len(trials),
                bootstrapped([t.seconds for t in trials]),
                bootstrapped([t.rate for t in trials]),
            )
            for size, trials in self.counted().items()
        ]

    def bandwidth(self) -> tuple[Interval, str] | None:
        """The run's read bandwidth as one figure, MB/s, and which files it is of; None without trials.

        The study's Table 2 has one mean per configuration. Here it is the median over the trials of the large files,
        where opening and the first round trip weigh nothing; without large files, over those of the largest size.
        """
        counted = self.counted()
        if not counted:
            return None
        large = [size for size in counted if size >= LARGE] or [max(counted)]
        rates = [trial.rate for size in large for trial in counted[size]]
        return bootstrapped(rates), "files of " + ", ".join(human(size) for size in large)


def from_rows(rows: Iterable[Mapping[str, Any]], target: str, block: int, labels: Mapping[str, str]) -> list[Timings]:
    """Runs out of the rows of a lab's timings.json: {"client", "octets", "seconds", "round"}, one per reading.

    labels: by client, in the order of the runs; clients that are not in it are left out. Raises NfsleuthError if a row
    is damaged.
    """
    runs = {client: Timings(target, "guest", block, label) for client, label in labels.items()}
    for row in rows:
        try:
            run = runs.get(str(row["client"]))
            trial = _trial(row["octets"], row["round"], row["seconds"], False)
        except (KeyError, TypeError, ValueError) as error:
            raise NfsleuthError(f"timings are damaged ({error}); measure again", _BAD) from error
        if run is not None:
            run.trials.append(trial)
            run.rounds = max(run.rounds, trial.round)
    return [run for run in runs.values() if run.trials]


def to_json(run: Timings) -> dict[str, Any]:
    """A JSON object that `from_json` reads back; `sizes` repeats the results for other readers."""
    sizes = [
        {
            "size": r.size,
            "trials": r.trials,
            "seconds": to_builtins(r.seconds),
            "MBps": to_builtins(r.rate),
        }
        for r in run.results()
    ]
    fields: dict[str, Any] = to_builtins(run)
    return {"schema": SCHEMA} | fields | {"sizes": sizes}


def from_json(text: str, name: str) -> Timings:
    """The run in `text`, from the file `name`.

    Raises NfsleuthError if it is not JSON, not of this schema, or if a value is missing or impossible.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NfsleuthError(f"{name}: is not JSON ({error}); give a file that bench --json wrote", _BAD) from error
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != SCHEMA:
        if isinstance(schema, str) and schema.startswith(FAMILY):
            raise NfsleuthError(f"{name}: has {schema[:40]}, this version reads {SCHEMA}; measure again", _BAD)
        raise NfsleuthError(f"{name}: holds no timings; give a file that bench --json wrote", _BAD)
    try:
        return _run(found)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise NfsleuthError(f"{name}: timings are damaged ({error}); measure again", _BAD) from error


_BAD = Exit.UNREADABLE


def _run(found: Mapping[str, Any]) -> Timings:
    known = {name: found[name] for name in Timings.__struct_fields__ if name in found}
    known["trials"] = [_trial(**t) for t in found["trials"]]
    for name in ("target", "kind", "label", "filesystem", "client_cache", "server_cache", "started"):
        known[name] = str(known.get(name, ""))
    for name in ("block", "seed", "rounds"):
        known[name] = int(known.get(name, 0))
    known["notes"] = [str(note) for note in found.get("notes", [])]
    known["versions"] = {str(k): str(v) for k, v in dict(found.get("versions", {})).items()}
    known["problem"] = None if found.get("problem") is None else str(found["problem"])
    known["overhead"] = float(found.get("overhead", 0.0))
    known["loop_rate"] = None if found.get("loop_rate") is None else float(found["loop_rate"])
    return Timings(**known)


def _trial(size: int, round: int, seconds: float, warmup: bool, resident: float | None = None) -> Trial:  # noqa: A002
    if size <= 0 or not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"a trial of {size} bytes in {seconds} s")
    return Trial(int(size), int(round), float(seconds), bool(warmup), None if resident is None else float(resident))

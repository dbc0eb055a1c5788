"""The parent's side: starts the worker, listens, and leaves it behind if it falls silent. A `Job` in, `Timings` out."""

from __future__ import annotations

import json
import os
import queue
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from msgspec import to_builtins

from nfsleuth.bandwidth.active.stores import WARM, Cache
from nfsleuth.bandwidth.plan import Plan, Step, human, time_left
from nfsleuth.bandwidth.timings import Timings, Trial
from nfsleuth.errors import Exit, NfsleuthError

SILENCE = 60.0  # s without a sign of life after which the file system counts as hanging
STARTING = 30.0  # s that Python may take to begin on a busy machine: that is not the file system's silence
FAREWELL = 5.0  # s that a worker gets to remove its files
STEP = 1.0  # s by which wall clock and monotonic clock may come apart in a run before it is noted
NEAR_CEILING = 0.5  # share of the loop's own rate from which on a result is suspect of measuring the loop
MOST_NOTES = 100

# What is done ("writing", "reading"), size, bytes done, s left (None while not known).
Progress = Callable[[str, int, int, float | None], None]


@dataclass(frozen=True, slots=True)
class Job:
    """What to measure where.

    target: a folder, or ``nfs://...``. cache: how the client's cache is emptied. server_drop: a command that empties
    the server's. keep: leave the files there. timeout: s without progress after which to give up.
    """

    target: str
    plan: Plan
    label: str = ""
    cache: Cache = Cache.AUTO
    server_drop: str = ""
    keep: bool = False
    timeout: float = SILENCE


@dataclass(slots=True)
class _State:
    """What has been heard so far."""

    run: Timings
    steps: list[Step]
    took: dict[int, list[float]] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    error: NfsleuthError | None = None


def measure(job: Job, progress: Progress | None = None) -> Timings:
    """Time the readings of ``job.plan``.

    A run that cannot go on (the mount hangs, goes stale, a file is changed) ends with what it has and says why in
    `Timings.problem`; so does one that is stopped by Ctrl-C. Raises NfsleuthError if nothing could be measured.
    """
    run = Timings(
        job.target, "", job.plan.block, job.label, seed=job.plan.seed, rounds=job.plan.rounds,
        started=datetime.now(UTC).isoformat(timespec="seconds"), versions=_versions(),
    )  # fmt: skip
    state = _State(run, job.plan.steps())
    wall, monotonic = time.time(), time.monotonic()
    worker = _start(job)
    try:
        for event in _events(worker, job.timeout):
            _hear(state, event, progress)
    except TimeoutError:
        run.problem = (
            f"{job.target}: no sign of life for {job.timeout:g} s; is the server up? (mount and dmesg say more)"
        )
    except KeyboardInterrupt:
        if not run.trials:
            raise
        run.problem = "stopped before its end"
    finally:
        _end(worker, state)
    if state.error is not None and not run.trials:
        raise state.error
    if state.error is not None:
        run.problem = state.error.message
    if not run.trials and run.problem:
        left = f"; remove {', '.join(state.made)}" if state.made and not job.keep else ""
        raise NfsleuthError(run.problem + left, Exit.UNREADABLE)
    if state.made and not job.keep:
        run.notes.append(f"left behind, remove them: {', '.join(state.made)}")
    _remark(run, (time.time() - wall) - (time.monotonic() - monotonic))
    return run


def random_seed() -> int:
    """A seed for `Plan`, small enough to be typed again."""
    return random.SystemRandom().randrange(1_000_000)


def _start(job: Job) -> subprocess.Popen[str]:
    """The worker, in a session of its own: Ctrl-C at the terminal is for the parent."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "nfsleuth.bandwidth.active.worker"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip
    assert worker.stdin is not None
    request = {
        "target": job.target, "cache": job.cache.value, "server_drop": job.server_drop, "keep": job.keep,
        "timeout": job.timeout,
    }  # fmt: skip
    with suppress(BrokenPipeError):
        worker.stdin.write(json.dumps(request | to_builtins(job.plan)) + "\n")
        worker.stdin.close()
    return worker


def _events(worker: subprocess.Popen[str], timeout: float) -> Iterator[dict[str, Any]]:
    """What the worker says, until it ends. Raises TimeoutError after `timeout` s of silence.

    A thread listens, since Windows and some pipes know no other way to wait for a line with a limit of time.
    """
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def listen() -> None:
        with suppress(ValueError):  # closed under us
            for line in worker.stdout or ():
                lines.put(line)
        lines.put(None)

    threading.Thread(target=listen, daemon=True).start()
    patience = max(timeout, STARTING)
    while True:
        try:
            line = lines.get(timeout=patience)
        except queue.Empty as error:
            raise TimeoutError from error
        if line is None:
            return
        patience = timeout
        yield json.loads(line)


def _hear(state: _State, event: dict[str, Any], progress: Progress | None) -> None:
    """Take in one event."""
    kind = event.pop("event")
    run = state.run
    if kind == "trial":
        trial = Trial(**event)
        run.trials.append(trial)
        state.took.setdefault(trial.size, []).append(trial.seconds)
        del state.steps[0]
    elif kind == "set":
        for name, value in event.items():
            setattr(run, name, value)
    elif kind == "note" and len(run.notes) < MOST_NOTES:
        run.notes.append(event["text"])
    elif kind == "problem":
        run.problem = event["text"]
    elif kind == "error":
        state.error = NfsleuthError(event["message"], Exit(event["exit_code"]))
    elif kind == "made":
        state.made.append(event["path"])
    elif kind == "removed":
        state.made.remove(event["path"])
    elif kind == "at" and progress is not None:
        left = time_left(state.steps, state.took) if event["what"] == "reading" else None
        progress(event["what"], event["size"], event["done"], left)


def _end(worker: subprocess.Popen[str], state: _State) -> None:
    """Let the worker clean up; one that does not answer is left behind, and so are its files."""
    if worker.poll() is None:
        worker.terminate()
        with suppress(subprocess.TimeoutExpired):
            worker.wait(FAREWELL)
    if worker.poll() is None:
        worker.kill()  # comes through once the file system answers
        with suppress(subprocess.TimeoutExpired):
            worker.wait(0.2)
    if worker.poll() is None:
        state.run.notes.append(f"process {worker.pid} hangs in the file system and was left behind")
    elif worker.returncode > 0 and state.error is None and state.run.problem is None:
        state.run.problem = f"the reading process ended with code {worker.returncode}"


def _remark(run: Timings, stepped: float) -> None:
    """What the reader of the figures must know."""
    if abs(stepped) > STEP:
        run.notes.append(f"the wall clock was set by {stepped:+.1f} s meanwhile; times are of the monotonic clock")
    warm = [t for t in run.trials if t.resident is not None and t.resident > WARM and not t.warmup]
    if warm and run.client_cache != "kept":
        run.notes.append(f"{len(warm)} readings began with part of the file still in the client's cache")
    fast = [r.size for r in run.results() if run.loop_rate and r.rate.median > NEAR_CEILING * run.loop_rate]
    if fast:
        run.notes.append(
            f"files of {', '.join(map(human, fast))} came at more than half of what the reading loop itself can do: "
            "the loop, or memory, was the limit as much as the file system"
        )


def _versions() -> dict[str, str]:
    """What the figures depend on."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    try:
        own = version("nfsleuth")
    except PackageNotFoundError:
        own = "unknown"
    return {"nfsleuth": own, "python": platform.python_version(), "kernel": f"{platform.system()} {platform.release()}"}

"""A command comes in; how long it took, what it cost and what it printed comes out. Linux only."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """Of a process with all its children.

    wall, cpu: s; cpu is user and system time. rss: bytes, the most that any one of the processes had, and no less than
    this process has, of which each begins as a copy: so it should import nothing large. code: exit
    code, negative for a signal.
    """

    wall: float
    cpu: float
    rss: int
    code: int


def run(
    command: Sequence[str], cores: int, output: Path | None = None, environment: Mapping[str, str] | None = None
) -> Cost:
    """Run a command on the first `cores` cores that this process may use, in a folder of its own.

    output: where what it prints goes; nowhere if None. environment: what is set besides this process's own.
    """
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    with tempfile.TemporaryDirectory() as folder, (output or Path(os.devnull)).open("wb") as out:
        begin = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            preexec_fn=lambda: os.sched_setaffinity(0, allowed),  # noqa: PLW1509 - this process has one thread
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, process.returncode)

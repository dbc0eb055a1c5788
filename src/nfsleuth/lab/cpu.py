"""CPU time of programs: sessions come in (setsid(2); their leaders' process ids), seconds go out.

What else a machine does makes a guest slower, but adds little to what it costs.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

PROC = Path("/proc")
SESSION, USER, SYSTEM = 3, 11, 12  # fields of proc_pid_stat(5) behind the name, from 0
TICKS = os.sysconf("SC_CLK_TCK")


def seconds(sessions: Collection[int]) -> float:
    """User and system time of all processes that run in `sessions`, hundredths of a second fine."""
    ticks = 0
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue  # has ended
            if int(fields[SESSION]) in sessions:
                ticks += int(fields[USER]) + int(fields[SYSTEM])
    return ticks / TICKS

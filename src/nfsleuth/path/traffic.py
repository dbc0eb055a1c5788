"""How much passes the guest's network: a process comes in, a counter of bytes goes out.

It is what tells the cost of recording: bytes per second without and with it. A TAP has counters of its own; for other
backends all interfaces of the process's network namespace are counted, and others may use them too.
"""

from __future__ import annotations

import re
from pathlib import Path

from nfsleuth.path.process import Process

TAP = re.compile(r"^iff:\s*(\S+)$", re.MULTILINE)  # fdinfo of a TUN/TAP descriptor, drivers/net/tun.c
LINE = re.compile(r"^\s*([^:|\s]+):\s*(\d+)(?:\s+\d+){7}\s+(\d+)", re.MULTILINE)  # proc_pid_net(5), dev


def source(process: Process) -> tuple[str, ...]:
    """The interfaces to count."""
    taps = set()
    for info in _files(process.folder / "fdinfo"):
        try:
            taps |= set(TAP.findall(info.read_text(errors="replace")))
        except OSError:
            continue
    there = _counters(process)
    mine = tuple(sorted(taps & there.keys()))
    return mine or tuple(sorted(there))


def passed(process: Process, interfaces: tuple[str, ...]) -> int:
    """Bytes that passed `interfaces` in both directions since they exist."""
    there = _counters(process)
    return sum(there.get(name, 0) for name in interfaces)


def _counters(process: Process) -> dict[str, int]:
    try:
        text = (process.folder / "net" / "dev").read_text(errors="replace")
    except OSError:
        return {}
    return {name: int(received) + int(sent) for name, received, sent in LINE.findall(text)}


def _files(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []

"""The programs that are compared: how each is called, and how to read from its output what it counted."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Counts = dict[str, int]
NFSLEUTH = [sys.executable, "-m", "nfsleuth"]


@dataclass(frozen=True)
class Tool:
    """name: as shown. command: for a file. program: what must be installed. cores: for which rows it is run.

    slow: once is enough. counts: what its output says; keys are fields of Truth.
    """

    name: str
    command: Callable[[Path], list[str]]
    program: str
    cores: tuple[int, ...] = (1,)
    slow: bool = False
    counts: Callable[[Path], Counts] | None = None

    @property
    def installed(self) -> bool:
        """Whether it can be run here."""
        return shutil.which(self.program) is not None


def _identified(output: Path) -> Counts:
    found = json.loads(output.read_bytes())
    clients = found["clients"]
    return {
        "frames": found["captures"][0]["frames"],
        "bytes": found["captures"][0]["bytes"],
        "clients": len(clients),
        "connections": found["connections"],
        "calls": found["calls"],
        "reads": sum(c["reads"]["calls"] for c in clients),
        "read_bytes": sum(c["reads"]["bytes"] for c in clients),
    }


def _counted_bytes(output: Path) -> Counts:
    return {"bytes": int(output.read_text())}


def _traced(output: Path) -> Counts:
    """Of `nfstrace -T`: a line per procedure, and an indented one per operation of a COMPOUND's reply."""
    calls = reads = 0
    procedure = re.compile(rb"\S+ --> \S+ \[TCP\]\w")
    with output.open("rb") as lines:
        for line in lines:
            calls += procedure.match(line) is not None
            reads += b" READ(25) [ status: OK" in line or b" READ(25) [ eof" in line
    return {"calls": calls, "reads": reads} if reads else {"calls": calls}


def _dissected(output: Path) -> Counts:
    rows = re.findall(r"^\w+\(\d+\)\s+\d+\s+(\d+)\s", output.read_text(), re.MULTILINE)
    return {"calls": sum(map(int, rows))}


OURS = Tool(
    "nfsleuth identify",
    lambda f: [*NFSLEUTH, "identify", str(f), "--json", "--quiet"],
    sys.executable,
    cores=(1, 2),
    counts=_identified,
)
PEERS = (
    Tool(
        "cat FILE | wc -c", lambda f: ["sh", "-c", f"cat {shlex.quote(str(f))} | wc -c"], "cat", counts=_counted_bytes
    ),
    Tool("tcpdump -w /dev/null", lambda f: ["tcpdump", "-r", str(f), "-w", "/dev/null"], "tcpdump"),
    Tool(
        "nfstrace -m stat -T",
        lambda f: ["nfstrace", "-m", "stat", "-I", str(f), "-T"],
        "nfstrace",
        cores=(1, 2),
        counts=_traced,
    ),
    Tool("tcpdump -nn", lambda f: ["tcpdump", "-nn", "-r", str(f)], "tcpdump", slow=True),
    Tool(
        "tshark -z rpc,programs",
        lambda f: ["tshark", "-r", str(f), "-d", "tcp.port==2049,rpc", "-q", "-z", "rpc,programs"],
        "tshark",
        slow=True,
        counts=_dissected,
    ),
)

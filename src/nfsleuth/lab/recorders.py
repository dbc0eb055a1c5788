"""tcpdump at a point of the lab's network: a place comes in, a capture without gaps goes out, or the count of them."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.lab.network import Namespace

BUFFER = 65536  # KiB in the kernel: room for a second of 500 Mbit/s
STARTS = 10  # seconds until it listens


@dataclass(frozen=True)
class Recorder:
    """A running tcpdump."""

    process: subprocess.Popen[bytes]
    log: Path
    file: Path

    def stop(self) -> int:
        """End the capture; returns how many frames the kernel dropped."""
        time.sleep(0.5)  # the last frames may still wait in the ring
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return self.dropped()

    def dropped(self) -> int:
        """How many frames tcpdump says that the kernel dropped."""
        found = re.search(r"^(\d+) packets? dropped by kernel", self.log.read_text(errors="replace"), re.MULTILINE)
        if not found:
            raise NfsleuthError(
                f"tcpdump did not end as it should, see {self.log.name} among the logs", Exit.LAB_FAILED
            )
        return int(found[1])


def record(here: Namespace, interface: str, file: Path, snaplen: int, log: Path) -> Recorder:
    """Capture every frame of `interface` into the pcap `file`, at nanosecond resolution."""
    log.parent.mkdir(parents=True, exist_ok=True)
    words = ["-i", interface, "-n", "-s", str(snaplen), "-B", str(BUFFER), "-Z", "root"]
    command = here.command("tcpdump", *words, "--time-stamp-precision=nano", "-w", file)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    deadline = time.monotonic() + STARTS
    while "listening on" not in log.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise NfsleuthError(
                f"tcpdump does not start on {interface} of {here.name}: {log.read_text(errors='replace')[-200:]}",
                Exit.LAB_FAILED,
            )
        time.sleep(0.05)
    return Recorder(process, log, file)

"""Talking to what runs in a lab: a command comes in, its marks come out, decisions of the lab go in.

Guests, native clients and guest servers speak alike (see agent.sh): on standard output lines that begin with @lab and
a mark, on standard input one word per decision. All else that they write goes into their log.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from nfsleuth.errors import Exit, NfsleuthError

MARK = "@lab "
LONGEST = 4096  # characters of a line that are looked at
STUCK = "the mount hangs, or the NIC loses frames"
# What is waited for: mark -> what the agent does before it gives it, and why that may take too long.
AWAITED = {
    "booted": ("boot", "this machine is too busy, or the kernel stopped"),
    "serving": ("serve", "this machine is too busy, or the kernel stopped"),
    "ready": ("mount", "the server does not answer, or the NIC loses frames"),
    "recording": ("get to the reads that are recorded", STUCK),
    "enough": ("finish the reads that are recorded", STUCK),
    "worked": ("finish its work", STUCK),
    "ended": ("unmount", STUCK),
}
Heard = Callable[[list[str]], None]


class Agent:
    """A running guest, client or server."""

    def __init__(self, name: str, command: Sequence[str], log: Path, pass_fds: Sequence[int] = ()) -> None:
        self.name = name
        self.log = log
        self.began = time.monotonic()
        self.helpers: tuple[int, ...] = ()  # process ids of programs that work for it
        self._lines: queue.Queue[list[str] | None] = queue.Queue()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, start_new_session=True,
                pass_fds=pass_fds,
            )  # fmt: skip
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def process(self) -> int:
        """Its process id: commands in namespaces, and those as nobody, become what they start (execve(2))."""
        return self._process.pid

    def _listen(self) -> None:
        assert self._process.stdout
        with self.log.open("ab") as output:
            while line := self._process.stdout.readline(LONGEST):
                output.write(line)
                output.flush()
                # A console may put its own words in front of ours.
                _, found, told = line.decode(errors="replace").rpartition(MARK)
                if found:
                    self._lines.put(told.split())
        self._lines.put(None)

    def expect(self, mark: str, seconds: float, heard: Heard = lambda _: None) -> list[str]:
        """Wait for `mark` and return the words behind it; `heard` gets the lines before it.

        NfsleuthError if the agent fails, ends, or says nothing of the kind within `seconds`.
        """
        does, cause = AWAITED.get(mark, (f"say {mark!r}", ""))
        deadline = time.monotonic() + seconds
        while True:
            try:
                words = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                why = f"did not {does} within {seconds:.0f} s"
                raise self.failure(f"{why}; perhaps {cause}" if cause else why) from None
            if words is None:
                raise self.failure(f"ended before it could {does}")
            if words[:1] == [mark]:
                return words[1:]
            if words[:1] == ["failed"]:
                raise self.failure(" ".join(words[1:]))
            heard(words)

    def tell(self, word: str) -> None:
        """Send a decision; one that has gone is noticed at the next `expect`."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{word}\n".encode())
            self._process.stdin.flush()

    def failure(self, why: str) -> NfsleuthError:
        """An error that names it, says why and what it last wrote."""
        written = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        last = next((line.strip() for line in reversed(written) if line.strip() and MARK not in line), "")
        said = f" (last words: {last[:160]})" if last else ""
        return NfsleuthError(f"{self.name}: {why}{said}; see {self.log.name} among the logs", Exit.LAB_FAILED)

    def ended(self, seconds: float) -> bool:
        """Wait until it has ended by itself; whether it has."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """Pull the plug."""
        end(self._process, signal.SIGKILL)


def end(process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGTERM) -> None:
    """End a process group that we started: with `number`, and if that takes too long by force."""
    for attempt in (number, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, attempt)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            continue
        return

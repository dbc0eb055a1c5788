"""What all methods share: what is wished for, waiting while events come in, traffic before, during and after."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from nfsleuth.path import traffic
from nfsleuth.path.process import Process

MOST_EVENTS = 4_000_000  # then the recording ends; `store` and `calls` take twice as many
Heard = Callable[[str], None]


@dataclass(frozen=True)
class Wishes:
    """What the person at the keyboard wants."""

    seconds: float
    baseline: float = 1.0  # seconds before and after, for the overhead; 0 for none
    stepped: bool = False  # watch functions that the kernel must single-step as well
    most_events: int = MOST_EVENTS
    over: Callable[[], bool] = lambda: False  # asked again and again; true ends the recording before its time


def until_over(process: Process, wishes: Wishes, pause: float, look: Callable[[], int]) -> str:
    """Look every `pause` seconds until the time that is wished for is up; what ended it before, or nothing.

    look: takes in what is new and returns how many events there are in all.
    """
    deadline = time.monotonic() + wishes.seconds
    try:
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            count = look()
            if wishes.over():
                break
            if not process.alive():
                return "the guest ended while it was recorded"
            if count > wishes.most_events:
                return f"ended after {count:,} events, the most that one recording holds"
    except KeyboardInterrupt:
        return "ended by hand"
    return ""


class Meter:
    """Bytes per second through the guest's network."""

    def __init__(self, process: Process, baseline: float) -> None:
        self._process = process
        self._interfaces = traffic.source(process) if baseline else ()
        self.source = ", ".join(self._interfaces)

    def bytes(self) -> int:
        """What has passed up to now."""
        return traffic.passed(self._process, self._interfaces) if self._interfaces else 0

    def since(self, start: int, seconds: float) -> float:
        """Bytes per second since `bytes` gave `start`."""
        return max(0.0, (self.bytes() - start) / seconds) if seconds > 0 else 0.0

    def rate(self, seconds: float) -> float:
        """Bytes per second over the next `seconds`."""
        if not seconds or not self._process.alive():
            return 0.0
        start = self.bytes()
        time.sleep(seconds)
        return self.since(start, seconds)

"""What a recording holds. All other modules of `path` take it apart or put it together.

Times are nanoseconds of CLOCK_MONOTONIC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

import numpy as np
import numpy.typing as npt


class Method(StrEnum):
    """How it was measured; see docs/path.md for what each can be trusted with."""

    UPROBES = "uprobes"
    SAMPLING = "sampling"
    INSTRUMENTED = "instrumented"


class Role(StrEnum):
    """What a function is on the way of a frame."""

    NET = "net"  # QEMU's network layer, between the NIC model and the backend
    NIC = "nic"  # receive handler of a NIC model: the frame is with the guest
    BACKEND = "backend"  # receive handler of a backend: the frame is with user, tap, stream, ...
    HUB = "hub"  # receive handler of a hub port: the frame is handed on
    SLIRP = "slirp"  # inside libslirp
    SYSCALL = "syscall"
    OTHER = "other"  # in samples: all else


class Direction(IntEnum):
    """Which way a frame goes."""

    NEITHER = 0
    TO_NETWORK = 1
    TO_GUEST = 2


class Kind(IntEnum):
    """Of an event."""

    ENTER = 0
    LEAVE = 1


@dataclass(frozen=True)
class Function:
    """A function that was watched."""

    name: str
    object: str  # file that it is in, or "kernel"
    address: int  # in the file
    role: Role
    stepped: bool = False  # its first instruction is single-stepped by a uprobe: 10 us more
    source: str = ""  # where its name is from: "exported", "debug file", "handler table", ...


@dataclass(frozen=True)
class Cost:
    """What watching one call costs, in ns, on this machine when the recording was made."""

    pair: float  # for enter and leave together
    inside: float  # the part that lies between the two times, and so looks like the function's own

    @property
    def outside(self) -> float:
        """The part that looks like the caller's own."""
        return max(0.0, self.pair - self.inside)


EVENT = np.dtype(
    [
        ("time", "<i8"),  # ns
        ("caller", "<u4"),  # number in Recording.callers; NO_CALLER where it is not known
        ("function", "<u2"),  # number in Recording.functions
        ("thread", "u1"),  # number in Recording.threads
        ("kind", "u1"),  # Kind
    ]
)
NO_CALLER = 0xFFFFFFFF
Events = npt.NDArray[np.void]


@dataclass(frozen=True)
class Thread:
    """A thread of the process."""

    tid: int
    name: str


@dataclass(frozen=True)
class Guest:
    """The process that was recorded."""

    pid: int
    qemu: str  # version, or "unknown"
    libslirp: str  # version or build id; "" if it is not loaded
    nics: tuple[str, ...]  # NIC models that it has
    backends: tuple[str, ...]


@dataclass(frozen=True)
class Overhead:
    """Bytes per second through the guest's network without and with recording; 0 where nothing passed."""

    before: float
    during: float
    after: float
    source: str  # what was counted


@dataclass(frozen=True)
class Recording:
    """One recording of one guest."""

    method: Method
    created: str  # RFC 3339
    seconds: float
    kernel: str
    guest: Guest
    threads: tuple[Thread, ...]
    functions: tuple[Function, ...]
    callers: tuple[str, ...]  # functions from which watched ones were called, by name or address
    costs: dict[str, Cost]  # by class of function, see `cost_class`
    counts: tuple[int, ...] = ()  # calls per function as the kernel or recorder counted them
    lost: int = 0  # events that were not written
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()  # functions that were not watched, for their first instruction
    samples: tuple[int, ...] = ()  # of `sampling`: per function
    overhead: Overhead | None = None
    events: Events = field(default_factory=lambda: np.zeros(0, EVENT))


def cost_class(function: Function, method: Method) -> str:
    """Which of Recording.costs holds for a function."""
    if method is not Method.UPROBES:
        return method.value
    if function.role is Role.SYSCALL:
        return "syscall"
    return "stepped" if function.stepped else "emulated"

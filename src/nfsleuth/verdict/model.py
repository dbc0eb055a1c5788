"""The conclusion: what each client is, how sure, why, and which clients share a physical host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from nfsleuth.clients.facts import Facts
from nfsleuth.evidence.model import Evidence, State
from nfsleuth.hosts.model import Host, Pair, Pairs

__all__ = ["Capture", "Host", "Pair", "Pairs", "Platform", "Report", "Verdict", "Weighed"]

if TYPE_CHECKING:
    from nfsleuth.bandwidth.profile import Profile


class Weighed(Struct, frozen=True):
    """An Evidence row with what it came to.

    weight: nats by which it alone moves the odds of the client's most likely state (of `Verdict.leading`), after caps;
    negative if it speaks against it. 0 if it was set aside.
    """

    evidence: Evidence
    weight: float


class Platform(Struct, frozen=True):
    """The most likely hypervisor or cloud."""

    name: str
    probability: float


class Verdict(Struct, frozen=True):
    """What one client is.

    state: the answer, `UNKNOWN` and `CONFLICT` included. leading: the most likely hypothesis, whatever the answer.
    states: probability per hypothesis, they sum to 1. virtual: probability that it is a guest. because: a few words.
    flips: what would change the verdict, in words: ("without callback_address: unknown (0.55)", ...).
    host: id of the Host that it belongs to, or None.
    """

    id: str
    facts: Facts
    state: State
    leading: State
    states: dict[State, float]
    virtual: float
    platform: Platform | None
    because: str
    weighed: tuple[Weighed, ...]
    flips: tuple[str, ...] = ()
    host: str | None = None

    @property
    def sure(self) -> float:
        """Probability of the leading state."""
        return self.states[self.leading]


class Capture(Struct, frozen=True):
    """What was read, and what was odd about it."""

    path: str
    format: str  # "pcap", "pcapng", with " (zst)" if compressed
    frames: int
    bytes: int  # of the file, as stored
    first: int | None  # ns since 1970, None where there are no times
    last: int | None
    oddities: dict[str, int] = field(default_factory=dict)
    oddity_frames: dict[str, int] = field(default_factory=dict)  # frame where each was first seen


class Report(Struct, frozen=True):
    """Everything that `identify` found. `nfsleuth.report` renders it."""

    captures: tuple[Capture, ...]
    clients: tuple[Verdict, ...]
    hosts: tuple[Host, ...]
    method: str = "evidence"  # or "paper"
    calls: int = 0  # RPC calls decoded, all programs
    connections: int = 0
    profile: Profile | None = None  # that read speeds were compared with
    link: str = ""  # of the profile
    pairs: Pairs = field(default_factory=Pairs)  # that some sign of one host, or of two, is about; the surest first
    notes: tuple[str, ...] = ()  # on imported tables: what was passed over, in words

    @property
    def pairs_left(self) -> int:
        """Further pairs, not listed."""
        return self.pairs.left

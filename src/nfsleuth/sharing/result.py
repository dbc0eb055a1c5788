"""A tally and the names of what it counted come in; out goes what is told to people: per host, per file, in all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from nfsleuth.sharing.curve import Curve, Together
from nfsleuth.sharing.tables import FINE, TIMES, class_bounds
from nfsleuth.sharing.tally import Tally
from nfsleuth.verdict.model import Capture

QUANTILES = (0.1, 0.5, 0.9)
FEW = 100  # blocks of a file in the sample, below which its estimates are rough


@dataclass(frozen=True, slots=True)
class Named:
    """A host as the verdicts know it: clients that run on one machine, or one client alone.

    id: of the group, or of the client. clients: their ids. grouped: whether it is a group, `probability` how likely.
    """

    id: str
    clients: tuple[str, ...]
    grouped: bool = False
    probability: float = 1.0


@dataclass(frozen=True)
class HostSharing:
    """What one host was sent. Bytes; those that are float are estimates if the sample does not hold every block.

    distinct: each byte once for each time that it was new: what is left with one transfer per host.
    saved: sent - distinct. own, others: of this, what the guest itself had been sent before, and what only others had.
    changed: of `distinct`, bytes that had been sent before their file changed. sharers: [n] = distinct bytes that
    exactly n + 1 guests read, the last one: that many or more. waits: ns from the first guest's read of a byte to the
    second's: its quantiles `QUANTILES`, None where no two guests read the same.
    """

    host: Named
    reads: int
    sent: int
    distinct: float
    own: float
    others: float
    changed: float
    sharers: tuple[float, ...]
    waits: tuple[int, ...] | None
    curve: Curve

    @property
    def saved(self) -> float:
        """Bytes that one transfer per host saves."""
        return self.sent - self.distinct

    @property
    def shared(self) -> float:
        """Distinct bytes that at least two guests read."""
        return sum(self.sharers[1:])


@dataclass(frozen=True, slots=True)
class FileSharing:
    """What one host was sent of one file; as in HostSharing.

    handle: hash of the file handle. fsid: of the file system, as the CALL table has it, None unknown. name: that under
    which it was found last, None unknown. rough: too few of its blocks are in the sample to rely on the estimates.
    """

    host: str
    server: str
    handle: int
    fsid: int | None
    name: str | None
    reads: int
    sent: int
    distinct: float
    shared: float
    changed: float
    rough: bool

    @property
    def saved(self) -> float:
        """Bytes that one transfer per host saves."""
        return self.sent - self.distinct


@dataclass(frozen=True)
class Sharing:
    """Everything that is known of what hosts were sent more than once. Hosts and files: those that save most first.

    rate: share of the blocks in the sample, 1 for all. counts: see `calls.COUNTS`. clients: those that called NFS.
    encrypted: connections under TLS.
    hidden_changes: times that a file that is read changed without a call in the capture. unaligned: reads that begin
    inside a 64th of a block. left_out: reads that found no room or could not be, and their bytes.
    """

    captures: tuple[Capture, ...]
    block: int
    rate: float
    hosts: tuple[HostSharing, ...]
    files: tuple[FileSharing, ...]
    counts: Mapping[str, int]
    clients: int = 0
    encrypted: int = 0
    hidden_changes: int = 0
    unaligned: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Whether every block was counted."""
        return self.rate == 1

    @property
    def sent(self) -> int:
        """Bytes that were sent to all hosts."""
        return sum(h.sent for h in self.hosts)

    @cached_property
    def curve(self) -> Together:
        """A cache of the same size on each host."""
        return Together(self.block, self.rate, tuple(h.curve for h in self.hosts))


def hosts_of(tally: Tally, named: Sequence[Named]) -> tuple[HostSharing, ...]:
    """What each host was sent that was sent anything. named: by number."""
    found = [_host(tally, number, named[number]) for number, row in enumerate(tally.hosts) if row["reads"]]
    return tuple(sorted(found, key=lambda h: (-h.saved, -h.sent, h.host.id)))


def _host(tally: Tally, number: int, named: Named) -> HostSharing:
    row = tally.hosts[number]
    curve = Curve(
        tally.block, tally.rate, int(row["sent"]), float(row["taken"]), tally.distances(number).copy(),
        tally.groups(number).copy(), tally.newest(number).copy(),
    )  # fmt: skip
    sent = int(row["sent"])
    saved = curve.all.saved
    own, others = float(row["own"]), float(row["others"])
    part = own / (own + others) if own + others else 0.0
    reach = tally.reach(number)
    exactly = reach - np.append(reach[1:], 0)
    used = int(np.flatnonzero(reach)[-1]) + 1 if reach.any() else 0
    return HostSharing(
        host=named,
        reads=int(row["reads"]),
        sent=sent,
        distinct=sent - saved,
        own=saved * part,
        others=saved - saved * part,
        changed=float(row["changed"]),
        sharers=tuple(exactly[:used].tolist()),
        waits=_quantiles(tally.waits(number)),
        curve=curve,
    )


def _quantiles(waits: np.ndarray) -> tuple[int, ...] | None:
    """Times at QUANTILES of the bytes; each is the middle of its class, which is 3 % wide."""
    total = waits.sum()
    if not total:
        return None
    sums = np.cumsum(waits)
    return tuple(_middle(int(np.searchsorted(sums, q * total))) for q in QUANTILES)


def _middle(number: int) -> int:
    """The middle of a class of times."""
    begins, widths = class_bounds(FINE, TIMES)
    number = min(number, TIMES - 1)
    return int(begins[number] + widths[number] // 2)


def files_of(
    tally: Tally,
    named: Sequence[Named],
    servers: Sequence[str],
    files: Sequence[tuple[int, int]],
    systems: Mapping[int, int],
    names: Mapping[int, str],
) -> tuple[FileSharing, ...]:
    """What each host was sent of each file. servers: addresses; files: (server, handle); all by number."""
    found = []
    for row in tally.uses:
        number, sent = int(row["file"]), int(row["sent"])
        server, handle = files[number]
        found.append(
            FileSharing(
                host=named[int(row["host"])].id,
                server=servers[server],
                handle=handle,
                fsid=systems.get(number),
                name=names.get(number),
                reads=int(row["reads"]),
                sent=sent,
                distinct=min(float(row["distinct"]), float(sent)),
                shared=float(row["shared"]),
                changed=float(row["changed"]),
                rough=not math.isclose(tally.rate, 1) and int(row["sampled"]) < FEW,
            )
        )
    return tuple(sorted(found, key=lambda f: (-f.saved, -f.sent, f.host, f.server, f.handle)))

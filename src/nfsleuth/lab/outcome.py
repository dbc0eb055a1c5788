"""What a run observes, as values: the run fills them in, `labels` and `results` read them.

`Ran` and `Timing` come from the clients themselves, `Flow` from a capture; all go into and out of JSON unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How one client's run went. `inside`: RPC XIDs recorded on its own side of a NAT; empty if nothing recorded it."""

    client: str
    kernel: str = ""  # `uname -r` of the guest, or "libnfs 4.0.0"
    boots: int = 1
    failed: str = ""  # why it did not finish, in words
    inside: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One file, read once, measured by the client: `octets` in `seconds`, in round `round` of boot `boot` (from 1).

    cpu: CPU seconds that its QEMU and what works for it (passt) took meanwhile; 0 where that was not measured.
    """

    client: str
    octets: int
    seconds: float
    round: int = 1
    boot: int = 1
    cpu: float = 0.0

    @property
    def rate(self) -> float:
        """MB/s, of 10⁶ bytes; 0 for no time at all."""
        return self.octets / self.seconds / 1e6 if self.seconds > 0 else 0.0

    def as_json(self) -> dict[str, Any]:
        """Its row in timings.json."""
        return asdict(self)


def timings_from_json(rows: Iterable[Mapping[str, Any]]) -> tuple[Timing, ...]:
    """The rows of timings.json."""
    return tuple(
        Timing(
            client=str(row["client"]), octets=int(row["octets"]), seconds=float(row["seconds"]),
            round=int(row["round"]), boot=int(row.get("boot", 1)), cpu=float(row.get("cpu", 0)),
        )
        for row in rows
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A recording inside a client's QEMU, and what the guest read meanwhile: `octets` in `reads` times, in `seconds`.

    file: its name in the run's folder `path`. taken: frames that the driver of the guest's NIC counted meanwhile; 0
    where it was not asked. reads is 0 if they or the recording ended too early: its counts are not those of reads.
    """

    client: str
    boot: int
    method: str
    file: str
    reads: int
    octets: int
    seconds: float
    taken: int = 0

    @property
    def rate(self) -> float:
        """MB/s, of 10⁶ bytes; 0 for no time at all."""
        return self.octets / self.seconds / 1e6 if self.seconds > 0 else 0.0


def recorded_from_json(rows: Iterable[Mapping[str, Any]]) -> tuple[Recorded, ...]:
    """The rows of path.json."""
    return tuple(
        Recorded(
            client=str(row["client"]), boot=int(row["boot"]), method=str(row["method"]), file=str(row["file"]),
            reads=int(row["reads"]), octets=int(row["octets"]), seconds=float(row["seconds"]),
            taken=int(row.get("taken", 0)),
        )
        for row in rows
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Flow:
    """A connection to the server's NFS port as a capture shows it, with the XIDs of its calls."""

    address: str
    port: int
    xids: frozenset[int]


def flows(calls: Iterable[pl.DataFrame]) -> tuple[Flow, ...]:
    """The connections that NFS calls came over, in order of address and port.

    calls: frames with `client`, `client_port`, `program`, `from_server` and `xid`, as `nfsleuth.api.calls` yields them.
    """
    import polars as pl

    xids: dict[tuple[str, int], set[int]] = {}
    for frame in calls:
        asked = frame.filter((pl.col("program") == "nfs") & ~pl.col("from_server") & pl.col("client").is_not_null())
        for address, port, xid in asked.select("client", "client_port", "xid").iter_rows():
            xids.setdefault((address, port), set()).add(xid)
    return tuple(Flow(address, port, frozenset(found)) for (address, port), found in sorted(xids.items()))

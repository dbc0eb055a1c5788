"""Calls as lines for a terminal: a frame of `report.tables.calls` comes in, text of a fixed width goes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nfsleuth.report import words
from nfsleuth.report.escape import padded, shortened, visible
from nfsleuth.report.tables import NOT_DECODED

if TYPE_CHECKING:
    import polars as pl

TIME, OPERATION, STATUS, BYTES, LATENCY = 10, 12, 10, 6, 7  # columns of the parts of a line
WHAT = 14  # columns that the arguments keep beside a long address
LEAST = 80
_SHOWN = ("client", "operation", "name", "handle", "offset", "count", "status_name", "hidden", "bytes", "latency")


class CallLines:
    """Renders frames of one trace, one after the other. Times are in seconds since the first call that is shown."""

    def __init__(self, width: int = 80) -> None:
        # What the client and the arguments share; the other five parts and the six gaps are fixed.
        self._room = max(width, LEAST) - (TIME + OPERATION + STATUS + BYTES + LATENCY + 6)
        self._client = 0  # columns of the widest address in the first frame
        self._start: int | None = None  # µs since 1970

    def render(self, frame: pl.DataFrame) -> str:
        """A line per call; before the first one, the headings."""
        lines = []
        # Times as whole microseconds: that is what the line shows.
        times = frame["time"].dt.timestamp("us").to_list()
        if self._start is None:
            self._start = min((t for t in times if t is not None), default=0)
            widest = max(len(client or "?") for client in [*frame["client"], "Client"])
            self._client = min(widest, self._room - WHAT)
            lines.append(self._line("Seconds", "Client", "Operation", "What", "Status", "Bytes", "Latency"))
        lines += [self._call(t, row) for t, row in zip(times, frame.select(_SHOWN).iter_rows(named=True), strict=True)]
        return "".join(f"{line}\n" for line in lines)

    def _call(self, time: int | None, row: dict[str, Any]) -> str:
        what = []
        if row["name"] is not None:
            what.append(visible(row["name"]))
        if row["count"] is not None:
            what.append(f"{row['count']} @ {row['offset']}")
        if not what and row["handle"]:
            what.append(f"fh {row['handle'][:8]}")
        return self._line(
            "" if time is None else f"{(time - (self._start or 0)) / 1e6:.6f}"[:TIME],
            row["client"] or "?",
            row["operation"],
            " ".join(what),
            _status(row["status_name"], hidden=row["hidden"]),
            words.size(row["bytes"]) if row["bytes"] else "",
            "" if row["latency"] is None else words.duration(row["latency"]),
        )

    def _line(self, time: str, client: str, operation: str, what: str, *result: str) -> str:
        client = shortened(client, self._room - WHAT, keep_end=True)
        client += " " * (self._client - len(client))
        status, moved, latency = result
        cells = (
            padded(time, TIME, right=True),
            client,
            padded(operation, OPERATION),
            padded(what, self._room - len(client)),
            padded(status, STATUS),
            padded(moved, BYTES, right=True),
            padded(latency, LATENCY, right=True),
        )
        return " ".join(cells).rstrip()


def _status(name: str, *, hidden: bool) -> str:
    """A status without what all of them begin with: ``OK``, ``NOENT``; `hidden`: Kerberos encrypts it."""
    if hidden and name == NOT_DECODED:
        return "encrypted"
    for prefix in ("NFS4ERR_", "NFS3ERR_", "NFS4_", "NFS3_"):
        name = name.removeprefix(prefix)
    return name

"""What the tests of the tracker share: feed frames, collect rows."""

from __future__ import annotations

import numba
import numpy as np

from nfsleuth.trace.state import Budget
from nfsleuth.trace.tables import CALL, CLOCK, CONNECTION, IDENTITY, INTERVAL, NEIGHBOUR, Identity
from nfsleuth.trace.tracker import Tracker
from packets import chunk

INTERPRETED = bool(numba.config.DISABLE_JIT)
CHECKED = bool(numba.config.BOUNDSCHECK)
# The only budget of the tests beside the default one: kernels are compiled anew for each.
SMALL = Budget(
    connections=16, pending=16, heads=4, held=16, early=4, fragments=4, neighbours=8, seen=64,
    messages=64, identities=64, calls=64, text=1 << 12, names=4,
)  # fmt: skip
# Interpreted code does not care for sizes, but empty tables take it time.
ORDINARY = Budget(pending=1 << 10, connections=1 << 8, neighbours=1 << 6) if INTERPRETED else None


class Seen:
    """All rows of a trace."""

    def __init__(self, rows, oddities):
        self.connections = np.concatenate([np.empty(0, CONNECTION), *(r.connections for r in rows)])
        self.neighbours = np.concatenate([np.empty(0, NEIGHBOUR), *(r.neighbours for r in rows)])
        self.intervals = np.concatenate([np.empty(0, INTERVAL), *(r.intervals for r in rows)])
        self.clocks = np.concatenate([np.empty(0, CLOCK), *(r.clocks for r in rows)])
        self.calls = np.concatenate([np.empty(0, CALL), *(r.calls for r in rows)])
        self.identities = np.concatenate([np.empty(0, IDENTITY), *(r.identities for r in rows)])
        self.texts = [text(r, i) for r in rows for i in r.identities]
        self.names = [r.text[c["name_at"] : c["name_at"] + c["name_length"]] for r in rows for c in r.calls]
        self.odd = {name: count for name, (count, _) in oddities.items()}

    def of_kind(self, kind: Identity):
        """(text, a, b) of each identity of a kind."""
        return [
            (text, int(row["a"]), int(row["b"]))
            for row, text in zip(self.identities, self.texts, strict=True)
            if row["kind"] == kind
        ]


def text(rows, identity) -> bytes:
    return rows.text[identity["at"] : identity["at"] + identity["length"]]


def track(frames, *, cuts=(), snaplen=1 << 18, budget=ORDINARY) -> Seen:
    """Frames through a tracker, in chunks that end before the frames with the numbers `cuts`."""
    tracker = Tracker(keep_calls=True, budget=budget)
    places = [0, *sorted(c for c in cuts if 0 < c < len(frames)), len(frames)]
    rows = []
    for begin, end in zip(places, places[1:], strict=False):
        part = chunk(frames[begin:end], snaplen=snaplen, first=begin + 1)
        rows += tracker.feed(part)
        part.buffer[:] = 0xEE  # a reader uses the buffer again
    rows += tracker.finish()
    return Seen(rows, tracker.oddities)

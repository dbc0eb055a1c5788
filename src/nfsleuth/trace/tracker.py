"""Chunks come in as they arrive, rows go out: the shell around the kernels.

    tracker = Tracker()
    for chunk in trace:
        rows = tracker.feed(chunk)
    rows = tracker.finish()

The tracker does no I/O and knows no clock: a file, a pipe and a live interface feed it alike, in chunks of any size.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

import numpy as np

from nfsleuth.capture.frames import FRAME, Chunk
from nfsleuth.compiled import build_all, kernel
from nfsleuth.trace import tables
from nfsleuth.trace.rows import Rows, joined
from nfsleuth.trace.state import LARGEST_FRAME, Budget, Control, allocate

# Tables whose rows are handed out, and the cells that count them, which start anew then.
HANDED_OUT = {
    "closed": Control.CONNECTIONS,
    "identities": Control.IDENTITIES,
    "calls": Control.CALLS,
    "intervals": Control.INTERVALS,
    "clocks": Control.CLOCKS,
    "text": Control.TEXT,
}
CELLS = np.array(list(HANDED_OUT.values()))
counts_of = itemgetter(*HANDED_OUT.values())
# As plain numbers: an array takes three times as long to find a cell that is named by an enum.
MESSAGES, ARENA = int(Control.MESSAGES), int(Control.ARENA)
BYTE = np.dtype(np.uint8)
ODDITIES = ("oddities", "oddity_frames")
ODDITIES_BY_NAME = [oddity.name.lower() for oddity in sorted(tables.Oddity)]
Watch = Callable[[np.void, np.ndarray], None]

advance = kernel("nfsleuth.trace.advance", "advance")
abandon_calls = kernel("nfsleuth.trace.advance", "abandon_calls")
emit_all = kernel("nfsleuth.trace.advance", "emit_all")
decode_messages = kernel("nfsleuth.trace.messages", "decode_messages")


class Tracker:
    """Follows the connections of one trace.

    keep_calls: hand out a CALL row per RPC call; without it they are only counted.
    budget: how much may be remembered; what is dropped for want of space is counted as an oddity.
    watch: called with the tables (`state.state_dtype`) and the chunk's buffer whenever messages were found, before they
    are decoded: for whoever wants to read their bytes. It must change nothing.
    """

    def __init__(self, *, keep_calls: bool = False, budget: Budget | None = None, watch: Watch | None = None) -> None:
        self._watch = watch
        state = self._state = allocate(budget or Budget(), keep_calls)
        self._control: np.ndarray = state["control"]
        # The tables that rows are taken from: a record takes a microsecond to find one of its fields.
        self._tables: dict[str, np.ndarray] = {name: state[name] for name in (*HANDED_OUT, "neighbours", *ODDITIES)}
        self._nothing = {name: joined([], table.dtype) for name, table in self._tables.items()}
        buffer, frames = np.zeros(1, np.uint8), np.zeros(0, FRAME)
        build_all(
            [
                (advance, (state, buffer, frames, 0, False)),
                (decode_messages, (state, buffer, 0)),
                (abandon_calls, (state, 0)),
                (emit_all, (state,)),
            ]
        )

    def feed(self, chunk: Chunk) -> list[Rows]:
        """Take in a chunk; returns the rows that this finished, often none, in tables of bounded size.

        chunk.buffer: uint8[n], contiguous. chunk.frames: FRAME[m], every frame inside the buffer (checked).
        Raises ValueError if a frame lies outside the buffer.
        """
        buffer, frames = _fit(chunk)
        return self._advance(buffer, frames, len(frames), ending=False)

    def finish(self) -> list[Rows]:
        """The trace has ended: everything that is still open. The tracker is of no use afterwards."""
        nothing = np.zeros(1, np.uint8)
        finished = self._advance(nothing, np.zeros(0, FRAME), int(self._control[Control.FREE]), ending=True)
        done = 0
        while done < len(self._state["pending_keys"]):
            done = abandon_calls(self._state, done)
            finished.append(self._take(neighbours=False))
        return [*finished, self.snapshot()]

    def _advance(self, buffer: np.ndarray, frames: np.ndarray, stop: int, *, ending: bool) -> list[Rows]:
        """Frames or waiting segments to messages, messages to rows, until number `stop` is reached."""
        state, control = self._state, self._control
        finished = []
        done = 0
        while True:
            done = advance(state, buffer, frames, done, ending)
            if done < 0:
                raise ValueError(
                    f"frame {-1 - done} lies outside the chunk's buffer or is longer than {LARGEST_FRAME} bytes"
                )
            messages = control.item(MESSAGES)
            if self._watch is not None and messages:
                self._watch(state, buffer)
            decoded = 0
            while decoded < messages:
                decoded = decode_messages(state, buffer, decoded)
                if decoded < messages:
                    finished.append(self._take(neighbours=False))
            control[MESSAGES] = control[ARENA] = 0
            if any(counts_of(control.tolist())):
                finished.append(self._take(neighbours=False))
            if done >= stop:
                return finished

    def snapshot(self) -> Rows:
        """All connections that are open, as they are now, and all neighbours. Nothing is closed."""
        emit_all(self._state)
        return self._take(neighbours=True)

    @property
    def oddities(self) -> dict[str, tuple[int, int]]:
        """What was odd so far: name -> (count, frame where it was first seen)."""
        counts, frames = self._tables["oddities"].tolist(), self._tables["oddity_frames"].tolist()
        return {
            name: (count, frame) for name, count, frame in zip(ODDITIES_BY_NAME, counts, frames, strict=True) if count
        }

    def _take(self, *, neighbours: bool) -> Rows:
        """Copy the finished rows out of the tables, which are empty afterwards."""
        count = self._control.tolist()
        closed, identities, calls, intervals, clocks, text = counts_of(count)
        table = self._tables
        rows = Rows(
            connections=self._copied("closed", closed),
            identities=self._copied("identities", identities),
            calls=self._copied("calls", calls),
            neighbours=self._copied("neighbours", count[Control.NEIGHBOURS] if neighbours else 0),
            intervals=self._copied("intervals", intervals),
            clocks=self._copied("clocks", clocks),
            text=table["text"][:text].tobytes(),
            oddities=table["oddities"].copy(),
            oddity_frames=table["oddity_frames"].copy(),
        )
        self._control[CELLS] = 0
        return rows

    def _copied(self, name: str, count: int) -> np.ndarray:
        """A copy of the first `count` rows of a table. Of none there is one for all: NumPy takes 3 us to make it."""
        table = self._tables[name]
        return joined([table[:count]], table.dtype) if count else self._nothing[name]


def _fit(chunk: Chunk) -> tuple[np.ndarray, np.ndarray]:
    """The chunk's arrays, fit for the kernels: contiguous, writable (one compiled version serves all)."""
    return _required(chunk.buffer, BYTE), _required(chunk.frames, FRAME)


def _required(array: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """`array` itself if it is fit, as those of readers are, which `np.require` takes 3 us to find out."""
    fit = array.dtype is dtype and array.flags.carray
    return array if fit else np.require(array, dtype, ["C", "A", "W"])

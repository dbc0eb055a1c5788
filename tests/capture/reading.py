"""What the tests of this folder share: read files with the fast reader, in the shape of the naive one."""

from __future__ import annotations

from hypothesis import settings

from capture.naive import Frame
from nfsleuth.capture import BLOCK, Chunk, open_trace
from nfsleuth.errors import NfsleuthError


def trials(count=60):
    """Hypothesis without a deadline: the first example may wait for a kernel to be compiled."""
    return settings(max_examples=count, deadline=None)


def frames_of(chunk: Chunk) -> list[Frame]:
    out = []
    for row in chunk.frames:
        at, end = int(row["offset"]), int(row["offset"]) + int(row["captured"])
        assert 0 <= at <= end <= len(chunk.buffer)
        data = chunk.buffer[at:end].tobytes()
        out.append(Frame(int(row["time"]), int(row["number"]), data, int(row["wire"]), int(row["link"])))
    return out


def read(*paths, block=BLOCK, read_ahead=True):
    """(frames, sources); (None, message) if nothing can be read."""
    try:
        trace = open_trace(paths, block=block, read_ahead=read_ahead)
    except NfsleuthError as error:
        return None, error.message
    with trace:
        return [frame for chunk in trace for frame in frames_of(chunk)], trace.sources

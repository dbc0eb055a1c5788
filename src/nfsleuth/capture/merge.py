"""Readers of several files come in, the chunks of one trace come out: in time order, frames numbered through.

Every file keeps its own order, as in mergecap: a frame older than the one before it in its file follows that one.
Where no other file has frames of the same time, chunks pass without being copied, so a rotated set costs nothing.
Memory is bounded by one block per file that overlaps others at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from msgspec.structs import replace

from nfsleuth.capture.frames import FRAME, Chunk
from nfsleuth.capture.reader import NEVER, Reader
from nfsleuth.compiled import entry

FIRST_LOOK = 1 << 16  # bytes of a block that is read to learn when a file begins


class Feed:
    """One file on its way into a merge.

    index: place among the paths; of frames with equal times, the earlier path's come first. bound: no frame that is not
    yet in memory has a smaller key. A frame's key is the latest time of its file up to it (ns).
    """

    def __init__(self, index: int, open_reader: Callable[[int], Reader]) -> None:
        self.index = index
        self.bound = NEVER[1]
        self.reader: Reader | None = None
        self.numbered = 0  # number in the file of the last frame handed on
        self._open_reader = open_reader
        self._chunks: Iterator[Chunk] = iter(())
        self._buffer = np.empty(0, np.uint8)
        self._frames = np.empty(0, FRAME)
        self._keys = np.empty(0, np.int64)

    def look(self) -> None:
        """Learn when the file begins. It is closed again, unless it cannot be read twice."""
        self.start(FIRST_LOOK)
        assert self.reader is not None
        self.load()
        if len(self._keys):
            self.bound = int(self._keys[0])
        if self.reader.seekable:
            self.close()
            self._buffer, self._frames, self._keys = np.empty(0, np.uint8), np.empty(0, FRAME), np.empty(0, np.int64)

    def start(self, block: int) -> None:
        """Open the file, unless it is open; `block` is the size of its buffer."""
        if self.reader is None:
            self.reader = self._open_reader(block)
            self._chunks = self.reader.chunks()

    def load(self) -> bool:
        """Get the next frames, those in memory being used up; False at the end."""
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self._buffer, self._frames = chunk.buffer, chunk.frames
        self._keys = np.maximum.accumulate(np.maximum(chunk.frames["time"], self.bound))
        self.bound = int(self._keys[-1])
        return True

    @property
    def loaded(self) -> bool:
        """Frames are in memory."""
        return len(self._frames) > 0

    @property
    def last_key(self) -> int:
        """Key of the last frame in memory."""
        return int(self._keys[-1])

    def take(self, limit: Feed) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(buffer, frames, keys): what comes before every frame of any feed that is not in memory.

        limit: the feed whose `bound` is the smallest.
        """
        count = int(np.searchsorted(self._keys, limit.bound, "right" if self.index <= limit.index else "left"))
        frames, self._frames = self._frames[:count], self._frames[count:]
        keys, self._keys = self._keys[:count], self._keys[count:]
        return self._buffer, frames, keys

    def close(self) -> None:
        """Let go of the file."""
        if self.reader is not None:
            self._chunks = iter(())
            self.reader.close()
            self.reader = None


def in_time_order(feeds: Sequence[Feed], block: int) -> Iterator[Chunk]:
    """The frames of all feeds (each looked at), by key, then by index, then in the order of the file.

    A chunk's buffer and table are used again for the next one, or the one after it if the readers use two in turn.
    """
    waiting = sorted(feeds, key=lambda feed: (feed.bound, feed.index), reverse=True)
    active: list[Feed] = []
    mixer = Mixer(block)
    number = 0
    while waiting or active:
        limit = min([*active, *waiting[-1:]], key=lambda feed: (feed.bound, feed.index))
        parts = [(feed, *feed.take(limit)) for feed in active]
        parts = [part for part in parts if len(part[2])]
        steps = [count_frames(feed, frames) for feed, _, frames, _ in parts]
        if len(parts) == 1:
            feed, buffer, frames, _ = parts[0]
            frames["number"] = number + np.cumsum(steps[0])
            yield Chunk(buffer, frames, feed.index)
        elif parts:
            for chunk, most in mixer.mix([part[1:] for part in parts], steps, number):
                yield replace(chunk, source=parts[most][0].index)
        number += sum(int(step.sum()) for step in steps)
        if limit not in active:
            limit.start(block // (len(active) + 1))
            waiting.pop()
            active = sorted([*active, limit], key=lambda feed: feed.index)
            if limit.loaded:  # a pipe, whose first look was kept
                limit.bound = limit.last_key
                continue
            limit.bound = NEVER[1]
        if not limit.load():
            assert limit.reader is not None
            number += limit.reader.number - limit.numbered
            active.remove(limit)
            limit.close()


def count_frames(feed: Feed, frames: np.ndarray) -> np.ndarray:
    """int64[n]: by how much each frame's number is above the one before; more than 1 behind a block that counts too."""
    steps = np.diff(frames["number"], prepend=feed.numbered)
    feed.numbered = int(frames["number"][-1])
    return steps


class Mixer:
    """Copies frames of several buffers into one, in order; into two in turn, so that a chunk stays good while the next
    one is made."""

    def __init__(self, block: int) -> None:
        self._buffer, self._resting = np.empty(block, np.uint8), np.empty(block, np.uint8)

    def mix(
        self, parts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], steps: Sequence[np.ndarray], number: int
    ) -> Iterator[tuple[Chunk, int]]:
        """Chunks of the frames of all `parts` (buffer, frames, keys) by key, those of earlier parts first.

        steps: what `count_frames` gave for each part. number: of the last frame before. With each chunk comes the part
        that most of its frames are from.
        """
        order = np.argsort(np.concatenate([keys for _, _, keys in parts]), kind="stable")
        origin = np.repeat(np.arange(len(parts)), [len(frames) for _, frames, _ in parts])[order]
        frames = np.concatenate([frames for _, frames, _ in parts])[order]
        frames["number"] = number + np.cumsum(np.concatenate(steps)[order])
        ends = np.cumsum(frames["captured"], dtype=np.int64)
        begin = 0
        while begin < len(frames):
            before = int(ends[begin - 1]) if begin else 0
            stop = int(np.searchsorted(ends, before + len(self._buffer), "right"))
            if stop == begin:  # one frame larger than the buffer
                self._buffer = np.empty(int(ends[begin]) - before, np.uint8)
                stop = begin + 1
            rows = frames[begin:stop]
            to = ends[begin:stop] - rows["captured"] - before
            for which, (buffer, _, _) in enumerate(parts):
                copy_frames(buffer, rows, origin[begin:stop], which, to, self._buffer)
            rows["offset"] = to
            yield Chunk(self._buffer, rows), int(np.bincount(origin[begin:stop]).argmax())
            self._buffer, self._resting = self._resting, self._buffer
            begin = stop


@entry
def copy_frames(buf, frames, origin, which, to, out):
    """Copy those frames (FRAME rows in `buf`) whose `origin` is `which` to out[to]."""
    for i in range(len(frames)):
        if origin[i] == which:
            at = np.uint64(frames[i]["offset"])  # unsigned indices let the loop copy many bytes at a time
            put = np.uint64(to[i])
            for k in range(np.uint64(frames[i]["captured"])):
                out[put + k] = buf[at + k]

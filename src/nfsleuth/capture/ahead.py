"""Chunks come in, the same chunks come out, each made while the one before it is being used.

Reading, decompressing and indexing let other threads run, as do the tracker's kernels, so two processors share the
work. One chunk is made ahead, not more: readers keep two buffers for that and use them in turn.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from queue import SimpleQueue

from nfsleuth.capture.frames import Chunk


def processors() -> int:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ahead(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """`chunks`, whose iterator runs in a thread; what it raises is raised here.

    A chunk is good until the next one is asked for. Leaving early, as by an exception, waits for the chunk that is
    being made: not for iterators that may wait for ever.
    """
    made: SimpleQueue[Chunk | BaseException | None] = SimpleQueue()
    wanted = threading.Semaphore(1)
    over = threading.Event()

    def make() -> None:
        try:
            while True:
                wanted.acquire()
                chunk = None if over.is_set() else next(chunks, None)
                made.put(chunk)
                if chunk is None:
                    return
        except BaseException as error:
            made.put(error)

    thread = threading.Thread(target=make, name="nfsleuth reading ahead", daemon=True)
    thread.start()
    try:
        while True:
            chunk = made.get()
            if isinstance(chunk, BaseException):
                raise chunk
            if chunk is None:
                return
            wanted.release()
            yield chunk
    finally:
        over.set()
        wanted.release()
        thread.join()

"""Record what goes on inside a guest's QEMU while it reads: a process and what makes the guest read come in, a
recording goes out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.path import api
from nfsleuth.path.model import Recording

STARTS = 30  # seconds until probes are calibrated and set, on a busy machine


def record_while(process: int, method: str, seconds: float, read: Callable[[], None]) -> Recording:
    """Record the QEMU `process` from just before `read` is called until it returns, for at most `seconds`.

    Raises the NfsleuthError of the recorder or of `read`.
    """
    begun, done = threading.Event(), threading.Event()
    recordings: list[Recording] = []
    failed: list[NfsleuthError] = []

    def over() -> bool:
        begun.set()  # asked for the first time when probes are set
        return done.is_set()

    def run() -> None:
        try:
            recordings.append(api.record(process, method, api.Wishes(seconds, baseline=0, over=over)))
        except NfsleuthError as error:
            failed.append(error)
        finally:
            begun.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        if not begun.wait(STARTS):
            raise NfsleuthError(f"the recorder does not start within {STARTS} s", Exit.LAB_FAILED)
        if not failed:
            read()
    finally:
        done.set()
        thread.join(STARTS)
    if failed:
        raise failed[0]
    if not recordings:
        raise NfsleuthError("the recorder ended without a recording", Exit.LAB_FAILED)
    return recordings[0]

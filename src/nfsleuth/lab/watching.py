"""Record what goes on inside a guest's QEMU while it reads: a process comes in, a recording goes out."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.path import api
from nfsleuth.path.model import Recording

STARTS = 60  # seconds until probes are calibrated and set, or taken out, on a busy machine


class Recorder:
    """Records the QEMU `process` in a thread, from entering the context until it is left, for at most `seconds`.

    Entering waits until probes are set. Nothing waits until they are taken out, which takes the kernel some seconds and
    the guest no time. Entering and `result` raise the NfsleuthError of the recorder.
    """

    def __init__(self, process: int, method: str, seconds: float) -> None:
        self._process, self._method, self._seconds = process, method, seconds
        self._begun, self._done = threading.Event(), threading.Event()
        self._recording: Recording | None = None
        self._failed: NfsleuthError | None = None
        self.whole = False  # it went on until the context was left, and not to an end of its own
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._begun.wait(STARTS):
            self._done.set()
            raise NfsleuthError(f"the recorder does not start within {STARTS} s", Exit.LAB_FAILED)
        if self._failed:
            raise self._failed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()

    def result(self) -> Recording:
        """The recording, once it is whole."""
        self._thread.join(STARTS)
        if self._failed:
            raise self._failed
        if self._recording is None:
            raise NfsleuthError("the recorder ended without a recording", Exit.LAB_FAILED)
        return self._recording

    def _run(self) -> None:
        wishes = api.Wishes(self._seconds, baseline=0, over=self._over)
        try:
            self._recording = api.record(self._process, self._method, wishes)
        except NfsleuthError as error:
            self._failed = error
        finally:
            self._begun.set()

    def _over(self) -> bool:
        """Asked by the recorder again and again, for the first time when all probes are set."""
        self._begun.set()
        self.whole = self._done.is_set()
        return self.whole

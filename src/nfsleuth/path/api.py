"""Record a guest by one of the methods: a process id comes in, a `Recording` goes out.

`record` is what the command line and experiments of the lab call.
"""

from __future__ import annotations

import os
import platform

from nfsleuth.errors import NfsleuthError
from nfsleuth.path import process, target
from nfsleuth.path.model import Method, Recording
from nfsleuth.path.uprobes import Heard, Wishes

__all__ = ["Wishes", "record"]


def record(
    pid: int | None, method: str = "uprobes", wishes: Wishes | None = None, heard: Heard = lambda _: None
) -> Recording:
    """Record the QEMU with `pid`, or the only one. Raises NfsleuthError that says what to do instead."""
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        raise NfsleuthError(f"path records on Linux on x86-64; this is {platform.system()} on {platform.machine()}")
    wishes = wishes or Wishes(10.0)
    guest = process.find(pid)
    if os.geteuid() != 0:
        raise NfsleuthError(f"recording pid {guest.pid} needs root: it reads its memory and sets probes; use sudo")
    found = target.look(guest)
    if method == Method.SAMPLING:
        from nfsleuth.path import sampling

        return sampling.record(found, wishes, heard)
    if method == Method.INSTRUMENTED:
        from nfsleuth.path import instrumented

        return instrumented.record(found, wishes, heard)
    from nfsleuth.path import uprobes

    return uprobes.record(found, wishes, heard)

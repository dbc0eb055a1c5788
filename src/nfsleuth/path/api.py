"""Record a guest by one of the methods: a process id comes in, a `Recording` goes out.

`record` is what the command line and experiments of the lab call.
"""

from __future__ import annotations

import os
import platform

from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.path import instrumented, process, sampling, target, uprobes
from nfsleuth.path.model import Method, Recording
from nfsleuth.path.watching import Heard, Wishes

__all__ = ["Wishes", "record"]


def record(
    pid: int | None, method: str = "uprobes", wishes: Wishes | None = None, heard: Heard = lambda _: None
) -> Recording:
    """Record the QEMU with `pid`, or the only one. Raises NfsleuthError that says what to do instead."""
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        here = f"{platform.system()} on {platform.machine()}"
        raise NfsleuthError(f"path records on Linux on x86-64; this is {here}", Exit.PARTS_MISSING)
    wishes = wishes or Wishes(10.0)
    guest = process.find(pid)
    if os.geteuid() != 0:
        message = f"recording pid {guest.pid} needs root: it reads its memory and sets probes; use sudo"
        raise NfsleuthError(message, Exit.PARTS_MISSING)
    found = target.look(guest)
    methods = {
        Method.UPROBES: uprobes.record, Method.SAMPLING: sampling.record, Method.INSTRUMENTED: instrumented.record,
    }  # fmt: skip
    return methods[Method(method)](found, wishes, heard)

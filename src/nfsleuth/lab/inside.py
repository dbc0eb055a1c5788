"""The first process of a lab's namespaces: a task comes in on standard input, events go out on standard output.

A task is a pickled object with a method `run(report)`, from our own parent alone; `report(**event)` sends one line of
JSON. An NfsleuthError becomes the last event. When standard input ends, our owner has gone, and so do we: all processes
of the lab go with us (see `supervise`).
"""

from __future__ import annotations

import json
import os
import pickle
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from nfsleuth.errors import NfsleuthError
from nfsleuth.lab.parts import TUN
from nfsleuth.lab.run import run, search_path

Report = Callable[..., None]
# Folders that programs of a lab write to, hidden from the machine by an empty one: names of network namespaces,
# sockets of rpcbind and Ganesha, states of mounts.
HIDDEN = ("/run", "/var/lib/nfs")


class Task(Protocol):
    """What can run inside."""

    def run(self, report: Report) -> None:
        """Do it."""


def main() -> None:
    """Read the task, run it."""
    given = sys.stdin.buffer
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # nothing else may write among the events
    task: Task = pickle.load(given)  # noqa: S301 (of our own parent, over a pipe)
    threading.Thread(target=_end_with, args=(given,), daemon=True).start()
    lock = threading.Lock()

    def report(**event: Any) -> None:  # noqa: ANN401 (whatever JSON can hold)
        with lock:
            events.write(json.dumps(event) + "\n")
            events.flush()

    try:
        _private_machine()
        task.run(report)
    except NfsleuthError as error:
        report(error=error.message, exit_code=int(error.exit_code))
    # Without the interpreter's own end, which would wait for threads that wait for guests.
    events.flush()
    os._exit(0)


def _end_with(given: BinaryIO) -> None:
    while given.read(4096):
        pass
    os._exit(1)


def _private_machine() -> None:
    os.umask(0o022)
    os.environ["PATH"] = search_path()
    for folder in HIDDEN:
        if Path(folder).is_dir():
            run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", folder)
    for folder in ("/run/netns", "/run/rpcbind", "/run/ganesha"):
        Path(folder).mkdir()
    let_guests_open_tun()
    run("ip", "link", "set", "lo", "up")
    run("hostname", "nfsleuth-lab")


def let_guests_open_tun() -> None:
    """Let guests, which run as nobody, open /dev/net/tun, if the machine's own does not let them.

    udev gives it mode 0666 (50-udev-default.rules): it is the owner of a TAP that decides who may use that one. Where
    no udev runs it has the kernel's 0600. The lab then has a node of its own, which the machine does not see.
    """
    if not TUN.exists():
        return  # `parts` says so if it is needed
    told = TUN.stat()
    if told.st_mode & 0o006 == 0o006:
        return
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(TUN.parent))
    os.mknod(TUN, stat.S_IFCHR, told.st_rdev)
    TUN.chmod(0o666)


if __name__ == "__main__":
    main()

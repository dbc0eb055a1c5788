"""The world around a lab: a task comes in, it runs in namespaces of its own, and nothing of it stays behind.

The task runs in a process that has its own network, mount, process, host name and IPC namespaces and is the first
process of the process namespace. So the kernel itself takes everything down with it (pid_namespaces(7): when the first
process ends, all others are killed; a network namespace goes with its last process, and nothing outside names ours).
That process dies with us: `unshare --kill-child` and prctl(PR_SET_PDEATHSIG) see to it, even after kill -9, and as a
second string it ends when our end of its standard input closes.

What is left of a killed lab is a folder of scratch files. Each run has a record in RECORDS, locked for as long as its
owner lives; `sweep` removes what records without an owner name.

Needs: root, util-linux (unshare, setpriv).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pickle
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from nfsleuth.errors import Exit, NfsleuthError

RECORDS = Path("/run/nfsleuth-lab")
SCRATCH = "nfsleuth-lab-"  # what names of scratch folders begin with
APART = (
    "setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork",
    "--kill-child=KILL", "--mount-proc", "--propagation", "private",
)  # fmt: skip
GRACE = 20  # seconds in which a killed lab must be gone


@dataclass(frozen=True)
class Record:
    """What a run has on the machine outside its namespaces."""

    scratch: str  # folder
    process: int = 0  # of unshare, the parent of the lab's first process; 0: not started yet
    started: int = 0  # its start time in clock ticks since boot (proc_pid_stat(5)), which tells a number used again

    def alive(self) -> bool:
        """Whether its process still runs."""
        return self.process > 0 and start_time(self.process) == self.started


def start_time(process: int) -> int | None:
    """Start time of `process` in clock ticks since boot; None if there is no such process."""
    try:
        told = Path(f"/proc/{process}/stat").read_text(errors="replace")
    except OSError:
        return None
    state, *fields = told.rpartition(")")[2].split()  # the name before it may hold anything
    return None if state == "Z" else int(fields[18])


def needs_root() -> None:
    """Raise NfsleuthError unless we may make namespaces."""
    if os.geteuid() != 0:
        message = "a lab makes network namespaces and needs root; run it with sudo"
        raise NfsleuthError(message, Exit.PARTS_MISSING)


@dataclass(frozen=True)
class Run:
    """A run that is on record: its scratch folder, and the locked file that says so."""

    scratch: Path
    file: Path
    lock: int  # file descriptor

    def note(self, record: Record) -> None:
        """Put `record` into the file."""
        os.ftruncate(self.lock, 0)
        os.pwrite(self.lock, json.dumps(asdict(record)).encode(), 0)


@contextlib.contextmanager
def recorded(*, keep: bool = False) -> Iterator[Run]:
    """A run on record; its scratch folder is removed at the end unless `keep`."""
    where = _reachable()
    RECORDS.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = RECORDS / f"{secrets.token_hex(6)}.json"
    lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=where))
    scratch.chmod(0o755)  # guests run as nobody and read their files there
    run = Run(scratch, file, lock)
    run.note(Record(str(scratch)))
    try:
        yield run
    finally:
        if not keep:
            shutil.rmtree(scratch, ignore_errors=True)
        file.unlink(missing_ok=True)
        os.close(lock)


def _reachable() -> Path:
    """A folder for temporary files that every user may enter: guests run as nobody."""
    choices = [Path(tempfile.gettempdir()).resolve(), Path("/var/tmp"), Path("/tmp")]  # noqa: S108 (mkdtemp follows)
    for choice in choices:
        # Inside a lab other things lie in /run.
        if Path("/run") not in choice.parents and all(
            folder.is_dir() and folder.stat().st_mode & 0o001 for folder in (choice, *choice.parents)
        ):
            return choice
    message = f"guests run as nobody, who may enter none of {', '.join(map(str, choices))}; set TMPDIR to one he may"
    raise NfsleuthError(message, Exit.PARTS_MISSING)


def sweep() -> list[str]:
    """End and remove what runs without an owner left; returns a line for each."""
    done = []
    for file in sorted(RECORDS.glob("*.json")) if RECORDS.is_dir() else []:
        with file.open("r+b") as opened:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # its owner lives
            record = _read(opened.read())
            if record is None:
                pass  # killed before it had anything
            elif not _end(record):
                done.append(f"process {record.process} of a killed lab does not end; its record {file} stays")
                continue
            else:
                done += _remove(record)
            file.unlink(missing_ok=True)
    return done


def _ended(written: str) -> Exception:
    """Why the lab's first process ended before its task: a bug of ours wrote a traceback, a kill writes nothing."""
    if "Traceback" in written:
        return RuntimeError(f"inside the lab:\n{written[-4000:]}")
    said = written.strip().splitlines()[-1:] or ["it was killed; was there enough memory?"]
    return NfsleuthError(f"the lab did not end by itself: {said[0]}", Exit.LAB_FAILED)


def _read(content: bytes) -> Record | None:
    try:
        record = Record(**json.loads(content))
    except (ValueError, TypeError):
        return None
    numbers = isinstance(record.process, int) and isinstance(record.started, int)
    return record if numbers and isinstance(record.scratch, str) else None


def _remove(record: Record) -> list[str]:
    scratch = Path(record.scratch)
    ours = scratch.name.startswith(SCRATCH) and scratch.is_dir() and not scratch.is_symlink()
    if not ours:
        return []
    shutil.rmtree(scratch, ignore_errors=True)
    return [f"removed {scratch} of a killed lab"]


def _end(record: Record) -> bool:
    """Kill what still runs; whether it is gone."""
    if record.alive():
        _kill(record.process)
    deadline = time.monotonic() + GRACE
    while record.alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _kill(process: int) -> None:
    """Kill the lab's first process, which takes all others along, and then `unshare`, its parent."""
    children = Path(f"/proc/{process}/task/{process}/children")
    first: list[str] = []
    with contextlib.suppress(OSError):
        first = children.read_text().split()
    for number in (*map(int, first), process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


@contextlib.contextmanager
def ends_orderly() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as an error does, so that what it holds is taken down."""
    before = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def apart(run: Run, task: object, heard: Callable[[dict[str, Any]], None]) -> None:
    """Run `task` (see `inside`) in namespaces of its own to its end; `heard` gets each event that it sends.

    Raises the NfsleuthError that the task raised. However this function is left, nothing runs any more.
    """
    # A session of its own, so that Ctrl-C comes to us alone.
    command = [*APART, sys.executable, "-m", "nfsleuth.lab.inside"]
    log = run.scratch / "inside.log"
    with log.open("wb") as errors:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
            )
        except FileNotFoundError as error:
            message = f"{error.filename}: no such program; `nfsleuth lab check` says what brings it"
            raise NfsleuthError(message, Exit.PARTS_MISSING) from None
    assert process.stdin
    assert process.stdout
    try:
        run.note(Record(str(run.scratch), process.pid, start_time(process.pid) or 0))
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(pickle.dumps(task))
            process.stdin.flush()  # and stays open: its end is the end of the task
        for line in process.stdout:
            event = json.loads(line)
            if "error" in event:
                raise NfsleuthError(event["error"], Exit(event["exit_code"]))
            heard(event)
        if process.wait():
            raise _ended(log.read_text(errors="replace"))
    finally:
        if process.poll() is None:
            _kill(process.pid)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        process.wait(GRACE)

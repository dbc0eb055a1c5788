"""The child process that touches the file system: a job comes in on standard input, events go out on standard output.

One JSON object per line, both ways. Events: ``at`` (a sign of life, with what is being done), ``made`` and ``removed``
(paths), ``set`` (fields of the result), ``note``, ``trial``, ``problem`` (the run ends early, with what there is), and
``error`` (nothing was measured). Whatever happens, files that this run made are removed before it ends.
"""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from mmap import mmap
from typing import Any, NoReturn

from nfsleuth.bandwidth.active import libnfs, loop, stores
from nfsleuth.bandwidth.plan import Plan, Step
from nfsleuth.errors import NfsleuthError

SIGN_OF_LIFE = 1.0  # s between two `at` events


class Stopped(BaseException):
    """The parent wants the run to end (SIGTERM): clean up."""


@dataclass(slots=True)
class Work:
    """What the parent asks for; see `supervise.Job`."""

    target: str
    plan: Plan
    cache: stores.Cache
    server_drop: str
    keep: bool
    timeout: float
    last: float = field(default=0.0)

    def say(self, event: str, **fields: object) -> None:
        """Tell the parent. A parent that is gone ends the run (BrokenPipeError)."""
        self.last = time.monotonic()
        sys.stdout.write(json.dumps({"event": event} | fields) + "\n")
        sys.stdout.flush()

    def alive(self, what: str, size: int, done: int) -> None:
        """Tell the parent at most once in `SIGN_OF_LIFE` that there is progress."""
        if time.monotonic() - self.last >= SIGN_OF_LIFE:
            self.say("at", what=what, size=size, done=done)


def main() -> None:
    """Do the job on standard input."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which decides
    given = json.loads(sys.stdin.readline())
    plan = Plan(tuple(given["sizes"]), given["block"], given["rounds"], given["seed"])
    work = Work(
        given["target"], plan, stores.Cache(given["cache"]), given["server_drop"], given["keep"], given["timeout"]
    )
    work.say("at", what="opening", size=0, done=0)
    try:
        _run(work)
    except NfsleuthError as error:
        work.say("error", message=error.message, exit_code=int(error.exit_code))
    except OSError as error:
        found = stores.explain(error, error.filename or work.target)
        work.say("error", message=found.message, exit_code=int(found.exit_code))


def _stop(*_: object) -> NoReturn:
    raise Stopped


def _run(work: Work) -> None:
    is_url = libnfs.is_url(work.target)
    store: stores.Store = libnfs.Export(work.target, work.timeout) if is_url else stores.Folder(work.target)
    made: list[str] = []
    try:
        work.say("set", kind=store.kind, filesystem=store.filesystem, loop_rate=loop.ceiling(work.plan.block))
        _measure(work, store, _files(work, store, made))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # cleaning up is not to be stopped
        for path in [] if work.keep else made:
            try:
                store.remove(path)
                work.say("removed", path=path)
            except OSError as error:
                work.say("note", text=f"{path} is left behind: {error.strerror or error}")
        store.close()


def _files(work: Work, store: stores.Store, made: list[str]) -> dict[int, stores.File]:
    """The files of the plan: those that are there, and the others made."""

    def note_made(path: str) -> None:
        made.append(path)
        work.say("made", path=path)

    found = {size: file for size in work.plan.sizes if (file := store.find(size)) is not None}
    missing = [size for size in work.plan.sizes if size not in found]
    stores.require_room(store, missing, work.target)
    for size in missing:
        work.say("at", what="writing", size=size, done=0)
        found[size] = store.create(size, note_made, lambda done, size=size: work.alive("writing", size, done))  # type: ignore[misc]
    kept = len(work.plan.sizes) - len(missing)
    if kept:
        work.say("note", text=f"{kept} of {len(found)} files were there already and stay there")
    return found


def _measure(work: Work, store: stores.Store, files: dict[int, stores.File]) -> None:
    """All trials; ends early, saying why, where the file system fails."""
    cache, notes = stores.choose_cache(store, files[max(files)], work.cache, work.plan.block)
    words = stores.CACHE_WORDS[cache] if store.kind != "libnfs" else "none (libnfs)"
    work.say("set", client_cache=words, server_cache=f"by: {work.server_drop}" if work.server_drop else "not emptied")
    for text in [*notes, *([libnfs.NOTE] if store.kind == "libnfs" else [])]:
        work.say("note", text=text)
    into = loop.buffer(work.plan.block)
    for step in work.plan.steps():
        file = files[step.size]
        try:
            trial = _trial(work, store, file, step, cache, into)
        except OSError as error:
            work.say("problem", text=stores.explain(error, file.path).message)
            return
        except loop.FileEndedError as ended:
            work.say("problem", text=f"{file.path}: ended at byte {ended.at} of {file.size} while it was read")
            return
        if store.stamp(file) != file.stamp:
            work.say("problem", text=f"{file.path}: somebody changed it while it was read; stop that, or move it away")
            return
        work.say("trial", **trial)


def _trial(
    work: Work, store: stores.Store, file: stores.File, step: Step, cache: stores.Cache, into: mmap
) -> dict[str, Any]:
    """Empty the caches and read the file."""
    work.say("at", what="reading", size=step.size, done=0, round=step.round)
    if work.server_drop:
        _ask_server(work.server_drop, work.timeout)
    left = store.forget(file, cache)
    seconds = store.read(file, into, cache, lambda done: work.alive("reading", step.size, done))
    return {
        "size": step.size, "round": step.round, "seconds": seconds, "warmup": step.round == 0, "resident": left
    }  # fmt: skip


def _ask_server(command: str, timeout: float) -> None:
    """Run the command that empties the server's cache."""
    try:
        done = subprocess.run(  # noqa: S603 - what the user gave
            shlex.split(command), stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
        )
    except (OSError, ValueError) as error:
        raise NfsleuthError(f"--server-drop {command!r}: cannot be run ({error})") from error
    except subprocess.TimeoutExpired as error:
        raise NfsleuthError(f"--server-drop {command!r}: no end after {timeout:g} s") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise NfsleuthError(f"--server-drop {command!r}: ended with {done.returncode}: {said[-1] if said else ''}")


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, Stopped):
        sys.stderr.close()  # nobody listens any more

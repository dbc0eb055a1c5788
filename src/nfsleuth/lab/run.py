"""Commands of the machine: words come in, their output goes out; one that fails is a message, not a traceback."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from nfsleuth.errors import Exit, NfsleuthError

Word = str | Path


def search_path() -> str:
    """Where programs are looked for: on the path, and in the folders of administrators' programs, which it may lack."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def run(*words: Word, cwd: Path | None = None, given: str | None = None) -> str:
    """Run a command to its end and return what it wrote; `given` is its standard input.

    Raises NfsleuthError with the command and its last words if it fails or does not exist.
    """
    command = [str(word) for word in words]
    try:
        done = subprocess.run(
            command, cwd=cwd, input=given, stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
    except FileNotFoundError:
        hint = f"{command[0]}: no such program; `nfsleuth lab check` says what brings it"
        raise NfsleuthError(hint, Exit.PARTS_MISSING) from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise NfsleuthError(f"{shlex.join(command)}: {said[0]}", Exit.LAB_FAILED)
    return done.stdout

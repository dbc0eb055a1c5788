"""Where Numba keeps the compiled kernels: one folder per state of the sources, so that none is ever stale.

Numba's own cache compares only the file that a kernel is written in, not the files whose functions and constants were
compiled into it (Numba manual, "Caching Limitations"). So the folder's name is a hash of everything that goes into the
machine code: the sources, the versions of Python, Numba and NumPy, and Numba's settings. It must be set before Numba is
first imported. Folders of other hashes are removed when they have not been used for a day.

Every command comes through here, so paths are text: `pathlib` takes 3 ms to import.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections.abc import Iterator

from nfsleuth.digest import blake2b

VARIABLE = "NUMBA_CACHE_DIR"
# All that a kernel can take something from; a test checks. Reading the other files as well took 2 % of a command.
WITH_KERNELS = (
    "capture",
    "compiled",
    "digest.py",
    "errors.py",
    "sharing/kernel.py",
    "sharing/tables.py",
    "trace",
    "wire",
)
KEPT = 2  # folders, the newest ones, that are never removed
DAY = 86_400  # s; younger folders may be in use by another process, which would fail on a folder that vanishes


def prepare() -> None:
    """Set `NUMBA_CACHE_DIR` unless the user has; never raises: without a cache nfsleuth is slow, not broken."""
    if os.environ.get(VARIABLE):
        return
    try:
        name = fingerprint(os.path.dirname(__file__))
        home = _writable(os.path.join(user_cache(), "nfsleuth")) or _temporary()
        here = _made(os.path.join(home, name))
        os.utime(here)
        _remove_old(home, name)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        return
    os.environ[VARIABLE] = here


def is_compiled() -> bool:
    """Whether kernels were compiled to the end before, or will not be compiled at all."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return True
    stamp = _stamp()
    return stamp is not None and os.path.exists(stamp)


def mark_compiled() -> None:
    """Remember that everything that a trace needs has been compiled; a folder that cannot be written to is no error."""
    stamp = _stamp()
    if stamp is not None and not os.path.exists(stamp):
        with contextlib.suppress(OSError):
            os.close(os.open(stamp, os.O_CREAT | os.O_WRONLY, 0o666))


def _stamp() -> str | None:
    folder = os.environ.get(VARIABLE)
    return os.path.join(folder, "nfsleuth.compiled") if folder else None


def fingerprint(package: str) -> str:
    """32 hex digits that change with whatever changes the kernels of the package in the folder `package`."""
    digest = blake2b(repr((sys.implementation.cache_tag, sys.version_info[:3])).encode(), digest_size=16)
    for key in sorted(k for k in os.environ if k.startswith("NUMBA_") and k != VARIABLE):
        digest.update(f"\0{key}={os.environ[key]}".encode())
    for path in (*_versions(), *_sources(package)):
        with open(path, "rb", buffering=0) as file:
            digest.update(b"\0" + os.path.basename(path).encode() + b"\0" + file.read())
    return digest.hexdigest()


def _sources(package: str) -> list[str]:
    """Every source that a kernel could take something from."""
    found = []
    for name in WITH_KERNELS:
        place = os.path.join(package, name)
        if os.path.isfile(place):
            found.append(place)
        for folder, _, files in os.walk(place):
            found += [os.path.join(folder, file) for file in files if file.endswith(".py")]
    return sorted(found)


def _versions() -> Iterator[str]:
    """The files in which Numba and NumPy state their versions; finding them imports neither."""
    from importlib.util import find_spec

    for name, file in (("numba", "_version.py"), ("numpy", "version.py")):
        spec = find_spec(name)
        if spec and spec.origin and os.path.isfile(path := os.path.join(os.path.dirname(spec.origin), file)):
            yield path


def user_cache() -> str:
    """The platform's folder for files that can be made again. Raises RuntimeError if the user has no home."""
    home = os.path.expanduser("~")
    if not os.path.isabs(home):
        raise RuntimeError("the user has no home")
    if sys.platform == "win32":
        return os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
    if sys.platform == "darwin":
        return os.path.join(home, "Library", "Caches")
    return os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")


def _writable(folder: str) -> str | None:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def _temporary() -> str:
    """A folder of this user alone below the temporary one.

    Numba's cache is code that is run: in a folder that others can write to, theirs would be.
    """
    import tempfile

    if not hasattr(os, "getuid"):  # Windows: the temporary folder is the user's own
        return _made(os.path.join(tempfile.gettempdir(), "nfsleuth"))
    folder = _made(os.path.join(tempfile.gettempdir(), f"nfsleuth-{os.getuid()}"))
    state = os.lstat(folder)
    ours = stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not state.st_mode & 0o022
    return folder if ours else tempfile.mkdtemp(prefix="nfsleuth-")


def _made(folder: str) -> str:
    """A folder that is there afterwards, and for this user alone if it was not there before."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    return folder


def _remove_old(home: str, here: str) -> None:
    """Remove the folders of other hashes beyond the newest ones that nobody has used for a day."""
    with os.scandir(home) as places:
        others = [p for p in places if len(p.name) == len(here) and p.name != here and p.is_dir()]
    others.sort(key=lambda p: p.stat().st_mtime, reverse=True)
    old = [p for p in others[KEPT - 1 :] if time.time() - p.stat().st_mtime > DAY]
    if old:
        import shutil

        for folder in old:
            shutil.rmtree(folder, ignore_errors=True)

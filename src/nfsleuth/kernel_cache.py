"""Where Numba keeps the compiled kernels: one folder per state of the sources, so that none is ever stale.

Numba's own cache compares only the file that a kernel is written in, not the files whose functions and constants were
compiled into it (Numba manual, "Caching Limitations"). So the folder's name is a hash of everything that goes into the
machine code: the sources, the versions of Python, Numba and NumPy, and Numba's settings. It must be set before Numba is
first imported. Folders of other hashes are removed when they have not been used for a day.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"
# All that a kernel can take something from; a test checks. Reading the other files as well took 2 % of a command.
WITH_KERNELS = ("capture", "compiled", "errors.py", "sharing/kernel.py", "sharing/tables.py", "trace", "wire")
KEPT = 2  # folders, the newest ones, that are never removed
DAY = 86_400  # s; younger folders may be in use by another process, which would fail on a folder that vanishes


def prepare() -> None:
    """Set `NUMBA_CACHE_DIR` unless the user has; never raises: without a cache nfsleuth is slow, not broken."""
    if os.environ.get(VARIABLE):
        return
    try:
        name = fingerprint(Path(__file__).parent)
        home = _writable(user_cache() / "nfsleuth") or _temporary()
        here = home / name
        here.mkdir(mode=0o700, exist_ok=True)
        os.utime(here)
        _remove_old(home, here)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        return
    os.environ[VARIABLE] = str(here)


def is_compiled() -> bool:
    """Whether kernels were compiled to the end before, or will not be compiled at all."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return True
    stamp = _stamp()
    return stamp is not None and stamp.exists()


def mark_compiled() -> None:
    """Remember that everything that a trace needs has been compiled; a folder that cannot be written to is no error."""
    stamp = _stamp()
    if stamp is not None and not stamp.exists():
        with contextlib.suppress(OSError):
            stamp.touch()


def _stamp() -> Path | None:
    folder = os.environ.get(VARIABLE)
    return Path(folder) / "nfsleuth.compiled" if folder else None


def fingerprint(package: Path) -> str:
    """32 hex digits that change with whatever changes the kernels of `package`."""
    digest = hashlib.blake2b(repr((sys.implementation.cache_tag, sys.version_info[:3])).encode(), digest_size=16)
    for key in sorted(k for k in os.environ if k.startswith("NUMBA_") and k != VARIABLE):
        digest.update(f"\0{key}={os.environ[key]}".encode())
    for path in (*_versions(), *_sources(package)):
        digest.update(b"\0" + path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _sources(package: Path) -> list[Path]:
    """Every source that a kernel could take something from."""
    places = (pattern for name in WITH_KERNELS for pattern in (name, f"{name}/**/*.py"))
    return sorted(path for pattern in places for path in package.glob(pattern) if path.suffix == ".py")


def _versions() -> Iterator[Path]:
    """The files in which Numba and NumPy state their versions; finding them imports neither."""
    from importlib.util import find_spec

    for name, file in (("numba", "_version.py"), ("numpy", "version.py")):
        spec = find_spec(name)
        if spec and spec.origin and (path := Path(spec.origin).with_name(file)).is_file():
            yield path


def user_cache() -> Path:
    """The platform's folder for files that can be made again."""
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    if sys.platform == "darwin":
        return home / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")


def _writable(folder: Path) -> Path | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def _temporary() -> Path:
    """A folder of this user alone below the temporary one.

    Numba's cache is code that is run: in a folder that others can write to, theirs would be.
    """
    import tempfile

    if not hasattr(os, "getuid"):  # Windows: the temporary folder is the user's own
        return _made(Path(tempfile.gettempdir()) / "nfsleuth")
    folder = _made(Path(tempfile.gettempdir()) / f"nfsleuth-{os.getuid()}")
    state = folder.lstat()
    ours = state.st_uid == os.getuid() and not state.st_mode & 0o022 and folder.is_dir() and not folder.is_symlink()
    return folder if ours else Path(tempfile.mkdtemp(prefix="nfsleuth-"))


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _remove_old(home: Path, here: Path) -> None:
    """Remove the folders of other hashes beyond the newest ones that nobody has used for a day."""
    with os.scandir(home) as places:
        others = [p for p in places if len(p.name) == len(here.name) and p.name != here.name and p.is_dir()]
    others.sort(key=lambda p: p.stat().st_mtime, reverse=True)
    old = [p for p in others[KEPT - 1 :] if time.time() - p.stat().st_mtime > DAY]
    if old:
        import shutil

        for folder in old:
            shutil.rmtree(folder, ignore_errors=True)

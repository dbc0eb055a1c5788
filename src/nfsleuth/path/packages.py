"""Debian's packages: which one a file is from. Nothing is installed or changed."""

from __future__ import annotations

import re
import subprocess

PATIENCE = 20  # seconds


def owner(path: str) -> str:
    """ "NAME VERSION" of the package that `path` is from; "" if dpkg does not know."""
    # Since /lib became a link to /usr/lib, dpkg may know a file under either name.
    for name in (path, path.removeprefix("/usr"), f"/usr{path}"):
        if name.startswith("/") and (found := re.match(r"([a-z0-9][a-z0-9.+-]+)(:\w+)?: ", _said("dpkg", "-S", name))):
            version = _said("dpkg-query", "-W", "-f", "${source:Package} ${source:Version}", found[1])
            return version.strip()
    return ""


def _said(*words: str) -> str:
    try:
        return subprocess.run(
            words, capture_output=True, text=True, errors="replace", check=False, timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
        ).stdout  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""


def source_of(package: str) -> tuple[str, str]:
    """Source package and its version of the installed `package`; ("", "") without it."""
    said = _said("dpkg-query", "-W", "-f", "${db:Status-Status} ${source:Package} ${source:Version}", package).split()
    return (said[1], said[2]) if said[:1] == ["installed"] and len(said) == 3 else ("", "")

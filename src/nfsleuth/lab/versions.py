"""Versions of everything that a run depends on: nothing comes in, name -> version goes out."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version

# Debian packages whose version may change what is seen on the wire.
PACKAGES = (
    "qemu-system-x86", "libslirp0", "passt", "nfs-ganesha", "libntirpc4.3", "nfs-common", "rpcbind", "libnfs13",
    "libnfs14", "krb5-kdc", "libkrb5-3", "tcpdump", "busybox-static", "user-mode-linux", "iproute2", "nftables",
)  # fmt: skip


def here() -> dict[str, str]:
    """What is installed, the machine's kernel, and nfsleuth itself."""
    found = {"nfsleuth": version("nfsleuth"), "python": platform.python_version(), "kernel": platform.release()}
    try:
        listed = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Package} ${Version}\\n", *PACKAGES],
            capture_output=True, text=True, check=False,
        ).stdout  # fmt: skip
    except FileNotFoundError:
        return found
    for line in listed.splitlines():
        package, _, installed = line.partition(" ")
        if installed:
            found[package] = installed
    return found

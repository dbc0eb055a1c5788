"""Guests under QEMU for the tests: a NIC model and a backend come in, a running guest that does what it is told goes out.

Each has a network namespace of its own with a server at 10.0.2.2, which is libslirp's name for the host as well. The
kernel is one that `nfsleuth lab` keeps; nothing is fetched.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nfsleuth.lab import kernels

QEMU = "qemu-system-x86_64"
DRIVERS = {"rtl8139": "8139cp", "e1000": "e1000", "virtio-net-pci": "virtio_net"}
SERVER = "10.0.2.2"
PORT = 8000

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in $(cat /order); do insmod /modules/$module.ko; done
nic=$(ls /sys/class/net | grep -v -e lo -e sit | head -n 1)
ip link set lo up; ip address add 10.0.2.15/24 dev $nic; ip link set $nic up
stty -F /dev/ttyS0 -echo
exec </dev/ttyS0 >/dev/ttyS0 2>&1
echo "@ready $nic"
while read line; do eval "$line" >/out 2>&1; code=$?; tail -n 1 /out; echo "@done $code"; done
"""
# A namespace of its own; `exec` keeps the pid that QEMU will have.
SETUP = """
ip link set lo up
sysctl -q -w net.ipv6.conf.default.disable_ipv6=1 net.ipv6.conf.all.disable_ipv6=1
ip tuntap add tap0 mode tap
ip address add 10.0.2.2/24 dev tap0
ip link set tap0 up
ip neighbour replace 10.0.2.15 lladdr 52:54:00:12:34:56 dev tap0 nud permanent
"$0" -m http.server {port} --directory {share} >/dev/null 2>&1 &
exec {qemu}
"""


def missing() -> str:
    """Why no guest can run here; nothing if one can."""
    if os.geteuid() != 0:
        return "needs root"
    for program in (QEMU, "ip", "busybox"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return "" if kernel() else "no kernel in the lab's cache; `nfsleuth lab run` fetches one"


def kernel() -> Path | None:
    """The folder of a Debian kernel that the lab has fetched."""
    kept = sorted(kernels.cache_folder().glob("linux-image-6.1*/kernel.json"))
    return next((file.parent for file in kept if "cloud" not in str(file)), None)


@dataclass
class Guest:
    """A guest whose shell listens on its serial port."""

    process: subprocess.Popen[str]
    model: str
    backend: str

    @property
    def pid(self) -> int:
        return self.process.pid

    def tell(self, line: str, seconds: float = 60) -> str:
        """Run a line of shell in the guest; returns the last line of its output. AssertionError if it fails."""
        self.say(line)
        return self.wait(seconds)

    def say(self, line: str) -> None:
        """Begin to run a line of shell."""
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def wait(self, seconds: float = 60) -> str:
        """Wait until what was begun ends."""
        last = ""
        for line in self._lines(seconds):
            if line.startswith("@done "):
                assert line == "@done 0", last
                return last
            last = line
        raise AssertionError(f"the guest ended: {last}")

    def _lines(self, seconds: float) -> Iterator[str]:
        assert self.process.stdout
        deadline = time.monotonic() + seconds
        for line in self.process.stdout:
            yield line.strip()
            assert time.monotonic() < deadline

    def ready(self) -> None:
        """Wait for the shell, and settle the network, so that nothing is sent but what is asked for."""
        for line in self._lines(120):
            if "@ready" in line:
                break
        self.tell(f"ping -c 2 {SERVER} && arp -s {SERVER} $(awk '$1 == \"{SERVER}\" {{print $4}}' /proc/net/arp)")

    def ping(self, count: int) -> None:
        """Send `count` echo requests, one after the other, and get as many replies."""
        self.tell(f"for i in $(seq {count}); do ping -c 1 -W 5 {SERVER} || exit 1; done")

    def read(self, times: int = 1) -> None:
        """Fetch the server's file."""
        self.tell(f"for i in $(seq {times}); do wget -q -O /dev/null http://{SERVER}:{PORT}/file || exit 1; done")


@contextmanager
def running(
    model: str, backend: str, folder: Path, megabytes: int = 4, environment: dict[str, str] | None = None
) -> Iterator[Guest]:
    """A guest with a NIC `model` on `backend`: user or tap."""
    share = folder / "share"
    share.mkdir(exist_ok=True)
    with (share / "file").open("wb") as file:
        file.truncate(megabytes << 20)
    found = kernel()
    assert found
    network = {"user": "user,id=n0,ipv6=off", "tap": "tap,id=n0,ifname=tap0,script=no,downscript=no"}[backend]
    words = [
        QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-accel", "tcg", "-m", "160",
        "-kernel", str(kernels.bootable(found)), "-initrd", str(_initramfs(found, folder, DRIVERS[model])),
        "-append", "'console=ttyS0 quiet loglevel=0 panic=1 rdinit=/init ipv6.disable=1'", "-serial", "stdio",
        "-netdev", network, "-device", f"{model},netdev=n0,romfile=",
    ]  # fmt: skip
    script = SETUP.format(port=PORT, share=share, qemu=" ".join(words))
    process = subprocess.Popen(
        ["unshare", "--net", "--pid", "--fork", "--kill-child", "sh", "-e", "-c", script, sys.executable],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        env={**os.environ, **(environment or {})},
    )  # fmt: skip
    try:
        guest = Guest(process, model, backend)
        guest.ready()
        yield guest
    finally:
        process.kill()
        process.wait()


def _initramfs(found: Path, folder: Path, driver: str) -> Path:
    """A kernel unpacks archives that follow each other: the lab's modules, and what this guest needs."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        root = Path(name)
        (root / "bin").mkdir()
        shutil.copy("/bin/busybox", root / "bin/busybox")
        (root / "init").write_text(INIT)
        (root / "init").chmod(0o755)
        modules = gzip.decompress((found / "modules.cpio.gz").read_bytes())
        order = [line for which in ("virtio_pci", driver) for line in _order(modules, which)]
        (root / "order").write_text("\n".join(order) + "\n")
        names = "\n".join(str(p.relative_to(root)) for p in [root, *sorted(root.rglob("*"))])
        packed = subprocess.run(
            ["busybox", "cpio", "-o", "-H", "newc"], cwd=root, input=names.encode(), check=True, capture_output=True
        ).stdout
    target = folder / f"{driver}.initramfs"
    target.write_bytes((found / "modules.cpio.gz").read_bytes() + gzip.compress(packed, 1))
    return target


def _order(modules: bytes, driver: str) -> list[str]:
    """What to load for `driver`: the content of modules/DRIVER.order in the archive (newc: 110 bytes of header)."""
    name = f"modules/{driver}.order".encode()
    start = modules.rindex(b"070701", 0, modules.index(name))
    length, name_length = int(modules[start + 54 : start + 62], 16), int(modules[start + 94 : start + 102], 16)
    at = start + (110 + name_length + 3) // 4 * 4
    return modules[at : at + length].decode().split()

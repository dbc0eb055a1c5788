"""A mount of the Linux NFS client, on machines whose kernel has none: User-Mode Linux boots on this machine's files.

A `Mounted` is a task for `nfsleuth.lab.inside`: it builds a lab's network with NFS-Ganesha, boots User-Mode Linux with
the lab's programs and modules, mounts the export, and runs `main` there with this machine's Python: the guest sees the
machine's files read-only (hostfs), the export at /mnt/nfs, and a folder for results at /mnt/out.

hostfs and consoles: Linux, Documentation/virt/uml/user_mode_linux_howto_v2.rst.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from nfsleuth.lab import cpio, experiment, initramfs, kernels, servers
from nfsleuth.lab.agents import Agent
from nfsleuth.lab.inside import Report
from nfsleuth.lab.network import Namespace, Network
from nfsleuth.lab.play import addresses

EXPERIMENT = """title = "a mount of the kernel"
[[hosts]]
name = "pc"
[[guests]]
name = "client"
host = "pc"
kernel = "uml"
version = "{version}"
"""
MEMORY = 384  # MiB
PATIENCE = 240  # s: Python starts slowly on hostfs, and the machine may be busy
STOPPED, LOST = "server stopped", "files lost"  # what can happen to the server
# It takes the place of the lab's agent, which comes with the lab's programs under the same name.
INIT = r"""#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /host
/bin/busybox --install -s /bin
export PATH=/bin:/sbin LC_ALL=C
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
. /job/settings
say() { echo "@lab $*"; }
fail() { say "failed $*"; sleep 1; poweroff -f; }
for module in $(cat /modules/ipv6.order "/modules/$client.order"); do
    insmod "/modules/$module.ko" 2>/tmp/said || grep -q 'File exists' /tmp/said || fail "$module: $(cat /tmp/said)"
done
ip link set lo up
ip link set eth0 up && ip address add "${addresses%% *}" dev eth0 || fail network
mount -t hostfs -o ro none /host -o / || fail hostfs
mount -t tmpfs tmpfs /host/mnt && mkdir /host/mnt/nfs /host/mnt/out /host/mnt/tmp || fail tmpfs
mount -t hostfs none /host/mnt/out -o "$out" || fail "hostfs $out"
mount.nfs "$source" /host/mnt/nfs -o "$options" 2>/tmp/said || fail "mount: $(cat /tmp/said)"
for folder in proc sys dev; do mount -o bind "/$folder" "/host/$folder"; done
say mounted "$(uname -r)"
chroot /host /usr/bin/env TMPDIR=/mnt/tmp HOME=/mnt/tmp PYTHONPATH="$path" "$python" -m lab.kernel_mount $words 2>&1
say left $?
poweroff -f
"""


@dataclass(frozen=True)
class Mounted:
    """The task. out: where results and logs go; words: of `nfsleuth bench`; version: of NFS.

    happens: STOPPED or LOST, as the reading with the number `at` (from 1) begins.
    """

    scratch: Path
    out: Path
    words: str
    version: str
    happens: str = ""
    at: int = 0

    def run(self, report: Report) -> None:
        """Serve, boot, time; reports the exit code, the bytes that the server sent, and the files left on it."""
        lab = experiment.read(EXPERIMENT.format(version=self.version), "mount")
        network = Network(lab)
        network.build()
        server = _Server(network.server, lab, self.scratch, self.out)
        (guest,) = lab.guests
        here = network.host(lab.host(guest.host))
        tap = network.tap(here, "br0", 1500, "root")
        told: dict[str, str] = {}

        def heard(words: list[str]) -> None:
            told[words[0]] = words[1]
            if words == ["reading", str(self.at)]:
                server.happens(self.happens)

        agent = Agent("guest", here.command(*self._command(lab, network, tap)), self.out / "guest.log")
        try:
            agent.expect("mounted", PATIENCE)
            (code,) = agent.expect("left", PATIENCE, heard)
            report(code=int(code), served=int(told.get("served", 0)), left=server.files())
        finally:
            agent.kill()
            server.stop()

    def _command(self, lab: experiment.Experiment, network: Network, tap: str) -> list[str]:
        """User-Mode Linux, as root: it reads this machine's files."""
        (guest,) = lab.guests
        kernel = kernels.kernel("uml")
        v3 = self.version == "3"
        settings = {
            "client": "nfsv3" if v3 else "nfsv4", "source": f"{lab.server.address}:/export",
            "options": guest.mount_options + (",nolock" if v3 else ""), "out": self.out, "words": self.words,
            "python": sys.executable, "path": os.pathsep.join(filter(None, sys.path)),
            **addresses(lab, network, guest),
        }  # fmt: skip
        image = self.scratch / "initramfs"
        initramfs.write(image, kernel, initramfs.programs(initramfs.CLIENT_PROGRAMS), settings, {})
        with image.open("ab") as file:
            file.write(cpio.archive({"init": cpio.program(INIT.encode())}))
        return [
            str(kernel.kernel), f"mem={MEMORY}M", f"initrd={image}", f"eth0=tuntap,{tap},{guest.mac}",
            f"uml_dir={self.scratch}/", "con=null", "con0=fd:0,fd:1", "quiet", "loglevel=3",
        ]  # fmt: skip


class _Server:
    """NFS-Ganesha, and what can happen to it."""

    def __init__(self, here: Namespace, lab: experiment.Experiment, scratch: Path, logs: Path) -> None:
        self._here, self._lab, self._scratch, self._logs = here, lab, scratch, logs
        self._share = scratch / "share"
        servers.fill(self._share, lab)
        self._running = self._start()

    def _start(self) -> servers.Ganesha:
        return servers.ganesha(self._here, self._lab, self._share, self._scratch / "ganesha", self._logs, None)

    def happens(self, what: str) -> None:
        """It stops; or it comes back with an empty export, so that file handles name nothing any more."""
        self.stop()
        if what == LOST:
            shutil.rmtree(self._share)
            self._share.mkdir()
            self._running = self._start()

    def files(self) -> list[str]:
        """What `bench` left there."""
        return sorted(path.name for path in self._share.glob("nfsleuth-bench-*"))

    def stop(self) -> None:
        """End it."""
        self._running.stop()


def served() -> int:
    """Bytes that the mount has read from its server (nfs_iostat.h: NFSIOS_SERVERREADBYTES)."""
    (line,) = [line for line in Path("/proc/self/mountstats").read_text().splitlines() if line.startswith("\tbytes:")]
    return int(line.split()[5])


def main(words: list[str]) -> None:
    """`nfsleuth bench /mnt/nfs` with a mark as each reading begins, and one of what was served in the end."""
    from nfsleuth import cli
    from nfsleuth.bandwidth import active

    timed, begun = active.measure, 0

    def progress(what: str, _size: int, done: int, _left: float | None) -> None:
        nonlocal begun
        if what == "reading" and not done:
            begun += 1
            print("@lab reading", begun, flush=True)

    active.measure = lambda job, _: timed(job, progress)
    try:
        cli.main(["bench", "/mnt/nfs", *words, "-o", "/mnt/out/run.json"])
    finally:
        print("@lab served", served(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

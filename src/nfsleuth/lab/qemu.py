"""QEMU and User-Mode Linux: a guest and its place in the network come in, command lines go out.

They run as nobody: a guest needs no right on the machine but its TAP, which is made for that user, and /dev/kvm.
Options: QEMU's "Invocation" manual; Linux, Documentation/virt/uml/user_mode_linux_howto_v2.rst.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from nfsleuth.lab.kernels import Kernel

PROGRAM = "qemu-system-x86_64"
USER, GROUP = "nobody", "nogroup"
KVM = Path("/dev/kvm")
KERNEL_WORDS = "console=ttyS0 quiet loglevel=3 panic=1 rdinit=/init"
PORT = "/dev/ttyS1"  # where the agent of a guest under QEMU speaks
MIB = 1 << 20


@dataclass(frozen=True)
class Machine:
    """What a guest is made of: `folder` is its own, and nobody's; `accel` is kvm or tcg."""

    kernel: Kernel
    initramfs: Path
    folder: Path
    memory: int  # bytes
    accel: str


def as_nobody(accel: str = "tcg") -> list[str]:
    """What to put before a command so that it runs as nobody; with the group of /dev/kvm if it needs that."""
    groups = ["--groups", str(KVM.stat().st_gid)] if accel == "kvm" else ["--clear-groups"]
    return ["setpriv", "--reuid", USER, "--regid", GROUP, *groups]


def own_folder(folder: Path) -> Path:
    """Make `folder` for a guest: it may write there."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, *_nobody())
    return folder


def _nobody() -> tuple[int, int]:
    import grp
    import pwd

    return pwd.getpwnam(USER).pw_uid, grp.getgrnam(GROUP).gr_gid


def command(machine: Machine, nic: list[str]) -> list[str]:
    """A guest whose agent speaks on standard input and output; its console goes to `console` in its folder."""
    return [
        *as_nobody(machine.accel),
        PROGRAM, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-accel", machine.accel, "-cpu", "host" if machine.accel == "kvm" else "max",
        "-m", str(machine.memory // MIB),
        "-kernel", str(machine.kernel.kernel), "-initrd", str(machine.initramfs), "-append", KERNEL_WORDS,
        "-serial", f"file:{machine.folder / 'console'}",
        "-chardev", "stdio,id=agent,signal=off", "-serial", "chardev:agent",
        *nic,
    ]  # fmt: skip


def uml_command(machine: Machine, tap: str, mac: str) -> list[str]:
    """User-Mode Linux: a kernel as a process, with a TAP for a NIC. Its console is where its agent speaks."""
    return [
        *as_nobody(),
        str(machine.kernel.kernel), f"mem={machine.memory // MIB}M", f"initrd={machine.initramfs}",
        f"eth0=tuntap,{tap},{mac}", f"uml_dir={machine.folder}/", "con=null", "con0=fd:0,fd:1", "quiet", "loglevel=3",
    ]  # fmt: skip


def device(model: str, mac: str) -> list[str]:
    """A NIC of the model that QEMU calls `model`, without a boot ROM."""
    return ["-device", f"{model},netdev=n0,mac={mac},romfile="]


def user() -> list[str]:
    """libslirp."""
    return ["-netdev", "user,id=n0"]


def tap(name: str, *, vhost: bool = False) -> list[str]:
    """A TAP that is there."""
    return ["-netdev", f"tap,id=n0,ifname={name},script=no,downscript=no" + (",vhost=on" if vhost else "")]


def hub(name: str) -> list[str]:
    """A hub of QEMU between the NIC and a TAP."""
    return [
        "-netdev", f"tap,id=t0,ifname={name},script=no,downscript=no",
        "-netdev", "hubport,id=n1,hubid=0,netdev=t0",
        "-netdev", "hubport,id=n0,hubid=0",
    ]  # fmt: skip


def opened(descriptor: int) -> list[str]:
    """A macvtap device that is open."""
    return ["-netdev", f"tap,id=n0,fd={descriptor}"]


def stream(socket: Path) -> list[str]:
    """passt, which listens on `socket`."""
    return ["-netdev", f"stream,id=n0,server=off,addr.type=unix,addr.path={socket}"]


def dump(file: Path, snaplen: int) -> list[str]:
    """Record what passes the guest's netdev; not for TAPs, whose header QEMU 7 writes in front of the frames."""
    return ["-object", f"filter-dump,id=d0,netdev=n0,file={file},maxlen={snaplen or 65536}"]

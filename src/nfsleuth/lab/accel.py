"""Whether KVM works: /dev/kvm may exist and hang a guest. A boot decides, and holds until the machine reboots."""

from __future__ import annotations

import contextlib
from pathlib import Path

from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.lab import initramfs, qemu
from nfsleuth.lab.agents import Agent
from nfsleuth.lab.kernels import Kernel
from nfsleuth.lab.supervise import RECORDS

CHOICES = ("auto", "kvm", "tcg")
PROOF = 20  # seconds in which a kernel under KVM has long booted
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # random(4)


def chosen(wanted: str) -> str:
    """What is known before a boot: `wanted`, or what an earlier proof said; "auto" if one is needed."""
    if wanted not in CHOICES:
        raise NfsleuthError(f"no accelerator {wanted!r}; choose one of {', '.join(CHOICES)}")
    if not qemu.KVM.exists():
        if wanted == "kvm":
            raise NfsleuthError("no /dev/kvm here; use --accel tcg, or auto", Exit.PARTS_MISSING)
        return "tcg"
    if wanted != "auto":
        return wanted
    with contextlib.suppress(OSError):
        boot, _, answer = _memory().read_text().partition(" ")
        if boot == _boot() and answer in CHOICES[1:]:
            return answer
    return "auto"


def remember(answer: str) -> None:
    """Keep the answer of a proof until the machine reboots."""
    RECORDS.mkdir(mode=0o700, parents=True, exist_ok=True)
    _memory().write_text(f"{_boot()} {answer}")


def proved(kernel: Kernel, folder: Path, logs: Path) -> str:
    """Boot `kernel` under KVM: "kvm" if its agent speaks within PROOF seconds, else "tcg"."""
    qemu.own_folder(folder)
    image = folder / "initramfs"
    initramfs.write(image, kernel, initramfs.programs(()), {"role": "proof", "port": qemu.PORT}, {})
    machine = qemu.Machine(kernel, image, folder, 256 << 20, "kvm")
    agent = Agent("proof of KVM", qemu.command(machine, ["-nic", "none"]), logs / "kvm-proof.log")
    try:
        agent.expect("booted", PROOF)
    except NfsleuthError:
        return "tcg"
    finally:
        agent.kill()
    return "kvm"


def _memory() -> Path:
    return RECORDS / "accelerator"


def _boot() -> str:
    return BOOT_ID.read_text().strip()

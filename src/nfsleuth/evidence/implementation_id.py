"""What the client's kernel calls itself in EXCHANGE_ID.

What it sees: nii_domain and nii_name of NFSv4.1 and later; Linux sends its uname there.
Why it tells clients apart: clouds, WSL, container desktops and single-board computers run kernels of their own.
Known confusions: a cloud kernel installed on metal; EC2's metal instances; generic kernels, which run everywhere and
say nothing. Absent in v3 and v4.0 and with `nfs.send_implementation_id=0`.
Example: "Linux 6.1.0-56-cloud-amd64 ..." is Debian's kernel for guests; "...-raspi" runs on a board.
Source: RFC 8881 section 18.35, fs/nfs/nfs4xdr.c encode_exchange_id; names of distributions' kernel packages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.model import Evidence, Group, State
from nfsleuth.evidence.rules import LONGEST_TEXT, Rules
from nfsleuth.evidence.weights import Weight, as_guest, set_aside

RULE = "implementation_id"
GROUP = Group.IDENTITY
SHOWN = 80  # characters of the id in `seen`

# The first pattern found counts. They look at the release only: the words after it name builders, not machines.
WEIGHTS = {
    r"microsoft-standard": Weight(
        "kernel of WSL2",
        {State.USER_NAT: 6.0, State.KERNEL_NAT: 6.0, State.BRIDGED: 5.0},  # bridged: its mirrored mode
        "prior; microsoft/WSL releases",
        {"Hyper-V": 6.0},
        virtual=6.0,
    ),
    r"linuxkit": Weight("kernel of Docker Desktop's guest", as_guest(6.0), "prior", virtual=5.0),
    r"-orbstack": Weight(
        "kernel of OrbStack's guest", as_guest(6.0), "prior", {"Apple Virtualization": 4.0}, virtual=5.0
    ),
    r"-azure": Weight("Azure's kernel", as_guest(5.0), "prior", {"Azure": 4.0}, virtual=5.0),
    r"-(gcp|gke)": Weight("Google cloud's kernel", as_guest(5.0), "prior", {"GCE": 4.0}, virtual=5.0),
    # EC2 rents whole machines too (.metal): less.
    r"-aws|\.amzn": Weight("EC2's kernel", as_guest(3.5), "prior", {"EC2": 4.0}, virtual=3.5),
    r"-oracle": Weight("Oracle cloud's kernel", as_guest(4.0), "prior", {"OCI": 3.0}, virtual=4.0),
    r"-kvm\b": Weight("kernel for KVM guests", as_guest(5.0), "prior", {"KVM/QEMU": 4.0}, virtual=5.0),
    r"-cloud-|-cloud\b|-virtual\b|-virt\b": Weight("kernel for guests", as_guest(4.0), "lab", virtual=4.0),
    r"-pve\b": Weight(
        "Proxmox's kernel: host or container",
        {State.HYPERVISOR: 2.5, State.CONTAINER: 1.5, **{s: -w for s, w in as_guest(1.0).items()}},
        "prior",
        virtual=-1.0,
    ),
    r"-rpi|-raspi|-tegra|-sunxi|-rockchip|-meson": Weight(
        "kernel of a board", {s: -w for s, w in as_guest(4.0).items()}, "prior", virtual=-4.0
    ),
}


def observe(client: Facts, around: Household, rules: Rules) -> Iterator[Evidence]:
    """One row per implementation id."""
    for domain, name in list(client.implementations)[:4]:
        seen, frames = f"{domain} {name[:SHOWN]}", client.implementations.frames((domain, name))
        release = kernel_release(name) or name[:LONGEST_TEXT]
        for pattern, weight in WEIGHTS.items():
            if re.search(pattern, release):
                yield weight.evidence(RULE, GROUP, seen, frames)
                break
        else:
            why = "a generic kernel runs on machines and guests alike"
            yield set_aside(RULE, GROUP, "names no platform", seen, why, frames=frames)


def kernel_release(name: str) -> str:
    """The release in "Linux 6.1.0-56-amd64 #1 SMP ...", or "" if it is not Linux's uname."""
    words = name[:LONGEST_TEXT].split(" ", 2)
    return words[1] if len(words) > 1 and words[0] == "Linux" else ""


def kernel_version(client: Facts) -> tuple[int, int] | None:
    """Major and minor number of the kernel that the client names, or None."""
    for _, name in client.implementations:
        match = re.match(r"(\d{1,3})\.(\d{1,4})", kernel_release(name))
        if match:
            return int(match[1]), int(match[2])
    return None

"""Who the client id says the client is: operating system, generation, program.

What it sees: the SETCLIENTID id or EXCHANGE_ID owner, and where there is none, what `client_os` finds instead.
Why it tells clients apart: each client writes ids in its own form. Which software mounts decides what its ports and
its SYN may mean; ESXi's own client is a hypervisor's; a UUID that VMware made shows its guest.
Known confusions: ids are free text; libnfs is also inside QEMU, whose nfs:// driver speaks for a hypervisor.
Example: "Linux NFSv4.2 web01" is Linux's uniform id; "Libnfs pid:2501 ..." is a program, whatever it runs on.
Source: fs/nfs/nfs4proc.c nfs4_init_*uniform_client_string; libnfs lib/nfs_v4.c; FreeBSD nfscl_fillclid; lab.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.client_os import FREEBSD_OWNER, short, software
from nfsleuth.evidence.model import Evidence, Group, State
from nfsleuth.evidence.rules import Rules
from nfsleuth.evidence.weights import Weight, as_guest, set_aside

RULE = "owner_string"
GROUP = Group.IDENTITY
WEIGHTS = {
    "esxi": Weight("ESXi's own client", {State.HYPERVISOR: 4.0}, "prior", {"VMware": 4.0}, virtual=-3.0),
    # SMBIOS UUIDs of VMware begin with 56 4d, "VM" in ASCII.
    "vmware uuid": Weight("host UUID made by VMware", as_guest(4.0), "prior", {"VMware": 4.0}, virtual=4.0),
    "known": Weight("names its software", {}, "lab; fs/nfs/nfs4proc.c"),
}
LINUX_UNIFORM = re.compile(rb"^(?:GNU/)?Linux NFSv4\.\d ")
SHA256_HEX = re.compile(rb"[0-9a-f]{64}")


def observe(client: Facts, around: Household, rules: Rules) -> Iterator[Evidence]:
    """One row per owner string, or one for the software as its habits tell it."""
    owners = {record.owner: record.frame for record in client.client_ids}
    for owner, frame in list(owners.items())[:4]:
        case, says = _read(owner, client, around)
        yield WEIGHTS[case].evidence(RULE, GROUP, short(owner, 64), (frame,), says=says)
    if not owners:
        system = software(client, around)
        if system.name:
            yield WEIGHTS["known"].evidence(RULE, GROUP, "; ".join(system.reasons)[:120], says=f"client: {system}")
        else:
            why = "no client id, and no habit that is one software's alone"
            yield set_aside(RULE, GROUP, "client software not known", "no owner string", why)


def _read(owner: bytes, client: Facts, around: Household) -> tuple[str, str]:
    """Case of WEIGHTS and words for one owner string."""
    if FREEBSD_OWNER.match(owner):
        return ("vmware uuid", "") if owner[8:12] == b"564d" else ("known", "FreeBSD's client id")
    if LINUX_UNIFORM.match(owner):
        form = (
            "with a unique id" if SHA256_HEX.search(owner) else "by address" if owner.endswith(b" tcp") else "by name"
        )
        return "known", f"Linux's client id, {form}"
    system = software(client, around)
    if system.name == "esxi":
        return "esxi", ""
    return "known", f"client: {system}"

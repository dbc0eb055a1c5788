"""The client's SYN, against the system that NFS names.

What it sees: order of the TCP options, window, window scale and MSS of each SYN, written as p0f writes signatures.
Why it tells clients apart: behind a user-mode network the SYN is the host's, while NFS inside is the guest's. A Linux
client whose SYN is Windows's or macOS's is a guest there; so, more weakly, is one whose SYN a kernel of that version
does not send. passt's SYN has window 65535 and scale 7. Packet translation leaves the guest's SYN as it is.
Known confusions: tuned windows and buffers; proxies and load balancers, which end connections too; equal systems
inside and outside, which is the usual case and shows nothing.
Example: 64:1460:65535,7:mss,sok,ts,nop,ws:df from a Linux client is passt, or a tuned machine.
Source: p0f.fp (layouts); Linux net/ipv4/tcp.c tcp_init and tcp_output.c, commit 572be9bf9d0d; lab.
"""

from __future__ import annotations

from collections.abc import Iterator

from nfsleuth.clients.facts import Facts, Household, Syn
from nfsleuth.evidence.client_os import software
from nfsleuth.evidence.implementation_id import kernel_version
from nfsleuth.evidence.model import Evidence, Group, State
from nfsleuth.evidence.rules import Rules
from nfsleuth.evidence.weights import Weight, set_aside

RULE = "syn_fingerprint"
GROUP = Group.TRANSPORT
WEIGHTS = {
    # ln(.35 / .002), guessed, and the layout cannot be tuned on any of these systems.
    "other system": Weight("its SYN is another system's", {State.USER_NAT: 6.0}, "prior; p0f.fp", virtual=3.0),
    # Windows 65535 come from an enlarged receive buffer: passt sets one, a tuned machine may.
    "passt": Weight("its SYN is as passt's", {State.USER_NAT: 2.0}, "lab"),
    "other window": Weight("its SYN is of another Linux version", {State.USER_NAT: 1.5}, "prior; p0f.fp"),
    "newer buffers": Weight("its SYN is of a newer Linux", {State.USER_NAT: 1.0}, "prior; commit 572be9bf9d0d"),
    # Scale below 7 takes less than 512 MB of memory: too small for a machine that runs guests, unless tuned.
    "small memory": Weight("its SYN is of a small machine, no host", {State.USER_NAT: -2.0}, "net/ipv4/tcp.c; lab"),
}
LAYOUTS = {  # option layouts that only one family sends (p0f.fp)
    "mss,sok,ts,nop,ws": "linux",
    "mss,nop,nop,sok,nop,ws": "linux",
    "mss,nop,nop,ts,nop,ws": "linux",
    "mss,nop,ws,nop,nop,sok": "windows",
    "mss,nop,ws,nop,nop,ts,sok,eol": "macos",
    "mss,nop,ws,sok,ts": "freebsd",
    "mss,nop,nop,sok,nop,ws,nop,nop,ts": "openbsd",
}
# Systems whose own client may send a layout of the other: ESXi's stack comes from FreeBSD, and Solaris's SYN has the
# options of Windows's (p0f.fp).
ALIKE = {("esxi", "freebsd"), ("solaris", "windows"), ("windows", "freebsd")}
PASST_WINDOW, PASST_SCALE = 65535, 7
# Initial windows in MSS: 20 from Linux 3.11 (p0f.fp), 44 since 4.20 (65535 rounded down to whole segments).
OLD_WINDOW_MSS, NEW_WINDOW_MSS = (4, 10, 20), 44
OLD_WINDOW_BEFORE, NEW_WINDOW_FROM = (4, 19), (5, 0)  # between them distributions have either
# tcp_rmem[2] is memory/128, at most 6 MB until 6.15 and 32 MB from 6.16 (572be9bf9d0d): scale 7 and 10.
SCALE_6_MB, SCALE_32_MB, BUFFERS_FROM = 7, 10, (6, 16)


def observe(client: Facts, around: Household, rules: Rules) -> Iterator[Evidence]:
    """One row per kind of SYN, at most four; the raw signature is always shown."""
    system = software(client, around)
    for syn in list(client.syns)[:4]:
        seen, frames = str(syn), client.syns.frames(syn)
        case = _case(syn, system.name, client) if system.is_kernel else ""
        if case and (system.sure or case == "small memory"):
            yield WEIGHTS[case].evidence(RULE, GROUP, seen, frames)
            continue
        why = (
            "it is what such a client sends" if system.is_kernel else "what the client's system would send is not known"
        )
        yield set_aside(RULE, GROUP, f"SYN of {family(syn) or 'no known system'}", seen, why, frames=frames)


def family(syn: Syn) -> str:
    """The family of systems that sends this option layout, or ""."""
    return LAYOUTS.get(syn.layout.replace(" ", ""), "")


def _case(syn: Syn, system: str, client: Facts) -> str:
    """Key of WEIGHTS, or "" where the SYN fits the system."""
    sender = family(syn)
    if sender and sender != system and (system, sender) not in ALIKE:
        return "other system"
    if system != "linux" or sender != "linux" or syn.scale < 0:
        return ""
    if syn.window == PASST_WINDOW and syn.scale == PASST_SCALE:
        return "passt"
    version = kernel_version(client)
    if version is not None and _other_window(syn, version):
        return "other window"
    if version is not None and version < BUFFERS_FROM and syn.scale == SCALE_32_MB:
        return "newer buffers"
    return "small memory" if syn.scale < SCALE_6_MB and syn.window != PASST_WINDOW else ""


def _other_window(syn: Syn, version: tuple[int, int]) -> bool:
    if not syn.mss or syn.window % syn.mss:
        return False
    segments = syn.window // syn.mss
    if version < OLD_WINDOW_BEFORE:
        return segments == NEW_WINDOW_MSS
    return version >= NEW_WINDOW_FROM and segments in OLD_WINDOW_MSS

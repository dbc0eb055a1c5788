"""Hand-made reports for tests of what is printed: ordinary ones, and ones whose every text is hostile."""

from __future__ import annotations

from nfsleuth.clients.facts import Facts, Traffic
from nfsleuth.evidence.model import HYPOTHESES, Evidence, Group, State
from nfsleuth.verdict.model import Capture, Host, Platform, Report, Verdict, Weighed

START = 1_772_366_624_123_456_789  # 2026-03-01 12:03:44 UTC


def facts(address: str = "10.0.0.7", *, name: str = "vm-a", mac: str = "52:54:00:12:34:56", reads: int = 120) -> Facts:
    made = Facts(address, connections=2, calls=412, nfs_calls=400, first=START, last=START + 12_300_000_000)
    for port in (871, 802):
        made.ports.see(port, 3, START)
    made.macs.see(mac, 3, START)
    if name:
        made.names.see(name, 5, START)
    made.versions.see("4.0", 5, START)
    made.servers.see("10.0.0.1", 5, START)
    made.implementations.see(("kernel.org", "Linux 6.1.0-13-amd64 #1 SMP x86_64"), 9, START)
    made.reads = Traffic(reads, reads * 65536, reads * 500_000)
    return made


def states(leading: State, probability: float) -> dict[State, float]:
    rest = (1 - probability) / (len(HYPOTHESES) - 1)
    return {s: probability if s is leading else rest for s in HYPOTHESES}


def evidence(says: str = "MAC prefix of KVM/QEMU", seen: str = "52:54:00:12:34:56") -> tuple[Weighed, ...]:
    return (
        Weighed(
            Evidence(
                "mac_prefix",
                Group.LINK,
                says,
                seen,
                toward={State.BRIDGED: 4.6, State.NATIVE: -1.0},
                platform={"KVM/QEMU": 3.0},
                frames=(3, 8, 12),
                source="lab",
            ),
            4.6,
        ),
        Weighed(
            Evidence(
                "source_port",
                Group.TRANSPORT,
                "reserved source port",
                "871, 802",
                toward={State.USER_NAT: -2.0},
                frames=(3,),
            ),
            -0.4,
        ),
        Weighed(
            Evidence("ttl", Group.HOP, "TTL 64", "64", counted=False, why_not="a router rewrote it", frames=(3, 4)),
            0.0,
        ),
    )


def verdict(
    client: str = "10.0.0.7",
    *,
    state: State = State.BRIDGED,
    leading: State | None = None,
    probability: float = 0.98,
    name: str = "vm-a",
    address: str | None = None,
    because: str = "MAC 52:54:00 is KVM/QEMU's, and no sign speaks against it",
    platform: str | None = "KVM/QEMU",
    host: str | None = None,
    reads: int = 120,
    weighed: tuple[Weighed, ...] | None = None,
) -> Verdict:
    return Verdict(
        client,
        facts(address or client, name=name, reads=reads),
        state,
        leading or state,
        states(leading or state, probability),
        0.99,
        Platform(platform, 0.97) if platform else None,
        because,
        evidence() if weighed is None else weighed,
        ("without mac_prefix: unknown (0.55)",),
        host,
    )


def capture(path: str = "office.pcap", **oddities: int) -> Capture:
    counts = oddities or {"not_ip": 40, "gap": 3, "segment_repeated": 120}
    return Capture(
        path, "pcap (zst)", 41_203, 12_345_678, START, START + 12_300_000_000, counts, dict.fromkeys(counts, 812)
    )


def report(*clients: Verdict, hosts: tuple[Host, ...] = (), captures: tuple[Capture, ...] | None = None) -> Report:
    return Report(captures or (capture(),), clients, hosts, "evidence", 9312, 14)


def ordinary() -> Report:
    """Six clients of different kinds, two of them on one host, one of them in doubt."""
    return report(
        verdict(),
        verdict(
            "10.0.0.8",
            state=State.NATIVE,
            name="workstation-3",
            platform=None,
            because="Intel MAC, port 700, TTL 64",
            reads=20,
        ),
        verdict(
            "10.0.0.9#1",
            state=State.USER_NAT,
            name="guest-1",
            host="h1",
            because="callback 10.0.2.15 behind 10.0.0.9",
            reads=64,
        ),
        verdict(
            "10.0.0.9#2",
            state=State.USER_NAT,
            name="guest-2",
            host="h1",
            because="callback 10.0.2.15 behind 10.0.0.9",
            reads=7,
        ),
        verdict(
            "10.0.0.12",
            state=State.UNKNOWN,
            leading=State.NATIVE,
            probability=0.55,
            name="",
            platform=None,
            because="random MAC and nothing else",
            reads=0,
        ),
        verdict(
            "10.0.0.13",
            state=State.CONFLICT,
            leading=State.BRIDGED,
            probability=0.5,
            name="two-faces",
            because="link says guest, identity says native",
        ),
        hosts=(Host("h1", ("10.0.0.9#1", "10.0.0.9#2"), 0.98, ("same address 10.0.0.9", "same MAC")),),
    )


HOSTILE = "\x1b[2Jevil\r\n\u202egnp.exe\x9b31m<script>alert(1)</script>=cmd" + "宽" * 40 + "x" * 300


def hostile() -> Report:
    """A report in which all text is hostile, and addresses are as long as they get."""
    rows = tuple(
        Weighed(
            Evidence(
                HOSTILE, group, HOSTILE, HOSTILE, frames=(2**62,) * 4, counted=counted, why_not=HOSTILE, host=HOSTILE
            ),
            weight,
        )
        for group, counted, weight in (
            (Group.LINK, True, 3.0),
            (Group.IDENTITY, True, -123456.0),
            (Group.USE, False, 0.0),
        )
    )
    long = "fe80:1234:5678:9abc:def0:1234:5678:9abc%"
    clients = tuple(
        verdict(
            f"{long}{n}{HOSTILE if n == 2 else ''}",
            state=state,
            leading=State.NATIVE,
            name=HOSTILE,
            because=HOSTILE,
            platform=HOSTILE,
            host=HOSTILE,
            weighed=rows,
        )
        for n, state in enumerate((State.NATIVE, State.CONFLICT, State.UNKNOWN))
    )
    host = Host(HOSTILE, tuple(c.id for c in clients), 0.9, (HOSTILE, HOSTILE))
    return report(*clients, hosts=(host,), captures=(capture(HOSTILE, gap=2**62, **{HOSTILE: 7}), capture("b.pcap")))

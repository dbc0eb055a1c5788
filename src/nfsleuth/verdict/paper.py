"""The two rules of the 2013 study alone, as printed: R. Jellinek and A. Vail, "NFS Trace Deconstruction".

Facts of one client come in, evidence rows and a `Belief` go out. Rule one: a MAC prefix of the study's Table 1 is a
guest. Rule two: otherwise the read rate is compared with the means of its Table 2. Nothing is gated, nothing doubted:
what these rules get wrong is the point of the comparison.
"""

from __future__ import annotations

from nfsleuth.clients.facts import Facts
from nfsleuth.evidence.addresses import mac_number
from nfsleuth.evidence.model import HYPOTHESES, Evidence, Group, State
from nfsleuth.evidence.rules import mac_range
from nfsleuth.verdict.fuse import Belief

# Table 1, the names as this tool writes them. 00:03:FF is Virtual PC's in truth; the study has Microsoft.
TABLE_1 = {
    "52:54:00": "KVM/QEMU",
    "00:50:56": "VMware",
    "00:0C:29": "VMware",
    "00:05:69": "VMware",
    "00:03:FF": "Hyper-V",
    "00:1C:42": "Parallels",
    "00:0F:4B": "Virtual Iron",
    "00:16:3E": "Xen",
    "08:00:27": "VirtualBox",
}
# Table 2: mean read bandwidth in MB/s (10^6 bytes) on the study's testbed.
TABLE_2 = {
    "native": (48.3, State.NATIVE),
    "virtio, bridged": (28.3, State.BRIDGED),
    "virtio, NAT": (11.9, State.USER_NAT),
    "RTL8139, bridged": (10.2, State.BRIDGED),
    "RTL8139, NAT": (4.6, State.USER_NAT),
}
# The study read files of many MB. Fewer reads than these have no rate worth comparing.
LEAST_READS, LEAST_BYTES = 16, 1_000_000
# The study gives no probabilities. One that says "this is the answer" and still sums to 1 with the others:
SURE = 0.9


def paper_rows(client: Facts) -> list[Evidence]:
    """The row of the rule that decides, or none if there is nothing to go by."""
    return _by_mac(client) or _by_rate(client)


def paper_belief(rows: list[Evidence]) -> Belief:
    """What the study would say: the state of the rule that decided, else native."""
    state = next(iter(rows[0].toward)) if rows else State.NATIVE
    states = {s: SURE if s is state else (1 - SURE) / (len(HYPOTHESES) - 1) for s in HYPOTHESES}
    guest = states[State.BRIDGED] + states[State.USER_NAT] + states[State.KERNEL_NAT] / 2
    return Belief(states, {}, state, state, guest)


def read_rate(client: Facts) -> float | None:
    """MB/s while reads were outstanding, or None where the client read too little."""
    reads = client.reads
    if reads.calls < LEAST_READS or reads.bytes < LEAST_BYTES or reads.busy <= 0:
        return None
    return reads.bytes * 1e3 / reads.busy


def _by_mac(client: Facts) -> list[Evidence]:
    for mac in client.macs:
        number = mac_number(mac)
        for prefix, platform in TABLE_1.items():
            low, high = mac_range(prefix)
            if number is not None and low <= number <= high:
                return [
                    Evidence(
                        rule="paper_mac",
                        group=Group.LINK,
                        says=f"MAC of {platform}",
                        seen=f"{mac} begins with {prefix}",
                        toward={State.BRIDGED: 1.0},
                        platform={platform: 5.0},
                        frames=client.macs.frames(mac),
                        source="Jellinek and Vail 2013, Table 1",
                    )
                ]
    return []


def _by_rate(client: Facts) -> list[Evidence]:
    rate = read_rate(client)
    if rate is None:
        return []
    name = min(TABLE_2, key=lambda n: abs(TABLE_2[n][0] - rate))
    mean, state = TABLE_2[name]
    return [
        Evidence(
            rule="paper_bandwidth",
            group=Group.TIMING,
            says=f"reads like {name}",
            seen=f"{rate:.1f} MB/s, nearest mean {mean} MB/s",
            toward={state: 1.0},
            source="Jellinek and Vail 2013, Table 2",
        )
    ]

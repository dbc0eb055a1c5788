"""What a heuristic says: an `Evidence` row, the one door between observation and verdict.

Weights are natural-log likelihood ratios ("nats": 2.3 nats are odds of 10 to 1). A row gives, per state, how much more
(or less) likely the observation is in that state than in an ordinary one; states that are not named get 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field


class State(StrEnum):
    """What a client can be. `UNKNOWN` and `CONFLICT` are answers, never hypotheses."""

    NATIVE = "native"
    BRIDGED = "bridged-vm"  # a guest with a MAC of its own on the wire
    USER_NAT = "user-nat-vm"  # a guest behind a user-mode network: SLiRP, passt, VirtualBox or VMware NAT
    KERNEL_NAT = "kernel-nat"  # behind packet translation: libvirt's or a container engine's masquerade, a home router
    CONTAINER = "container"
    HYPERVISOR = "hypervisor"  # a virtualisation host that keeps its guests' disks on NFS
    UNKNOWN = "unknown"
    CONFLICT = "conflict"


HYPOTHESES = (
    State.NATIVE,
    State.BRIDGED,
    State.USER_NAT,
    State.KERNEL_NAT,
    State.CONTAINER,
    State.HYPERVISOR,
)


class Group(StrEnum):
    """Signs with one common cause. Within a group the strongest counts whole, the rest 0.3 of their weight."""

    LINK = "link"  # MAC, EUI-64, a MAC in an owner string
    ADDRESS = "address"  # callback address, addresses embedded in ids
    TRANSPORT = "transport"  # source port, SYN, keep-alives: whose TCP stack is on the wire
    HOP = "hop"  # TTL
    IDENTITY = "identity"  # implementation id, host name, owner string
    COMPANY = "company"  # several identities behind one address or MAC
    USE = "use"  # what is done with the files
    TIMING = "timing"  # handshake latency, rates


class Evidence(Struct, frozen=True):
    """One observation and what it means.

    rule: name of the heuristic's module. says: what it means, a few words. seen: the raw observation, always.
    toward: nats per state. platform: nats per platform name (the names of `evidence/data/mac_prefixes.csv`).
    virtual: nats for "a guest" against "a machine or a container" where the state leaves that open (kernel NAT).
    host: identity of the physical host that the observation gives away, "" none.
    counted: False if it was set aside, and then `why_not` says why.
    source: where the weight comes from: "lab", "prior", or a citation.
    """

    rule: str
    group: Group
    says: str
    seen: str
    toward: Mapping[State, float] = field(default_factory=dict)
    platform: Mapping[str, float] = field(default_factory=dict)
    virtual: float = 0.0
    host: str = ""
    frames: tuple[int, ...] = ()
    counted: bool = True
    why_not: str | None = None
    source: str = "prior"

"""How fast it takes in data by itself, beside clients of known kinds at the same site.

What it sees: the median own speed (bytes by the time that the client alone took) relative to the native clients of a
profile, for READs of one size on one link, where at least 10 intervals were limited by the client.
Why it tells clients apart: what a guest receives passes an emulated or paravirtual NIC, and behind user-mode NAT a
second TCP in a single thread; both cost time that a machine's own NIC does not.
Known confusions: a slow disk or a busy processor behind a native client; vhost guests at the speed of the line; a
profile of another server, link or time of day. Between the study's virtio behind NAT and its bridged RTL8139 lie 15 %:
so it never proves a guest, and its weight is capped below what an answer takes.
Example: 38 MB/s where native clients of the profile reach 410 MB/s and bridged virtio guests 30 to 45 MB/s.
Source: R. Jellinek, A. Vail, "NFS Trace Deconstruction", Table 2; survey section 5; `nfsleuth profile learn`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.model import Evidence, Group, State
from nfsleuth.evidence.rules import Rules
from nfsleuth.evidence.weights import Weight, set_aside

if TYPE_CHECKING:
    from nfsleuth.bandwidth.recognise import Recognition

RULE = "read_speed"
GROUP = Group.TIMING
# The most that a profile's likelihood ratio against native may weigh, either way (survey 5); `observe` scales it down.
WEIGHTS = {
    "bridged": Weight(
        "reads like bridged guests, or not", {State.BRIDGED: 1.0}, "survey 5: cap of the likelihood ratio"
    ),
    "user nat": Weight(
        "reads like user-mode NAT, or not", {State.USER_NAT: 1.5}, "survey 5: cap of the likelihood ratio"
    ),
    "kernel nat": Weight(
        "reads like kernel NAT, or not", {State.KERNEL_NAT: 1.0}, "survey 5: cap of the likelihood ratio"
    ),
}


def observe(client: Facts, around: Household, rules: Rules) -> Iterator[Evidence]:
    """One row if there is a profile and the client moved data; set aside where that cannot be compared."""
    if rules.profile is None or not client.rates.cells:
        return
    from nfsleuth.bandwidth.recognise import recognise  # most runs have no profile

    found = recognise(client.rates, rules.profile, rules.link)
    if isinstance(found, str):
        rate = client.rates.client_limited_rate
        seen = "no client-limited interval" if rate is None else f"own speed {rate:.3g} MB/s"
        yield set_aside(RULE, GROUP, "own speed", seen, found)
        return
    seen = _seen(found)
    if not found.fits_something:
        yield set_aside(RULE, GROUP, "reads like no client of the profile", seen, "it fits no label of the profile")
    elif State.NATIVE.value not in found.states:
        yield set_aside(
            RULE, GROUP, f"reads like {found.fits[0].label.name}", seen, "the profile has no native clients"
        )
    else:
        toward = _toward(found)
        says = f"reads like {found.fits[0].label.name}"
        yield Evidence(RULE, GROUP, says, seen, toward=toward, source="profile; caps: survey 5")


def _toward(found: Recognition) -> dict[State, float]:
    """ln of each state's likelihood ratio against native, within the caps of `WEIGHTS`."""
    native = found.states[State.NATIVE.value]
    return {
        state: max(-cap, min(cap, found.states[state.value] - native))
        for weight in WEIGHTS.values()
        for state, cap in weight.toward.items()
        if state.value in found.states
    }


def _seen(found: Recognition) -> str:
    from nfsleuth.bandwidth.plan import human  # as above

    labels = ", ".join(f"{fit.label.name} p {fit.p:.2g}" for fit in found.fits[:3])
    what = f"{found.kind.operation} {human(found.kind.size)}"
    return f"own {found.own:.3g} MB/s at {what}, {found.intervals} intervals; ln ratio {found.ratio:+.2f}; {labels}"

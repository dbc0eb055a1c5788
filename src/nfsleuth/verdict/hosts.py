"""Verdicts and their household in, physical hosts out: which clients run on one machine, how likely, and why.

Two causes are strong enough. An address is one machine's stack, so everything that comes from it without a further hop
runs on that machine if its guests are behind a user-mode network; behind packet translation only where the guests' own
addresses show an engine's network, since a home router looks the same. And some makers write the host into the MAC.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from nfsleuth.evidence.gate import hops, usual_ttl
from nfsleuth.evidence.model import State
from nfsleuth.verdict.model import Host, Verdict

LEAST_NAT = 0.5  # probability of a NAT state from which a client counts as behind its address
# Odds that remain against a group whose members are certain: addresses move between machines (DHCP) within a capture.
ONE_ADDRESS = 0.97
ENGINE_NETWORK = 0.9  # a guests' network of libvirt or Docker may itself be routed on by another box
# ln odds of 4: imaged Hyper-V hosts share their bytes (Microsoft KB2804678).
ONE_MAC_HINT = 0.98


def hosts_of(verdicts: Iterable[Verdict]) -> tuple[Host, ...]:
    """Hosts with at least two clients, "host-1" the first by address; a client belongs to one at most."""
    verdicts = list(verdicts)
    taken: set[str] = set()
    found = []
    for host in [*_by_address(verdicts), *_by_hint(verdicts)]:
        if not taken & set(host.clients):
            taken |= set(host.clients)
            found.append(host)
    return tuple(replace(host, id=f"host-{number}") for number, host in enumerate(found, 1))


def _by_address(verdicts: list[Verdict]) -> Iterable[Host]:
    by_address: dict[str, list[Verdict]] = {}
    for v in verdicts:
        by_address.setdefault(v.facts.address, []).append(v)
    for address, here in by_address.items():
        if len(here) < 2:
            continue
        direct = [v for v in here if _hops(v) == 0]
        guests = [v for v in direct if v.states[State.USER_NAT] >= LEAST_NAT]
        translated = [
            v
            for v in here
            if _hops(v) == 1 and v.states[State.KERNEL_NAT] >= LEAST_NAT and f"address:{address}" in _hints(v)
        ]
        members = [*(direct if guests or translated else ()), *translated]
        if len(members) < 2:
            continue
        reasons = []
        if guests:
            reasons.append(f"{len(guests)} behind the user-mode network of {address}")
        if translated:
            reasons.append(f"{len(translated)} in a guests' network behind {address}")
        own = len(direct) - len(guests)
        if own and members != translated:
            reasons.append(f"{own} from the same address with full TTL")
        least = min(_sureness(v) for v in (*guests, *translated))
        ceiling = ENGINE_NETWORK if translated else ONE_ADDRESS
        yield Host(f"address:{address}", tuple(v.id for v in members), least * ceiling, tuple(reasons))


def _by_hint(verdicts: list[Verdict]) -> Iterable[Host]:
    by_hint: dict[str, list[Verdict]] = {}
    for v in verdicts:
        for hint in _hints(v):
            by_hint.setdefault(hint, []).append(v)
    for hint, members in sorted(by_hint.items()):
        if len(members) < 2 or hint.startswith("address:"):
            continue
        reason = next(w.evidence.says for v in members for w in v.weighed if w.evidence.host == hint)
        probability = min(v.virtual for v in members) * ONE_MAC_HINT
        yield Host(hint, tuple(v.id for v in members), probability, (f"each {reason}",))


def _hints(verdict: Verdict) -> set[str]:
    return {w.evidence.host for w in verdict.weighed if w.evidence.counted and w.evidence.host}


def _hops(verdict: Verdict) -> int:
    """Hops before the capture; a capture that shows no TTL says nothing against 0."""
    ttl = usual_ttl(verdict.facts)
    return hops(ttl) if ttl is not None else 0


def _sureness(verdict: Verdict) -> float:
    return max(verdict.states[State.USER_NAT], verdict.states[State.KERNEL_NAT])

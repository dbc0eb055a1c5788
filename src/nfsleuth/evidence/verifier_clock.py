"""The client's boot instance: the verifier of SETCLIENTID and EXCHANGE_ID.

What it sees: verifiers in order of time, and the same verifier at other clients.
Why it tells clients apart: Linux writes the time in ns at which its network namespace began. Two verifiers that take
turns under one owner are two live machines with one name; a reboot changes the verifier once and for good. Equal
verifiers at machines with different names are copies of one memory image: guests restored from a snapshot.
Known confusions: machines with one name on different addresses fight over the server's record without being guests;
a machine with several addresses has one verifier on all of them.
Example: owner "Linux NFSv4.2 localhost" with verifiers A B A B from one address: two guests behind it.
Source: fs/nfs/client.c (boot_time), RFC 8881 section 18.35; lab.
"""

from __future__ import annotations

from collections.abc import Iterator

from nfsleuth.clients.facts import ClientId, Facts, Household
from nfsleuth.evidence.gate import hops, usual_ttl
from nfsleuth.evidence.machines import LINUX_VERIFIERS, boots, names
from nfsleuth.evidence.model import Evidence, Group, State
from nfsleuth.evidence.once import once_per_household
from nfsleuth.evidence.ports import PortClass, port_class
from nfsleuth.evidence.rules import Rules
from nfsleuth.evidence.weights import Weight, as_guest

RULE = "verifier_clock"
GROUP = Group.COMPANY
WEIGHTS = {
    "alternate, user": Weight("two live machines under one name", {State.USER_NAT: 4.1}, "lab", virtual=2.0),
    "alternate, kernel": Weight("two live machines under one name", {State.KERNEL_NAT: 3.0}, "lab"),
    "alternate": Weight("two live machines under one name", {}, "lab"),
    "clone": Weight("boot instance of another machine", as_guest(6.0), "prior; fs/nfs/client.c", virtual=6.0),
    "age": Weight("tells when it was booted", {}, "lab"),
}
COMPARED = 256  # clients whose verifiers are compared


def observe(client: Facts, around: Household, rules: Rules) -> Iterator[Evidence]:
    """Rows for taking turns, for clones, and one for the time of boot."""
    turns = alternation(client.client_ids)
    if turns:
        seen = f"{len(turns)} calls, verifiers {' '.join(f'{t.verifier:016x}'[-6:] for t in turns[:6])}"
        yield WEIGHTS[_turns_case(client)].evidence(RULE, GROUP, seen, tuple(t.frame for t in turns[:4]))
    clone = _clone(client, around)
    if clone:
        yield WEIGHTS["clone"].evidence(RULE, GROUP, clone)
    own_boots = boots(client, around)
    linux = [r for r in client.client_ids if r.verifier in own_boots]
    if linux and not turns:
        age = (linux[0].time - linux[0].verifier) / 1e9
        words = f"booted {age:.0f} s before" if age >= 0 else "its clock is ahead"
        seen = f"verifier {linux[0].verifier:016x}"
        yield WEIGHTS["age"].evidence(RULE, GROUP, seen, (linux[0].frame,), says=f"client {words}")


def alternation(records: tuple[ClientId, ...]) -> list[ClientId]:
    """The records of an owner whose verifier came back after another one (A B A), or nothing."""
    if len(records) < 3:  # as of most clients
        return []
    for owner in dict.fromkeys(r.owner for r in records):
        mine = [r for r in records if r.owner == owner]
        runs = [r for i, r in enumerate(mine) if i == 0 or r.verifier != mine[i - 1].verifier]
        if len(runs) > len({r.verifier for r in runs}):
            return mine
    return []


def _turns_case(client: Facts) -> str:
    ttl = usual_ttl(client)
    if ttl is not None and hops(ttl):
        return "alternate, kernel" if port_class(client) is not PortClass.EPHEMERAL else "alternate"
    return "alternate, user" if port_class(client) is PortClass.EPHEMERAL else "alternate"


def _clone(client: Facts, around: Household) -> str:
    """A machine with another name and the same Linux verifier, in words; "" none."""
    mine, called = boots(client, around), names(client, around)
    if not mine or not called:
        return ""
    with_mine = {number for verifier in mine for number in _by_verifier(around).get(verifier, ())}
    for other in (around.clients[number] for number in sorted(with_mine)):
        other_called = names(other, around)
        if other is not client and other_called and not called & other_called:
            twin = mine & {r.verifier for r in other.client_ids}
            return f"verifier {min(twin):016x} also at {min(other_called)[:32]} ({other.address})"
    return ""


@once_per_household
def _by_verifier(around: Household) -> dict[int, set[int]]:
    """Numbers of the clients that sent each verifier of Linux's kind."""
    found: dict[int, set[int]] = {}
    for number, client in enumerate(around.clients[:COMPARED]):
        for record in client.client_ids:
            if record.verifier in LINUX_VERIFIERS:
                found.setdefault(record.verifier, set()).add(number)
    return found

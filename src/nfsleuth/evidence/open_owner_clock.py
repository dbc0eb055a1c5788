"""The clock inside Linux's open owners.

What it sees: the last 8 bytes of owners that begin with "open id:": CLOCK_MONOTONIC in ns when the owner was made.
Why it tells clients apart: the capture's clock minus it is the kernel's boot, to a few ms. Machines of different names
with the very same boot run on one kernel: containers.
Known confusions: an owner that was made before the capture began gives a boot that is too late; the clock stops while
a guest is paused or a laptop sleeps; guests that one host starts together boot within seconds, not milliseconds.
Example: create time 12.4 s in an OPEN at 14:00:20 means booted at 14:00:07.6.
Source: fs/nfs/nfs4xdr.c encode_openhdr, fs/nfs/nfs4state.c nfs4_alloc_state_owner.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.machines import names
from nfsleuth.evidence.model import Evidence, Group, State
from nfsleuth.evidence.once import once_per_client, once_per_household
from nfsleuth.evidence.rules import Rules
from nfsleuth.evidence.weights import Weight

RULE = "open_owner_clock"
GROUP = Group.COMPANY
WEIGHTS = {
    "boot": Weight("tells when its kernel began", {}, "fs/nfs/nfs4state.c"),
    "one kernel": Weight("runs on one kernel with another client", {State.CONTAINER: 3.0}, "prior", virtual=-1.0),
}
PREFIX = b"open id:"
LENGTHS = (24, 28)  # prefix, s_dev, uniquifier of 4 or (2025) 8 bytes, create_time
SAME_BOOT = 0.05  # s: OPENs reach the wire within ms of the owner's making
LONGEST = 50 * 365 * 86400 * 10**9  # ns: an uptime above 50 years is no clock
COMPARED = 256  # clients whose boots are compared


def observe(client: Facts, around: Household, rules: Rules) -> Iterator[Evidence]:
    """One row for the boot, one if another client's is the same."""
    mine = kernel_boot(client, around)
    if mine is None:
        return
    boot, owner = mine
    up = (client.open_owners.sightings[owner].first - boot) / 1e9
    frames = client.open_owners.frames(owner)
    seen = f"create_time {up:.3f} s at {owner[-8:].hex()}"
    yield WEIGHTS["boot"].evidence(RULE, GROUP, seen, frames, says=f"its kernel was up {up:.0f} s")
    for other in _booted_at(boot, around):
        if other is client:
            continue
        called, other_called = names(client, around), names(other, around)
        if called and other_called and not called & other_called:
            seen = f"same boot within {SAME_BOOT * 1000:.0f} ms as {min(other_called)[:32]} ({other.address})"
            yield WEIGHTS["one kernel"].evidence(RULE, GROUP, seen, frames)
            return


def _booted_at(boot: int, around: Household) -> list[Facts]:
    """Clients whose kernel began within `SAME_BOOT` of `boot` (ns since 1970), in their order."""
    boots, slack = _kernel_boots(around), round(SAME_BOOT * 1e9)
    near = boots[bisect_left(boots, (boot - slack, 0)) : bisect_left(boots, (boot + slack + 1, 0))]
    return [around.clients[number] for number in sorted(number for _, number in near)]


@once_per_household
def _kernel_boots(around: Household) -> list[tuple[int, int]]:
    """When kernels began, as open owners tell (ns since 1970), with the number of the client; in order of time."""
    boots = ((kernel_boot(client, around), number) for number, client in enumerate(around.clients[:COMPARED]))
    return sorted((boot[0], number) for boot, number in boots if boot is not None)


@once_per_client
def kernel_boot(client: Facts, around: Household) -> tuple[int, bytes] | None:
    """The earliest boot (ns since 1970) that the open owners allow, and the owner that says so."""
    found = []
    for owner, sighting in client.open_owners.sightings.items():
        if not owner.startswith(PREFIX) or len(owner) not in LENGTHS or not sighting.first:
            continue
        created = int.from_bytes(owner[-8:])
        if 0 < created < LONGEST:
            found.append((sighting.first - created, owner))
    return min(found, default=None)

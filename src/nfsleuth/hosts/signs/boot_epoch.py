"""Machines that booted together.

What it sees: the time of boot that a Linux client's verifier tells (SETCLIENTID, EXCHANGE_ID), and the start of the
kernel that its open owners tell (the capture's time less the create time in them).
Why it tells hosts apart: guests start when their host starts. Two kernels that began within 50 ms under two names are
one kernel: containers of one machine.
Known confusions: a power failure boots a whole site: where more than a quarter of the clients booted within ten
minutes, nothing follows. Clones of one memory image have one verifier; that counts for nothing, since clones may be
anywhere.
Example: verifiers of 03:14:07 and 03:14:21, and all others weeks older.
Source: fs/nfs/client.c (boot_time), fs/nfs/nfs4state.c; the weights are priors.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from nfsleuth.evidence.machines import boots, names
from nfsleuth.evidence.open_owner_clock import SAME_BOOT, kernel_boot
from nfsleuth.hosts.model import Scene, Tie, Weight

RULE = "boot_epoch"
SECOND = 1_000_000_000
TOGETHER = 30 * SECOND
AROUND = 600 * SECOND  # what counts as a site's event
CROWD, FEW = 0.25, 3  # share of the clients, but not less than so many
MOST_KERNEL = 4.0
WEIGHTS = {
    "booted within 30 s": Weight(0.7, "prior"),
    "kernels began within 50 ms, at most": Weight(MOST_KERNEL, "prior; fs/nfs/nfs4state.c"),
}
NEAREST = 8  # clients that each is compared with


def find(scene: Scene) -> Iterator[Tie]:
    """A tie per pair that booted together, when few others did."""
    own = [(min(found), n) for n, m in enumerate(scene.members) if (found := boots(m.facts, scene.around))]
    for a, b, apart, _ in together(own, TOGETHER):
        if apart:  # else one verifier: a clone, or one client
            seen = f"verifiers {apart / SECOND:.1f} s apart"
            yield Tie(a, b, RULE, "booted together", WEIGHTS["booted within 30 s"], seen)
    kernels = [(boot[0], n) for n, m in enumerate(scene.members) if (boot := kernel_boot(m.facts, scene.around))]
    for a, b, apart, crowd in together(kernels, round(SAME_BOOT * SECOND)):
        called = [names(scene.members[n].facts, scene.around) for n in (a, b)]
        if all(called) and not called[0] & called[1]:
            by_chance = crowd * 2 * SAME_BOOT * SECOND / (2 * AROUND)
            nats = Weight(min(MOST_KERNEL, -math.log(by_chance)), "prior; fs/nfs/nfs4state.c")
            yield Tie(a, b, RULE, "on one kernel", nats, f"kernels began {apart / 1e6:.1f} ms apart")


def together(times: Sequence[tuple[int, int]], within: int) -> Iterator[tuple[int, int, int, int]]:
    """Pairs of members whose times lie `within` ns: their numbers, ns apart, and how many others lie `AROUND`.

    times: (ns, number of the member). Not those of a crowd, see `CROWD`.
    """
    order = sorted(times)
    when = [time for time, _ in order]
    for i, (time, a) in enumerate(order):
        for later, b in order[i + 1 : i + 1 + NEAREST]:
            if later - time > within:
                break
            crowd = bisect_right(when, later + AROUND) - bisect_left(when, time - AROUND)
            if crowd <= max(FEW, CROWD * len(order)):
                yield min(a, b), max(a, b), later - time, crowd

"""File names that a virtualisation host uses.

What it sees: names looked up, opened, made or removed that are disk images, guests' configurations or their locks.
Why it tells clients apart: a hypervisor with its guests' disks on NFS works on such files all day, and other clients
hardly ever do.
Known confusions: backup programs and administrators who copy images; one name alone is set aside for them.
Example: web01.vmdk, web01.vmx and .lck-5b01000000000000 are an ESXi datastore.
Source: patterns in data/files.csv and in the user's rule files; weights: ln(.80 / .01), guessed.
"""

from __future__ import annotations

from collections.abc import Iterator

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.model import Evidence, Group, State
from nfsleuth.evidence.rules import Rules
from nfsleuth.evidence.weights import Weight, set_aside

RULE = "datastore_names"
GROUP = Group.USE
NEEDED = 2  # distinct names: one may be a copy in passing
HALF = 0.6  # of the weight at exactly NEEDED names: two files may still be a copy
WHOLE_FROM = 3
WEIGHTS = {
    "datastore": Weight("works on guests' disks", {State.HYPERVISOR: 4.4}, "prior", virtual=-1.0),
}
PLATFORM = 3.0  # nats for the platform whose files they are, prior


def observe(client: Facts, around: Household, rules: Rules) -> Iterator[Evidence]:
    """One row for all such names together."""
    fitting = {name: pattern for name in client.file_names.sightings if (pattern := rules.file(name)) is not None}
    if not fitting:
        return  # as nearly always: before names are put in order
    hits = [(name, fitting[name]) for name in client.file_names if name in fitting]
    names = [name for name, _ in hits]
    best = max((pattern for _, pattern in hits), key=lambda p: p.weight)
    seen = f"{len(hits)} names: {', '.join(n[:32] for n in names[:4])}"
    frames = client.file_names.frames(*names[:4])
    if len(hits) < NEEDED:
        yield set_aside(RULE, GROUP, best.says, seen, "one such name may be a copy in passing", frames=frames)
        return
    weight = Weight(best.says, {State.HYPERVISOR: best.weight}, best.source, virtual=WEIGHTS["datastore"].virtual)
    platforms = {p.platform: PLATFORM for _, p in hits if p.platform}
    yield weight.evidence(
        RULE, GROUP, seen, frames, factor=1.0 if len(hits) >= WHOLE_FROM else HALF, platform=platforms
    )

"""Profiles of captures come in, clients go out: further runs of a client teach what changes by itself.

Two profiles with one label, from different captures, that have the same names (machine names and source MACs) and NFS
version are runs of one client. A client counts once, however often it was recorded, and with what its first run shows:
runs of one machine are no independent witnesses, and a client that was recorded longer shows more. A field whose values
differ between two runs of a client - transaction ids, stateids, verifiers, file handles, times - cannot tell kinds of
client apart by its values: it is masked, and compared by form only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from nfsleuth.contrast.sketch import Profile, Sketch

Identity = tuple[str, frozenset[str], str, int]  # label, names, version, which of several with these in one capture


def clients(profiles: Iterable[Profile]) -> tuple[list[Profile], set[str]]:
    """The first run of each client, and the masked paths. `Profile.runs` says how many runs a client had."""
    found: dict[Identity, Profile] = {}
    masked: set[str] = set()
    counts: dict[tuple[str, str, frozenset[str], str], int] = {}
    for profile in profiles:
        names = profile.names or frozenset({profile.client})
        same = (profile.capture, profile.label, names, profile.version)
        counts[same] = counts.get(same, 0) + 1
        key = (profile.label, names, profile.version, counts[same])
        before = found.get(key)
        if before is None:
            found[key] = replace(profile)
        else:
            masked |= changed(before, profile)
            before.runs += 1
    return list(found.values()), masked


def changed(one: Profile, other: Profile) -> set[str]:
    """Paths whose values differ between two runs."""
    both = one.fields.keys() & other.fields.keys()
    return {p for p in both if _values(one.fields[p]) != _values(other.fields[p])}


def _values(sketch: Sketch) -> object:
    """What is compared: the values; of more than are kept, that there are many."""
    return "many" if sketch.more else sketch.values.keys()

"""Profiles of captures come in, clients go out: runs of one client are put together, and teach what changes by itself.

Two profiles with one label, from different captures, that have the same names (machine names and source MACs) and NFS
version are runs of one client. A client counts once, however often it was recorded: runs of one machine are no
independent witnesses. A field whose values differ between two runs of a client - transaction ids, stateids, verifiers,
file handles, times - cannot tell kinds of client apart by its values: it is masked, and compared by form only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from nfsleuth.contrast.sketch import Profile, Sketch

Identity = tuple[str, frozenset[str], str, int]  # label, names, version, which of several with these in one capture


def clients(profiles: Iterable[Profile]) -> tuple[list[Profile], set[str]]:
    """The clients, in the order of their first runs, and the masked paths. `Profile.runs` says how many each had."""
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
            found[key] = _copied(profile)
        else:
            masked |= changed(before, profile)
            _add(before, profile)
    return list(found.values()), masked


def changed(one: Profile, other: Profile) -> set[str]:
    """Paths whose values differ between two runs."""
    both = one.fields.keys() & other.fields.keys()
    return {p for p in both if _values(one.fields[p]) != _values(other.fields[p])}


def _values(sketch: Sketch) -> object:
    """What is compared: the values; of more than are kept, that there are many."""
    return "many" if sketch.more else sketch.values.keys()


def _copied(profile: Profile) -> Profile:
    fields = {}
    for path, sketch in profile.fields.items():
        fields[path] = Sketch()
        fields[path] += sketch
        fields[path].last = sketch.last
    return replace(
        profile,
        fields=fields,
        measures=dict(profile.measures),
        contexts=set(profile.contexts),
        cut=set(profile.cut),
        derived=set(profile.derived),
        operations=set(profile.operations),
    )


def _add(client: Profile, run: Profile) -> None:
    """Add a further run. Frames stay those of the first run, whose capture the client is shown with."""
    for path, sketch in run.fields.items():
        mine = client.fields.get(path)
        if mine is None:
            mine = client.fields[path] = Sketch()
            sketch = _without_frames(sketch)
        mine += sketch
    for name, value in run.measures.items():
        before = client.measures.get(name, value)
        client.measures[name] = (before * client.runs + value) / (client.runs + 1)
    client.runs += 1
    client.contexts |= run.contexts
    client.cut |= run.cut
    client.derived |= run.derived
    client.operations |= run.operations
    client.messages += run.messages
    client.dropped += run.dropped


def _without_frames(sketch: Sketch) -> Sketch:
    copied = Sketch()
    copied += sketch
    copied.first = 0
    copied.values = {value: [count, 0] for value, (count, _) in sketch.values.items()}
    return copied

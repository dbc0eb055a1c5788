"""Label files come in as parsed JSON, out goes which client of a capture has which label.

A label file describes a capture (``NAME.labels.json``, as the lab writes them): `capture` is its file name beside the
label file, `clients` a list of objects, each with `address`, `ports`, `names` and whatever else is known of the client:
any of these keys, or a key of the file itself, can be the label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nfsleuth.clients.facts import Facts
from nfsleuth.contrast.sketch import Profile
from nfsleuth.errors import NfsleuthError

# How a client is connected: a key that can be asked for also where a file says it by its `state` only.
NETWORK = "network"
NETWORKS = {
    "native": "native",
    "bridged-vm": "bridged",
    "user-nat-vm": "user-nat",
    "kernel-nat": "kernel-nat",
    "container": "container",
    "hypervisor": "native",
}
LONGEST = 60  # characters of a label


@dataclass(frozen=True, slots=True)
class LabelFile:
    """A label file. name: as given, for messages. capture: file name. derived: made out of another capture."""

    name: str
    capture: str
    derived: bool
    about: Mapping[str, Any]
    clients: tuple[Mapping[str, Any], ...]


def parse(name: str, content: object) -> LabelFile:
    """A label file from its JSON. Raises NfsleuthError that names what is wrong."""
    if not isinstance(content, dict):
        raise NfsleuthError(f"{name}: is no label file: an object with capture and clients is expected")
    capture, clients = content.get("capture"), content.get("clients")
    if not isinstance(capture, str) or not capture or "/" in capture or "\0" in capture:
        raise NfsleuthError(f"{name}: its capture must be the name of a file beside it")
    if not isinstance(clients, list) or not all(isinstance(c, dict) for c in clients):
        raise NfsleuthError(f"{name}: its clients must be a list of objects")
    if not clients:
        raise NfsleuthError(f"{name}: labels no clients; name at least one under clients")
    for number, client in enumerate(clients, 1):
        if not isinstance(client.get("address"), str):
            raise NfsleuthError(f"{name}: client {number} has no address, so that it cannot be found in the capture")
    return LabelFile(name, capture, bool(content.get("derived_from")), content, tuple(clients))


def label_of(file: LabelFile, client: Mapping[str, Any], key: str) -> str | None:
    """The value of `key`, as text; of a client, or else of its file. None if neither has it, or it says nothing."""
    value = client.get(key, file.about.get(key))
    if value is None and key == NETWORK:
        value = NETWORKS.get(str(client.get("state")))
    if value in (None, "", []) or isinstance(value, dict):
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = "+".join(map(str, value)) if isinstance(value, list) else str(value)
    return text.strip()[:LONGEST] or None


def keys(files: Iterable[LabelFile]) -> list[str]:
    """Keys that can be labels, for messages."""
    found = {NETWORK}
    for file in files:
        for client in file.clients:
            found |= {key for key in client if isinstance(key, str) and label_of(file, client, key) is not None}
    return sorted(found)


def check_wanted(only: Iterable[str], there: Iterable[str]) -> None:
    """Raises NfsleuthError if a label is wanted that nobody has, before hours are spent on reading."""
    known = sorted(there)
    for label in only:
        if label not in known:
            raise NfsleuthError(f"no client is labelled {label}; there are {', '.join(known)}")


def check_once(captures: Iterable[tuple[str, str]]) -> None:
    """Raises NfsleuthError if a capture is there twice: its clients would count as two each.

    captures: each as it was named, and its path.
    """
    seen: set[str] = set()
    for name, path in captures:
        if path in seen:
            raise NfsleuthError(f"{name}: is named twice; name each capture once, so that its clients count once")
        seen.add(path)


def matched(client: Mapping[str, Any], found: Sequence[tuple[Facts, Profile]]) -> Profile | None:
    """The profile of a labelled client: at its address, with most of its ports; a name decides between equals."""
    addresses = {client.get("address"), client.get("address6")}
    here = [pair for pair in found if pair[0].address in addresses]
    ports, names = _set(client.get("ports")), _set(client.get("names"))

    def likeness(pair: tuple[Facts, Profile]) -> tuple[int, bool]:
        return len(ports & set(pair[0].ports)), bool(names & set(pair[0].names))

    best = max(here, key=likeness, default=None)
    if best is None or (ports and len(here) > 1 and likeness(best) == (0, False)):
        return None
    return best[1]


def _set(value: object) -> set[Any]:
    return {v for v in value if isinstance(v, (int, str))} if isinstance(value, list) else set()


def labelled(
    file: LabelFile, key: str, found: Sequence[tuple[Facts, Profile]], only: Iterable[str] = ()
) -> tuple[list[Profile], list[str]]:
    """Set the labels of the profiles of a capture; returns those that have one, and what was left out, in words.

    only: labels that are wanted, all if empty. A profile that two labelled clients claim, with different labels, has
    none: who is who there is not known.
    """
    wanted = set(only)
    claims: dict[int, set[str]] = {}
    missed: list[str] = []
    for client in file.clients:
        label = label_of(file, client, key)
        profile = matched(client, found)
        if label is None:
            missed.append(f"{client['address']} has no {key}")
        elif profile is None:
            missed.append(f"{client['address']} is not in the capture")
        else:
            claims.setdefault(next(i for i, (_, p) in enumerate(found) if p is profile), set()).add(label)
    profiles = []
    for index, labels in sorted(claims.items()):
        profile = found[index][1]
        if len(labels) > 1:
            missed.append(f"{profile.client} is claimed as {' and '.join(sorted(labels))}")
        elif not wanted or labels <= wanted:
            profile.label = next(iter(labels))
            profiles.append(profile)
    return profiles, missed

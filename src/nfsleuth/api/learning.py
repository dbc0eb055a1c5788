"""Labelled captures come in, a profile of how fast clients of known kinds read goes out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from nfsleuth.api.labels import label_document
from nfsleuth.api.reading import PathLike, Progress
from nfsleuth.api.verdicts import facts
from nfsleuth.errors import NfsleuthError

if TYPE_CHECKING:
    from nfsleuth.bandwidth.profile import Label, Profile

_ENDINGS = {".zst", ".gz", ".xz", ".lz4", ".bz2", ".pcap", ".pcapng", ".cap", ".snoop"}


def learn(
    labelled: Iterable[tuple[str | None, PathLike]],
    *,
    link: str = "",
    client: str | None = None,
    progress: Progress | None = None,
) -> tuple[Profile, list[str]]:
    """Learn from captures how fast clients of known kinds read.

    labelled: (label, capture), each capture a trace of its own; label: as `bandwidth.profile.parse_label` takes it, or
    None to take it from NAME.labels.json beside the capture, as the lab writes them. link: name of the wire. client:
    only this address. Returns the profile, and what was not learnt from and why, in words.
    """
    from nfsleuth.bandwidth import profile as profiles
    from nfsleuth.clients.split import household
    from nfsleuth.verdict.conclude import named

    rows: list[profiles.Learnt] = []
    lacks: list[str] = []
    for label, path in labelled:
        known = None if label is None else profiles.parse_label(label)
        labels = _labels_beside(path) if known is None else {}
        clients = named(household(facts(path, progress=progress)).clients)
        addresses = [one.address for _, one in clients]
        for name, one in clients:
            called = known or labels.get(one.address)
            if client not in (None, one.address) or not one.nfs_calls:
                continue
            source = f"{Path(path).name} {name}"
            if called is None or (known is None and addresses.count(one.address) > 1):
                lacks.append(f"{source}: its labels do not say what it is")
                continue
            learnt, lacking = profiles.learn(one.rates, called, link, source)
            rows += learnt
            lacks += lacking
    return profiles.Profile() + profiles.Profile(rows), lacks


def _labels_beside(path: PathLike) -> dict[str, Label]:
    """What NAME.labels.json says of each address; nothing of clients that only stand in for others.

    Raises NfsleuthError if there is no such file, or if it cannot be read.
    """
    from nfsleuth.bandwidth.profile import STATES, Label

    place = Path(path)
    while place.suffix in _ENDINGS:
        place = place.with_suffix("")
    place = place.with_name(f"{place.name}.labels.json")
    try:
        document = label_document(place)
        found: dict[str, Label] = {}
        for client in document["clients"]:
            if client["state"] in STATES and not client.get("standin_for_native"):
                words = [client["state"]] if client["state"] == "native" else [client.get("nic"), client.get("backend")]
                found[client["address"]] = Label(" ".join(filter(None, words)), client["state"])
    except FileNotFoundError as error:
        raise NfsleuthError(f"{path}: what is in it? Put --label NAME before it, or {place.name} beside it") from error
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise NfsleuthError(f"{place}: holds no labels ({error!r}); see --label") from error
    return {} if document.get("derived_from") else found

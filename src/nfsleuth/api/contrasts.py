"""Captures and labels come in, the fields that their clients show go out: what `nfsleuth.contrast` ranks."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nfsleuth.api.labels import label_document
from nfsleuth.api.reading import PathLike, Progress, Reading, in_turn, stored_bytes, twice
from nfsleuth.api.rules import rules_of
from nfsleuth.errors import Exit, NfsleuthError

if TYPE_CHECKING:
    from nfsleuth.capture.frames import Chunk
    from nfsleuth.clients.facts import Facts
    from nfsleuth.contrast import sketch
    from nfsleuth.evidence.rules import Rules


def profiles(
    *paths: PathLike, nfs: Collection[str] = (), rules: Rules | PathLike | None = None, progress: Progress | None = None
) -> list[tuple[Facts, sketch.Profile]]:
    """Every field that each NFS client of a trace shows, for `nfsleuth.contrast`. Reads the captures twice.

    paths: captures that together are one trace; files, since a pipe cannot be read twice. nfs: count only connections
    of these NFS versions ("3", "4.0", ...), with "2" or "3" what goes with them (MOUNT, NLM, portmapper); none: all.
    rules: as for `identify`. Raises NfsleuthError as `identify` does.
    """
    from nfsleuth.capture import open_trace
    from nfsleuth.clients.gather import Gatherer
    from nfsleuth.clients.split import household
    from nfsleuth.contrast.derive import derive
    from nfsleuth.contrast.observe import Observer
    from nfsleuth.contrast.whose import Versions, blank, owners
    from nfsleuth.trace.tracker import Tracker

    first, second = twice(paths, progress)
    reading, gatherer, versions = Reading(paths, progress=first), Gatherer(), Versions(nfs)
    for rows in reading:
        gatherer.add(rows)
        versions.add(rows.connections)
    clients = [c for c in household(gatherer.facts()).clients if versions.has(c)]
    found = [blank(c, os.fspath(paths[0]), versions) for c in clients]
    observer = Observer(found, owners(clients), versions.skipped())
    tracker = Tracker(keep_calls=True, watch=observer.watch)
    with open_trace([os.fspath(p) for p in paths], progress=second) as trace:
        chunk: Chunk
        for chunk in trace:
            observer.chunk(chunk)
            for rows in tracker.feed(chunk):
                observer.rows(rows)
        for rows in tracker.finish():
            observer.rows(rows)
    observer.finish()
    known, servers = rules_of(rules), {s for c in clients for s in c.servers}
    for number, (client, profile) in enumerate(zip(clients, found, strict=True)):
        derive(profile, client, observer.ledgers[number], observer.steps(number), servers, known)
    return list(zip(clients, found, strict=True))


def named_profiles(
    named: Sequence[tuple[str, PathLike]],
    *,
    only: Collection[str] = (),
    nfs: Collection[str] = (),
    rules: Rules | PathLike | None = None,
    progress: Progress | None = None,
) -> list[sketch.Profile]:
    """The profiles of the clients in several captures, labelled with the names that are given to the captures.

    named: label and capture. only: labels that are wanted, all if empty. Other arguments as for `profiles`. Raises
    NfsleuthError as it does, for a capture that is named twice, and for one without NFS clients (of these versions).
    """
    from nfsleuth.contrast import labels

    labels.check_once((os.fspath(capture), os.path.realpath(capture)) for _, capture in named)
    labels.check_wanted(only, {label for label, _ in named})
    named = [pair for pair in named if not only or pair[0] in only]
    found = []
    for (label, capture), heard in zip(named, in_turn(progress, [stored_bytes(c) for _, c in named]), strict=True):
        mine = [profile for _, profile in profiles(capture, nfs=nfs, rules=rules, progress=heard)]
        if not mine:
            which = f" of version {' or '.join(nfs)}" if nfs else ""
            raise NfsleuthError(
                f"{os.fspath(capture)}: no NFS client{which} in it; leave it out, or capture on the server's interface",
                Exit.NO_NFS,
            )
        for profile in mine:
            profile.label = label
        found += mine
    return found


def labelled_profiles(
    *files: PathLike,
    by: str,
    only: Collection[str] = (),
    nfs: Collection[str] = (),
    rules: Rules | PathLike | None = None,
    progress: Progress | None = None,
) -> tuple[list[sketch.Profile], list[str]]:
    """The profiles of the clients in labelled captures, with their labels; and what was left out, in words.

    files: label files (``NAME.labels.json``), their captures beside them. by: the key whose value is the label, see
    `contrast.labels`. only: labels that are wanted. Captures that were made out of others are left out: they are no
    samples of their own. Other arguments as for `profiles`. Raises NfsleuthError for a file that is no label file, a
    key that no client has, and a capture that cannot be read.
    """
    from nfsleuth.contrast import labels

    read, found, notes = [], [], []
    for file in map(Path, files):
        try:
            content = label_document(file)
        except OSError as error:
            raise NfsleuthError(
                f"{file}: cannot be read ({error.strerror}); name label files", Exit.UNREADABLE
            ) from error
        except (ValueError, RecursionError) as error:
            raise NfsleuthError(f"{file}: is no label file: JSON is expected") from error
        read.append((file, labels.parse(os.fspath(file), content)))
    there = {label for _, f in read for c in f.clients if not f.derived and (label := labels.label_of(f, c, by))}
    if not there:
        raise NfsleuthError(
            f"no client in the label files has the key {by}; there are {', '.join(labels.keys(f for _, f in read))}"
        )
    labels.check_wanted(only, there)
    labels.check_once((f.capture, os.path.realpath(place.parent / f.capture)) for place, f in read)
    derived = sum(f.derived for _, f in read)
    if derived:
        notes.append(f"{derived} captures left out that were made from others")
    original = [(place.parent / labelled.capture, labelled) for place, labelled in read if not labelled.derived]
    for (capture, labelled), heard in zip(
        original, in_turn(progress, [stored_bytes(c) for c, _ in original]), strict=True
    ):
        of_capture = profiles(capture, nfs=nfs, rules=rules, progress=heard)
        mine, missed = labels.labelled(labelled, by, of_capture, only)
        found += mine
        if not nfs:  # else clients of other versions would be called missing
            notes += [f"{labelled.capture}: {what}" for what in missed]
    if not found:
        what = f" of NFS version {' or '.join(nfs)}" if nfs else ""
        raise NfsleuthError(
            f"no labelled client{what} is in its capture" + (f": {'; '.join(notes[:3])}" if notes else ""), Exit.NO_NFS
        )
    return found, notes

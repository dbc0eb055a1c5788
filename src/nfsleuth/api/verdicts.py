"""Captures, facts and imported tables come in, verdicts go out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from nfsleuth.api.reading import PathLike, Progress, Reading, gathered
from nfsleuth.api.rules import rules_of
from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.verdict.model import Capture, Report

if TYPE_CHECKING:
    from nfsleuth.bandwidth.profile import Profile
    from nfsleuth.clients.trace_facts import TraceFacts
    from nfsleuth.evidence.rules import Rules
    from nfsleuth.hosts.imports.known import Known

Method = Literal["evidence", "paper"]
MOST_TABLE = 1 << 26  # bytes of an imported table


def identify(
    *paths: PathLike,
    rules: Rules | PathLike | None = None,
    priors: str | None = None,
    method: Method = "evidence",
    profile: Profile | PathLike | None = None,
    link: str | None = None,
    imported: Known | None = None,
    link_speed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Say who each NFS client in a trace is, and why. Needs bounded memory, whatever the size of the captures.

    paths: captures that together are one trace; ``-`` is standard input. rules: `Rules`, or a folder of TOML files with
    rules of your own that are added to the built-in ones. priors: what is likely beforehand, see `verdict.priors`.
    method: "evidence", or "paper" for the two rules of the 2013 study alone. profile: how fast clients of known kinds
    read at this site (`bandwidth.profile`), or a TOML file of it; link: which of its links this is, None if it has
    one only. imported: tables of switches and hypervisors (`import_tables`): who shares a host with whom. link_speed:
    bits per second that no host's cable exceeds, 0 if that is not known. progress: called while reading with the
    stored bytes read so far and the stored bytes in all (None if that is not known).
    """
    tables = rules_of(rules, profile, link)
    reading = Reading(paths, progress=progress)
    found = gathered(reading)
    return conclude(
        found, reading.captures, rules=tables, priors=priors, method=method, imported=imported, link_speed=link_speed
    )


def facts(*paths: PathLike, progress: Progress | None = None) -> TraceFacts:
    """What a trace tells of its clients, before any verdict. Facts of traces that were read apart add up with ``+``.

    Adding is associative and commutative, so files, threads and machines may be added in any order. Arguments as for
    `identify`.
    """
    return gathered(Reading(paths, progress=progress))


def conclude(
    known: TraceFacts,
    captures: Sequence[Capture] = (),
    *,
    rules: Rules | PathLike | None = None,
    priors: str | None = None,
    method: Method = "evidence",
    profile: Profile | PathLike | None = None,
    link: str | None = None,
    imported: Known | None = None,
    link_speed: int = 0,
) -> Report:
    """The verdicts that follow from facts: what `identify` does after reading.

    known: of one trace, or the sum of several. captures: what was read, only to be shown in the report.
    """
    from nfsleuth.clients.split import household
    from nfsleuth.verdict import conclude as weigh
    from nfsleuth.verdict import priors as beforehand

    return weigh(
        household(known),
        tuple(captures),
        rules=rules_of(rules, profile, link),
        priors=None if priors is None else beforehand.parse(priors),
        method=method,
        known=imported,
        link_speed=link_speed,
    )


def import_tables(
    *, fdb: Iterable[PathLike] = (), lldp: Iterable[PathLike] = (), inventory: Iterable[PathLike] = ()
) -> Known:
    """What files of switches and hypervisors say, for `identify`.

    fdb: forwarding tables (``bridge -j fdb show``, or ``snmpwalk`` of BRIDGE-MIB or Q-BRIDGE-MIB), one per switch.
    lldp: ``lldpcli show neighbors -f json`` of switches; sw1.lldp.json belongs to sw1.fdb.json. inventory: guests and
    their hosts (``virsh dumpxml``, ``virsh domiflist``, CSV, JSON). Raises NfsleuthError for a file that is none of
    these.
    """
    from nfsleuth.hosts.imports import fdb as forwarding
    from nfsleuth.hosts.imports import inventory as inventories
    from nfsleuth.hosts.imports import lldp as neighbours
    from nfsleuth.hosts.imports.known import Known

    known = Known()
    for files, parse in ((fdb, forwarding.parse), (lldp, neighbours.parse), (inventory, inventories.parse)):
        for file in files:
            known += parse(_imported(file), os.fspath(file))
    return known


def _imported(file: PathLike) -> str:
    """The text of a table; at most MOST_TABLE bytes."""
    from pathlib import Path

    try:
        with Path(file).open("rb") as stream:
            content = stream.read(MOST_TABLE + 1)
    except OSError as error:
        raise NfsleuthError(f"{file}: cannot be read ({error.strerror}); name a file", Exit.UNREADABLE) from error
    if len(content) > MOST_TABLE:
        raise NfsleuthError(f"{file}: is larger than {MOST_TABLE >> 20} MB; split it", Exit.UNREADABLE)
    return content.decode("utf-8", "replace")

"""A household of clients in, a `Report` out: the verdict on each client, and the hosts that they share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.errors import NfsleuthError
from nfsleuth.evidence import Rules, weigh_all
from nfsleuth.evidence.addresses import parse
from nfsleuth.evidence.model import Evidence, State
from nfsleuth.hosts.group import group
from nfsleuth.hosts.imports.known import Known
from nfsleuth.hosts.model import Member
from nfsleuth.verdict.explain import because, flips, weighed
from nfsleuth.verdict.fuse import Belief, fuse_each
from nfsleuth.verdict.model import Capture, Platform, Report, Verdict, Weighed
from nfsleuth.verdict.paper import paper_belief, paper_rows
from nfsleuth.verdict.platform import platform_of
from nfsleuth.verdict.priors import DEFAULT, Priors, complete

METHODS = ("evidence", "paper")


def conclude(
    household: Household,
    captures: Iterable[Capture] = (),
    rules: Rules | None = None,
    priors: Mapping[State, float] | None = None,
    method: str = "evidence",
    known: Known | None = None,
    link_speed: int = 0,
) -> Report:
    """What every client of `household` is, and why.

    rules: lookup tables, the built-in ones if None. priors: probabilities per state, `priors.DEFAULT` where they name
    none. method: "evidence", or "paper" for the 2013 study's own two rules. known: tables of switches and hypervisors
    that were imported, link_speed: bits per second that no host's cable exceeds, see `hosts.group`. Raises
    NfsleuthError for another method or for priors that are no probabilities.
    """
    if method not in METHODS:
        raise NfsleuthError(f"--method {method!r} is not known; choose evidence or paper")
    tables = rules if rules is not None else Rules.builtin()
    expected = complete(priors if priors is not None else DEFAULT)
    clients = named(household.clients)
    if method == "paper":
        verdicts = [_by_paper(name, client) for name, client in clients]
    else:
        rows = weigh_all([client for _, client in clients], household, tables)
        verdicts = [
            _by_evidence(name, client, mine, expected) for (name, client), mine in zip(clients, rows, strict=True)
        ]
    members = [Member(v.id, v.facts, v.states, v.virtual, tuple(w.evidence for w in v.weighed)) for v in verdicts]
    grouping = group(members, household, tables, known, link_speed)
    home = {client: host.id for host in grouping.hosts for client in host.clients}
    return Report(
        captures=tuple(captures),
        clients=tuple(replace(v, host=home[v.id]) if v.id in home else v for v in verdicts),
        hosts=grouping.hosts,
        method=method,
        calls=sum(client.calls for client in household.clients),
        connections=sum(client.connections for client in household.clients),
        profile=tables.profile,
        link=tables.link,
        pairs=grouping.pairs,
        notes=grouping.notes,
    )


def named(clients: Iterable[Facts]) -> list[tuple[str, Facts]]:
    """Clients with their ids, in order of address: "10.0.0.7", and "10.0.0.7#2" for the second one there.

    Clients of one address stand in the order in which they were first seen, whatever order they come in.
    """
    result: list[tuple[str, Facts]] = []
    met: dict[str, int] = {}
    for client in sorted(clients, key=_order):
        met[client.address] = number = met.get(client.address, 0) + 1
        result.append((client.address if number == 1 else f"{client.address}#{number}", client))
    return result


def _order(client: Facts) -> tuple[int, int, str, int, list[int], list[str]]:
    address = parse(client.address)
    version, value = (address.version, int(address)) if address is not None else (9, 0)
    return version, value, client.address, client.first, sorted(client.ports.sightings), sorted(client.names.sightings)


def _by_evidence(name: str, client: Facts, rows: list[Evidence], priors: Priors) -> Verdict:
    belief, moved = fuse_each(rows, priors)
    reasons = weighed(rows, moved)
    return _verdict(name, client, belief, reasons, platform_of(rows, belief), flips(rows, belief))


def _by_paper(name: str, client: Facts) -> Verdict:
    rows = paper_rows(client)
    named_by = [platform for row in rows for platform in row.platform]
    platform = Platform(named_by[0], 1.0) if named_by else None
    return _verdict(name, client, paper_belief(rows), tuple(Weighed(row, 1.0) for row in rows), platform)


def _verdict(
    name: str,
    client: Facts,
    belief: Belief,
    reasons: tuple[Weighed, ...],
    platform: Platform | None,
    changes: tuple[str, ...] = (),
) -> Verdict:
    return Verdict(
        id=name,
        facts=client,
        state=belief.answer,
        leading=belief.leading,
        states=dict(belief.states),
        virtual=belief.virtual,
        platform=platform,
        because=because(reasons, belief.answer),
        weighed=reasons,
        flips=changes,
    )

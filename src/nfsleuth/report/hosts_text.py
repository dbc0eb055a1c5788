"""Hosts for a terminal: who shares a machine and why, and on demand every pair that a sign is about.

Nothing is wider than `width` columns (at least `LEAST`), whatever a capture or an imported table says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from nfsleuth.report import words
from nfsleuth.report.escape import columns, padded, shortened, visible
from nfsleuth.report.text import GAP, LEAST, wrapped
from nfsleuth.verdict.model import Host, Pair, Report, Verdict

CLIENT_MOST = 32  # columns of a client, at a width of 80
MEMBERS_SHOWN = 40  # of a host; all of them are in JSON and CSV
PAIRS_SHOWN = 200
ALONE_SHOWN = 12


def table(report: Report, width: int = 80, *, pairs: bool = False) -> str:
    """The hosts of a report with their clients, those alone, remarks on imported tables; with `pairs` the signs."""
    width = max(width, LEAST)
    what, came_out = words.summary(report)
    lines = [f"{shortened(visible(what), max(8, width - len(came_out) - 2), keep_end=True)}: {came_out}"[:width], ""]
    lines += _hosts(report, width) if report.hosts else ["No two clients are known to share a machine."]
    lines += _alone(report, width)
    if pairs:
        lines += _pairs(report.pairs, report.pairs_left, width)
    for note in report.notes:
        lines += ["", *wrapped(f"Note: {visible(note)}", width, 4)]
    return "\n".join(lines) + "\n"


def called(verdict: Verdict) -> str:
    """Id and name: "10.0.0.7 (web01)"."""
    name = next(iter(words.names(verdict)), "")
    return visible(f"{verdict.id} ({name})" if name else verdict.id)


def _hosts(report: Report, width: int) -> Iterable[str]:
    by_id = {v.id: v for v in report.clients}
    members = {host.id: _members(host, by_id) for host in report.hosts}
    most = CLIENT_MOST * width // 80
    wide = min(most, max(columns(text) for texts in (["Clients"], *members.values()) for text in texts))
    first = max(len("Host"), *(len(host.id) for host in report.hosts))
    room = width - first - wide - len("100 %") - 3 * len(GAP)
    yield GAP.join((padded("Host", first), padded("Clients", wide), " Sure", "Why"))
    for host in report.hosts:
        why = [line for reason in host.because for line in wrapped(visible(reason), room, 4)]
        sure = [words.percent(host.probability)]
        for name, client, probability, reason in zip_longest([host.id], members[host.id], sure, why, fillvalue=""):
            row = (padded(name, first), padded(client, wide), f"{probability:>5}", reason)
            yield GAP.join(row).rstrip()


def _members(host: Host, by_id: dict[str, Verdict]) -> list[str]:
    shown = [called(by_id[one]) for one in host.clients[:MEMBERS_SHOWN]]
    more = len(host.clients) - len(shown)
    return [*shown, f"and {more} more"] if more else shown


def _alone(report: Report, width: int) -> list[str]:
    alone = [called(v) for v in report.clients if v.host is None]
    if not alone:
        return []
    some = ", ".join(alone[:ALONE_SHOWN]) + (", ..." if len(alone) > ALONE_SHOWN else "")
    return ["", *wrapped(f"Not known to share one: {words.count(len(alone), 'client')}: {some}", width, 6)]


def _pairs(pairs: Sequence[Pair], left: int, width: int) -> list[str]:
    """A line per pair, and below it a line per sign; nats are for one host, against it if negative."""
    if not pairs:
        return ["", "No sign is about any pair."]
    lines = ["", "Pairs, with nats for one host and for two (negative):"]
    for pair in pairs[:PAIRS_SHOWN]:
        both = f"{visible(pair.a)} and {visible(pair.b)}"
        lines.append(shortened(f"{pair.weight:+6.1f}  {words.percent(pair.probability):>5}  {both}", width))
        for sign in pair.signs:
            text = f"{sign.weight:+.1f}  {sign.rule}: {visible(sign.says)} ({visible(sign.seen)})"
            lines += [" " * 8 + line for line in wrapped(text, width - 8, 6)]
    hidden = max(len(pairs) - PAIRS_SHOWN, 0) + left
    return [*lines, f"and {words.count(hidden, 'pair')} more; --json lists the surest 20,000"] if hidden else lines

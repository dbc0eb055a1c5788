"""Reports for a terminal: the table of clients, and the explanation of one verdict.

Nothing is wider than `width` columns (at least `LEAST`), whatever a capture says. Where the table leaves too little
room for the reasons, they go to a line of their own below each client.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from nfsleuth.evidence.model import State
from nfsleuth.report import words
from nfsleuth.report.escape import columns, padded, shortened, visible
from nfsleuth.verdict.model import Host, Report, Verdict, Weighed

GAP = "  "
LEAST = 60  # columns of the narrowest terminal that is laid out for
WHY = 24  # columns that the reasons need to stand in the table
WHY_LINES = 3  # lines of reasons per client in the table; all of them are in `explanation`
NAME_MOST = 24  # columns of the widest name, at a width of 80
HOST_MOST, HOST_LEAST = 24, 8  # columns of a host's id
ODD_SHOWN = 4  # oddities named without -v

_COLOURS = {  # SGR parameters (ECMA-48 section 8.3.117)
    State.NATIVE: "32",
    State.BRIDGED: "36",
    State.USER_NAT: "35",
    State.KERNEL_NAT: "34",
    State.CONTAINER: "34",
    State.HYPERVISOR: "36",
    State.UNKNOWN: "33",
    State.CONFLICT: "31",
}


class _Column(Struct, frozen=True):
    title: str
    cells: list[str]
    right: bool = False
    most: int = 80
    keep_end: bool = False

    @property
    def width(self) -> int:
        return min(self.most, max(columns(text) for text in (self.title, *self.cells)))


def table(report: Report, width: int = 80, *, colour: bool = False, verbose: bool = False) -> str:
    """The clients of a report, one row each, between a line of what was read and a line of what was odd.

    width: columns of the terminal. colour: paint states with terminal escapes. verbose: all captures and oddities.
    """
    width = max(width, LEAST)
    what, came_out = words.summary(report)
    lines = [f"{_ending(visible(what), max(8, width - len(came_out) - 2))}: {came_out}"[:width]]
    if verbose and len(report.captures) > 1:
        lines += [shortened(f"  {visible(c.path)}: {_capture(c.frames, c.bytes)}", width) for c in report.captures]
    if report.clients:
        lines += ["", *_rows(report, width, colour)]
    lines += _hosts(report, width)
    lines += _odd(report, width, verbose)
    return "\n".join(lines) + "\n"


def _ending(path: str, width: int) -> str:
    """The end of a path, which tells files apart, in at most `width` columns."""
    return path if columns(path) <= width else shortened(path[::-1], width)[::-1]


def _capture(frames: int, size: int) -> str:
    return f"{words.count(frames, 'frame')}, {words.size(size)}"


def _rows(report: Report, width: int, colour: bool) -> list[str]:
    """The table itself: the reasons beside the client if they fit there, else below; the name too."""
    verdicts = report.clients
    client = _Column("Client", [visible(v.id) for v in verdicts], most=max(15, width - 41), keep_end=True)
    name = _Column("Name", [_name(v) for v in verdicts], most=NAME_MOST * width // 80)
    state = _Column("State", [v.state.value for v in verdicts])
    platform = _Column("Platform", [_platform(v) for v in verdicts], most=12)
    sure = _Column("Sure", [words.sure(v) for v in verdicts], right=True)
    host = _Column("Host", [visible(v.host or "") for v in verdicts], most=HOST_MOST, keep_end=True)
    last = [host] if any(host.cells) else []
    shown = [client, name, state, platform, sure]
    reasons = [visible(v.because) for v in verdicts]
    room = width - _taken(shown, last)
    if room >= WHY:
        return _beside(shown, reasons, last, verdicts, room=room, colour=colour)
    if room < 0 and last:
        last = [replace(host, most=max(HOST_LEAST, host.width + room))]
    if width < _taken(shown, last) - len(GAP):
        shown.remove(name)
        reasons = [
            ": ".join(part for part in (shortened(n, width // 2), r) if part)
            for n, r in zip(name.cells, reasons, strict=True)
        ]
    return _below([*shown, *last], reasons, width, verdicts, colour)


def _taken(*groups: Sequence[_Column]) -> int:
    """Columns that columns take, each with a gap behind it."""
    return sum(c.width + len(GAP) for group in groups for c in group)


def _beside(
    shown: Sequence[_Column],
    reasons: list[str],
    last: Sequence[_Column],
    verdicts: Sequence[Verdict],
    *,
    room: int,
    colour: bool,
) -> list[str]:
    texts = [wrapped(text, room, WHY_LINES) or [""] for text in reasons]
    why = _Column("Why", [lines[0] for lines in texts], most=room)
    widest = max(columns(line) for lines in texts for line in lines)
    why.cells.append(" " * widest)  # as wide as the widest of all lines, so that the host stands right of them
    indent = " " * _taken(shown)
    every = (*shown, why, *last)
    lines = [_heading(every)]
    for index, verdict in enumerate(verdicts):
        lines.append(GAP.join(_painted(c, index, verdict, colour) for c in every).rstrip())
        lines += [indent + line for line in texts[index][1:]]
    return lines


def _below(
    shown: Sequence[_Column], reasons: list[str], width: int, verdicts: Sequence[Verdict], colour: bool
) -> list[str]:
    lines = [_heading(shown)]
    for index, verdict in enumerate(verdicts):
        lines.append(GAP.join(_painted(c, index, verdict, colour) for c in shown).rstrip())
        lines += ["  " + line for line in wrapped(reasons[index], width - 2, WHY_LINES)]
    return lines


def _heading(shown: Iterable[_Column]) -> str:
    return GAP.join(padded(c.title, c.width, right=c.right) for c in shown).rstrip()


def _text(column: _Column, index: int) -> str:
    text = shortened(column.cells[index], column.width, keep_end=column.keep_end)
    return padded(text, column.width, right=column.right)


def _painted(column: _Column, index: int, verdict: Verdict, colour: bool) -> str:
    text = _text(column, index)
    return _paint(text, _COLOURS[verdict.state], colour) if column.title == "State" else text


def _paint(text: str, sgr: str, colour: bool) -> str:
    return f"\x1b[{sgr}m{text}\x1b[0m" if colour else text


def _name(verdict: Verdict) -> str:
    found = words.names(verdict)
    more = f" +{len(found) - 1}" if len(found) > 1 else ""
    return visible(found[0]) + more if found else ""


def _platform(verdict: Verdict) -> str:
    return visible(verdict.platform.name) if verdict.platform else ""


def wrapped(text: str, width: int, most: int = 1000) -> list[str]:
    """`text` in at most `most` lines of at most `width` columns."""
    if columns(text) == len(text):
        return textwrap.wrap(text, width, max_lines=most, placeholder="…", break_on_hyphens=False)
    lines = textwrap.wrap(text, max(2, width // 2), max_lines=most, placeholder="…", break_on_hyphens=False)
    return [shortened(line, width) for line in lines]  # wide characters: at most two columns each


def _hosts(report: Report, width: int) -> list[str]:
    """A line per physical host that several clients share."""
    lines: list[str] = []
    for host in report.hosts:
        if len(host.clients) > 1:
            lines += wrapped(_host(host), width, 2)
    return ["", *lines] if lines else []


def _host(host: Host) -> str:
    because = f": {visible('; '.join(host.because))}" if host.because else ""
    sure = words.percent(host.probability)
    return f"Host {visible(host.id)}: {len(host.clients)} clients share a machine ({sure}){because}"


def _odd(report: Report, width: int, verbose: bool) -> list[str]:
    """What could not be read, or was strange: the largest counts, or with `verbose` all of them with their frames."""
    found = words.oddities(report)
    if not found:
        return []
    if verbose:
        lines = ["", "Odd, or not read:"]
        for name, count, frame in found:
            where = f"  first in frame {frame}" if frame else ""
            lines.append(shortened(f"{count:>12,}  {visible(words.oddity(name))}{where}", width))
        return lines
    parts = [f"{visible(words.oddity(name))} {count:,}" for name, count, _ in found[:ODD_SHOWN]]
    more = f", {len(found) - ODD_SHOWN} more kinds (-v)" if len(found) > ODD_SHOWN else ""
    return ["", *wrapped("Odd: " + ", ".join(parts) + more, width, 4)]


def explanation(report: Report, verdict: Verdict, width: int = 80, *, colour: bool = False) -> str:
    """Why a client's verdict is what it is: all evidence by weight, what was set aside, and what would change it."""
    width = max(width, LEAST)
    blocks = [
        _conclusion(report, verdict, width, colour),
        _evidence(verdict, width, colour),
        _set_aside(verdict, width),
        _probabilities(verdict, width, colour),
        _section("What would change the verdict", [f"- {visible(f)}" for f in verdict.flips], width),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _conclusion(report: Report, verdict: Verdict, width: int, colour: bool) -> list[str]:
    facts = verdict.facts
    state = _paint(verdict.state.value, "1;" + _COLOURS[verdict.state], colour)
    names = ", ".join(visible(shortened(n, 60)) for n in words.names(verdict)[:4])
    head = shortened(f"{visible(verdict.id)}{f' ({names})' if names else ''}", max(8, width - 24), keep_end=True)
    doubt = verdict.state in words.DOUBT
    certainty = (
        f"most likely {verdict.leading.value}, {words.percent(verdict.sure)}"
        if doubt
        else f"{words.percent(verdict.sure)} sure"
    )
    lines = [f"{head}: {state}"]
    platform = verdict.platform
    about = [certainty, f"virtual {words.percent(verdict.virtual)}"]
    if platform:
        about.append(f"{visible(platform.name)} {words.percent(platform.probability)}")
    lines += wrapped(", ".join(about), width, 4)
    if verdict.because:
        lines += wrapped(f"Why: {visible(verdict.because)}", width, 6)
    seen = [
        f"NFS {', '.join(words.versions(verdict)) or 'version unknown'}",
        words.count(facts.connections, "connection"),
        words.count(facts.calls, "call"),
        f"MAC {', '.join(list(facts.macs)[:3])}" if len(facts.macs) else "no MAC seen",
    ]
    lines += wrapped("Seen: " + ", ".join(seen), width)
    if hidden := words.hidden(verdict):
        lines += wrapped("Hidden: " + "; ".join(hidden), width)
    for host in report.hosts:
        if host.id == verdict.host and len(host.clients) > 1:
            lines += wrapped(_host(host), width, 6)
    return lines


def _evidence(verdict: Verdict, width: int, colour: bool) -> list[str]:
    rows = sorted((w for w in verdict.weighed if w.evidence.counted), key=lambda w: (-abs(w.weight), w.evidence.rule))
    if not rows:
        return ["Evidence: none that counts"]
    head = f"Evidence for (+) and against (-) {verdict.leading.value}, in nats: 2.3 are odds of 10 to 1"
    lines = wrapped(head, width)
    rule_width = min(24, max(len(visible(w.evidence.rule)) for w in rows))
    for row in rows:
        weight = f"{row.weight:+6.2f}"
        weight = _paint(weight, "32" if row.weight > 0 else "31" if row.weight < 0 else "2", colour)
        lines += _item(row, f" {weight}  ", 9, rule_width, width)
    return lines


def _item(row: Weighed, lead: str, lead_width: int, rule_width: int, width: int) -> list[str]:
    """One piece of evidence: what it says beside its rule's name, what was seen and where below."""
    evidence = row.evidence
    indent = lead_width + rule_width + 2
    says = wrapped(visible(evidence.says), max(20, width - indent), 4) or [""]
    lines = [f"{lead}{padded(visible(evidence.rule), rule_width)}  {says[0]}".rstrip()]
    lines += [" " * indent + line for line in says[1:]]
    where = words.frames(evidence.frames)
    seen = f"seen {visible(evidence.seen)}" + (f" ({where})" if where else "")
    lines += [" " * (lead_width + 2) + line for line in wrapped(seen, width - lead_width - 2, 6)]
    return lines


def _set_aside(verdict: Verdict, width: int) -> list[str]:
    rows = sorted((w for w in verdict.weighed if not w.evidence.counted), key=lambda w: w.evidence.rule)
    if not rows:
        return []
    lines = ["Set aside"]
    rule_width = min(24, max(len(visible(w.evidence.rule)) for w in rows))
    for row in rows:
        lines += _item(row, "  ", 2, rule_width, width)
        lines += [
            "    " + line
            for line in wrapped(f"because {visible(row.evidence.why_not or 'it was set aside')}", width - 4, 4)
        ]
    return lines


def _probabilities(verdict: Verdict, width: int, colour: bool) -> list[str]:
    lines = ["Probability"]
    most = max(4, min(40, width - 24))
    for state, probability in words.ranked(verdict):
        bar = "█" * round(most * probability)
        lines.append(
            f"  {state.value:<12} {words.percent(probability):>5}  {_paint(bar, _COLOURS[state], colour)}".rstrip()
        )
    return lines


def _section(title: str, items: Iterable[str], width: int) -> list[str]:
    lines = [line for item in items for line in textwrap.wrap(item, width - 2, subsequent_indent="  ")]
    return [title, *("  " + line for line in lines)] if lines else []

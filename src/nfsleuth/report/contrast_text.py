"""A contrast for a terminal: findings with what each label shows, what cannot be concluded, and two clients aligned.

Nothing is wider than `width` columns, whatever a capture says.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import groupby

from nfsleuth.contrast.align import Change, Pair, summary
from nfsleuth.contrast.differences import Difference
from nfsleuth.contrast.rank import Cause, Contrast, Finding
from nfsleuth.contrast.sketch import Profile
from nfsleuth.report.contrast_words import (
    APART,
    NOTHING_ELSE,
    Side,
    by_cause,
    cannot,
    compared,
    lone,
    looked_at,
    question,
    sides,
)
from nfsleuth.report.escape import columns, padded, shortened, visible

LEAST = 60
LABEL_MOST = 24  # columns of a label
INDENT = " " * 7
ALSO = 4  # fields that say the same, named without -v
SHOWN = 12  # findings, and differences, without -v
FOLD = 4  # equal rows of the aligned view in a row that are shown as they are; of more, the middle is folded
MARKS = {Change.SAME: " ", Change.CHANGED: "~", Change.DELETED: "<", Change.INSERTED: ">"}
COLOURS = {Change.CHANGED: "33", Change.DELETED: "31", Change.INSERTED: "32"}


def findings(
    result: Contrast,
    clients: Sequence[Profile],
    differing: Sequence[Difference],
    width: int = 80,
    *,
    verbose: bool = False,
    show_masked: bool = False,
) -> str:
    """The whole answer as text."""
    width = max(width, LEAST)
    lines = _wrapped(looked_at(result), width)
    for label in lone(result) if result.can_conclude else ():
        lines += _wrapped(
            f"{visible(label)} has one client: what is its own cannot be told from what is its kind's.", width
        )
    if not result.can_conclude:
        lines += ["", *_wrapped(cannot(result), width), *_differing(differing, clients, width, verbose)]
    else:
        lines += _significant(result, clients, width, verbose)
    lines += _unequal(result, width)
    if show_masked:
        lines += _masked(result, width)
    return "\n".join(lines) + "\n"


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=True, break_on_hyphens=False)


def _significant(result: Contrast, clients: Sequence[Profile], width: int, verbose: bool) -> list[str]:
    found = by_cause(result.findings)
    main = found.pop(Cause.NONE)
    if not result.findings:
        lines = ["", *_wrapped("No field tells them apart beyond chance (false discovery rate 5 %).", width)]
    elif main:
        lines = ["", *_table(main, clients, width, verbose)]
    else:
        lines = ["", *_wrapped(f"{NOTHING_ELSE}.", width)]
    if any(f.software for f in main):
        lines += [
            "",
            *_wrapped("* The labels differ in their client software, too; that may be the cause.", width, "  "),
        ]
    for cause, some in found.items():
        if some:
            lines += ["", *_wrapped(f"{APART[cause]}:", width)]
            lines += _table(some, clients, width, verbose) if verbose else _names(some, width)
    if result.differing:
        lines += ["", *_wrapped("Different without exception, yet not shown to be more than chance:", width)]
        lines += (
            _names(list(result.differing), width)
            if not verbose
            else _table(list(result.differing), clients, width, True)
        )
    return lines


def _table(found: Sequence[Finding], clients: Sequence[Profile], width: int, verbose: bool) -> list[str]:
    """Findings with their sides."""
    lines = ["Knows  Bits      q   Field"]
    for one in found if verbose else found[:SHOWN]:
        mark = "*" if one.software else " "
        head = f"{one.share:4.0%}   {one.gain:.2f} {_small(one.q)} {mark} "
        lines.append(head + shortened(visible(one.path), width - len(head), keep_end=True))
        if text := question(one):
            lines.append(" " * 13 + shortened(text, width - 13))
        lines += _sides(sides(one.path, one.fields[0].masked, compared(one, clients)), width)
        if len(one.fields) > 1:
            names = [visible(f.path) for f in one.fields[1:]]
            shown = names if verbose else names[:ALSO]
            more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
            lines += _wrapped(f"{INDENT}The same: {', '.join(shown)}{more}", width, " " * 9)
    if not verbose and len(found) > SHOWN:
        lines.append(f"and {len(found) - SHOWN} more; -v shows them")
    return lines


def _small(q: float) -> str:
    return f"{q:6.3f}" if q >= 0.001 else "<0.001"


def _sides(found: Sequence[Side], width: int) -> list[str]:
    """A line per label: its values and, where it fits beside them, an example; else the example below."""
    room = min(max(columns(visible(side.label)) for side in found), LABEL_MOST)
    lines = []
    for side in found:
        several = side.clients > 1
        values = ", ".join(
            shortened(v, 36) + (f" ({count} of {side.clients})" if several else "") for v, count in side.values
        )
        values += f" and {side.others} more" if side.others else ""
        place = (f"frame {side.frame}" + (f" of {side.capture}" if several else "")) if side.frame else ""
        begin = f"{INDENT}{padded(shortened(visible(side.label), room, keep_end=True), room)}  "
        rest = width - len(INDENT) - room - 2
        if columns(values) + columns(place) + 2 <= rest:
            lines.append(begin + (padded(values, rest - columns(place)) + place).rstrip())
        else:
            lines.append(begin + shortened(values, rest))
            lines += [" " * (width - rest) + shortened(place, rest, keep_end=True)] if place else []
    return lines


def _names(found: Sequence[Finding], width: int) -> list[str]:
    lines = []
    for one in found[:SHOWN]:
        also = f" and {len(one.fields) - 1} more" if len(one.fields) > 1 else ""
        lines.append("  " + shortened(visible(one.path), width - 2 - len(also), keep_end=True) + also)
    return [*lines, f"  and {len(found) - SHOWN} groups more; -v shows them"] if len(found) > SHOWN else lines


def _differing(found: Sequence[Difference], clients: Sequence[Profile], width: int, verbose: bool) -> list[str]:
    """Fields without a common value, for what they are worth."""
    open_ones = [d for d in found if not d.masked]
    steady = [d for d in open_ones if d.steady]
    others = len(open_ones) - len(steady)
    if not open_ones:
        return ["", "No field differs without exception."]
    lines = [
        "",
        *_wrapped(f"{len(steady)} fields stayed the same within each client and differ between the labels:", width),
    ]
    for one in steady if verbose else steady[: 2 * SHOWN]:
        lines.append("  " + shortened(visible(one.path), width - 2, keep_end=True))
        lines += _sides(sides(one.path, False, clients), width)
    if not verbose and len(steady) > 2 * SHOWN:
        lines.append(f"  and {len(steady) - 2 * SHOWN} more; -v shows them")
    if others:
        lines += _wrapped(
            f"{others} more fields changed within a client or were seen once; they may differ in every run.", width
        )
        lines += [
            f"  {shortened(visible(d.path), width - 2, keep_end=True)}" for d in open_ones if verbose and not d.steady
        ]
    return lines


def _unequal(result: Contrast, width: int) -> list[str]:
    alone = [s or "unknown" for s, row in result.strata.items() if sum(n > 0 for n in row.values()) < 2]
    if not alone or len(result.strata) == 1:
        return []
    return [
        "",
        *_wrapped(
            f"Not compared, since only one label has them: clients of NFS {', '.join(map(visible, alone))}.", width
        ),
    ]


def _masked(result: Contrast, width: int) -> list[str]:
    if not result.masked:
        return [
            "",
            *_wrapped(
                "Nothing is masked: no client was recorded twice, so nothing is known to change from run to run.", width
            ),
        ]
    lines = [
        "",
        *_wrapped(f"{len(result.masked)} fields changed between runs of one client, and are compared by form:", width),
    ]
    return lines + [f"  {shortened(visible(path), width - 2, keep_end=True)}" for path in result.masked]


def sequence(left: Profile, right: Profile, pairs: Sequence[Pair], width: int = 80, *, colour: bool = False) -> str:
    """Operations of two clients side by side; long equal stretches are folded."""
    width = max(width, LEAST)
    room = (width - 3) // 2
    counts = summary(pairs)
    lines = [
        f"{padded(_who(left), room)}   {shortened(_who(right), room)}",
        f"{counts[Change.SAME]} the same, {counts[Change.CHANGED]} changed (~), "
        f"{counts[Change.DELETED]} on the left only (<), {counts[Change.INSERTED]} on the right only (>)",
        "",
    ]
    for row in folded(pairs):
        if isinstance(row, tuple):
            lines.append(f"{' ' * (room - 6)}... {row[0]} more {row[1].value} ...")
            continue
        text = f"{padded(_step(row, 0), room)} {MARKS[row.change]} {shortened(_step(row, 1), room)}".rstrip()
        code = COLOURS.get(row.change)
        lines.append(f"\x1b[{code}m{text}\x1b[0m" if colour and code else text)
    return "\n".join(lines) + "\n"


def folded(pairs: Sequence[Pair]) -> list[Pair | tuple[int, Change]]:
    """Pairs, with the middle of each long stretch of one kind as the number of pairs left out and their kind.

    What was changed is never left out; what only one side has is where it repeats one operation.
    """
    rows: list[Pair | tuple[int, Change]] = []
    for (change, _), stretch in groupby(pairs, _kind):
        mine = list(stretch)
        if change is not Change.CHANGED and len(mine) > 2 * FOLD:
            rows += [*mine[:FOLD], (len(mine) - 2 * FOLD, change), *mine[-FOLD:]]
        else:
            rows += mine
    return rows


def _kind(pair: Pair) -> tuple[Change, str]:
    step = pair.left or pair.right
    return pair.change, "" if pair.change is Change.SAME or step is None else step.text


def _who(profile: Profile) -> str:
    return visible(f"{profile.label}: {profile.client} in {profile.capture.rpartition('/')[2]}")


def _step(pair: Pair, side: int) -> str:
    step = pair.right if side else pair.left
    if step is None:
        return ""
    said = f" [{step.status}]" if step.status else ""
    return visible(f"{step.time / 1e9:8.3f} {step.text}{said}")

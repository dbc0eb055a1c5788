"""The 2013 study beside a run: timings and rates by configuration come in; an HTML page and Markdown go out.

R. Jellinek, A. Vail, "NFS Trace Deconstruction". Each of its tables and figures stands beside what was measured here:
Table 1 with what is known of its prefixes today, Table 2, figures 1 and 2; further figures (of packets inside a
hypervisor) are passed in by whoever measured them. Nothing is bent: what did not come out as in the study is said.
The study's figures are curves without numbers, so its own lines are not drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from nfsleuth.bandwidth.numbers import Interval
from nfsleuth.bandwidth.plan import LARGE, human
from nfsleuth.bandwidth.timings import Timings
from nfsleuth.clients.rates import LIMITS, Limit, Rates
from nfsleuth.evidence.rules import MacPrefix, Rules, mac_range
from nfsleuth.report import figures, study_values
from nfsleuth.report.escape import visible
from nfsleuth.report.sections import Picture, Section, Table, markdown_table, picture_text, plain, section_text
from nfsleuth.report.templating import environment
from nfsleuth.verdict.paper import TABLE_1

if TYPE_CHECKING:
    from jinja2 import Template
    from matplotlib.figure import Figure

# What became of a prefix whose owner's name alone would mislead.
SINCE = {
    "52:54:00": "by custom only: locally administered, not assigned to anybody",
    "00:50:56": "00:50:56:40 to 7F is ESXi itself; 80 to BF its guests",
    "00:03:FF": "Virtual PC and Virtual Server; Hyper-V has 00:15:5D",
    "00:0F:4B": "product discontinued",
    "00:16:3E": "Xen, and containers of LXC and LXD",
    "00:05:69": "old ESX guests",
}


@dataclass(frozen=True, slots=True)
class Study:
    """What was measured.

    runs: one per configuration, with its label ("native", "virtio bridged", ...). rates: what a capture told of the
    same configurations, by label. conditions: lines on machines, versions and circumstances. sections, pictures: what
    else was measured, and further figures.
    """

    runs: Sequence[Timings]
    rates: Mapping[str, Rates] = field(default_factory=dict)
    conditions: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    sections: Sequence[Section] = ()


def page(study: Study, version: str = "") -> str:
    """One HTML page that needs nothing else. version: of nfsleuth."""
    from markupsafe import Markup

    return _template().render(
        study=study,
        version=version,
        table_1=table_1(),
        table_2=table_2(study.runs),
        findings=findings(study.runs),
        limited=limited(study.rates),
        drawn=[(title, caption, Markup(svg)) for title, caption, svg in _drawn(study.runs)],  # noqa: S704
        pictures=[(visible(p.title), visible(p.caption), Markup(p.svg)) for p in study.pictures],  # noqa: S704 - see Picture
        notes=_notes(study.runs),
    )


def markdown(study: Study, images: Mapping[str, str] | None = None) -> str:
    """The same as Markdown. images: file name by title of a figure, as in `image_files`; without one it is left out."""
    parts = [
        "# The 2013 study beside this run",
        "## Table 1: MAC prefixes of hypervisors, then and now",
        markdown_table(table_1()),
    ]
    parts += [
        "## Table 2: read bandwidth",
        markdown_table(table_2(study.runs)),
        *(f"- {line}" for line in findings(study.runs)),
    ]
    for title, caption, _ in _drawn(study.runs):
        if images and title in images:
            parts += [f"## {title}", f"![{title}]({images[title]})", caption]
    parts += [section_text(section) for section in study.sections]
    parts += [picture_text(picture, images or {}) for picture in study.pictures]
    if study.rates:
        parts += ["## What limited each configuration", markdown_table(limited(study.rates))]
    lines = [f"- {plain(line)}" for line in (*study.conditions, *_notes(study.runs))]
    parts += ["## Conditions", "\n".join(lines) or "None are noted."]
    return "\n\n".join(parts) + "\n"


def image_files(study: Study, kind: str = "svg") -> dict[str, bytes]:
    """The figures as files of a format of `formats.FORMATS`, by title."""
    return {title: figures.render(draw(), kind) for title, _, draw in _figures(study.runs)}


def table_1() -> Table:
    """The study's prefixes, and what the tables of today say of them."""
    rows = [(prefix, name, _today(prefix), SINCE.get(prefix, "as then")) for prefix, name in TABLE_1.items()]
    return Table(("Prefix", "Study", "Today", "What changed"), tuple(rows))


def _today(prefix: str) -> str:
    low, high = mac_range(prefix)
    fitting: list[MacPrefix] = [m for m in Rules.builtin().macs if m.low <= high and m.high >= low]
    names = {m.name: None for m in fitting if m.name and m.high - m.low <= high - low}
    return ", ".join(names) or "not assigned"


def table_2(runs: Sequence[Timings]) -> Table:
    """The study's means and ratios, and this run's medians and ratios."""
    here = _by_configuration(runs)
    native = here.get("native")
    base = study_values.TABLE_2["native"]
    rows = []
    for name, mean in study_values.TABLE_2.items():
        interval = here.get(name)
        mine = ("-", "-", "-") if interval is None else _cells(interval, native)
        rows.append((name, f"{mean:.1f}", f"{mean / base:.3f}", *mine))
    for run in runs:
        found = run.bandwidth()
        if study_values.configuration(run.label) is None and found:
            rows.append((visible(run.label or run.target), "-", "-", *_cells(found[0], native)))
    titles = ("Configuration", "Study, MB/s", "to native", "Here, MB/s", "95 % interval", "to native")
    return Table(titles, tuple(rows), frozenset(range(1, 6)))


def findings(runs: Sequence[Timings]) -> list[str]:
    """Which statements of the study's Table 2 came out here and which did not, in words."""
    here = _by_configuration(runs)
    order = [name for name in study_values.TABLE_2 if name in here]
    if len(order) < 2:
        return ["Fewer than two of the study's configurations were measured: nothing to compare."]
    lines = [f"From fast to slow here: {'; '.join(sorted(order, key=lambda name: -here[name].median))}."]
    for fast, slow in pairwise(order):
        lines.append(_compared(fast, here[fast], slow, here[slow]))
    return lines


def _compared(fast: str, quick: Interval, slow: str, dull: Interval) -> str:
    """Whether `fast`, which the study has before `slow`, is before it here."""
    if _apart(quick, dull):
        return f"Reproduced: {fast} before {slow}."
    if _apart(dull, quick):
        return f"Not reproduced: {slow} reads faster than {fast} here."
    if quick.low is None or dull.low is None:
        order = "before" if quick.median > dull.median else "behind"
        return f"Undecided: {fast} {order} {slow} by its median; too few rounds for an interval."
    return f"Undecided: {fast} and {slow} cannot be told apart here; their intervals overlap."


def _apart(above: Interval, below: Interval) -> bool:
    return above.low is not None and below.high is not None and above.low > below.high


def limited(rates: Mapping[str, Rates]) -> Table:
    """What a capture says limited each configuration's READs."""
    rows = []
    for label, found in rates.items():
        cell = found.of("read")
        own = cell.limited_own.quantile(0.5)
        shares = (f"{100 * cell.share(limit):.0f} %" for limit in Limit)
        rate = "-" if cell.rate is None else f"{cell.rate:.1f}"
        rows.append((visible(label), rate, *shares, "-" if own is None else f"{own:.1f}"))
    titles = ("Configuration", "MB/s", *LIMITS, "own MB/s")
    return Table(titles, tuple(rows), frozenset(range(1, len(titles))))


def _by_configuration(runs: Sequence[Timings]) -> dict[str, Interval]:
    found: dict[str, Interval] = {}
    for run in runs:
        name, bandwidth = study_values.configuration(run.label), run.bandwidth()
        if name and bandwidth:
            found.setdefault(name, bandwidth[0])
    return found


def _cells(interval: Interval, native: Interval | None) -> tuple[str, str, str]:
    between = "-" if interval.low is None or interval.high is None else f"{interval.low:.1f} to {interval.high:.1f}"
    return f"{interval.median:.1f}", between, f"{interval.median / native.median:.3f}" if native else "-"


def _figures(runs: Sequence[Timings]) -> list[tuple[str, str, Callable[[], Figure]]]:
    """Title, caption and drawing of each figure that there are readings for."""
    sizes = {size for run in runs for size in run.counted()}
    small, large = sorted(s for s in sizes if s < LARGE), sorted(s for s in sizes if s >= LARGE)
    caption = "Medians with 95 % bootstrap intervals; files of {}."
    found: list[tuple[str, str, Callable[[], Figure]]] = []
    if small:
        what = caption.format(", ".join(map(human, small)))
        found.append(("Figure 1: small files", what, lambda: figures.read_times(runs, large=False)))
    if large:
        what = caption.format(", ".join(map(human, large)))
        found.append(("Figure 2: large files", what, lambda: figures.read_times(runs, large=True)))
    if sizes:
        what = "Time against size on logarithmic axes."
        found.append(("All files", what, lambda: figures.read_times(runs, logarithmic=True)))
        found.append(("Table 2 as bars", "Grey: the study.", lambda: figures.bandwidths(runs)))
    return found


def _drawn(runs: Sequence[Timings]) -> list[tuple[str, str, str]]:
    """Title, caption and SVG element of each figure."""
    found = []
    for title, caption, draw in _figures(runs):
        text = figures.render(draw(), "svg").decode()
        found.append((title, caption, text[text.index("<svg") :]))
    return found


def _notes(runs: Sequence[Timings]) -> list[str]:
    """What the runs themselves say about how they went."""
    found = []
    for run in runs:
        name = run.label or run.target
        kernel = run.versions.get("kernel")
        found.append(f"{name}: blocks of {human(run.block)}, caches {run.client_cache or 'not noted'}")
        found += [f"{name}: {kernel}"] if kernel else []
        found += [f"{name}: {note}" for note in run.notes]
        found += [f"{name}: ended early: {run.problem}"] if run.problem else []
    return found


@cache
def _template() -> Template:
    pages = environment()
    return pages.get_template("study.html.j2")

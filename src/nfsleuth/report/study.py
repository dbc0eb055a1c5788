"""The 2013 study beside a run: timings and rates by configuration come in; an HTML page and Markdown go out.

R. Jellinek, A. Vail, "NFS Trace Deconstruction". Each of its tables and figures stands beside what was measured here:
Table 1 with what is known of its prefixes today, Table 2, figures 1 and 2; further figures (of packets inside a
hypervisor) are passed in by whoever measured them. Nothing is bent: what did not come out as in the study is said.
The study's figures are curves without numbers, so its own lines are not drawn. The page, the Markdown and the image
files have the same figures, which are made here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct, field

from nfsleuth.bandwidth.numbers import Interval
from nfsleuth.bandwidth.plan import LARGE, human
from nfsleuth.bandwidth.timings import Timings
from nfsleuth.clients.rates import LIMITS, Rates
from nfsleuth.evidence.rules import MacPrefix, Rules, mac_range
from nfsleuth.report import figures, study_values
from nfsleuth.report.escape import visible
from nfsleuth.report.sections import Picture, Section, Table, markdown_table, picture_text, plain, section_text
from nfsleuth.report.templating import environment
from nfsleuth.verdict.paper import TABLE_1

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup
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

KINDS = ("svg", "png")  # of image files
MISSING = "Figures 3 to 5"
FIGURE_1, FIGURE_2 = "Figure 1: small files", "Figure 2: large files"
LIMITED = (
    "Of the time in which files were read, pauses of up to half a second included (application), as a capture at the "
    "server tells. MB/s are over all of that time; own MB/s over the client's time alone, where it was what limited."
)


class Drawing(NamedTuple):
    """A figure that is drawn when it is wanted."""

    name: str
    title: str
    caption: str
    draw: Callable[[], Figure]


class Study(Struct, frozen=True):
    """What was measured.

    runs: one per configuration, with its label ("native", "virtio bridged", ...). rates: what a capture told of the
    same configurations, by label. conditions: lines on machines, versions and circumstances. pictures, sections:
    further figures, and what else was measured. missing: why there are no figures 3 to 5 among the pictures, and how to
    get them.
    """

    runs: Sequence[Timings]
    rates: Mapping[str, Rates] = field(default_factory=dict)
    conditions: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    sections: Sequence[Section] = ()
    missing: str = ""


def page(study: Study, version: str = "") -> str:
    """One HTML page that needs nothing else. version: of nfsleuth."""
    return _template().render(
        study=study,
        version=version,
        table_1=table_1(),
        table_2=table_2(study.runs),
        findings=findings(study.runs),
        limited=limited(study.rates),
        drawn=_elements(pictures(study.runs)),
        pictures=_elements(study.pictures),
        gaps=gaps(study),
        limits=LIMITED,
        notes=notes(study.runs),
    )


def sections(study: Study) -> list[str]:
    """The same as parts of a Markdown text, beside which `images` lie; conditions are left to whoever writes it."""
    parts = ["## Table 1: MAC prefixes of hypervisors, then and now", markdown_table(table_1())]
    parts += ["## Table 2: read bandwidth", markdown_table(table_2(study.runs))]
    parts.append("\n".join(f"- {line}" for line in findings(study.runs)))
    parts += [picture_text(picture) for picture in pictures(study.runs)]
    parts += [section_text(section) for section in study.sections]
    parts += [picture_text(picture) for picture in study.pictures]
    for title, why in gaps(study):
        parts += [f"## {title}", plain(why)]
    if study.rates:
        parts += ["## What limited each configuration", LIMITED, markdown_table(limited(study.rates))]
    return parts


def gaps(study: Study) -> list[tuple[str, str]]:
    """The study's figures that this run has nothing for: title, and why with the cure."""
    sizes = {size for run in study.runs for size in run.counted()}
    least = human(LARGE)
    found = []
    if sizes and min(sizes) >= LARGE:
        found.append((FIGURE_1, f"Not drawn: no file of less than {least} was read."))
    if sizes and max(sizes) < LARGE:
        found.append((FIGURE_2, f"Not drawn: no file of {least} or more was read; `nfsleuth lab run paper` reads one."))
    if study.missing:
        found.append((MISSING, study.missing))
    return found


def images(study: Study) -> dict[str, bytes]:
    """The figures as files, by name: SVG, and PNG of those that are drawn here."""
    found = {f"{picture.name}.svg": picture.svg.encode() for picture in study.pictures}
    return found | drawn(study.runs)


def drawn(runs: Sequence[Timings], *, bars: bool = True) -> dict[str, bytes]:
    """The figures of readings as files, by name. bars: whether the runs' rates may be compared."""
    return {
        f"{one.name}.{kind}": figures.render(one.draw(), kind) for one in drawings(runs, bars=bars) for kind in KINDS
    }


def pictures(runs: Sequence[Timings]) -> list[Picture]:
    """The figures of readings as elements of a page."""
    found = []
    for one in drawings(runs):
        text = figures.render(one.draw(), "svg").decode()
        found.append(Picture(one.title, text[text.index("<svg") :], one.caption, one.name))
    return found


def _elements(shown: Sequence[Picture]) -> list[tuple[str, str, Markup]]:
    """Title, caption and element of each."""
    from markupsafe import Markup

    return [(visible(p.title), visible(p.caption), Markup(p.svg)) for p in shown]  # noqa: S704 - see Picture


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
        shares = (f"{100 * share:.0f} %" for share in cell.shares)
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


def interval_text(interval: Interval | None, digits: int = 1) -> str:
    """A median with where it lies, ``26.4 (24.9 to 27.9)``; ``-`` for None. digits: behind the point."""
    if interval is None:
        return "-"
    middle, between = f"{interval.median:.{digits}f}", _between(interval, digits)
    return f"{middle} ({between})" if between else middle


def _between(interval: Interval, digits: int = 1) -> str:
    """Where it lies, "" with too few samples."""
    if interval.low is None or interval.high is None:
        return ""
    return f"{interval.low:.{digits}f} to {interval.high:.{digits}f}"


def _cells(interval: Interval, native: Interval | None) -> tuple[str, str, str]:
    ratio = f"{interval.median / native.median:.3f}" if native else "-"
    return f"{interval.median:.1f}", _between(interval) or "-", ratio


def drawings(runs: Sequence[Timings], *, bars: bool = True) -> list[Drawing]:
    """The figures that there are readings for."""
    sizes = {size for run in runs for size in run.counted()}
    small, large = sorted(s for s in sizes if s < LARGE), sorted(s for s in sizes if s >= LARGE)
    count = sum(1 for run in runs if run.counted())
    few = f" The first {figures.MOST_RUNS} of {count} clients." if count > figures.MOST_RUNS else ""
    caption = "Medians with 95 % bootstrap intervals; files of {}. The study's curves have no numbers to draw." + few
    found = []
    if small:
        what = caption.format(", ".join(map(human, small)))
        draw = partial(figures.read_times, runs, large=False)
        found.append(Drawing("figure-1", FIGURE_1, what, draw))
    if large:
        what = caption.format(", ".join(map(human, large)))
        draw = partial(figures.read_times, runs, large=True)
        found.append(Drawing("figure-2", FIGURE_2, what, draw))
    if len(sizes) > 1:
        what = "Time against size on logarithmic axes." + few
        found.append(Drawing("all-files", "All files", what, partial(figures.read_times, runs, logarithmic=True)))
    if sizes and bars:
        found.append(Drawing("table-2", "Table 2 as bars", "Grey: the study." + few, partial(figures.bandwidths, runs)))
    return found


def notes(runs: Sequence[Timings]) -> list[str]:
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

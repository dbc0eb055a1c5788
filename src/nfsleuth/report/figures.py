"""Figures for print and for pages: timings, rates and profiles come in, Matplotlib figures go out, or their bytes.

Colours are those of M. Okabe and K. Ito, which people with any colour vision tell apart; marks differ as well. Text
from captures and files is made visible first, since a figure is a page of its own.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ParamSpec

from msgspec import Struct

from nfsleuth.bandwidth.numbers import Interval
from nfsleuth.bandwidth.plan import LARGE, human
from nfsleuth.bandwidth.profile import Cell, Profile
from nfsleuth.bandwidth.recognise import Recognition
from nfsleuth.bandwidth.timings import Timings
from nfsleuth.clients.rates import LIMITS, Rates
from nfsleuth.errors import NfsleuthError
from nfsleuth.report import study_values, words
from nfsleuth.report.escape import shortened, visible
from nfsleuth.sharing.curve import ENOUGH, Curve, Together
from nfsleuth.sharing.result import Sharing
from nfsleuth.verdict.model import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

P = ParamSpec("P")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#5b5b5b")
MARKS = "osD^vPX*"
LIMIT_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#bbbbbb")  # in the order of `Limit`
STUDY_COLOUR = "#999999"
MOST_RUNS = 12
LABEL = 32  # characters
_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "nfsleuth",
    "pdf.fonttype": 42,
    "font.family": "sans-serif",
    "font.size": 9,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.linewidth": 0.4,
    "grid.color": "#dddddd",
    "legend.frameon": False,
    "figure.dpi": 150,
    "savefig.dpi": 300,
}


def _styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """`draw` in the settings of all figures here, which texts and axes take on when they are made."""

    @functools.wraps(draw)
    def drawn(*arguments: P.args, **options: P.kwargs) -> Figure:
        with _settings():
            return draw(*arguments, **options)

    return drawn


def _settings() -> AbstractContextManager[None]:
    import matplotlib as mpl

    return mpl.rc_context(_SETTINGS)  # type: ignore[arg-type]


def render(figure: Figure, kind: str) -> bytes:
    """The figure as a file of one of `formats.FORMATS`; the same bytes for the same figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    out = io.BytesIO()
    with _settings():
        if kind == "svg":
            return svg(figure).encode()
        if kind == "pdf":
            FigureCanvasPdf(figure).print_pdf(out, metadata={"CreationDate": None})  # type: ignore[no-untyped-call]
        else:
            figure.set_dpi(300)
            FigureCanvasAgg(figure).print_png(out)  # type: ignore[no-untyped-call]
    return out.getvalue()


def svg(figure: Figure) -> str:
    """The figure as SVG in the settings that hold where it is called, without what differs from day to day."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    text = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    FigureCanvasSVG(figure).print_svg(text, metadata=nothing)  # type: ignore[no-untyped-call]
    return text.getvalue()


@_styled
def timings(runs: Sequence[Timings]) -> Figure:
    """The study's two figures for these runs, all sizes on logarithmic axes, and bandwidths beside its Table 2.

    Raises NfsleuthError if there is nothing to draw.
    """
    runs = _drawable(runs)
    sizes = {size for run in runs for size in run.counted()}
    small, large = any(size < LARGE for size in sizes), any(size >= LARGE for size in sizes)
    figure, axes = _figure(2, 2, (10, 7.5))
    _times(axes[0][0], runs, "Small files", large=False) if small else axes[0][0].set_axis_off()
    _times(axes[0][1], runs, "Large files", large=True) if large else axes[0][1].set_axis_off()
    _times(axes[1][0], runs, "All files", large=None)
    _bars(axes[1][1], runs)
    handles, labels = axes[1][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 4))
    return figure


@_styled
def read_times(runs: Sequence[Timings], *, large: bool | None = None, logarithmic: bool = False) -> Figure:
    """Read time against size, a line per run, with 95 % intervals. large: only files from `LARGE` on, or only
    smaller ones; None: all. Of a single size the times are bars."""
    figure, axes = _figure(1, 1, (6, 4))
    title = "Read time" if large is None else "Read time, large files" if large else "Read time, small files"
    _times(axes[0][0], _drawable(runs), title, large=large, logarithmic=logarithmic)
    if axes[0][0].get_legend_handles_labels()[0]:
        axes[0][0].legend()
    return figure


@_styled
def bandwidths(runs: Sequence[Timings]) -> Figure:
    """Bars of each run's read bandwidth, beside what the study's Table 2 has for it."""
    figure, axes = _figure(1, 1, (6, 4))
    _bars(axes[0][0], _drawable(runs))
    return figure


@_styled
def timeline(rates: Rates, name: str) -> Figure:
    """MB/s over time; the colours of a column are the shares of what limited the client then."""
    figure, axes = _figure(1, 1, (8.4, 2.6))
    draw_timeline(axes[0][0], rates)
    axes[0][0].set_title(label(name), loc="left")
    return figure


@_styled
def timelines(report: Report) -> Figure:
    """`timeline` of each client that moved file data, one below the other, those that moved most first.

    Raises NfsleuthError if none did.
    """
    shown = sorted((v for v in report.clients if v.facts.rates.cells), key=lambda v: -v.facts.bytes_received)[
        :MOST_RUNS
    ]
    if not shown:
        raise NfsleuthError("there is nothing to draw: no client moved 64 kB of file data in one go")
    figure, axes = _figure(len(shown), 1, (8.4, 0.6 + 2 * len(shown)))
    for (panel,), verdict in zip(axes, shown, strict=True):
        draw_timeline(panel, verdict.facts.rates)
        panel.set_title(label(verdict.id), loc="left")
    return figure


@_styled
def profile(known: Profile, link: str, client: Recognition | None = None, name: str = "") -> Figure:
    """Own speeds by label relative to native, a panel per kind of transfer; `client` is drawn into its own.

    Raises NfsleuthError if the profile has no native baseline on that link.
    """
    cells = [cell for kind, cell in known.cells(link).items() if client is None or client.kind == kind]
    if not cells:
        raise NfsleuthError(f"there is nothing to draw: {'; '.join(known.missing()[:3])}")
    rows = sum(max(len(cell.groups), 1) for cell in cells)
    figure, axes = _figure(len(cells), 1, (7, 1.3 * len(cells) + 0.35 * rows))
    for (panel,), cell in zip(axes, cells, strict=True):
        draw_labels(panel, cell)
        if client is not None:
            draw_client(panel, client, name)
    return figure


@_styled
def savings(found: Sharing) -> Figure:
    """Share of what each host was sent that a cache on it saves, against its size; a band where it is estimated.

    Raises NfsleuthError if no cache would have saved anything.
    """
    figure, axes = _figure(1, 1, (6.4, 4))
    draw_savings(axes[0][0], found)
    return figure


def draw_savings(axes: Axes, found: Sharing) -> None:
    """The lines of `savings`, for all hosts together and for those that save most."""
    shown = [(h.host.id, h.curve) for h in found.hosts if h.curve.enough][: MOST_RUNS - 1]
    if not shown:
        raise NfsleuthError("there is nothing to draw: no bytes were sent to a host again")
    together: list[tuple[str, Curve | Together]] = [("all hosts", found.curve)] if len(shown) > 1 else []
    lines = [*together, *shown]
    most = max(curve.largest for _, curve in lines)
    for number, (name, curve) in enumerate(lines):
        points = curve.points(most)
        sizes = [p.size for p in points]
        low, middle, high = ([100 * getattr(p, n) / curve.sent for p in points] for n in ("low", "saved", "high"))
        colour = COLOURS[number % len(COLOURS)]
        axes.step(sizes, middle, where="post", color=colour, linewidth=1.2, label=label(name))
        if curve.rate < 1:
            axes.fill_between(sizes, low, high, step="post", color=colour, alpha=0.2, linewidth=0)
        enough = curve.at(curve.enough)
        axes.plot(
            enough.size, 100 * enough.saved / curve.sent, color=colour, marker=MARKS[number % len(MARKS)], markersize=5
        )
    axes.set_xscale("log", base=2)
    ticks = [1 << n for n in range(int(math.log2(found.block)), int(math.log2(most)) + 3, 2)]
    axes.set_xticks(ticks, [human(size) for size in ticks])
    axes.xaxis.minorticks_off()
    axes.set_ylim(0, 100)
    axes.set_xlabel(f"cache on each host; the mark: {100 * ENOUGH:.0f} % of what any cache saves")
    axes.set_ylabel("per cent of what was sent that is saved")
    axes.legend()


def draw_timeline(axes: Axes, rates: Rates) -> None:
    """The columns of `timeline`."""
    runs = list(rates.timeline.runs())
    if not runs:
        axes.set_axis_off()
        return
    start = runs[0][0]
    left = [(begin - start) / 1e9 for begin, _, _ in runs]
    width = [(end - begin) / 1e9 for begin, end, _ in runs]
    heights = [octets * 1e3 / (end - begin) for begin, end, (octets, *_) in runs]
    bottom = [0.0] * len(runs)
    for number, name in enumerate(LIMITS):
        whole = [max(sum(time), 1) for _, _, (_, *time) in runs]
        part = [h * time[number] / w for h, (_, _, (_, *time)), w in zip(heights, runs, whole, strict=True)]
        if any(part):
            axes.bar(left, part, width, bottom, align="edge", color=LIMIT_COLOURS[number], label=name)
        bottom = [b + p for b, p in zip(bottom, part, strict=True)]
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    axes.set_xlabel(f"seconds after {words.clock(start)}")
    axes.set_ylabel("MB/s")


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, Any]:
    """A figure and its axes, as nested lists."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _drawable(runs: Sequence[Timings]) -> list[Timings]:
    found = [run for run in runs if run.counted()][:MOST_RUNS]
    if not found:
        raise NfsleuthError("there is nothing to draw: no reading was finished")
    return found


def _times(axes: Axes, runs: Sequence[Timings], title: str, *, large: bool | None, logarithmic: bool = True) -> None:
    """Lines of read times; on logarithmic axes if all sizes are wanted and `logarithmic`."""
    shown = {size for run in runs for size in run.counted() if large is None or (size >= LARGE) == large}
    if len(shown) == 1:
        _bars_of_seconds(axes, runs, title, *shown)
        return
    for number, run in enumerate(runs):
        rows = [r for r in run.results() if r.size in shown]
        if not rows:
            continue
        middle = [r.seconds.median for r in rows]
        axes.errorbar(
            [r.size / 1e6 for r in rows], middle, yerr=_ends(*(r.seconds for r in rows)), capsize=2, linewidth=1.2,
            markersize=4,
            color=COLOURS[number % len(COLOURS)], marker=MARKS[number % len(MARKS)],
            label=label(run.label or run.target),
        )  # fmt: skip
    if large is None and logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
        _plain_ticks(axes.yaxis)
        ticks = sorted(shown)
    else:
        axes.set_ylim(bottom=0)
        ticks = _apart(sorted(shown))
    turned = 45 if len(ticks) > 6 else 0
    axes.set_xticks([size / 1e6 for size in ticks], [human(size) for size in ticks], rotation=turned)
    axes.xaxis.minorticks_off()
    axes.set_xlabel("file size")
    axes.set_ylabel("seconds")
    axes.set_title(title, loc="left")


def _bars_of_seconds(axes: Axes, runs: Sequence[Timings], title: str, size: int) -> None:
    """What reading a file of one size took each run; a line takes two sizes."""
    rows = [(run, result) for run in runs for result in run.results() if result.size == size]
    for number, (run, result) in enumerate(rows):
        took, colour = result.seconds, COLOURS[runs.index(run) % len(COLOURS)]
        axes.barh(number, took.median, 0.6, xerr=_ends(took), capsize=2, color=colour)
    axes.set_yticks(range(len(rows)), [label(run.label or run.target) for run, _ in rows])
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.set_title(f"{title} of {human(size)}", loc="left")


def _ends(*intervals: Interval) -> tuple[list[float], list[float]]:
    """How far each interval reaches below its median, and above it; nowhere where there is none."""
    known = [
        (i.median, i.median if i.low is None else i.low, i.median if i.high is None else i.high) for i in intervals
    ]
    return [middle - low for middle, low, _ in known], [high - middle for middle, _, high in known]


def _apart(sizes: Sequence[int]) -> list[int]:
    """Those of ascending `sizes` whose names do not lie on one another on a linear axis; the largest is kept."""
    kept: list[int] = []
    for size in reversed(sizes):
        if not kept or kept[-1] - size > 0.06 * sizes[-1]:
            kept.append(size)
    return kept[::-1]


def _plain_ticks(axis: Axis) -> None:
    """Marks at 1, 2 and 5 of each decade, written as plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _bars(axes: Axes, runs: Sequence[Timings]) -> None:
    """Measured bandwidth of each run, and the study's where it has that configuration."""
    for number, run in enumerate(runs):
        found = run.bandwidth()
        assert found is not None, "only runs with trials are drawn"
        rate, _ = found
        axes.barh(
            number - 0.2, rate.median, 0.38, xerr=_ends(rate), capsize=2, color=COLOURS[number % len(COLOURS)],
            label="this run" if number == 0 else None,
        )  # fmt: skip
        name = study_values.configuration(run.label)
        if name:
            axes.barh(number + 0.2, study_values.TABLE_2[name], 0.38, color=STUDY_COLOUR)
    axes.set_yticks(range(len(runs)), [label(run.label or run.target) for run in runs])
    axes.invert_yaxis()
    axes.set_xlabel("MB/s (grey: the study's Table 2)")
    axes.set_title("Read bandwidth", loc="left")


def draw_client(axes: Axes, client: Recognition, name: str) -> None:
    """A line through the labels, where a client lies."""
    text = f"{label(name) or 'this client'}: {client.own:.3g} MB/s"
    axes.axvline(math.exp(client.ratio), color=COLOURS[1], linewidth=1.5, label=text)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))


def draw_labels(axes: Axes, cell: Cell) -> None:
    """A row per label: its clients as marks, median and spread as a bar."""
    for number, group in enumerate(cell.groups):
        colour = COLOURS[number % len(COLOURS)]
        scale, middle = group.scale, math.exp(group.centre)
        spread = [[middle - math.exp(group.centre - scale)], [math.exp(group.centre + scale) - middle]]
        axes.errorbar(middle, number, xerr=spread, color=colour, marker="|", markersize=14, capsize=3)
        ratios = [math.exp(ratio) for ratio in group.ratios]
        axes.plot(ratios, [number] * len(ratios), linestyle="", color=colour, marker="o", markersize=4, alpha=0.6)
    axes.set_yticks(range(len(cell.groups)), [f"{label(g.label.name)} ({len(g.ratios)})" for g in cell.groups])
    axes.set_ylim(len(cell.groups) - 0.5, -0.5)
    axes.set_xscale("log")
    _plain_ticks(axes.xaxis)
    axes.set_xlabel(f"own speed relative to native ({math.exp(cell.baseline):.3g} MB/s)")
    axes.set_title(f"{cell.kind.operation}, {human(cell.kind.size)}", loc="left")


def label(text: str, width: int = LABEL) -> str:
    """Text for a figure, at most `width` characters: Matplotlib's fonts lack glyphs for most that is not ASCII."""
    return shortened(visible(text).encode("ascii", "backslashreplace").decode(), width)


class Grid(Struct, frozen=True):
    """A heat map: a value for each row and column, None where there is none. digits: behind the point."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Mapping[tuple[str, str], float | None]
    digits: int = 1
    more_is_better: bool = True  # dark is good


@_styled
def heat_maps(grids: Sequence[Grid]) -> Figure:
    """Grids side by side, two in a row, with their numbers in the fields. Colours are logarithmic, and linear where
    there is a 0."""
    rows = -(-len(grids) // 2)
    height = max(1.1 + 0.26 * len(grid.rows) for grid in grids)
    figure, axes = _figure(rows, min(len(grids), 2), (9, height * rows))
    panels = [panel for line in axes for panel in line]
    for panel, grid in zip(panels, grids, strict=False):
        _heat_map(panel, grid)
    for panel in panels[len(grids) :]:
        panel.set_axis_off()
    return figure


def _heat_map(axes: Axes, grid: Grid) -> None:
    from matplotlib.colors import LogNorm, Normalize

    table = [[grid.values.get((row, column)) for column in grid.columns] for row in grid.rows]
    shown = [[math.nan if value is None else value for value in line] for line in table]
    found = [value for line in shown for value in line if not math.isnan(value)]
    low, high = (min(found), max(found)) if found else (1.0, 1.0)
    high = high if high > low else 2 * low or 1.0
    norm = LogNorm(low, high) if low > 0 else Normalize(0, high)
    axes.imshow(shown, cmap="Blues" if grid.more_is_better else "Blues_r", norm=norm, aspect="auto")
    for y, line in enumerate(table):
        for x, value in enumerate(line):
            place = 0.0 if value is None else float(norm(value))
            dark = value is not None and (place > 0.6 if grid.more_is_better else place < 0.4)
            text = "-" if value is None else f"{value:,.{grid.digits}f}"
            axes.text(x, y, text, ha="center", va="center", fontsize=7, color="white" if dark else "black")
    axes.set_xticks(range(len(grid.columns)), [label(column) for column in grid.columns])
    axes.set_yticks(range(len(grid.rows)), [label(row) for row in grid.rows])
    axes.grid(visible=False)
    axes.set_title(grid.title, loc="left")

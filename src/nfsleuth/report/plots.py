"""Figures of a report as SVG text that lies inside an HTML page and takes its colours from there.

Matplotlib draws with placeholder colours, which are then replaced by the page's CSS variables: so the figures follow
the light and the dark theme. Text stays text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from nfsleuth.bandwidth.recognise import recognise
from nfsleuth.report import figures, study_values, words
from nfsleuth.sharing.result import Sharing
from nfsleuth.verdict.model import Report, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 40  # clients in a figure
LABEL = 40  # characters of a client's label
_INK, _LINE = "#010203", "#010204"  # replaced by the page's colours for text and for lines
_STATES = {state: f"#01030{n}" for n, state in enumerate(words.STATES)}
_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "nfsleuth",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _LINE,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": _LINE,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def read_rates(report: Report) -> str:
    """Bars: MB/s (10⁶ bytes) that each client read while a READ was outstanding; dotted, the study's. Empty if nobody
    read."""
    rates = [(rate, verdict) for verdict in report.clients if (rate := words.read_rate(verdict))]
    rates = sorted(rates, key=lambda item: -item[0])[:MOST]
    if not rates:
        return ""

    def draw(axes: Axes) -> None:
        values = [rate for rate, _ in rates]
        bars = axes.barh(range(len(rates)), values, height=0.62, color=[_STATES[v.state] for _, v in rates])
        for mean in study_values.TABLE_2.values():
            axes.axvline(mean, color=_LINE, linestyle=":", linewidth=1, zorder=0)
        axes.bar_label(bars, labels=[f"{value:.3g}" for value in values], padding=4)
        axes.set_xlabel("MB/s while reading")
        axes.set_xlim(0, max(values) * 1.12)

    return _figure([v for _, v in rates], draw)


def activity(report: Report) -> str:
    """A time line: from each client's first to its last frame, in seconds of the trace. Empty without times."""
    seen = sorted((v for v in report.clients if v.facts.last), key=lambda v: (v.facts.first, v.id))[:MOST]
    if not seen:
        return ""
    start = min(v.facts.first for v in seen)
    span = max(v.facts.last for v in seen) - start or 1

    def draw(axes: Axes) -> None:
        left = [(v.facts.first - start) / 1e9 for v in seen]
        # A client that was seen for a moment only still gets a mark of 0.4 % of the width.
        width = [max(v.facts.last - v.facts.first, span / 250) / 1e9 for v in seen]
        axes.barh(range(len(seen)), width, left=left, height=0.5, color=[_STATES[v.state] for v in seen])
        axes.set_xlabel(f"seconds after {words.clock(start)}")
        axes.set_xlim(0, span / 1e9 * 1.01)

    return _figure(seen, draw)


def over_time(verdict: Verdict) -> str:
    """MB/s of file data over time, coloured by what limited the client. Empty if it moved none."""
    if not len(verdict.facts.rates.timeline):
        return ""

    return _drawn((8.4, 2.2), lambda axes: figures.draw_timeline(axes, verdict.facts.rates))


def beside_profile(report: Report, verdict: Verdict) -> str:
    """How fast the client is beside the labels of the report's profile. Empty if that cannot be said."""
    if report.profile is None or not verdict.facts.rates.cells:
        return ""
    found = recognise(verdict.facts.rates, report.profile, report.link)
    if isinstance(found, str):
        return ""
    cell = report.profile.cells(report.link)[found.kind]

    def draw(axes: Axes) -> None:
        figures.draw_labels(axes, cell)
        figures.draw_client(axes, found, verdict.id)

    return _drawn((8.4, 1.1 + 0.3 * len(cell.groups)), draw)


def savings(found: Sharing) -> str:
    """What a cache on each host saves, against its size. Empty if no cache saves anything."""
    if not any(h.curve.enough for h in found.hosts):
        return ""
    return _drawn((8.4, 3.6), lambda axes: figures.draw_savings(axes, found))


def _drawn(size: tuple[float, float], draw: Callable[[Axes], None], grid: Literal["both", "x", "y"] = "both") -> str:
    """Whatever `draw` puts on the axes, as the text of an ``<svg>`` element. grid: across which axes it has lines."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS):  # type: ignore[arg-type]
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        draw(axes)
        axes.grid(axis=grid, linewidth=0.5)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        return _embedded(figures.svg(figure))


def _figure(clients: Sequence[Verdict], draw: Callable[[Axes], None]) -> str:
    """One row per client, from the top, and whatever `draw` puts on the axes, as the text of an ``<svg>`` element."""

    def rows(axes: Axes) -> None:
        draw(axes)
        axes.set_yticks(range(len(clients)), [_label(v) for v in clients])
        axes.invert_yaxis()
        axes.margins(y=0.02)
        axes.spines["left"].set_visible(False)
        axes.tick_params(length=0)

    return _drawn((8.4, 0.7 + 0.27 * len(clients)), rows, "x")


def _label(verdict: Verdict) -> str:
    name = next(iter(words.names(verdict)), "")
    return figures.label(f"{verdict.id}  {name}" if name else verdict.id, LABEL)


def _embedded(svg: str) -> str:
    """The ``<svg>`` element alone, scaling with the page, without namespaces, in the page's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 class="plot" role="img">', svg, count=1)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px var(--font)", svg)
    colours = {_INK: "currentColor", _LINE: "var(--line)"}
    colours |= {colour: f"var(--{state.value})" for state, colour in _STATES.items()}
    return re.sub("#0[0-9a-f]{5}", lambda found: colours.get(found[0], found[0]), svg)

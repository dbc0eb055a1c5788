"""Figures of a run: the time that each client took to read a file, against the file's size. SVG and PNG go out.

Figure 1 is of small files, figure 2 of large ones, as in the study.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from nfsleuth.lab.model import Experiment
from nfsleuth.lab.outcome import Timing
from nfsleuth.lab.results.rates import STUDY, Spread, by_configuration, configuration, seconds_by_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SMALL = 16 << 20  # bytes: the largest file of figure 1
MOST = 12  # lines in a figure that the eye still tells apart
FORMATS = ("svg", "png")
SETTINGS: Any = {"svg.hashsalt": "nfsleuth", "svg.fonttype": "none", "font.size": 9, "text.parse_math": False}

Lines = Mapping[str, Mapping[int, Spread]]


def figures(experiment: Experiment, timings: Sequence[Timing]) -> dict[str, bytes]:
    """Image files by name: figure-1 and figure-2 where there are files of such sizes, and the bars of Table 2."""
    lines = _lines(experiment, timings)
    drawn: dict[str, bytes] = {}
    for name, title, sizes in (
        ("figure-1", "Small files", range(SMALL + 1)),
        ("figure-2", "Large files", range(SMALL + 1, 1 << 60)),
    ):
        some = {label: {o: s for o, s in line.items() if o in sizes} for label, line in lines.items()}
        some = {label: line for label, line in some.items() if line}
        if some:
            drawn |= _saved(name, partial(_times, lines=some, title=title))
    measured = by_configuration(experiment, timings)
    if len(measured) > 1 and experiment.start == "in turn":  # else rates are not comparable
        drawn |= _saved("table-2", partial(_bars, measured=measured))
    return drawn


def _lines(experiment: Experiment, timings: Sequence[Timing]) -> Lines:
    """Seconds by size; clients of the study's configurations go by their names, and come first."""
    called = {client.name: configuration(client) or client.name for client in experiment.clients}
    order = sorted(called, key=lambda name: (called[name] not in STUDY, list(called).index(name)))
    lines = {called[name]: seconds_by_size(timings, name) for name in reversed(order[:MOST])}
    return dict(reversed([(label, line) for label, line in lines.items() if line]))


def _times(figure: Figure, lines: Lines, title: str) -> None:
    """Lines of seconds against size; bars where there is only one size."""
    axes = figure.add_subplot()
    sizes_drawn = {octets for line in lines.values() for octets in line}
    if len(sizes_drawn) == 1:
        (octets,) = sizes_drawn
        _bars_of_seconds(axes, {label: line[octets] for label, line in lines.items()})
        axes.set(title=f"{title}: {octets / 1e6:.3g} MB")
        return
    for label, line in lines.items():
        medians = [s.median for s in line.values()]
        below = [s.median - s.low for s in line.values()]
        above = [s.high - s.median for s in line.values()]
        sizes = [octets / 1e6 for octets in line]
        axes.errorbar(
            sizes, medians, yerr=[below, above], marker="o", markersize=3, capsize=3, linewidth=1, label=label
        )
    axes.set(xscale="log", yscale="log", xlabel="size of the file, MB", ylabel="seconds to read it", title=title)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.grid(True, which="major", linewidth=0.3)
    axes.legend(frameon=False)


def _bars_of_seconds(axes: Axes, spreads: Mapping[str, Spread]) -> None:
    medians = [s.median for s in spreads.values()]
    ends = [[s.median - s.low for s in spreads.values()], [s.high - s.median for s in spreads.values()]]
    axes.barh(range(len(spreads)), medians, xerr=ends, height=0.6, capsize=3, color="#20639b")
    axes.set_yticks(range(len(spreads)), list(spreads))
    axes.invert_yaxis()
    axes.set(xlabel="seconds to read it")


def _bars(figure: Figure, measured: Mapping[str, Spread]) -> None:
    axes = figure.add_subplot()
    places = range(len(measured))
    axes.barh(
        [p - 0.2 for p in places], [STUDY[name] for name in measured], height=0.38, label="study", color="#9dbad5"
    )
    axes.barh(
        [p + 0.2 for p in places],
        [s.median for s in measured.values()],
        xerr=[[s.median - s.low for s in measured.values()], [s.high - s.median for s in measured.values()]],
        height=0.38,
        capsize=3,
        label="this run",
        color="#20639b",
    )
    axes.set_yticks(list(places), list(measured))
    axes.invert_yaxis()
    axes.set(xlabel="MB/s")
    axes.legend(frameon=False)


def _saved(name: str, draw: Callable[[Figure], None]) -> dict[str, bytes]:
    """The figure in all formats, the same bytes for the same numbers."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        draw(figure)
        saved = {}
        for kind in FORMATS:
            out = io.BytesIO()
            metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
            figure.savefig(out, format=kind, dpi=150, metadata=metadata)
            saved[f"{name}.{kind}"] = out.getvalue()
    return saved

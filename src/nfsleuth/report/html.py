"""A report as one HTML page that needs nothing else: no network, no script, no file beside it.

The template (``templates/report.html.j2``) has the words and the looks; this module prepares the values. Everything
from a capture goes through `escape.visible` and Jinja's escaping, and the page forbids itself to load or run anything
(Content Security Policy Level 3, ``default-src 'none'``).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from msgspec import Struct

from nfsleuth.bandwidth.plan import human
from nfsleuth.clients.rates import LIMITS, Limit
from nfsleuth.report import plots, study_values, words
from nfsleuth.report.escape import shortened, visible
from nfsleuth.report.templating import environment
from nfsleuth.verdict.model import Report, Verdict, Weighed

if TYPE_CHECKING:
    from jinja2 import Template


MOST_DRAWN = 40  # clients whose rates are drawn


class Step(Struct, frozen=True):
    """One piece of evidence as a step of the waterfall; `left` and `width` are per cent of the bar's column."""

    weighed: Weighed
    left: float
    width: float
    toward: bool


def page(report: Report, version: str = "") -> str:
    """The whole page as text. version: of nfsleuth, for the foot of the page."""
    from markupsafe import Markup

    return _template().render(
        report=report,
        version=version,
        anchors={v.id: f"client-{n}" for n, v in enumerate(report.clients, 1)},
        shared=[h for h in report.hosts if len(h.clients) > 1],
        rates=Markup(plots.read_rates(report)),  # noqa: S704 - Matplotlib escapes the text that it is given
        activity=Markup(plots.activity(report)),  # noqa: S704
        over_time={v.id: Markup(plots.over_time(v)) for v in report.clients[:MOST_DRAWN]},  # noqa: S704
        beside={v.id: Markup(plots.beside_profile(report, v)) for v in report.clients[:MOST_DRAWN]},  # noqa: S704
        limits=tuple(zip(LIMITS, Limit, strict=True)),
        study=study_values.TABLE_2,
    )


def waterfall(verdict: Verdict) -> tuple[list[Step], float]:
    """Counted evidence, strongest first, as steps from 0 nats on, and where 0 lies in per cent."""
    rows = sorted((w for w in verdict.weighed if w.evidence.counted), key=lambda w: (-abs(w.weight), w.evidence.rule))
    ends = [0.0]
    for row in rows:
        ends.append(ends[-1] + row.weight)
    low, high = min(ends), max(ends)
    scale = 100 / (high - low or 1)
    steps = [
        Step(row, (min(start, end) - low) * scale, abs(end - start) * scale, row.weight >= 0)
        for row, start, end in zip(rows, ends, ends[1:], strict=False)
    ]
    return steps, -low * scale


def set_aside(verdict: Verdict) -> list[Weighed]:
    """Evidence that was not counted, by rule."""
    return sorted((w for w in verdict.weighed if not w.evidence.counted), key=lambda w: w.evidence.rule)


def _short(text: str, width: int = 32) -> str:
    """Text for a cell of a table: visible, and not so long that it pushes the other columns away."""
    return shortened(visible(text), width, keep_end=True)


@cache
def _template() -> Template:
    pages = environment()
    pages.filters |= {
        "short": _short,
        "percent": words.percent,
        "size": words.size,
        "human": human,
        "duration": words.duration,
    }
    pages.globals |= {"words": words, "waterfall": waterfall, "set_aside": set_aside}
    return pages.get_template("report.html.j2")

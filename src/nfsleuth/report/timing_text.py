"""Timings as tables for a terminal, within 80 columns: a run by sizes, and several runs beside the study's Table 2."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from nfsleuth.bandwidth.numbers import Interval
from nfsleuth.bandwidth.plan import human
from nfsleuth.bandwidth.timings import Timings
from nfsleuth.report import study_values
from nfsleuth.report.escape import padded, visible

WIDTH = 80


def run(it: Timings) -> str:
    """One run: a row per size, then what it was, and what to know about it."""
    where = visible(it.target) + (f" ({visible(it.filesystem)})" if it.filesystem else "")
    lines = [f"{visible(it.label) + ': ' if it.label else ''}{where}, blocks of {human(it.block)}"]
    lines += [
        "",
        f"{'Size':>6}  {'Reads':>5}  {'Seconds':>10}  {'95 % interval':>21}  {'MB/s':>8}  {'95 % interval':>17}",
    ]
    lines += [
        f"{human(r.size):>6}  {r.trials:>5}  {r.seconds.median:>10.4g}  {_between(r.seconds, 21)}"
        f"  {r.rate.median:>8.4g}  {_between(r.rate, 17)}"
        for r in it.results()
    ]
    if not it.results():
        lines.append(f"Only the warm-up was read ({len(it.trials)} readings).")
    lines += ["", f"Caches: client {visible(it.client_cache)}; server {visible(it.server_cache or 'not emptied')}."]
    lines += _wrapped([*it.notes, *([f"ended early: {it.problem}"] if it.problem else [])])
    return "\n".join(lines) + "\n"


def beside_the_study(runs: Sequence[Timings]) -> str:
    """The study's Table 2 beside these runs: MB/s and the ratio to native, of each."""
    lines = ["The study's Table 2 beside this measurement (MB/s; ratio to native)", ""]
    lines.append(f"{'Configuration':<24}  {'Study':>7}  {'Ratio':>6}  {'Here':>8}  {'95 % interval':>17}  {'Ratio':>6}")
    mine = {study_values.configuration(it.label): it for it in runs if it.bandwidth()}
    native = mine["native"].bandwidth() if "native" in mine else None
    base = native[0].median if native else None
    table = study_values.TABLE_2
    for name, mean in table.items():
        here = f"{'-':>8}" if name not in mine else _here(mine[name], base)
        lines.append(f"{name:<24}  {mean:>7.1f}  {mean / table['native']:>6.3f}  {here}")
    for it in runs:
        if study_values.configuration(it.label) is None and it.bandwidth():
            lines.append(f"{padded(visible(it.label or it.target), 24)}  {'-':>7}  {'-':>6}  {_here(it, base)}")
    what = sorted({found[1] for it in runs if (found := it.bandwidth())})
    return "\n".join([*lines, "", *_wrapped([f"Here: median over {'; '.join(what)}"] if what else [])]) + "\n"


def _here(it: Timings, native: float | None) -> str:
    found = it.bandwidth()
    assert found is not None, "only runs with trials are shown"
    ratio = f"{found[0].median / native:>6.3f}" if native else f"{'-':>6}"
    return f"{found[0].median:>8.4g}  {_between(found[0], 17)}  {ratio}"


def _between(interval: Interval, width: int) -> str:
    text = "" if interval.low is None or interval.high is None else f"{interval.low:.4g} to {interval.high:.4g}"
    return f"{text:>{width}}"


def _wrapped(notes: Sequence[str]) -> list[str]:
    return [line for note in notes for line in textwrap.wrap(visible(note) + ".", WIDTH)]

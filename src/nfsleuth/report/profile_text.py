"""A profile as a table for a terminal: labels by kind of transfer, relative to native, and what is missing."""

from __future__ import annotations

import math

from nfsleuth.bandwidth.plan import human
from nfsleuth.bandwidth.profile import Cell, Profile
from nfsleuth.report.escape import padded, shortened, visible

WIDTH = 80


def profile(known: Profile) -> str:
    """All that the profile can be used for, and then what it lacks."""
    lines: list[str] = []
    for link in known.links:
        for cell in known.cells(link).values():
            lines += [*_cell(cell), ""]
    missing = known.missing()
    if missing:
        lines += ["Missing:", *(shortened(f"  {visible(text)}", WIDTH) for text in missing)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _cell(cell: Cell) -> list[str]:
    where = f" on {visible(cell.link)}" if cell.link else ""
    what = f"{cell.kind.operation} {human(cell.kind.size)}{where}"
    head = f"{what}: native clients take in {math.exp(cell.baseline):.4g} MB/s"
    lines = [shortened(head, WIDTH), f"  {'Label':<26} {'State':<12} {'Clients':>7} {'To native':>9} {'Spread':>8}"]
    for group in cell.groups:
        name, state = padded(visible(group.label.name), 26), f"{group.label.state:<12}"
        lines.append(f"  {name} {state} {len(group.ratios):>7} {math.exp(group.centre):>9.3f} {group.scale:>8.2f}")
    return lines

"""A client's rates and a profile come in; which kinds of client read like that, or none that is known, goes out.

Per label the likelihood is a Student t around the label's median, so that one odd client among those learnt from moves
little. Whether a label fits at all is decided without any distribution, by a conformal p-value (Vovk, Gammerman,
Shafer, "Algorithmic learning in a random world", 2005): the share of the label's clients that lie as far out as this
one. A label is rejected at `ALPHA`, or, with fewer clients than that takes, if this one lies farther out than all of
them; so a client of the label is rejected with a probability of at most ``max(ALPHA, 1 / (clients + 1))``. That holds
where clients are exchangeable: the same site, link and server.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from nfsleuth.bandwidth.numbers import student_log_density
from nfsleuth.bandwidth.profile import LEAST_INTERVALS, NATIVE, Cell, Group, Label, Profile, log_spread
from nfsleuth.clients.rates import Kind, Rates

ALPHA = 0.05
# Scale in ln(speed) below which clients of one kind do not agree: load, time of day, the histogram's step of 4 %.
LEAST_SCALE = 0.1


class Fit(Struct, frozen=True):
    """How well a label fits: ln of its likelihood, and its conformal p-value."""

    label: Label
    log_likelihood: float
    p: float
    rejected: bool


class Recognition(Struct, frozen=True):
    """What a client reads like.

    ratio: ln(own speed / native baseline). fits: the best first. states: ln of the likelihood of each state, which is
    the mean over its labels; empty if the client fits nothing that is known.
    """

    kind: Kind
    intervals: int  # client-limited
    own: float  # MB/s
    ratio: float
    fits: tuple[Fit, ...]
    states: dict[str, float]

    @property
    def fits_something(self) -> bool:
        """Whether any label was not rejected."""
        return any(not fit.rejected for fit in self.fits)


def recognise(rates: Rates, profile: Profile, link: str) -> Recognition | str:
    """What a client reads like, or why that cannot be said."""
    cells = profile.cells(link)
    known = {kind: cell for kind, cell in cells.items() if any(g.label.state != NATIVE for g in cell.groups)}
    if not known:
        return "the profile knows too little: " + (profile.missing() or ["no guests"])[0]
    mine = {kind: rates.cells[kind] for kind in known if kind in rates.cells}
    if not mine:
        return "it moved no data in sizes that the profile knows"
    kind = max(mine, key=lambda k: (mine[k].client_limited, k))
    cell = mine[kind]
    if cell.client_limited < LEAST_INTERVALS:
        return f"{cell.client_limited} client-limited intervals, it takes {LEAST_INTERVALS}"
    own = cell.own.quantile(0.5)
    assert own is not None, "there are values"
    ratio = math.log(own) - known[kind].baseline
    error = log_spread(cell.own) * math.sqrt(math.pi / 2 / cell.own.total)  # of a median
    fits = sorted((_fit(group, ratio, error) for group in known[kind].groups), key=lambda f: -f.log_likelihood)
    return Recognition(kind, cell.client_limited, own, ratio, tuple(fits), _states(fits, known[kind]))


def _fit(group: Group, ratio: float, error: float) -> Fit:
    ratios, centre = group.ratios, group.centre
    scale = math.hypot(max(group.scale, LEAST_SCALE), error) * math.sqrt(1 + 1 / len(ratios))
    p = conformal([abs(r - centre) for r in ratios], abs(ratio - centre))
    return Fit(group.label, student_log_density(ratio, centre, scale), p, p <= max(ALPHA, 1 / (len(ratios) + 1)))


def conformal(known: Sequence[float], new: float) -> float:
    """The conformal p-value of a nonconformity among `known` ones: from 1 / (n + 1) to 1."""
    return (1 + sum(score >= new for score in known)) / (len(known) + 1)


def _states(fits: Sequence[Fit], cell: Cell) -> dict[str, float]:
    """ln of the mean likelihood of each state's labels, rejected ones too, unless all are."""
    if all(fit.rejected for fit in fits):
        return {}
    found = {}
    for state in sorted({group.label.state for group in cell.groups}):
        mine = [fit.log_likelihood for fit in fits if fit.label.state == state]
        highest = max(mine)
        found[state] = highest + math.log(math.fsum(math.exp(value - highest) for value in mine) / len(mine))
    return found

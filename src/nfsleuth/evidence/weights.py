"""A weight and where it comes from; a heuristic keeps a table of them and makes its `Evidence` rows through it.

A case's name comes in with what was seen, an `Evidence` row goes out. `evidence.document` prints the same tables.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from msgspec import Struct, field

from nfsleuth.evidence.model import Evidence, Group, State

HALF = 0.5  # added to each count of a table of two by two (Haldane, Ann. Hum. Genet. 20, 1956)
NORMAL = {90: 1.645, 95: 1.960}  # standard deviations of a two-sided interval, by percent
STRONGEST = 6.9  # nats: one sign is never clipped less than 1 in 1000, whatever it says


def as_guest(nats: float) -> dict[State, float]:
    """`nats` for "this is a guest", whichever way it is connected; behind kernel NAT it may be a container instead."""
    return {State.BRIDGED: nats, State.USER_NAT: nats, State.KERNEL_NAT: nats / 2}


def clipped(nats: float) -> float:
    """`nats` within the limits of a single sign."""
    return max(-STRONGEST, min(STRONGEST, nats))


def log_ratio(
    seen: float, of: float, elsewhere: float, of_elsewhere: float, percent: int
) -> tuple[float, float, float]:
    """ln of the ratio of two rates, which is a weight in nats, with its interval (Katz's, with `HALF` added).

    seen, of: who showed it here, of how many; elsewhere, of_elsewhere: the same among the others. percent: 90 or 95.
    Where it was never seen on one side the true ratio may be any larger one, so the interval is open there.
    """
    a, n, b, m = seen + HALF, of + 2 * HALF, elsewhere + HALF, of_elsewhere + 2 * HALF
    middle, error = math.log((a / n) / (b / m)), NORMAL[percent] * math.sqrt(1 / a - 1 / n + 1 / b - 1 / m)
    return middle, middle - error if seen else -math.inf, middle + error if elsewhere else math.inf


class Weight(Struct, frozen=True):
    """What one case of a heuristic says and weighs. `source`: "lab", "prior", or a citation."""

    says: str
    toward: Mapping[State, float] = field(default_factory=dict)
    source: str = "prior"
    platform: Mapping[str, float] = field(default_factory=dict)
    virtual: float = 0.0

    def __post_init__(self) -> None:
        if self.toward and max(map(abs, self.toward.values())) > STRONGEST:
            raise ValueError(f"{self.says}: {dict(self.toward)}; no sign weighs more than {STRONGEST} nats")

    def evidence(
        self,
        rule: str,
        group: Group,
        seen: str,
        frames: tuple[int, ...] = (),
        *,
        says: str = "",
        factor: float = 1.0,
        platform: Mapping[str, float] | None = None,
        host: str = "",
    ) -> Evidence:
        """A counted row. `factor`, at most 1, scales the weights where the case is met only in part."""
        return Evidence(
            rule=rule,
            group=group,
            says=says or self.says,
            seen=seen,
            toward=self.toward if factor == 1.0 else {state: nats * factor for state, nats in self.toward.items()},
            platform={**self.platform, **platform} if platform else self.platform,
            virtual=self.virtual * factor,
            host=host,
            frames=frames,
            source=self.source,
        )


def set_aside(rule: str, group: Group, says: str, seen: str, why_not: str, *, frames: tuple[int, ...] = ()) -> Evidence:
    """A row that is shown and weighs nothing."""
    return Evidence(rule=rule, group=group, says=says, seen=seen, frames=frames, counted=False, why_not=why_not)

"""What is expected of a client before anything is known of it: a probability per state.

Text such as "native=.6,bridged-vm=.2" comes in, a complete prior that sums to 1 goes out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from nfsleuth.errors import NfsleuthError
from nfsleuth.evidence.model import HYPOTHESES, State

Priors = Mapping[State, float]

# A site with machines and guests in like numbers. User-mode NAT has twice what the rarer states have, since it is what
# people who start guests by hand get: whom this tool looks for.
DEFAULT: Priors = {
    State.NATIVE: 0.45,
    State.BRIDGED: 0.30,
    State.USER_NAT: 0.10,
    State.KERNEL_NAT: 0.05,
    State.CONTAINER: 0.05,
    State.HYPERVISOR: 0.05,
}
LEAST = 1e-4  # no state is ruled out before anything was seen


def complete(given: Priors) -> dict[State, float]:
    """`given` as it stands, and the other states in their default proportions with what is left.

    Raises NfsleuthError if a value is no probability, or if together they leave no room.
    """
    for state, value in given.items():
        if state not in HYPOTHESES:
            raise NfsleuthError(f"prior of {state}: it is an answer, not a state; choose of {_choices()}")
        if not (math.isfinite(value) and 0 <= value <= 1):
            raise NfsleuthError(f"prior of {state} is {value:g}; give a probability from 0 to 1")
    total = sum(given.values())
    others = [s for s in HYPOTHESES if s not in given]
    if total > 1 + 1e-9:
        raise NfsleuthError(f"the priors sum to {total:g}; they may sum to 1 at most")
    if not others and not math.isclose(total, 1, abs_tol=1e-6):
        raise NfsleuthError(f"the priors of all states sum to {total:g}; make them sum to 1")
    left = sum(DEFAULT[s] for s in others)
    full = {s: given[s] if s in given else (1 - total) * DEFAULT[s] / left for s in HYPOTHESES}
    floored = {s: max(LEAST, p) for s, p in full.items()}
    whole = sum(floored.values())
    return {s: p / whole for s, p in floored.items()}


def parse(text: str) -> dict[State, float]:
    """The priors in "native=.6,bridged-vm=.2"; states that are not named share the rest as in `DEFAULT`.

    Raises NfsleuthError that says which part is wrong and how to write it.
    """
    given: dict[State, float] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            raise NfsleuthError(f"--prior {part!r}: write STATE=PROBABILITY, for example native=.6")
        if name.strip() not in list(HYPOTHESES):
            raise NfsleuthError(f"--prior {part!r}: state {name.strip()!r} is not known; choose of {_choices()}")
        state = State(name.strip())
        if state in given:
            raise NfsleuthError(f"--prior names {state} twice; give it once")
        try:
            given[state] = float(value)
        except ValueError as error:
            raise NfsleuthError(f"--prior {part!r}: {value!r} is not a number; write for example .6") from error
    return complete(given)


def _choices() -> str:
    return ", ".join(HYPOTHESES)

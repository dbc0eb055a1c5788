"""The study's Figure 5: the share of memory management. A recording comes in, shares with their denominators go out.

The study says that slirp_input, m_get, slirp_insque, if_output, if_start, m_free and slirp_remque take about 50 % of
the time in libslirp, if_output and if_start 22.9 %. A share needs own times of functions that run for some ns, so it is
given by methods that can tell those: `sampling`, with enough samples, and `instrumented`. Uprobes cannot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nfsleuth.path.functions import MEMORY
from nfsleuth.path.model import Method, Recording, Role
from nfsleuth.path.tree import Tree

QUEUE = ("if_output", "if_start")
FEWEST_SAMPLES = 1000  # in libslirp, for a share within 3 %
Z = 1.96  # of a 95 % interval
# Its own time is that of the callback: QEMU's network layer and the NIC model.
CALLBACK = "slirp_send_packet_all"


@dataclass(frozen=True)
class Share:
    """A part of a whole, in 0..1."""

    name: str
    of: str  # the denominator
    value: float
    low: float  # of the 95 % interval of sampling; the value itself where nothing is drawn at random
    high: float


@dataclass(frozen=True)
class OwnTime:
    """A function's own time over all its calls: ns, or samples of `sampling`."""

    name: str
    role: Role
    value: float
    memory: bool  # one of the study's set


def own_times(recording: Recording, tree: Tree | None) -> list[OwnTime]:
    """Own time of each function, longest first: less its probes, and without what interrupted it."""
    totals = [0.0] * len(recording.functions)
    if recording.method is Method.SAMPLING:
        totals = [float(n) for n in recording.samples]
    elif tree:
        for node in tree.nodes:
            totals[node.function] += max(0.0, node.own_steady)
    found = [
        OwnTime(f.name, f.role, t, f.name in MEMORY and f.role is Role.SLIRP)
        for f, t in zip(recording.functions, totals, strict=True)
        if t > 0
    ]
    return sorted(found, key=lambda own: -own.value)


def unsupported(recording: Recording, tree: Tree | None) -> str:
    """Why this recording gives no shares; nothing if it does."""
    if recording.method is Method.UPROBES:
        return "uprobes cost more than these functions take; record with --method sampling or instrumented"
    names = {f.name for f in recording.functions if f.role is Role.SLIRP}
    slirp = sum(own.value for own in own_times(recording, tree) if own.role is Role.SLIRP)
    if not slirp:
        return "nothing of libslirp ran"
    if recording.method is Method.SAMPLING and slirp < FEWEST_SAMPLES:
        return f"{slirp:.0f} samples in libslirp; a share needs {FEWEST_SAMPLES:,}: record longer"
    if not names & set(MEMORY) - {"slirp_input"}:
        return "functions inside libslirp have no names; start the guest with the library of `path library`"
    return ""


def shares(recording: Recording, tree: Tree | None) -> list[Share]:
    """Shares of memory management, of several wholes; none if the method cannot tell."""
    if unsupported(recording, tree):
        return []
    times = own_times(recording, tree)
    slirp = [own for own in times if own.role is Role.SLIRP and own.name != CALLBACK]
    memory = sum(own.value for own in slirp if own.memory)
    queue = sum(own.value for own in slirp if own.name in QUEUE)
    inside = sum(own.value for own in slirp)
    sampled = recording.method is Method.SAMPLING
    wholes = [("libslirp's own time, without system calls", inside)]
    if sampled:
        wholes.append(("all CPU time of the process", float(sum(recording.samples))))
    else:
        calls = sum(own.value for own in times if own.role is Role.SYSCALL)
        if calls:
            wholes.append(("libslirp's own time and its system calls", inside + calls))
    found = [_share("memory management", memory, name, whole, sampled) for name, whole in wholes if whole]
    return [*found, _share("if_output and if_start", queue, wholes[0][0], inside, sampled)]


def _share(name: str, part: float, of: str, whole: float, sampled: bool) -> Share:
    """With Wilson's interval, if it is a share of samples."""
    value = part / whole
    if not sampled:
        return Share(name, of, value, value, value)
    middle = (value + Z * Z / (2 * whole)) / (1 + Z * Z / whole)
    half = Z / (1 + Z * Z / whole) * math.sqrt(value * (1 - value) / whole + (Z / (2 * whole)) ** 2)
    return Share(name, of, value, middle - half, middle + half)

"""A recording as text for a terminal: a `Recording` and its `Tree` come in, lines go out."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from nfsleuth.path import shares
from nfsleuth.path.model import Direction, Method, Overhead, Recording
from nfsleuth.path.tree import Node, Tree, main_paths
from nfsleuth.report.escape import padded, visible

WORDS = {Direction.TO_NETWORK: "guest to network", Direction.TO_GUEST: "network to guest"}
NUMBERS = 45  # columns for numbers beside the names
TRUST = {
    Method.UPROBES: "counts and edges are exact; times only where a function is much longer than its probe",
    Method.SAMPLING: "shares of CPU time; it counts no calls and follows no packet",
    Method.INSTRUMENTED: "counts, edges and times inside libslirp; QEMU's own functions are not seen",
}
MOST_BARS = 15
NOT_SUPPORTED = "-"


def shown(recording: Recording, tree: Tree | None, title: str, width: int = 80, *, everything: bool = False) -> str:
    """The whole report; of the trees what matters, or `everything`."""
    lines = [*_head(recording, title)]
    if tree:
        for direction, words in WORDS.items():
            lines += ["", *_direction(recording, tree, direction, words, width, everything)]
        lines += ["", *_frames(tree)]
    lines += ["", *_own(recording, tree, width), *_foot(recording, tree)]
    return "".join(f"{line}\n" for long in lines for line in _wrapped(long, width))


def _wrapped(line: str, width: int) -> list[str]:
    indent = len(line) - len(line.lstrip())
    return textwrap.wrap(line, width, subsequent_indent=" " * (indent + 2), drop_whitespace=True) or [""]


def _head(recording: Recording, title: str) -> Iterator[str]:
    guest = recording.guest
    parts = ", ".join(filter(None, (f"QEMU {guest.qemu}", guest.libslirp)))
    place = f"{' + '.join(guest.nics) or 'NIC unknown'} on {' + '.join(guest.backends) or 'backend unknown'}"
    yield visible(f"{title}: {place}, {parts}")
    events = f"{len(recording.events):,} events, {recording.lost:,} lost, " if len(recording.events) else ""
    yield visible(f"method {recording.method}, {recording.seconds:.1f} s, {events}Linux {recording.kernel}")
    yield f"  {TRUST[recording.method]}"
    for name, cost in recording.costs.items():
        words = {"stepped": "single-stepped function", "syscall": "system call", "emulated": "function"}.get(
            name, "function"
        )
        yield visible(f"  watching a {words}: {us(cost.pair)} us a call, {us(cost.inside)} us within its own time")
    if recording.overhead:
        yield visible(f"  {overhead(recording.overhead)}")


def overhead(over: Overhead) -> str:
    """What passed the guest's network without and with the recorder."""
    rates = ", ".join(f"{r / 1e6:.1f} MB/s {w}" for r, w in ((over.before, "before"), (over.during, "during")))
    around = (over.before + over.after) / 2
    left = f"; {over.during / around:.0%} of it while recorded" if around else ""
    return f"passed on {over.source or 'no interface'}: {rates}, {over.after / 1e6:.1f} MB/s after{left}"


def _direction(
    recording: Recording, tree: Tree, direction: Direction, words: str, width: int, everything: bool
) -> Iterator[str]:
    frames = tree.frames.to_network if direction == Direction.TO_NETWORK else tree.frames.to_guest
    yield f"{words}: {frames:,} frames"
    yield padded("", width - NUMBERS) + f"{'calls':>9}{'/frame':>8}{'measured':>10}{'us a call':>10}{'own us':>8}"
    kept = set(range(len(tree.nodes))) if everything else main_paths(recording, tree)
    roots = [n for n in tree.children(-1) if tree.nodes[n].direction == direction]
    for number in roots:
        if number in kept:
            yield from _node(recording, tree, number, frames, 0, width, kept)
    mine = set(roots)
    if hidden := sum(_top(tree, n) in mine for n in range(len(tree.nodes)) if n not in kept):
        yield f"and {hidden} paths that took little and carried few frames; --all shows them"


def _top(tree: Tree, number: int) -> int:
    while tree.nodes[number].parent >= 0:
        number = tree.nodes[number].parent
    return number


def _node(
    recording: Recording, tree: Tree, number: int, frames: int, depth: int, width: int, kept: set[int]
) -> Iterator[str]:
    node = tree.nodes[number]
    function = recording.functions[node.function]
    mark = {Direction.TO_GUEST: "<- ", Direction.TO_NETWORK: "-> "}.get(node.direction, "") if node.turned else ""
    flag = " *" if function.stepped and recording.method is Method.UPROBES else ""
    name = "  " * min(depth, 12) + mark + visible(function.name) + flag
    per = f"{node.calls / frames:.2f}" if frames else NOT_SUPPORTED
    times = f"{us(node.typical.total):>10}{_less_probes(node):>10}{_own_time(node):>8}"
    yield padded(name, width - NUMBERS) + f"{node.calls:>9,}{per:>8}{times}"
    if node.parent < 0:
        known = [f"called by {', '.join(recording.callers[c] for c, _ in node.callers[:3])}"] if node.callers else []
        threads = [thread(recording, n) for n, _ in node.threads[:3]]
        yield visible(f"  ({', '.join([*known, *(f'in {name}' for name in threads)])})")
    for child in tree.children(number):
        if child in kept:
            yield from _node(recording, tree, child, frames, depth + 1, width, kept)


def thread(recording: Recording, number: int) -> str:
    """A thread in words: QEMU's main loop runs in its first, and -name debug-threads=on names the others."""
    found = recording.threads[number]
    if found.tid == recording.guest.pid:
        return "the main loop"
    if recording.method is Method.INSTRUMENTED:
        return found.name
    return f"thread {found.tid}" + ("" if found.name.startswith("qemu-system") else f" ({found.name})")


def _less_probes(node: Node) -> str:
    return us(node.typical.total_corrected) if node.typical.total_trusted else NOT_SUPPORTED


def call_time(node: Node) -> str:
    """us of a call, less the probes' part; or as measured, marked by "<", where that is most of it."""
    typical = node.typical
    return us(typical.total_corrected) if typical.total_trusted else f"< {us(typical.total)}"


def _own_time(node: Node) -> str:
    return us(node.typical.own_corrected) if node.typical.own_trusted else NOT_SUPPORTED


def _frames(tree: Tree) -> Iterator[str]:
    f = tree.frames
    yield "frames"
    if f.to_network:
        yield f"  from the guest {f.to_network:,}: {f.sent:,} left by a system call,"
        yield f"    {f.answered:,} others set off frames to the guest, {f.quiet:,} did neither (acknowledgements)"
    if f.to_guest:
        share = f.nested / f.to_guest
        yield f"  to the guest {f.to_guest:,}: {f.nested:,} ({share:.1%}) set off inside a frame from the guest"
    if len(f.set_off):
        yield f"    {np.median(f.set_off):.0f} for each that set off any (median; most {int(f.set_off.max())})"
    if f.burst is not None:
        most = int(f.bursts.max())
        yield f"    half of them in bursts of {f.burst:.0f} and more without a pause of 0.1 ms (most {most})"
    if len(f.waits):
        yield f"    no frame for 0.2 s or longer: {len(f.waits)} times, {f.waits.sum() / 1e9:.1f} s in all"
    for direction, calls in f.syscalls.items():
        frames = f.to_network if direction == Direction.TO_NETWORK else f.to_guest
        if calls and frames:
            each = ", ".join(f"{visible(n)} {c / frames:.2f}" for n, c in calls.items())
            yield f"  system calls per frame, {WORDS[direction]}: {each}"
    yield "  times as measured: median (10th to 90th percentile)"
    for words, times in (
        ("a frame from the network layer to its system call", f.until_syscall),
        ("that system call", f.syscall),
        ("the whole call in which it was sent", f.whole),
        ("the same, less the probes in it", f.whole_corrected),
        ("handing a frame to the NIC, from the main loop", f.to_guest_whole),
    ):
        if len(times):
            yield f"  {words}: {_spread(times)}"


def _own(recording: Recording, tree: Tree | None, width: int) -> Iterator[str]:
    """Time by function, as bars, and shares."""
    reason = shares.unsupported(recording, tree)
    if recording.method is not Method.UPROBES:
        times = shares.own_times(recording, tree)
        unit = "samples" if recording.method is Method.SAMPLING else "ms"
        whole = sum(own.value for own in times) or 1.0
        calm = "" if unit == "samples" else ", no call counted longer than 10 times the median"
        yield f"own time by function ({unit}{calm}; # is of the study's memory management)"
        for own in times[:MOST_BARS]:
            value = own.value if unit == "samples" else own.value / 1e6
            bar = "=" * round(own.value / times[0].value * (width - 56))
            mark = "#" if own.memory else " "
            number = f"{value:>12,.0f}" if unit == "samples" else f"{value:>12,.2f}"
            yield f"{mark} {padded(visible(own.name), 32)}{number}{own.value / whole:>7.1%} {bar}"
        if len(times) > MOST_BARS:
            yield f"  and {len(times) - MOST_BARS} more"
    if reason:
        yield f"share of memory management: not given: {reason}"
    for share in shares.shares(recording, tree):
        yield f"  {share_text(share)}"


def share_text(share: shares.Share) -> str:
    """ "memory management: 48.0% (46.1% to 49.9%) of libslirp's own time, without system calls"."""
    spread = f" ({share.low:.1%} to {share.high:.1%})" if share.high > share.low else ""
    return f"{share.name}: {share.value:.1%}{spread} of {share.of}"


def _foot(recording: Recording, tree: Tree | None) -> Iterator[str]:
    if tree:
        yield ""
        yield (
            "Times are medians: as measured, and less the probes' part, which assumes that a probe costs the guest "
            "what it cost in our own loop. - cannot be told: it is mostly probes."
        )
        if any(f.stepped for f in recording.functions) and recording.method is Method.UPROBES:
            yield "* the kernel single-steps its first instruction: the call takes longer while watched"
        if tree.unfinished or tree.unbegun:
            yield f"  {tree.unfinished + tree.unbegun:,} calls were cut by the recording's ends and are left out"
    if recording.left_out:
        yield visible(f"not watched (single-stepped; --stepped watches them): {', '.join(recording.left_out)}")
    for note in recording.notes:
        yield visible(f"note: {note}")


def _spread(times: npt.NDArray[np.int64] | npt.NDArray[np.float64]) -> str:
    low, middle, high = np.percentile(times, (10, 50, 90)).tolist()
    return f"{us(middle)} us ({us(low)} to {us(high)})"


def us(nanoseconds: float) -> str:
    """Nanoseconds as us, with the digits that mean something."""
    value = nanoseconds / 1000
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 0.1 else 3
    return f"{value:,.{digits}f}"

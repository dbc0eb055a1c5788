"""Figures of a recording, as SVG text: a flow chart for each direction, a flame graph, bars of time by function."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from nfsleuth.path import shares
from nfsleuth.path.model import Direction, Method, Recording, Role
from nfsleuth.path.text import WORDS, call_time, share_text
from nfsleuth.path.tree import Node, Tree, main_paths
from nfsleuth.report.escape import shortened, visible

# Colours that differ for all kinds of sight (Okabe and Ito), light enough for black text.
COLOURS = {
    Role.NET: "#cfe8f7", Role.NIC: "#f7d9a8", Role.BACKEND: "#bfe3d0", Role.HUB: "#bfe3d0", Role.SLIRP: "#f3ecb0",
    Role.SYSCALL: "#e6c3d8", Role.OTHER: "#dddddd",
}  # fmt: skip
MEANING = {
    Role.NET: "QEMU's network layer", Role.NIC: "NIC model receives", Role.BACKEND: "backend receives",
    Role.SLIRP: "libslirp", Role.SYSCALL: "system call",
}  # fmt: skip
MEMORY = "#e69f00"
FONT = 'font-family="sans-serif" font-size="11"'
BOX, GAP, RISE, STEP = 172, 14, 34, 78  # px: width, space between, height, from one level to the next
FLAME_WIDTH, FLAME_ROW, NARROWEST = 1200, 18, 0.4


def flow(recording: Recording, tree: Tree) -> str:
    """Both directions side by side: functions as boxes, on the arrows the calls and the time of one."""
    parts: list[str] = []
    left, lowest = 20.0, 0.0
    for direction, title in WORDS.items():
        chart = _Chart(recording, tree, left, 70)
        roots = [n for n in tree.children(-1) if tree.nodes[n].direction == direction]
        frames = tree.frames.to_network if direction == Direction.TO_NETWORK else tree.frames.to_guest
        if not roots or not frames:
            continue
        for root in roots:
            if root in chart.kept:
                chart.place(root, 0)
        parts += [_text(left, 30, f"{title}: {frames:,} frames", size=15, bold=True), *chart.parts]
        left, lowest = chart.right + 50, max(lowest, chart.bottom)
    if not parts:
        parts, left, lowest = [_text(20, 30, "no frames were recorded")], 400, 60
    parts += list(_legend(20, lowest + 30))
    arrows = "On arrows: calls, and the median time of one, less its probes (< with them)."
    parts += [_text(20, lowest + 54, _described(recording)), _text(20, lowest + 70, arrows)]
    return _svg(max(left, 640), lowest + 86, parts)


class _Chart:
    """A tree from the top down: a box is above the middle of those it calls."""

    def __init__(self, recording: Recording, tree: Tree, left: float, top: float) -> None:
        self.recording, self.tree, self.top = recording, tree, top
        self.right, self.bottom = left, top
        self.parts: list[str] = []
        self.kept = main_paths(recording, tree, frames_only=True)

    def place(self, number: int, depth: int) -> float:
        """Draw a node and what it calls; returns the middle of its box."""
        node = self.tree.nodes[number]
        y = self.top + depth * STEP
        children = [n for n in self.tree.children(number) if n in self.kept]
        middles = [self.place(child, depth + 1) for child in children]
        if middles:
            middle = (middles[0] + middles[-1]) / 2
        else:
            middle = self.right + BOX / 2
            self.right += BOX + GAP
        self.bottom = max(self.bottom, y + RISE)
        for child, there in zip(children, middles, strict=True):
            self._edge(middle, y + RISE, there, self.tree.nodes[child])
        self._box(middle - BOX / 2, y, node)
        if depth == 0:
            self.parts.append(_text(middle, y - 6, _label(node), middle=True))
        return middle

    def _box(self, x: float, y: float, node: Node) -> None:
        function = self.recording.functions[node.function]
        turned = ' stroke-width="2.5"' if node.turned else ""
        self.parts.append(_rectangle(x, y, BOX, RISE, COLOURS[function.role], extra=turned))
        self.parts.append(_text(x + BOX / 2, y + 14, shortened(function.name, 28), middle=True, bold=True))
        below = WORDS.get(node.direction, "") if node.turned else MEANING.get(function.role, "")
        self.parts.append(_text(x + BOX / 2, y + 28, below, middle=True, size=9))

    def _edge(self, x: float, y: float, there: float, node: Node) -> None:
        end = y + STEP - RISE
        dash = ' stroke-dasharray="5 3"' if node.turned else ""
        self.parts.append(
            f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{there:.1f}" y2="{end - 1:.1f}" stroke="#444"'
            f'{dash} marker-end="url(#arrow)"/>'
        )
        self.parts.append(_text(there + 4, end - 8, _label(node), size=9))


def _label(node: Node) -> str:
    """ "1,234 x 5.6 us"."""
    return f"{node.calls:,} x {call_time(node)} us"


def flame(recording: Recording, tree: Tree) -> str:
    """A flame graph: as wide as a path took time, less its probes; what calls is below what is called."""
    widths = _widths(tree)
    total = sum(widths[n] for n in tree.children(-1)) or 1.0
    depth = max((_depth(tree, n) for n in range(len(tree.nodes))), default=0)
    height = 60 + (depth + 1) * FLAME_ROW
    parts = [_text(10, 20, f"time by path: {_described(recording)}", size=14, bold=True)]
    at = 10.0
    for root in tree.children(-1):
        parts += _flames(recording, tree, widths, root, at, height - 30, FLAME_WIDTH / total)
        at += widths[root] * FLAME_WIDTH / total
    return _svg(FLAME_WIDTH + 20, height, parts)


def _widths(tree: Tree) -> list[float]:
    """ns of each node: its own, and those of all it calls."""
    widths = [max(0.0, node.own_corrected) for node in tree.nodes]
    for number in range(len(tree.nodes) - 1, -1, -1):
        if (parent := tree.nodes[number].parent) >= 0:
            widths[parent] += widths[number]
    return widths


def _depth(tree: Tree, number: int) -> int:
    depth = 0
    while (number := tree.nodes[number].parent) >= 0:
        depth += 1
    return depth


def _flames(
    recording: Recording, tree: Tree, widths: list[float], number: int, x: float, y: float, scale: float
) -> Iterator[str]:
    wide = widths[number] * scale
    if wide < NARROWEST:
        return
    node = tree.nodes[number]
    function = recording.functions[node.function]
    tip = f"{function.name}: {node.calls:,} calls, {widths[number] / 1e6:,.2f} ms, {WORDS.get(node.direction, '')}"
    yield _rectangle(x, y - FLAME_ROW, wide, FLAME_ROW - 1, COLOURS[function.role], tip=tip)
    if wide > 30:
        yield _text(x + 3, y - 6, shortened(function.name, int(wide / 6.2)))
    for child in tree.children(number):
        yield from _flames(recording, tree, widths, child, x, y - FLAME_ROW, scale)
        x += widths[child] * scale


def bars(recording: Recording, tree: Tree | None, title: str) -> str:
    """Own time by function, the study's memory management marked, with shares and their denominators below."""
    reason = shares.unsupported(recording, tree)
    parts = [_text(10, 22, f"{title}: own time by function", size=14, bold=True), _text(10, 40, _described(recording))]
    y = 60.0
    times = [] if reason else [own for own in shares.own_times(recording, tree) if own.role is not Role.OTHER][:25]
    unit = "samples" if recording.method is Method.SAMPLING else "ms"
    for own in times:
        wide = own.value / times[0].value * 420
        value = own.value if unit == "samples" else own.value / 1e6
        parts.append(_text(190, y + 12, shortened(own.name, 30), end=True))
        parts.append(_rectangle(196, y, wide, 15, MEMORY if own.memory else COLOURS[own.role]))
        parts.append(_text(200 + wide, y + 12, f"{value:,.0f} {unit}" if unit == "samples" else f"{value:,.2f} {unit}"))
        y += 19
    if reason:
        parts.append(_text(10, y + 8, f"Not given: {reason}."))
        y += 20
    else:
        parts += [_rectangle(10, y + 12, 12, 12, MEMORY), _text(28, y + 22, "memory management as in the study")]
        y += 30
    for share in shares.shares(recording, tree):
        parts.append(_text(10, y + 14, share_text(share)))
        y += 17
    return _svg(760, y + 24, parts)


def _described(recording: Recording) -> str:
    guest = recording.guest
    return (
        f"{'+'.join(guest.nics) or '?'} on {'+'.join(guest.backends) or '?'}, QEMU {guest.qemu}"
        f"{', ' + guest.libslirp if guest.libslirp else ''}; method {recording.method}, {recording.seconds:g} s"
    )


def _legend(x: float, y: float) -> Iterator[str]:
    for role, meaning in MEANING.items():
        yield _rectangle(x, y - 10, 12, 12, COLOURS[role])
        yield _text(x + 17, y, meaning)
        x += 30 + 6.2 * len(meaning)


def _rectangle(x: float, y: float, wide: float, high: float, colour: str, *, tip: str = "", extra: str = "") -> str:
    inside = f"<title>{escape(visible(tip))}</title>" if tip else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" rx="2" fill="{colour}" stroke="#555"'
        f"{extra}>{inside}</rect>"
    )


def _text(
    x: float, y: float, text: str, *, size: int = 11, bold: bool = False, middle: bool = False, end: bool = False
) -> str:
    anchor = ' text-anchor="middle"' if middle else ' text-anchor="end"' if end else ""
    weight = ' font-weight="bold"' if bold else ""
    # A white rim keeps it readable where lines cross it.
    rim = ' paint-order="stroke" stroke="#fff" stroke-width="3"' if size < 10 else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}"{weight}{anchor}{rim}>{escape(visible(text))}</text>'


def _svg(width: float, height: float, parts: list[str]) -> str:
    arrow = (
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8z" fill="#444"/></marker></defs>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" {FONT}>\n'
        f'<rect width="100%" height="100%" fill="#fff"/>{arrow}\n' + "\n".join(parts) + "\n</svg>\n"
    )

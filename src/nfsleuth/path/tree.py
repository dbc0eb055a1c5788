"""Calls to trees: a recording comes in, for each direction a tree of who called whom goes out, with counts and times.

Directions. A frame is with the network when a backend's receive handler gets it, and with the guest when its NIC's
does. So a call belongs to the direction of the first handler that is reached in it. libslirp turns around: a frame from
the guest may open TCP's window, and then `tcp_output` sends towards the guest, within the handler of the frame from the
guest. From there on (`TURNS`) calls belong to the other direction; they stay where they happened in the tree, marked.

Corrections. A probe takes time: a part `inside` lies between the two times of the call itself, the rest is found in its
caller. Both are known (`Recording.costs`); corrected times are what was measured less the least that probes cost. That
assumes that a probe costs in the guest's process what it costs in our own loop: with cold caches it costs more.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nfsleuth.path.calls import Calls, nest
from nfsleuth.path.functions import MEMORY
from nfsleuth.path.model import Cost, Direction, Function, Method, Recording, Role, cost_class

# Functions of libslirp that only ever carry frames to the guest.
TURNS = frozenset(
    {"tcp_output", "tcp_respond", "ip_output", "ip6_output", "udp_output", "udp6_output", "icmp_reflect",
     "icmp_send_error",
     "icmp6_send_echoreply", "arp_input", "if_output", "if_start", "if_encap", "slirp_send_packet_all"}
)  # fmt: skip
# What reads frames for the guest, though a call of it may deliver none.
FOR_GUEST = frozenset({"tap_read_packet", "slirp_pollfds_poll", "if_start", "net_fill_rstate"})
SENDS = frozenset({"send", "sendto", "sendmsg", "sendmmsg"})
# System calls by which a backend reads frames outside of any function that is watched (QEMU, net/stream.c).
READS = {"stream": "recvmsg", "dgram": "recvmsg"}
WRITES = frozenset({"write", "writev"})  # send as well, if a backend makes them; libslirp's wake the main loop
# ns between two frames to the guest, above which they are two bursts: time for a driver to make room in its ring.
PAUSE = 100_000
WAIT = 200_000_000  # ns: the least that TCP waits for an acknowledgement before it sends again (Linux, TCP_RTO_MIN)
LONGEST, SHORTEST = 10, 1000.0  # times the median, and ns: a call that takes more of its own was interrupted
FEW = 0.01  # of frames or time: less is shown on demand
TRUSTED = 3.0  # a function's own time is shown if it is so many times what is taken off for probes


@dataclass(frozen=True)
class Typical:
    """Medians over the calls of a node, in ns: a call that was interrupted for a while does not move them."""

    total: float  # as measured
    total_corrected: float
    own_corrected: float
    total_taken_off: float  # probes' part of the total
    own_taken_off: float

    @property
    def own_trusted(self) -> bool:
        """Whether the own time is much longer than what probes cost."""
        return self.own_corrected > 0 and self.own_corrected >= TRUSTED * self.own_taken_off

    @property
    def total_trusted(self) -> bool:
        """Whether the whole time is longer than what probes cost in it."""
        return self.total_corrected > 0 and self.total_corrected >= self.total_taken_off


@dataclass(frozen=True)
class Node:
    """A function, as it was called along one path."""

    function: int
    parent: int  # number of a node; -1 for the outermost
    direction: Direction
    turned: bool  # its direction is not its parent's
    calls: int
    total: float  # ns, of all its calls, as measured
    own: float  # the same without the calls in them that were watched
    own_corrected: float
    own_steady: float  # the same, with no call counted longer than LONGEST times the median: it was interrupted
    typical: Typical
    to_guest: int  # frames that reached the guest within it
    to_network: int  # frames that reached a backend within it
    callers: tuple[tuple[int, int], ...]  # (number in Recording.callers, calls), most first
    threads: tuple[tuple[int, int], ...]  # (number in Recording.threads, calls), most first
    after: float  # ns from the beginning of the call around it to its own, the median: its place in the order of calls


@dataclass(frozen=True)
class Frames:
    """What became of the frames."""

    to_network: int
    to_guest: int
    nested: int  # frames to the guest that were set off within a frame from it
    sent: int  # of those to the network: how many led to a system call that sends
    answered: int  # how many of the others set off frames to the guest
    quiet: int  # how many did neither: pure acknowledgements
    set_off: npt.NDArray[np.int64]  # frames to the guest, for each frame from it that set off any
    bursts: npt.NDArray[np.int64]  # frames to the guest that came without a PAUSE between, for each such run
    waits: npt.NDArray[np.int64]  # ns, each WAIT or longer, in which no frame was handed to the guest
    syscalls: dict[Direction, dict[str, int]]  # per direction: name -> calls
    until_syscall: npt.NDArray[np.int64]  # ns from where a frame left the NIC model to the system call that sends it
    until_syscall_corrected: npt.NDArray[np.float64]  # the same, less the probes in it
    syscall: npt.NDArray[np.int64]  # ns of that call
    whole: npt.NDArray[np.int64]  # ns of the outermost call in which a frame was sent
    whole_corrected: npt.NDArray[np.float64]  # the same, less the probes in it
    to_guest_whole: npt.NDArray[np.int64]  # ns of the call that handed a frame to the NIC, outside of libslirp's input
    to_guest_corrected: npt.NDArray[np.float64]  # the same, less the probes in it

    @property
    def burst(self) -> float | None:
        """The size of the burst in which the middle one of all frames to the guest came: most bursts are of one."""
        return float(np.median(np.repeat(self.bursts, self.bursts))) if len(self.bursts) else None


@dataclass(frozen=True)
class Tree:
    """What a recording says. `nodes` are ordered so that a parent comes before its children."""

    nodes: tuple[Node, ...]
    frames: Frames
    unfinished: int
    unbegun: int

    def children(self, number: int) -> list[int]:
        """Numbers of the nodes called by node `number`, in the order of calls; the outermost (-1) longest first."""
        return self._children.get(number, [])

    @cached_property
    def _children(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for number in sorted(range(len(self.nodes)), key=lambda n: (self.nodes[n].after, -self.nodes[n].total)):
            found.setdefault(self.nodes[number].parent, []).append(number)
        return found


def grow(recording: Recording) -> Tree:
    """The tree of a recording with events."""
    nested = nest(recording.events)
    rows = _Rows(nested.calls, recording)
    return Tree(rows.nodes(), rows.frames(), nested.unfinished, nested.unbegun)


class _Rows:
    """Columns over all calls of a recording."""

    def __init__(self, calls: Calls, recording: Recording) -> None:
        self.calls, self.recording = calls, recording
        self.functions = recording.functions
        self.parent = calls["parent"].astype(np.int64)
        self.function = calls["function"].astype(np.int64)
        depth = calls["depth"]
        order = np.argsort(depth, kind="stable")
        edges = np.searchsorted(depth[order], np.arange(1, (int(depth.max()) if len(depth) else 0) + 2))
        self.levels = np.split(order, edges[:-1]) if len(depth) else []  # rows by depth, each in order of time
        self.duration = calls["end"] - calls["begin"]
        self.is_nic = self._frame(self._handlers(Role.NIC, "slirp_send_packet_all"))
        self.is_backend = self._frame(self._handlers(Role.BACKEND, "slirp_input"))
        self.to_guest = self._within(self.is_nic.astype(np.int64))
        self.to_network = self._within(self.is_backend.astype(np.int64))
        self.direction, self.under_backend = self._directions()

    def _of(self, known: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A column from a table by function."""
        return known[self.function] if len(known) else np.zeros(len(self.function), known.dtype)

    def _handlers(self, role: Role, instead: str) -> npt.NDArray[np.bool_]:
        """Calls of receive handlers; where none were watched, of the function of libslirp that passes frames on."""
        return self._roles(role) if any(f.role is role for f in self.functions) else self._named(frozenset({instead}))

    def _frame(self, found: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Of calls of handlers, those that are not made by another such call: one per frame."""
        outer = np.zeros(len(found), bool)
        inside = self.parent >= 0
        outer[inside] = found[self.parent[inside]]
        return found & ~outer

    def _within(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Sums of `values` over each call and all calls in it."""
        sums = values.copy()
        for level in reversed(self.levels[1:]):
            np.add.at(sums, self.parent[level], sums[level])
        return sums

    def _children(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Sums of `values` over the calls directly in each call."""
        inside = self.parent >= 0
        return np.bincount(self.parent[inside], weights=values[inside], minlength=len(self.parent))

    def _named(self, names: frozenset[str], role: Role | None = None) -> npt.NDArray[np.bool_]:
        known = np.array([f.name in names and role in (None, f.role) for f in self.functions], bool)
        return np.asarray(self._of(known), bool)

    def _roles(self, role: Role) -> npt.NDArray[np.bool_]:
        return np.asarray(self._of(np.array([f.role is role for f in self.functions], bool)), bool)

    def _directions(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """The direction of each call, and whether a backend's handler is around it or is itself."""
        first = np.zeros(len(self.parent), np.int64)  # direction of the first handler within
        own = np.where(self.is_nic, Direction.TO_GUEST, np.where(self.is_backend, Direction.TO_NETWORK, 0))
        for level in reversed(self.levels):
            first[level] = np.where(own[level] > 0, own[level], first[level])
            back = level[::-1]  # the earliest comes last, and stays
            back = back[(self.parent[back] >= 0) & (first[back] > 0)]
            first[self.parent[back]] = first[back]
        sources = self._named(FOR_GUEST)
        direction = np.where((first == 0) & (sources | self._reads_frames()), Direction.TO_GUEST, first)
        turns = self._named(TURNS) | self._roles(Role.NET)
        sends = self._named(SENDS, Role.SYSCALL)
        beneath = self.is_backend.copy()
        for level in self.levels[1:]:
            around = direction[self.parent[level]]
            below = beneath[self.parent[level]]
            back = below & (around == Direction.TO_NETWORK) & (turns[level] | self.is_nic[level])
            forth = (around == Direction.TO_GUEST) & sends[level]
            found = np.where(back, Direction.TO_GUEST, np.where(forth, Direction.TO_NETWORK, around))
            # A call that belongs to no direction, such as one of the main loop, may hold some that do.
            direction[level] = np.where(around == Direction.NEITHER, direction[level], found)
            beneath[level] |= below
        return direction, beneath

    def nodes(self) -> tuple[Node, ...]:
        """Calls added up by function, direction and the node around them."""
        node = np.full(len(self.parent), -1, np.int64)
        made: list[tuple[int, int, int]] = []  # parent, function, direction
        skipped = self._stray()
        for level in self.levels:
            kept = level[~skipped[level]]
            if not len(kept):
                continue
            around = np.where(self.parent[kept] >= 0, node[self.parent[kept]], -1)
            keys = ((around + 1) * (1 << 16) + self.function[kept]) * len(Direction) + self.direction[kept]
            distinct, number = np.unique(keys, return_inverse=True)
            node[kept] = number + len(made)
            for key in distinct.tolist():
                rest, direction = divmod(key, len(Direction))
                made.append(((rest >> 16) - 1, rest & 0xFFFF, direction))
        return self._added_up(node, made)

    def _reads_frames(self) -> npt.NDArray[np.bool_]:
        """System calls by which the guest's backend reads frames in a function that is not watched."""
        names = frozenset(READS[backend] for backend in self.recording.guest.backends if backend in READS)
        return (self.parent < 0) & self._named(names, Role.SYSCALL)

    def _stray(self) -> npt.NDArray[np.bool_]:
        """Other system calls outside of any function that was watched: the main loop's own business."""
        return (self.parent < 0) & self._roles(Role.SYSCALL) & ~self._reads_frames()

    def _added_up(self, node: npt.NDArray[np.int64], made: list[tuple[int, int, int]]) -> tuple[Node, ...]:
        kept = node >= 0
        pair, inside = self._costs()
        own = self.duration - self._children(self.duration)
        taken_off = inside + self._children(pair - inside)
        sums = [
            np.bincount(node[kept], weights=column[kept], minlength=len(made))
            for column in (
                self.duration, own, own - taken_off, self._steady(node, own, len(made)) - taken_off,
                self.to_guest, self.to_network,
            )
        ]  # fmt: skip
        medians = [
            _medians(node[kept], column[kept], len(made))
            for column in (
                self.duration, self.duration - self._taken_off(), own - taken_off, self._taken_off(), taken_off,
                self._after(),
            )
        ]  # fmt: skip
        calls = np.bincount(node[kept], minlength=len(made))
        callers = self._most(node, len(made), "caller", len(self.recording.callers))
        threads = self._most(node, len(made), "thread", len(self.recording.threads))
        return tuple(
            Node(
                function, parent, Direction(direction), parent >= 0 and direction != made[parent][2], int(calls[n]),
                float(sums[0][n]), float(sums[1][n]), float(sums[2][n]), float(sums[3][n]),
                Typical(*[float(column[n]) for column in medians[:-1]]), int(sums[4][n]), int(sums[5][n]), callers[n],
                threads[n], float(medians[-1][n]),
            )
            for n, (parent, function, direction) in enumerate(made)
        )  # fmt: skip

    def _steady(self, node: npt.NDArray[np.int64], own: npt.NDArray[Any], count: int) -> npt.NDArray[np.float64]:
        """Own times, cut to LONGEST times the median of their node."""
        kept = node >= 0
        limits = np.maximum(LONGEST * _medians(node[kept], own[kept], count), SHORTEST)
        steady = own.astype(np.float64)
        steady[kept] = np.minimum(steady[kept], limits[node[kept]])
        return steady

    def _after(self) -> npt.NDArray[np.int64]:
        """From the beginning of the call around each to its own; 0 for the outermost."""
        begin = self.calls["begin"]
        return np.where(self.parent >= 0, begin - begin[self.parent], 0)

    def _most(
        self, node: npt.NDArray[np.int64], count: int, column: str, known_values: int
    ) -> list[tuple[tuple[int, int], ...]]:
        """For each node the values of a column below `known_values`, and how often each, most first."""
        known = (node >= 0) & (self.calls[column] < known_values)
        keys, times = np.unique(node[known] << 32 | self.calls[column][known].astype(np.int64), return_counts=True)
        found: list[list[tuple[int, int]]] = [[] for _ in range(count)]
        for key, calls in zip(keys.tolist(), times.tolist(), strict=True):
            found[key >> 32].append((key & 0xFFFFFFFF, calls))
        return [tuple(sorted(one, key=lambda pair: -pair[1])) for one in found]

    def _costs(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        costs = [function_cost(f, self.recording) for f in self.functions]
        return self._of(np.array([c.pair for c in costs])), self._of(np.array([c.inside for c in costs]))

    def _taken_off(self) -> npt.NDArray[np.float64]:
        """The probes' part of each call's duration: what lies within its own times, and all of those of calls in it."""
        pair, inside = self._costs()
        return np.asarray(inside + self._within(pair) - pair, np.float64)

    def frames(self) -> Frames:
        """What became of frames."""
        backend = np.flatnonzero(self.is_backend)
        sending = self._sending() & (self.direction == Direction.TO_NETWORK) & self.under_backend
        sends, set_off = self._within(sending.astype(np.int64))[backend], self.to_guest[backend]
        top = self._outermost()
        sent = np.flatnonzero(sending)
        alone = self.is_nic & ~self.under_backend
        until = self.calls["begin"][sent] - self.calls["begin"][top[sent]]
        corrected = self.duration - self._taken_off()
        handed = np.unique(self._handing(np.flatnonzero(alone)))
        return Frames(
            to_network=len(backend),
            to_guest=int(self.is_nic.sum()),
            nested=int((self.is_nic & self.under_backend).sum()),
            sent=int((sends > 0).sum()),
            answered=int(((sends == 0) & (set_off > 0)).sum()),
            quiet=int(((sends == 0) & (set_off == 0)).sum()),
            set_off=set_off[set_off > 0],
            **self._gaps(),
            syscalls=self._syscalls(),
            until_syscall=until,
            until_syscall_corrected=until - self._probes_between(top[sent], sent),
            syscall=self.duration[sent],
            whole=self.duration[np.unique(top[sent])],
            whole_corrected=corrected[np.unique(top[sent])],
            to_guest_whole=self.duration[handed],
            to_guest_corrected=corrected[handed],
        )

    def _gaps(self) -> dict[str, npt.NDArray[np.int64]]:
        """What lies between frames to the guest: Frames.bursts and Frames.waits."""
        handed = np.flatnonzero(self.is_nic)
        handed = handed[np.argsort(self.calls["begin"][handed], kind="stable")]
        pauses = self.calls["begin"][handed[1:]] - self.calls["end"][handed[:-1]]
        ends = np.flatnonzero(np.append(pauses > PAUSE, len(handed) > 0))
        return {"bursts": np.diff(ends, prepend=-1).astype(np.int64), "waits": pauses[pauses >= WAIT]}

    def _probes_between(self, outer: npt.NDArray[np.int64], inner: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """The probes' part of the time from the beginning of calls to that of calls in them.

        Of calls that began and ended between, all of it; of those around the inner one, the half that lies at their
        beginnings.
        """
        pair, inside = self._costs()
        around = np.zeros(len(pair))  # sums over all calls around each one
        for level in self.levels[1:]:
            around[level] = around[self.parent[level]] + pair[self.parent[level]]
        before = np.concatenate([[0.0], np.cumsum(pair)])
        # Rows are in the order of beginnings: those from the outer to the inner one all lie within the outer.
        between = before[inner] - before[outer + 1]
        halves = (around[inner] - pair[outer] - inside[outer] - (pair - inside)[inner]) / 2
        return np.asarray(between - halves, np.float64)

    def _sending(self) -> npt.NDArray[np.bool_]:
        inside = self.parent >= 0
        of_backend = np.zeros(len(inside), bool)
        of_backend[inside] = self._roles(Role.BACKEND)[self.parent[inside]]
        return self._named(SENDS, Role.SYSCALL) | (self._named(WRITES, Role.SYSCALL) & of_backend)

    def _outermost(self) -> npt.NDArray[np.int64]:
        top = np.arange(len(self.parent))
        for level in self.levels[1:]:
            top[level] = top[self.parent[level]]
        return top

    def _handing(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The outermost call of QEMU's network layer around each of `rows`."""
        net = self._roles(Role.NET)
        top = np.arange(len(self.parent))
        for level in self.levels[1:]:
            above = self.parent[level]
            top[level] = np.where(net[top[above]], top[above], np.where(net[above], above, level))
        return top[rows]

    def _syscalls(self) -> dict[Direction, dict[str, int]]:
        found: dict[Direction, dict[str, int]] = {}
        counted = (self.parent >= 0) | self._reads_frames()
        for direction in (Direction.TO_NETWORK, Direction.TO_GUEST):
            rows = counted & (self.direction == direction)
            calls = np.bincount(self.function[rows], minlength=len(self.functions)).tolist()
            found[direction] = {
                f.name: n for f, n in zip(self.functions, calls, strict=True) if f.role is Role.SYSCALL and n
            }
        return found


def main_paths(recording: Recording, tree: Tree, *, frames_only: bool = False) -> set[int]:
    """Numbers of nodes that carry frames, and of all that lead to them; also of those that take time or that the study
    speaks of, unless `frames_only`."""
    frames = max(tree.frames.to_guest, tree.frames.to_network, 1)
    whole = sum(max(0.0, node.own_corrected) for node in tree.nodes)
    kept: set[int] = set()
    for number in range(len(tree.nodes) - 1, -1, -1):
        node = tree.nodes[number]
        function = recording.functions[node.function]
        carries = node.to_guest + node.to_network >= FEW * frames
        mine = tree.frames.to_network if node.direction == Direction.TO_NETWORK else frames
        moves = function.role is Role.SYSCALL and node.calls >= FEW * mine
        counts = (function.name in MEMORY and node.calls >= FEW * frames) or node.own_corrected > FEW * whole
        if number in kept or carries or moves or (counts and not frames_only):
            kept |= {number, node.parent}
    return kept - {-1}


def _medians(group: npt.NDArray[np.int64], values: npt.NDArray[Any], count: int) -> npt.NDArray[np.float64]:
    """The median of `values` for each of `count` groups; the lower of two middle ones."""
    order = np.lexsort((values, group))
    sizes = np.bincount(group, minlength=count)
    middle = np.cumsum(sizes) - sizes + (sizes - 1) // 2
    return values[order][middle].astype(np.float64) if len(values) else np.zeros(count)


def function_cost(function: Function, recording: Recording) -> Cost:
    """What watching a call of `function` cost; nothing where it was not measured."""
    return recording.costs.get(cost_class(function, Method(recording.method)), Cost(0.0, 0.0))

"""EVENT rows come in, in any portions; a `Tally` keeps what the figures of sharing are made of, in bounded memory.

    tally = Tally(block=4096, rate=1.0)
    tally.feed(events)
    hosts, uses = tally.hosts, tally.uses

The compiled kernel does all that is done per read; here the tables are made larger while the budget lasts, and the
sample is made smaller when it does not.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import numpy as np

from nfsleuth.sharing import kernel
from nfsleuth.sharing.tables import (
    BLOCK,
    COARSE,
    DISTANCES,
    EVENT,
    FILE,
    GROUPS,
    HOST,
    LEAST_BLOCK,
    MOST_BLOCK,
    MOST_END,
    MOST_SHARERS,
    NEWEST,
    NODE,
    RATE_BITS,
    TIMES,
    USE,
    WHOLE,
    Control,
    Kind,
    Need,
    class_bounds,
)

FIRST_ROWS = 1 << 10  # with which tables begin
FIRST_PLACES = 64  # of a host
SEED = 1813  # of the sample


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a tally may remember. Rows; about 170 bytes per block, and 60 kB per host."""

    blocks: int = 1 << 19  # of all hosts; with more, fewer of them are in the sample
    newest: int = 1 << 19  # blocks of all hosts, about 70 bytes each, that are all followed beside a sample
    uses: int = 1 << 16  # pairs of host and file
    files: int = 1 << 17
    hosts: int = 1 << 10


def check(block: int, rate: float) -> None:
    """Raise ValueError for a block or a rate that a tally cannot have."""
    if not LEAST_BLOCK <= block <= MOST_BLOCK or block & (block - 1):
        raise ValueError(f"block is {block}: it must be a power of 2 from {LEAST_BLOCK} to {MOST_BLOCK}")
    if not 2.0**-RATE_BITS <= rate <= 1:
        raise ValueError(f"rate is {rate}: it must be above 0 and at most 1")


class Tally:
    """What the hosts of a trace were sent.

    block: bytes, a power of 2 from 512 to 16 MiB: what a cache takes in and gives up as one. rate: share of the blocks
    that are in the sample from the beginning on; 1 is all of them, and exact as long as `budget` is enough for them.
    hosts: how many will come; among these, equal parts of `budget.newest` are shared out once there is a sample.
    seed: another one is another sample. Raises ValueError for a block or a rate that cannot be.
    """

    def __init__(
        self, *, block: int = 4096, rate: float = 1.0, hosts: int = 1, budget: Budget | None = None, seed: int = SEED
    ) -> None:
        check(block, rate)
        self.block = block
        self.budget = budget or Budget()
        self._control = np.zeros(len(Control), np.int64)
        self._control[Control.THRESHOLD] = max(1, round(rate * WHOLE))
        self._control[Control.SIZE] = block
        self._control[Control.SALT] = secrets.randbits(62)
        self._control[Control.SEED] = seed
        self._blocks, self._nodes = np.zeros(FIRST_ROWS, BLOCK), np.zeros(FIRST_ROWS, NODE)
        self._buckets = np.full(FIRST_ROWS, -1, np.int32)
        self._order, self._distances = np.zeros(FIRST_ROWS, np.int32), np.zeros(FIRST_ROWS)
        self._used = 0  # of these two
        self._uses, self._files, self._hosts = np.zeros(0, USE), np.zeros(0, FILE), np.zeros(0, HOST)
        self._groups = np.zeros((0, GROUPS, DISTANCES + 1))
        self._reach, self._waits = np.zeros((0, MOST_SHARERS)), np.zeros((0, TIMES))
        self._newest, self._newest_order = np.zeros(0, NEWEST), np.zeros(0, np.int32)
        self._newest_hits = np.zeros(0)
        self._expected = min(max(hosts, 1), self.budget.hosts)
        self._use_numbers: dict[int, int] = {}
        self.left_out = {"offsets": 0, "files": 0, "bytes": 0}  # reads that could not be, or found no room; their bytes

        if self.rate < 1:
            self._follow_newest()

    @property
    def rate(self) -> float:
        """Share of the blocks that are in the sample now."""
        return float(self._control[Control.THRESHOLD]) / WHOLE

    @property
    def blocks(self) -> int:
        """Blocks that are remembered."""
        return int(self._control[Control.BLOCKS])

    @property
    def unaligned(self) -> int:
        """Reads that begin inside a 64th of a block: of each, a part smaller than that may be counted wrongly."""
        return int(self._control[Control.UNALIGNED])

    @property
    def hosts(self) -> np.ndarray:
        """HOST[n], by number."""
        return self._hosts

    @property
    def uses(self) -> np.ndarray:
        """USE[n]: what each host was sent of each file."""
        return self._uses[: len(self._use_numbers)]

    @property
    def hidden_changes(self) -> int:
        """Times that a file changed without a call in the trace that says so."""
        return int(self._files["hidden"].sum())

    def distances(self, host: int) -> np.ndarray:
        """float64[n]: bytes read again with n other blocks of the sample read since."""
        start, size = int(self._hosts[host]["start"]), int(self._hosts[host]["size"])
        return self._distances[start : start + size]

    def groups(self, host: int) -> np.ndarray:
        """float64[GROUPS, DISTANCES + 1], see `kernel.take`."""
        rows: np.ndarray = self._groups[host]
        return rows

    def newest(self, host: int) -> np.ndarray:
        """float64[depth]: bytes read again with n other blocks read since, of all blocks; empty without a sample."""
        base, depth = int(self._hosts[host]["base"]), int(self._hosts[host]["depth"])
        return self._newest_hits[base : base + depth]

    def reach(self, host: int) -> np.ndarray:
        """float64[MOST_SHARERS]: bytes that at least n + 1 guests read."""
        rows: np.ndarray = self._reach[host]
        return rows

    def waits(self, host: int) -> np.ndarray:
        """float64[TIMES]: bytes by the class of the time from the first guest's read to the second's."""
        rows: np.ndarray = self._waits[host]
        return rows

    def feed(self, events: np.ndarray) -> None:
        """Take in EVENT[n], in the order of time. What cannot be, or finds no room, is counted in `left_out`."""
        events = self._possible(events)
        self._make_rows(events)
        events = self._numbered(events)
        if not len(events):
            return
        control = self._control
        control[Control.EVENT], control[Control.BLOCK] = 0, -1
        while need := kernel.take(
            control,
            events,
            self._blocks,
            self._nodes,
            self._buckets,
            self._uses,
            self._files,
            self._hosts,
            self._order,
            self._distances,
            self._groups,
            self._reach,
            self._waits,
            self._newest,
            self._newest_order,
            self._newest_hits,
        ):
            if need == Need.PLACES:
                self._order_anew(int(control[Control.HOST]))
            else:
                self._make_room()

    def _possible(self, events: np.ndarray) -> np.ndarray:
        """Without ranges that no file has, and without those of files or hosts beyond the budget."""
        reads = events["kind"] == Kind.READ
        ranged = reads | (events["kind"] == Kind.WRITE)
        # `offset` and `bytes` are each below 2**63, and so is what is left of the limit: nothing here overflows
        bad = ranged & (
            (events["offset"] < 0) | (events["bytes"] <= 0) | (events["offset"] > MOST_END - events["bytes"])
        )
        full = ~bad & ((events["file"] >= self.budget.files) | (reads & (events["host"] >= self.budget.hosts)))
        for name, some in (("offsets", bad), ("files", full)):
            self._leave_out(name, events, some & reads)
        possible: np.ndarray = events[~(bad | full)]
        return possible

    def _leave_out(self, name: str, events: np.ndarray, some: np.ndarray) -> None:
        if some.any():
            self.left_out[name] += int(some.sum())
            self.left_out["bytes"] += int(np.maximum(events["bytes"][some], 0).sum())

    def _make_rows(self, events: np.ndarray) -> None:
        """Rows for hosts and files with numbers that are new."""
        reads = events[events["kind"] == Kind.READ]
        files, hosts = _number_of(events["file"]), _number_of(reads["host"])
        if files > len(self._files):
            fresh = np.zeros(files - len(self._files), FILE)
            fresh["first"] = -1
            self._files = np.concatenate([self._files, fresh])
        if hosts > len(self._hosts):
            self._groups, self._reach, self._waits = (
                np.concatenate([a, np.zeros((hosts - len(a), *a.shape[1:]))])
                for a in (self._groups, self._reach, self._waits)
            )
            rows = np.zeros(hosts - len(self._hosts), HOST)
            rows["first"] = -1
            self._hosts = np.concatenate([self._hosts, rows])
            self._allot()

    def _numbered(self, events: np.ndarray) -> np.ndarray:
        """A copy in which reads have the number of their use; those beyond the budget are left out."""
        events = np.ascontiguousarray(events, EVENT).copy()
        reads = np.flatnonzero(events["kind"] == Kind.READ)
        pairs, index = np.unique(
            events["host"][reads].astype(np.int64) << 32 | events["file"][reads], return_inverse=True
        )
        numbers = np.array([self._use_number(pair) for pair in pairs.tolist()], np.int32)
        if not len(pairs):
            return events
        events["use"][reads] = numbers[index]
        full = np.zeros(len(events), bool)
        full[reads] = events["use"][reads] < 0
        self._leave_out("files", events, full)
        return events[~full] if full.any() else events

    def _use_number(self, pair: int) -> int:
        """Number of a host's use of a file, a new one if there is none and the budget allows; else -1."""
        number = self._use_numbers.get(pair)
        if number is None:
            number = len(self._use_numbers)
            if number >= self.budget.uses:
                return -1
            self._use_numbers[pair] = number
            if number >= len(self._uses):
                self._uses = _larger(self._uses, max(FIRST_ROWS, 2 * number))
            file = pair & 0xFFFF_FFFF
            self._uses[number]["host"], self._uses[number]["file"] = pair >> 32, file
            self._uses[number]["after"] = self._files[file]["first"]
            self._files[file]["first"] = number
        return number

    def _make_room(self) -> None:
        """Larger tables for blocks and nodes, or, beyond the budget, a smaller sample."""
        if self.blocks >= len(self._blocks):
            if len(self._blocks) < self.budget.blocks:
                rows = min(2 * len(self._blocks), self.budget.blocks)
                self._blocks = _larger(self._blocks, rows)
                self._rehash()
            else:
                self._thin()
        elif len(self._nodes) < 2 * self.budget.blocks:
            self._nodes = _larger(self._nodes, min(2 * len(self._nodes), 2 * self.budget.blocks))
        else:
            self._thin()

    def _rehash(self) -> None:
        """Fill the buckets anew, as many as there may be blocks."""
        size = 1 << max(len(self._blocks) - 1, 1).bit_length()
        self._buckets = np.full(size, -1, np.int32)
        self._hosts["first"] = -1
        kernel.chain(self._control, self._blocks, self._buckets, self._uses, self._hosts)

    def _follow_newest(self) -> None:
        """From now on there is a sample: follow the newest blocks of each host beside it, as well."""
        rows = self._expected * _places(self.budget.newest // self._expected)
        self._newest, self._newest_order = np.zeros(rows, NEWEST), np.zeros(rows, np.int32)
        self._newest_hits = np.zeros(rows)
        self._allot()
        for host in range(min(len(self._hosts), self._expected)):
            self._hand_over(host)

    def _allot(self) -> None:
        """Give each host its part of what there is for the newest blocks, if there is a sample."""
        depth = self.budget.newest // self._expected
        if not len(self._newest) or not depth:
            return
        hosts, places = self._hosts[: self._expected], _places(depth)
        fresh = hosts["depth"] == 0
        hosts["base"] = places * np.arange(len(hosts))
        hosts["depth"], hosts["places"], hosts["buckets"] = depth, places, 1 << (places.bit_length() - 1)
        hosts["oldest"][fresh] = 1

    def _hand_over(self, host: int) -> None:
        """Begin the newest blocks of a host with those that are known, which are all that it read."""
        row = self._hosts[host]
        base, depth = int(row["base"]), int(row["depth"])
        blocks = self._blocks[self._in_order(host)[-depth:]] if depth else self._blocks[:0]
        if not len(blocks):
            return
        uses = self._uses[blocks["use"]]
        current = blocks["version"] == uses["version"]
        some = self._newest[base : base + len(blocks)]
        some["use"], some["version"], some["block"] = blocks["use"], uses["version"], blocks["block"]
        some["has"] = np.where(current, self._nodes["level"][blocks["head"]], np.uint64(0))
        row["newest"] = len(blocks)
        kernel.settle(self._control, self._hosts, np.int64(host), self._newest, self._newest_order)
        # What caches of these sizes hit so far is known of every block: the sample stands for the rest.
        distances = self.distances(host)
        near = distances[:depth].copy()
        self.newest(host)[: len(near)] = near
        distances[:depth] = 0
        row["taken"] -= near.sum()
        classes = self._groups[host][:, :-1]
        within = class_bounds(COARSE, DISTANCES)[0] < depth
        self._groups[host][:, -1] -= classes[:, within].sum(axis=1)
        classes[:, within] = 0

    def _thin(self) -> None:
        """Halve the sample: lower the threshold, and forget the blocks that are above it now."""
        if self.rate == 1:
            self._follow_newest()
        n = self.blocks
        high = (self._blocks["hash"][:n] >> np.uint64(64 - RATE_BITS)).astype(np.int64)
        before = int(self._control[Control.THRESHOLD])
        threshold = max(1, int(np.partition(high, n // 2)[n // 2]))
        kept = np.flatnonzero(high < threshold)
        if len(kept) == n:
            raise OverflowError("the budget for blocks is smaller than the number of hosts that share one")
        self._control[Control.THRESHOLD] = threshold
        self._blocks[: len(kept)] = self._blocks[kept]
        self._control[Control.BLOCKS] = len(kept)
        fresh = np.zeros(len(self._nodes), NODE)
        self._control[Control.NODES] = kernel.move_nodes(self._control, self._blocks, self._nodes, fresh)
        self._nodes = fresh
        self._rehash()
        for host in range(len(self._hosts)):
            self._scale(host, threshold / before)
            self._order_anew(host)

    def _scale(self, host: int, factor: float) -> None:
        """Distances count blocks of the sample: with fewer of them, they are shorter."""
        distances = self.distances(host)
        index = (np.arange(len(distances)) * factor).astype(np.int64)
        distances[:] = np.bincount(index, distances, minlength=len(distances))

    def _order_anew(self, host: int) -> None:
        """Give the blocks of a host the places 1, 2, ... in their order, and as many places again."""
        row = self._hosts[host]
        mine = self._in_order(host)
        live = len(mine)
        self._blocks["place"][mine] = np.arange(1, live + 1)
        size = max(FIRST_PLACES, int(row["size"]))
        while size < 2 * live:
            size *= 2
        start = int(row["start"])
        if size > row["size"]:
            start = self._segment(host, size)
        places = np.zeros(size, np.int64)
        places[:live] = 1
        # A Fenwick tree of known counts: each cell is the sum over the last i & -i places up to i
        sums = np.concatenate([[0], np.cumsum(places)])
        i = np.arange(1, size + 1)
        self._order[start : start + size] = sums[i] - sums[i - (i & -i)]
        row["start"], row["size"], row["last"], row["live"] = start, size, live, live

    def _in_order(self, host: int) -> np.ndarray:
        """int64[n]: rows of the blocks of a host, the one used last at the end."""
        rows = np.empty(self.blocks, np.int64)
        mine: np.ndarray = rows[: kernel.list_blocks(self._blocks, self._hosts[host]["first"], rows)]
        return mine[np.argsort(self._blocks["place"][mine])]

    def _segment(self, host: int, size: int) -> int:
        """Room for `size` places of a host, with its distances moved there. The room it leaves is closed up in time."""
        old = self.distances(host).copy()
        if self._used + size > len(self._order):
            self._close_up(host)
            if self._used + size > len(self._order):
                grown = max(2 * len(self._order), self._used + size)
                self._order, self._distances = _larger(self._order, grown), _larger(self._distances, grown)
        start, self._used = self._used, self._used + size
        self._distances[start : start + size] = 0
        self._distances[start : start + len(old)] = old
        return start

    def _close_up(self, leaving: int) -> None:
        """Move the places of all hosts but one together."""
        at = 0
        for number in np.argsort(self._hosts["start"], kind="stable").tolist():
            row = self._hosts[number]
            size = 0 if number == leaving else int(row["size"])
            if size:
                start = int(row["start"])
                self._order[at : at + size] = self._order[start : start + size].copy()
                self._distances[at : at + size] = self._distances[start : start + size].copy()
                row["start"] = at
                at += size
        self._used = at


def _places(depth: int) -> int:
    """Places for so many newest blocks: the more, the more seldom they are given anew."""
    return depth + depth // 2 + 1 if depth else 0


def _number_of(numbers: np.ndarray) -> int:
    """How many rows it takes to have one with each of the numbers."""
    return int(numbers.max()) + 1 if len(numbers) else 0


def _larger(table: np.ndarray, rows: int) -> np.ndarray:
    """A copy with more rows, empty ones at the end."""
    grown = np.zeros(rows, table.dtype)
    grown[: len(table)] = table
    return grown

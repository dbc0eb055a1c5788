"""What is to be timed: sizes such as "500K,1M" come in, a `Plan` with its trials in random order goes out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from nfsleuth.errors import NfsleuthError

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}  # as dd and truncate have them
STUDY_SMALL = "500K,1M,2M,4M,8M,16M"  # the study's small files (its Figure 1), and its large ones (Figure 2)
STUDY_LARGE = "500M,1G,2G"
LARGE = 32 << 20  # bytes: from here on a file counts as large; the study has none from 16M to 500M
LARGEST_BLOCK = 64 << 20
LARGEST_FILE = 1 << 42
MOST_SIZES = 64
MOST_ROUNDS = 1000
GUESS = 50e6  # bytes/s, for the first estimate of time


class Step(Struct, frozen=True):
    """One reading of one file. Round 0 is the warm-up, whose time does not count."""

    round: int
    size: int  # bytes


class Plan(Struct, frozen=True):
    """Which files are read, how, how often, in which order.

    sizes: bytes, ascending. block: bytes asked for at once. rounds: how often each file is read for the record; before
    them, one round warms up. seed: decides the order of the files within each round, which is random so that nothing
    that happens meanwhile falls on one size only.
    """

    sizes: tuple[int, ...]
    block: int = 4096
    rounds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.sizes or len(self.sizes) > MOST_SIZES:
            raise NfsleuthError(f"{len(self.sizes)} sizes of files; give 1 to {MOST_SIZES}, such as {STUDY_SMALL}")
        for size in self.sizes:
            if not 0 < size <= LARGEST_FILE:
                raise NfsleuthError(f"a file of {size} bytes; give sizes from 1 byte to {human(LARGEST_FILE)}")
        if not 0 < self.block <= LARGEST_BLOCK:
            raise NfsleuthError(f"blocks of {self.block} bytes; give 1 byte to {human(LARGEST_BLOCK)}")
        if not 0 < self.rounds <= MOST_ROUNDS:
            raise NfsleuthError(f"{self.rounds} rounds; give 1 to {MOST_ROUNDS}")

    def steps(self) -> list[Step]:
        """All readings in order: the warm-up round, then the others."""
        import random  # takes its time, and captures are read without it

        order = random.Random(self.seed)  # noqa: S311 - an order to be repeated, no secret
        found = []
        for number in range(self.rounds + 1):
            sizes = list(self.sizes)
            order.shuffle(sizes)
            found += [Step(number, size) for size in sizes]
        return found

    @property
    def bytes(self) -> int:
        """Room that the files take."""
        return sum(self.sizes)


def parse_sizes(text: str) -> tuple[int, ...]:
    """Sizes in bytes, ascending, of a list such as "500K,1M,2G".

    Raises NfsleuthError that says which part is wrong.
    """
    return tuple(sorted({parse_size(part) for part in text.split(",")}))


def parse_size(text: str) -> int:
    """Bytes of "4096", "4K", "500M" or "2G"; K is 1024."""
    found = re.fullmatch(r"\s*(\d{1,15})\s*([KMG]?)i?B?\s*", text, re.IGNORECASE)
    size = int(found[1]) * UNITS[found[2].upper()] if found else 0
    if not size:
        raise NfsleuthError(f"size {text!r}: write a whole number with K, M or G, for example 500K")
    return size


def human(size: int) -> str:
    """A size as `parse_size` takes it, in the largest unit that divides it; `1536K`."""
    for unit in ("G", "M", "K"):
        if size % UNITS[unit] == 0 and size:
            return f"{size // UNITS[unit]}{unit}"
    return str(size)


def file_name(size: int) -> str:
    """Name of the file of `size` bytes."""
    return f"nfsleuth-bench-{size}"


def time_left(steps: Iterable[Step], took: Mapping[int, list[float]]) -> float:
    """Seconds that `steps` will take, judged by what earlier ones `took` (s per size).

    A size that was not read yet is judged by the rate of the nearest one that was.
    """
    means = {size: sum(seconds) / len(seconds) for size, seconds in took.items() if seconds}
    total = 0.0
    for step in steps:
        if step.size not in means:
            nearest = min(means, key=lambda size: abs(size - step.size), default=None)
            means[step.size] = step.size / GUESS if nearest is None else means[nearest] * step.size / nearest
        total += means[step.size]
    return total

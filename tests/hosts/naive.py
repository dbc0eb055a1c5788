"""The best grouping by trying all: every partition of a few clients, and the sum of the weights inside its groups."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations


def partitions(items: list[int]) -> Iterator[list[list[int]]]:
    if not items:
        yield []
        return
    first, *rest = items
    for smaller in partitions(rest):
        yield [[first], *smaller]
        for i, group in enumerate(smaller):
            yield [*smaller[:i], [first, *group], *smaller[i + 1 :]]


def worth(pair, groups) -> float:
    return sum(pair(a, b) for group in groups for a, b in combinations(sorted(group), 2))


def best(count: int, pair) -> float:
    return max(worth(pair, groups) for groups in partitions(list(range(count))))

"""A question about one client comes in, its answer goes out: worked out the first time, remembered afterwards.

Several heuristics ask the same of a client: whose MAC is seen, what its software is. Answers are kept in the
household's `memo`, so they live as long as the facts that they come from, which must be complete by then.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from nfsleuth.clients.facts import Facts, Household

T = TypeVar("T")
Tables = TypeVarTuple("Tables")


def once_per_client(work: Callable[[Facts, Household, *Tables], T]) -> Callable[[Facts, Household, *Tables], T]:
    """`work`, done once for each client of a household (and again with other `Rules`, where it takes them)."""
    name = f"{work.__module__}.{work.__name__}"

    @functools.wraps(work)
    def remembered(client: Facts, around: Household, *tables: *Tables) -> T:
        known: dict[int, tuple[T, tuple[*Tables], Facts]] | None = around.memo.get(name)
        if known is None:
            known = around.memo[name] = {}
        found = known.get(id(client))
        if found is None or found[1] != tables:
            # The client is kept as well: as long as it lives, nothing else can have its id.
            found = known[id(client)] = work(client, around, *tables), tables, client
        return found[0]

    return remembered


def once_per_household(work: Callable[[Household], T]) -> Callable[[Household], T]:
    """`work`, done once for a household: an index of its clients or of its link."""
    name = f"{work.__module__}.{work.__name__}"

    @functools.wraps(work)
    def remembered(around: Household) -> T:
        if name not in around.memo:
            around.memo[name] = work(around)
        found: T = around.memo[name]
        return found

    return remembered

"""What heuristics share is worked out once per client or household, and never mixed up between them."""

from __future__ import annotations

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence import once


def test_each_client_is_asked_once() -> None:
    asked: list[str] = []

    @once.once_per_client
    def name_of(client: Facts, around: Household) -> str:
        """Name."""
        asked.append(client.address)
        return f"name of {client.address}"

    here = Household([Facts("10.0.0.7"), Facts("10.0.0.9")])
    for _ in range(3):
        assert [name_of(c, here) for c in here.clients] == ["name of 10.0.0.7", "name of 10.0.0.9"]
    assert asked == ["10.0.0.7", "10.0.0.9"]


def test_another_household_is_asked_again() -> None:
    asked = 0

    @once.once_per_household
    def size(around: Household) -> int:
        """Clients."""
        nonlocal asked
        asked += 1
        return len(around.clients)

    small, large = Household([Facts("10.0.0.7")]), Household([Facts("10.0.0.7"), Facts("10.0.0.9")])
    assert (size(small), size(large), size(small)) == (1, 2, 1)
    assert asked == 2

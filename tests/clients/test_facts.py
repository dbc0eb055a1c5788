"""The records that facts are kept in."""

import pickle

from nfsleuth.clients.facts import Facts, Household, Link, Neighbour, Seen


def household() -> Household:
    neighbours: Seen[Neighbour] = Seen()
    neighbours.see(Neighbour("52:54:00:12:34:56", "10.0.0.7", "arp"))
    return Household([Facts("10.0.0.7")], Link(neighbours))


def test_what_was_worked_out_is_no_part_of_what_is_known():
    """It is neither compared, nor shown, nor sent to another process."""
    used, fresh = household(), household()
    used.memo["answer"] = 42
    assert used.at_address("10.0.0.7") == fresh.clients
    assert used.link.addresses_of("52:54:00:12:34:56") == ["10.0.0.7"]
    assert used.link.at_address("10.0.0.7") == used.link.of_mac("52:54:00:12:34:56")
    assert used == fresh
    assert repr(used) == repr(fresh)
    sent = pickle.loads(pickle.dumps(used))
    assert sent == fresh
    assert sent.memo == {}


def test_what_was_worked_out_stays_with_its_household():
    one, other = household(), household()
    one.memo["answer"] = 42
    assert one.memo == {"answer": 42}
    assert other.memo == {}

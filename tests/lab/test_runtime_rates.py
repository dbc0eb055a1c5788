"""Labs in which it is known what limits each client: a shaped link, a guest, its application, a slow server.

The guest has an e1000: QEMU's RTL8139 loses frames when it is behind, and what is seen then is retransmission.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import nfsleuth
from lab.test_runtime_guests import labels, started
from nfsleuth.clients.rates import LIMITS, Limit, Rates

pytestmark = [pytest.mark.lab, pytest.mark.slow]

QUICK_SERVER = """title = "a shaped link, a guest, an application that pauses"
start = "in turn"
[[hosts]]
name = "shaped"
rate = "40mbit"
[[hosts]]
name = "hv"
[workloads.long]
files = ["16M"]
rounds = 2
small = 0
pause = 0.1
[workloads.pausing]
files = ["512K"]
rounds = 12
small = 0
pause = 0.25
[[natives]]
name = "network"
host = "shaped"
workload = "long"
[[natives]]
name = "application"
workload = "pausing"
[[guests]]
name = "client"
host = "hv"
nic = "e1000"
version = "3"
rsize = "128K"
workload = "long"
[[captures]]
name = "server"
snaplen = 320
"""
# Every instruction of this server is translated, so it takes its time for each of many small READs.
SLOW_SERVER = """title = "a slow server"
[server]
kind = "kernel"
[workloads.blocks]
files = ["2M"]
small = 0
block = "4K"
order = "random"
pause = 0.1
[[natives]]
name = "server"
workload = "blocks"
[[captures]]
name = "server"
snaplen = 320
"""


@pytest.fixture(scope="module")
def rates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rates]:
    """What the captures of both labs say of each client."""
    folder = tmp_path_factory.mktemp("rates")
    found = {}
    for name, text in (("quick", QUICK_SERVER), ("slow", SLOW_SERVER)):
        with started(folder, text, name) as lab:
            assert lab.process.wait(300) == 0, lab.said()
        addresses = {label["address"]: label["name"] for label in labels(folder / name)}
        for client in nfsleuth.identify(folder / name / "server.pcapng").clients:
            found[addresses[client.facts.address]] = client.facts.rates
        assert_whole(folder / name)
    return found


def assert_whole(folder: Path) -> None:
    """Frames that are missing would be put down to somebody."""
    assert set(json.loads((folder / "run.json").read_text())["dropped"].values()) == {0}


@pytest.mark.parametrize("limit", ["network", "application", "client", "server"])
def test_what_limits_is_told(rates: dict[str, Rates], limit: str) -> None:
    """Each client is called after what limits it.

    A client that is kept waiting for a processor thinks for longer than 10 ms between calls, which counts as its
    application's (docs/bandwidth.md): so only the rest of its time is asked for, but of the one that is to be slow.
    """
    cell = rates[limit].of("read")
    shares = {name: cell.share(which) for name, which in zip(LIMITS, Limit, strict=True)}
    if limit != "application":
        del shares["application"]
    assert shares[limit] > sum(shares.values()) / 2, shares

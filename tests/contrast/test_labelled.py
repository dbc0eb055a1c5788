"""What the labelled captures of the lab must show: how a client is connected, and nothing that is not there."""

import os
from pathlib import Path

import pytest

from nfsleuth import api
from nfsleuth.contrast import rank, runs


@pytest.fixture(scope="module")
def profiles():
    files = sorted((Path(os.environ["NFSLEUTH_CAPTURES"]) / "lab").glob("*.labels.json"))
    found, _ = api.labelled_profiles(*files, by="network", only=("native", "bridged", "user-nat"))
    return found


def leading(profiles, *labels):
    clients, masked = runs.clients(p for p in profiles if p.label in labels)
    return [f.path for f in rank.contrast(clients, masked).findings if not f.cause]


@pytest.mark.shared
@pytest.mark.slow
def test_user_mode_nat_shows_in_callback_address_and_source_port_first(profiles):
    first, second = leading(profiles, "native", "user-nat")[:2]
    assert first.startswith("nfs4.SETCLIENTID.callback.cb_location.r_addr")
    assert second.startswith("tcp.srcport")


@pytest.mark.shared
@pytest.mark.slow
def test_a_bridged_guest_shows_in_its_mac_and_nothing_else(profiles):
    found = leading(profiles, "native", "bridged")
    assert "eth.src.scope" in found
    assert [path for path in found if not path.startswith("eth.src.")] == []

"""Whose MAC it is."""

from __future__ import annotations

import pytest

from evidence.make import DELL, KVM, NOBODY, SERVER, facts, household
from nfsleuth.clients.facts import Neighbour
from nfsleuth.evidence.gate import Owner, hops, on_link, usual_ttl, whose_mac
from nfsleuth.evidence.rules import Rules

ROUTER = "00:1e:bd:aa:fe:fe"


def gate(client, *neighbours):
    return whose_mac(client, household(client, neighbours=neighbours), Rules.builtin())


@pytest.mark.parametrize(
    ("client", "neighbours", "owner"),
    [
        (facts(), (), Owner.CLIENT),
        (facts(ttl=None), (), Owner.CLIENT),
        (facts(mac=""), (), Owner.NONE),
        (facts("127.0.0.1", "00:00:00:00:00:00"), (), Owner.LOOPBACK),
        (facts(SERVER, DELL), (), Owner.LOOPBACK),
        (facts(mac="00:00:5e:00:01:07"), (), Owner.ROUTER),
        (facts(mac=ROUTER), (Neighbour(ROUTER, "10.77.0.254", "router"),), Owner.ROUTER),
        (facts("10.78.0.101", ROUTER, ttl=63), (), Owner.ROUTER),
        (facts(ttl=62), (), Owner.ROUTER),
        (facts(mac=ROUTER, ttl=None), (Neighbour(ROUTER, "10.9.9.9", "ip"),), Owner.ROUTER),
        (facts(ttl=63), (), Owner.NAT_HOST),
        (facts("10.78.0.5", ttl=63), (Neighbour(DELL, "10.78.0.5", "arp"),), Owner.NAT_HOST),
        (facts(callbacks=[("tcp", "10.0.2.15.3.133")]), (), Owner.NAT_HOST),
        (facts(mac=KVM), (Neighbour(KVM, "", "bridge"),), Owner.BRIDGE),
        (facts("192.168.122.1", KVM), (), Owner.BRIDGE),
        (facts(), tuple(Neighbour(DELL, f"10.77.0.{n}", "ip") for n in range(30, 34)), Owner.SHARED),
        (facts(), (Neighbour(DELL, "fe80::1", "ip"), Neighbour(DELL, "10.77.0.22", "ip")), Owner.CLIENT),
    ],
)
def test_owner(client, neighbours, owner):
    found = gate(client, *neighbours)
    assert found.owner is owner
    assert found.why
    assert found.is_clients == (owner is Owner.CLIENT)


def test_anonymised_macs_weigh_nothing():
    client = facts(mac="02:a4:cc:aa:5e:b7")
    around = household(client, facts("10.77.0.22", "02:ae:b6:53:12:e3"))
    around.link.server_macs.sightings.clear()
    around.link.server_macs.see("02:e9:45:3d:a0:4b")
    assert whose_mac(client, around, Rules.builtin()).owner is Owner.ANONYMISED


@pytest.mark.parametrize("server", ["52:54:00:aa:bb:cc", "0c:c4:7a:5e:10:01"])
def test_guests_of_one_pool_are_not_anonymised(server):
    client = facts(mac=KVM)
    around = household(client, facts("10.77.0.22", "52:54:00:53:12:e3"))
    around.link.server_macs.sightings.clear()
    around.link.server_macs.see(server)
    assert whose_mac(client, around, Rules.builtin()).owner is Owner.CLIENT


@pytest.mark.parametrize(("ttl", "steps"), [(64, 0), (63, 1), (128, 0), (127, 1), (255, 0), (250, 5), (32, 0), (0, 0)])
def test_hops(ttl, steps):
    assert hops(ttl) == steps


def test_usual_ttl_is_the_one_seen_most():
    client = facts(ttl=None)
    client.ttls.see(63, 1)
    client.ttls.see(64, 2, count=9)
    assert usual_ttl(client) == 64


def test_on_link_by_arp_by_guess_and_not():
    here, there = facts(), facts("10.78.0.5")
    assert on_link(here, household(here)) is None
    assert on_link(there, household(there)) is False
    assert on_link(there, household(there, neighbours=(Neighbour(NOBODY, "10.78.0.5", "nd"),))) is True

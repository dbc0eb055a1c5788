"""Labels: what is true of each client, and whose connection is whose where several share an address."""

import polars as pl
import pytest

from nfsleuth.evidence.model import State
from nfsleuth.lab.experiment import load, read, shipped
from nfsleuth.lab.labels import assigned, document, recognised, topology, truth
from nfsleuth.lab.outcome import Flow, Ran, flows

MIXED = """
title = "two guests behind one address, their host, and a bridged one"
[[hosts]]
name = "h"
[[natives]]
name = "itself"
host = "h"
[[guests]]
name = "one"
host = "h"
backend = "user"
[[guests]]
name = "two"
host = "h"
backend = "user"
hostname = "other"
[[guests]]
name = "bridged"
host = "h"
"""


def labelled(text):
    """Truths by client."""
    experiment = read('title = "x"\n' + text, "x")
    return {client.name: truth(experiment, client) for client in experiment.clients}


@pytest.fixture
def mixed():
    return read(MIXED, "mixed")


@pytest.fixture
def ran():
    return {
        "one": Ran(client="one", kernel="6.1.0", inside=frozenset({1, 2, 3})),
        "two": Ran(client="two", kernel="6.1.0", inside=frozenset({7, 8})),
        "bridged": Ran(client="bridged", kernel="6.12", boots=2),
    }


class TestWhoseFlow:
    def test_guests_behind_one_address_are_told_apart_by_xids(self, mixed, ran):
        address = mixed.hosts[0].address
        found = [
            Flow(address, 40000, frozenset({1, 2})),
            Flow(address, 40001, frozenset({8})),
            Flow(address, 40002, frozenset({3})),
        ]
        shares = assigned(mixed, found, ran)
        assert [f.port for f in shares["one"]] == [40000, 40002]
        assert [f.port for f in shares["two"]] == [40001]

    def test_what_no_guest_sent_is_the_hosts(self, mixed, ran):
        shares = assigned(mixed, [Flow(mixed.hosts[0].address, 700, frozenset({99}))], ran)
        assert [f.port for f in shares["itself"]] == [700]

    def test_what_could_be_two_clients_is_nobodys(self, mixed):
        assert not any(assigned(mixed, [Flow(mixed.hosts[0].address, 700, frozenset({99}))], {}).values())

    def test_most_xids_decide(self, mixed, ran):
        """XIDs start at random: two guests may share a few."""
        shares = assigned(mixed, [Flow(mixed.hosts[0].address, 4, frozenset({1, 7, 8}))], ran)
        assert [f.port for f in shares["two"]] == [4]

    def test_an_address_of_ones_own_needs_no_xids(self, mixed):
        shares = assigned(mixed, [Flow(mixed.guests[2].address, 900, frozenset())], {})
        assert [f.port for f in shares["bridged"]] == [900]

    def test_strangers_are_nobodys(self, mixed, ran):
        assert not any(assigned(mixed, [Flow("198.51.100.1", 900, frozenset({1}))], ran).values())

    def test_only_calls_to_the_nfs_program_make_flows(self):
        frame = pl.DataFrame(
            {
                "client": ["10.0.0.7", "10.0.0.7", "10.0.0.7", "10.0.0.7", None],
                "client_port": [900, 900, 901, 902, 903],
                "program": ["nfs", "nfs", "mount", "nfs", "nfs"],
                "from_server": [False, False, False, True, False],
                "xid": [1, 2, 3, 4, 5],
            }
        )
        assert flows([frame, frame]) == (Flow("10.0.0.7", 900, frozenset({1, 2})),)


HOME = """
title = "a machine, a bridged guest and one behind SLiRP, all behind a home router"
[[routers]]
name = "r"
inside = "192.168.1.0/24"
masquerade = true
[[hosts]]
name = "h"
behind = "r"
[[natives]]
name = "n"
host = "h"
[[guests]]
name = "b"
host = "h"
[[guests]]
name = "s"
host = "h"
backend = "user"
[[captures]]
name = "server"
[[captures]]
name = "inside"
at = "host:h"
"""


def test_a_capture_on_the_host_tells_apart_what_a_home_router_mixes():
    experiment = read(HOME, "home")
    ran = {name: Ran(client=name) for name in ("n", "b")} | {"s": Ran(client="s", inside=frozenset({30}))}
    server, inside = experiment.captures
    host, guest = experiment.hosts[0], experiment.guests[0]
    at_host = [
        Flow(host.address, 1, frozenset({10})),
        Flow(guest.address, 2, frozenset({20})),
        Flow(host.address, 3, frozenset({30})),
    ]
    at_server = [Flow(experiment.routers[0].address, f.port, f.xids) for f in at_host]
    assert not assigned(experiment, at_server, ran)["b"]
    known = recognised(experiment, {server: at_server, inside: at_host}, ran)
    assert {name: [f.port for f in mine] for name, mine in assigned(experiment, at_server, known).items()} == {
        "n": [1], "b": [2], "s": [3],
    }  # fmt: skip


class TestDocument:
    def test_what_the_capture_shows_and_what_the_run_knows_come_together(self, mixed, ran):
        found = [
            Flow(mixed.guests[2].address, 900, frozenset({5, 6})),
            Flow(mixed.guests[2].address, 901, frozenset({9})),
        ]
        labels = document(mixed, mixed.captures[0], "server.pcapng", found, ran)
        (client,) = labels["clients"]
        assert labels["absent"] == ["itself", "one", "two"]
        assert (client["ports"], client["rpc_calls"], client["boots"]) == ([900, 901], 3, 2)
        assert (client["guest_kernel"], client["mount"]) == ("6.12", "vers=4.1")
        assert client["mac"] == client["guest_mac"] == mixed.guests[2].mac

    def test_the_format_is_that_of_the_captures_in_the_repository(self, mixed, ran):
        labels = document(
            mixed, mixed.captures[0], "server.pcapng", [Flow(mixed.guests[2].address, 9, frozenset())], ran
        )
        old = {
            "address", "address6", "mac", "guest_mac", "names", "nfs_versions", "ports", "state", "acceptable", "virtual",
            "platform", "platform_acceptable", "nic", "backend", "host", "guest_kernel", "boots", "trap",
            "standin_for_native", "notes",
        }  # fmt: skip
        assert old <= set(labels["clients"][0])
        assert {"capture", "server", "snaplen", "derived_from", "transform", "notes", "clients"} <= set(labels)

    def test_libnfs_names_itself(self, mixed, ran):
        labels = document(mixed, mixed.captures[0], "x", [Flow(mixed.hosts[0].address, 7, frozenset({50}))], ran)
        assert [c["names"] for c in labels["clients"]] == [["libnfs"]]

    def test_ipv6_stands_in_its_own_field(self):
        experiment = read('title = "x"\n[[guests]]\nname = "a"\nip = 6\n', "x")
        address = experiment.guests[0].address6
        (client,) = document(experiment, experiment.captures[0], "x", [Flow(address, 7, frozenset())], {})["clients"]
        assert client["address6"] == address


class TestTruth:
    @pytest.mark.parametrize(
        ("backend", "state"),
        [("tap", "bridged-vm"), ("hub", "bridged-vm"), ("macvtap", "bridged-vm"), ("vhost", "bridged-vm"),
         ("user", "user-nat-vm"), ("passt", "user-nat-vm"), ("masquerade", "kernel-nat")],
    )  # fmt: skip
    def test_the_backend_is_the_state(self, backend, state):
        true = labelled(f'[[guests]]\nname = "a"\nbackend = "{backend}"\n')["a"]
        assert true.state == state
        assert true.virtual

    def test_where_nothing_can_be_seen_doubt_is_acceptable(self):
        text = '[[guests]]\nname = "a"\nbackend = "passt"\n[[guests]]\nname = "b"\nbackend = "user"\n[[guests]]\nname = "c"\nkernel = "uml"\n'
        found = labelled(text)
        assert State.UNKNOWN in found["a"].acceptable
        assert State.UNKNOWN not in found["b"].acceptable
        assert found["c"].standin
        assert found["c"].acceptable == [State.NATIVE, State.UNKNOWN]

    @pytest.mark.parametrize(
        ("mac", "platform", "trap"),
        [("00:0c:29:01:02:03", "VMware", False), ("52:54:00:01:02:03", "KVM/QEMU", False), ("18:66:da:01:02:03", None, True),
         ("6e:3c:44:10:aa:02", None, True)],
    )  # fmt: skip
    def test_a_guest_is_taken_for_what_its_mac_says_and_a_makers_mac_is_a_trap(self, mac, platform, trap):
        true = labelled(f'[[guests]]\nname = "a"\nmac = "{mac}"\n')["a"]
        assert (true.platform, true.trap) == (platform, trap)
        assert (State.UNKNOWN in true.acceptable) == trap

    def test_a_machine_with_a_hypervisors_mac_is_a_trap(self):
        assert labelled('[[hosts]]\nname = "h"\nmac = "08:00:27:01:02:03"\n[[natives]]\nname = "a"\nhost = "h"\n')[
            "a"
        ].trap

    def test_a_home_router_hides_machines_and_bridged_guests_but_not_user_mode_nat(self):
        text = '[[routers]]\nname = "r"\ninside = "192.168.1.0/24"\nmasquerade = true\n[[hosts]]\nname = "h"\nbehind = "r"\n'
        text += '[[natives]]\nname = "n"\nhost = "h"\n'
        text += "".join(f'[[guests]]\nname = "{b}"\nhost = "h"\nbackend = "{b}"\n' for b in ("tap", "user"))
        found = labelled(text)
        assert {name: true.state for name, true in found.items()} == {
            "n": "kernel-nat", "tap": "kernel-nat", "user": "user-nat-vm",
        }  # fmt: skip
        assert [found[name].virtual for name in ("n", "tap")] == [False, True]

    def test_a_container_may_be_called_one(self):
        true = labelled('[[natives]]\nname = "a"\ncontainer = true\n')["a"]
        assert true.acceptable == ["container", "kernel-nat", "unknown"]
        assert not true.virtual

    def test_topologies(self):
        experiment = load("topology")
        found = {client.name: topology(experiment, client) for client in experiment.clients}
        assert found["routed-bridged"] == "routed"
        assert found["home-native"] == "masqueraded"
        assert found["tagged-bridged"] == "vlan"
        assert found["docker-1"] == "direct"

    @pytest.mark.parametrize("name", sorted(shipped()))
    def test_the_truth_is_always_acceptable(self, name):
        experiment = load(name)
        for client in experiment.clients:
            true = truth(experiment, client)
            assert true.state in true.acceptable
            assert true.platform in true.platforms

"""Whole verdicts on hand-made clients: the usual ones, the traps, and hosts."""

from __future__ import annotations

import pytest

from evidence.make import BOOT, KVM, LINUX_SYN, NOBODY, facts, household, linux
from nfsleuth.clients.facts import Neighbour, Syn, Traffic
from nfsleuth.errors import NfsleuthError
from nfsleuth.evidence.model import State
from nfsleuth.verdict import conclude

GENERIC = [("kernel.org", "Linux 6.1.0-56-amd64 #1 SMP x86_64")]
PASST_SYN = Syn(64, 65535, 1460, 7, "mss,sok,ts,nop,ws", True)


def verdict(client, *others, neighbours=(), **options):
    report = conclude(household(client, *others, neighbours=neighbours), **options)
    return next(v for v in report.clients if v.facts is client)


def states(*clients, neighbours=()):
    return [v.state for v in conclude(household(*clients, neighbours=neighbours)).clients]


V3 = {"versions": ["3"], "programs": ["nfs", "mount", "nfsacl"], "stamps": [("n", 0)], "names": ["n"]}

USUAL = {
    "SLiRP, 4.0": (linux(ports=(45620,), callbacks=[("tcp", "10.0.2.15.3.133")]), State.USER_NAT),
    "SLiRP, 4.2": (linux(ports=(45620,), implementations=GENERIC), State.USER_NAT),
    "SLiRP, v3": (facts(ports=(46712, 46718), mount_ports=[43294], **V3), State.USER_NAT),
    "SLiRP behind a home router": (
        linux(ports=(52870,), ttl=63, callbacks=[("tcp", "10.0.2.15.3.133")]),
        State.USER_NAT,
    ),
    "SLiRP, callback address set by hand": (
        linux(ports=(46964,), callbacks=[("tcp", "192.0.2.55.3.133")]),
        State.USER_NAT,
    ),
    "bridged": (linux(mac=KVM, ports=(853,)), State.BRIDGED),
    "bridged, noresvport": (linux(mac=KVM, ports=(59618,), syns=[LINUX_SYN]), State.BRIDGED),
    "masquerade, libvirt": (linux(ttl=63, ports=(797,), callbacks=[("tcp", "192.168.122.7.3.1")]), State.KERNEL_NAT),
    "masquerade, v3": (facts(ttl=63, ports=(797,), **V3), State.KERNEL_NAT),
    "libnfs on a machine": (facts(names=["libnfs"], ports=(623, 715)), State.NATIVE),
    "Python on a machine": (
        facts(names=["n"], stamps=[("n", 0)], versions=["3"], ports=(40000,), mount_ports=[40001], syns=[LINUX_SYN]),
        State.NATIVE,
    ),
    "kernel on a machine": (linux(ports=(676,), implementations=GENERIC), State.NATIVE),
    "container": (facts(mac="02:42:ac:11:00:02", names=["libnfs"], ports=(683,)), State.CONTAINER),
    "ESXi": (facts(mac="00:50:56:61:00:07", file_names=["a.vmx", "a.vmdk", "a.nvram"]), State.HYPERVISOR),
}


@pytest.mark.parametrize("name", USUAL)
def test_usual_clients(name):
    client, state = USUAL[name]
    found = verdict(client)
    assert found.state is state, found.weighed
    assert sum(found.states.values()) == pytest.approx(1)
    assert 0 < len(found.because) <= 40


UNSURE = {
    "locally administered MAC alone": linux(mac=NOBODY, ports=(726,)),
    "a program on such a MAC": facts(mac=NOBODY, names=["libnfs"], ports=(545,)),
    "no link layer": linux(mac="", ports=(791,)),
    "routed": linux(address="10.78.0.101", mac="00:1e:bd:aa:fe:fe", ttl=63, ports=(817,)),
    "translated somewhere behind a router": linux(address="10.78.0.25", ttl=62, ports=(1019,)),
    "loopback": facts("127.0.0.1", "00:00:00:00:00:00", ports=(50676,)),
    "ephemeral port and nothing else": facts(ports=(53744,)),
    "stranger behind a router with a guest's MAC": facts("87.236.176.96", "00:0c:29:1d:40:46", ttl=46),
}


@pytest.mark.parametrize("name", UNSURE)
def test_doubt_where_nothing_tells(name):
    found = verdict(UNSURE[name])
    assert found.state is State.UNKNOWN, found.states


def test_passt_with_equal_callback_address_is_not_native():
    client = linux(ports=(49948,), syns=[PASST_SYN], callbacks=[("tcp", "10.77.0.21.3.133")])
    assert verdict(client).state in (State.UNKNOWN, State.USER_NAT)


def test_noresvport_on_a_machine_is_not_surely_behind_nat():
    small = Syn(64, 64240, 1460, 5, LINUX_SYN.layout, True)
    for syn in (LINUX_SYN, small):
        assert verdict(linux(ports=(45532,), syns=[syn])).states[State.USER_NAT] <= 0.9
    assert verdict(linux(ports=(45532,), syns=[small])).state is not State.USER_NAT


def test_makers_mac_alone_leaves_room_for_passthrough():
    for client in (linux(ports=(676,)), linux(ports=(676,), callbacks=[("tcp", "10.77.0.21.3.133")])):
        found = verdict(client)
        assert found.state is State.NATIVE
        assert found.sure <= 0.9


def test_libvirt_host_on_its_own_bridge():
    client = facts("192.168.122.1", KVM, names=["tinkyx1"])
    found = verdict(client, neighbours=(Neighbour(KVM, "", "bridge"),))
    assert found.state is State.NATIVE
    assert found.platform is None
    aside = [w for w in found.weighed if w.evidence.rule == "mac_prefix"]
    assert aside[0].weight == 0
    assert not aside[0].evidence.counted


def test_guests_of_one_host_share_it():
    a = linux("a", ports=(36638,))
    b = linux("b", ports=(36652,), verifier=BOOT + 1)
    other = linux("a", address="10.77.0.22", mac="a4:bf:01:6c:22:02", ports=(46824,), verifier=BOOT + 2)
    report = conclude(household(a, b, other))
    (host,) = report.hosts
    assert host.clients == ("10.77.0.21", "10.77.0.21#2")
    assert 0.8 < host.probability < 1
    assert [v.host for v in report.clients] == ["host-1", "host-1", None]


def test_host_itself_stands_beside_its_guests():
    guest = linux("guest", ports=(36638,), callbacks=[("tcp", "10.0.2.15.3.133")])
    own = facts(names=["libnfs"], ports=(700,), first=BOOT + 1)
    (host,) = conclude(household(guest, own)).hosts
    assert len(host.clients) == 2
    assert len(host.because) == 2


def test_home_router_is_no_host():
    laptop = facts(mac="14:cc:20:77:66:55", ttl=63, ports=(774,), names=["libnfs"])
    guest = linux("g", mac="14:cc:20:77:66:55", ttl=63, ports=(52870,), callbacks=[("tcp", "10.0.2.15.3.133")])
    assert conclude(household(laptop, guest)).hosts == ()


def test_hyper_v_guests_of_one_host():
    a = linux("a", address="10.77.0.30", mac="00:15:5d:e4:9b:01", ports=(700,))
    b = linux("b", address="10.77.0.31", mac="00:15:5d:e4:9b:02", ports=(701,), verifier=BOOT + 1)
    c = linux("c", address="10.77.0.32", mac="00:15:5d:e4:9c:03", ports=(702,), verifier=BOOT + 2)
    (host,) = conclude(household(a, b, c)).hosts
    assert host.clients == ("10.77.0.30", "10.77.0.31")


def test_engine_network_groups_translated_guests():
    guests = [
        linux(n, ttl=63, ports=(700 + i,), callbacks=[("tcp", f"192.168.122.{7 + i}.3.1")], verifier=BOOT + i)
        for i, n in enumerate("ab")
    ]
    (host,) = conclude(household(*guests)).hosts
    assert len(host.clients) == 2


def test_platform_and_virtual():
    found = verdict(linux(mac=KVM, ports=(853,)))
    assert found.platform.name == "KVM/QEMU"
    assert 0.8 < found.virtual < 0.9  # by custom only: anybody may set 52:54:00
    assert verdict(linux(ports=(676,))).platform is None
    assert verdict(linux(ports=(676,))).virtual < 0.1


def test_flips_say_what_the_verdict_hangs_on():
    found = verdict(linux(mac=KVM, ports=(853,)))
    assert any("mac_prefix" in flip and "unknown" in flip for flip in found.flips)


def test_order_of_clients_and_ids_is_stable():
    clients = [linux("b", first=BOOT + 5, ports=(40001,)), linux("a", ports=(40000,)), linux(address="10.77.0.3")]
    one, two = conclude(household(*clients)), conclude(household(*reversed(clients)))
    assert [v.id for v in one.clients] == ["10.77.0.3", "10.77.0.21", "10.77.0.21#2"]
    assert [(v.id, v.facts.names, v.states) for v in one.clients] == [
        (v.id, v.facts.names, v.states) for v in two.clients
    ]


def test_conflict_is_an_answer():
    vmware, macos = "00:0c:29:aa:bb:cc", Syn(64, 65535, 1460, 4, "mss,nop,ws,nop,nop,ts,sok,eol", True)
    client = linux(mac=vmware, ports=(45532,), syns=[macos])
    assert verdict(client).state in (State.CONFLICT, State.UNKNOWN)


def test_empty_household():
    report = conclude(household())
    assert report.clients == report.hosts == ()


def test_priors_and_method_are_checked():
    with pytest.raises(NfsleuthError, match="method"):
        conclude(household(), method="magic")
    with pytest.raises(NfsleuthError, match="prior"):
        conclude(household(), priors={State.NATIVE: 2.0})


class TestPaper:
    def read(self, rate, **more):
        """A client that read at `rate` MB/s for a second."""
        client = facts(**more)
        client.reads = Traffic(1000, int(rate * 1e6), 10**9)
        return verdict(client, method="paper").state

    def test_table_1(self):
        assert self.read(48.3, mac=KVM) is State.BRIDGED
        found = verdict(facts(mac="00:03:ff:00:00:01"), method="paper")
        assert found.platform.name == "Hyper-V"  # as printed, though it is Virtual PC's

    @pytest.mark.parametrize(
        ("rate", "state"),
        [(500, State.NATIVE), (47, State.NATIVE), (28, State.BRIDGED), (12.5, State.USER_NAT), (4, State.USER_NAT)],
    )
    def test_table_2(self, rate, state):
        assert self.read(rate) is state

    def test_too_few_reads_are_native(self):
        assert verdict(facts(), method="paper").state is State.NATIVE

    def test_nothing_is_gated(self):
        assert self.read(48.3, mac=KVM, ttl=63) is State.BRIDGED

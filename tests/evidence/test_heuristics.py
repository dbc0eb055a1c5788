"""Each heuristic: its docstring's five sections, one example that it knows, one confusion that it does not fall for."""

from __future__ import annotations

import pytest

from evidence.make import BOOT, DELL, KVM, LINUX_SYN, NOBODY, facts, household, linux, observe
from nfsleuth.clients.facts import ClientId, Neighbour, Syn
from nfsleuth.evidence import heuristics, weigh
from nfsleuth.evidence.document import SECTIONS, markdown, sections
from nfsleuth.evidence.model import HYPOTHESES, Group, State
from nfsleuth.evidence.rules import Rules

WINDOWS_SYN = Syn(128, 64240, 1460, 8, "mss,nop,ws,nop,nop,sok", True)
PASST_SYN = Syn(64, 65535, 1460, 7, "mss,sok,ts,nop,ws", True)
WINDOWS_NAME = "Linux 6.6.87.2-microsoft-standard-WSL2 #1 SMP x86_64"


def toward(rule, client, state, around=None):
    """Nats of all counted rows of a heuristic toward a state."""
    return sum(row.toward.get(state, 0.0) for row in observe(rule, client, around) if row.counted)


def record(owner, verifier=BOOT, minor=0, time=BOOT + 10**9, frame=7):
    return ClientId(owner, verifier, minor, time, frame)


@pytest.mark.parametrize("name", heuristics())
def test_docstring_is_a_manual_page(name):
    told = sections(heuristics()[name])
    assert told[""].endswith((".", "?")), "the first line says what is seen"
    assert [s for s in SECTIONS if told.get(s)] == list(SECTIONS)


@pytest.mark.parametrize("name", heuristics())
def test_heuristic_names_itself_and_its_weights_have_sources(name):
    module = heuristics()[name]
    assert name == module.RULE
    assert module.GROUP in Group
    assert all(weight.source for weight in module.WEIGHTS.values())
    assert all(len(weight.says) <= 40 for weight in module.WEIGHTS.values()), "the table has 40 characters"
    assert all(state in HYPOTHESES for weight in module.WEIGHTS.values() for state in weight.toward)


def test_manual_has_a_chapter_per_heuristic():
    text = markdown(Rules.builtin())
    assert all(f"## {name}" in text for name in heuristics())
    assert "52:54:00" in text
    assert markdown(Rules.builtin()) == text


class TestMacPrefix:
    @pytest.mark.parametrize(
        ("mac", "state", "platform"),
        [
            (KVM, State.BRIDGED, "KVM/QEMU"),
            ("00:15:5d:e4:9b:48", State.BRIDGED, "Hyper-V"),
            ("00:50:56:b2:4e:d3", State.BRIDGED, "VMware"),
            ("00:50:56:61:00:07", State.HYPERVISOR, "VMware"),
            ("00:03:ff:01:02:03", State.BRIDGED, "Virtual PC"),
        ],
    )
    def test_known_prefix(self, mac, state, platform):
        (row,) = observe("mac_prefix", facts(mac=mac))
        assert max(row.toward, key=row.toward.get) is state
        assert platform in row.platform

    def test_makers_mac_speaks_against_a_bridged_guest_only(self):
        (row,) = observe("mac_prefix", facts(mac=DELL))
        assert row.toward[State.BRIDGED] < -3
        assert set(row.toward) == {State.BRIDGED}

    def test_docker_is_a_container_and_no_platform(self):
        (row,) = observe("mac_prefix", facts(mac="02:42:ac:11:00:02"))
        assert row.toward[State.CONTAINER] > 4
        assert not row.platform

    def test_behind_a_nat_host_it_weighs_nothing(self):
        (row,) = observe("mac_prefix", facts(mac=KVM, ttl=63))
        assert not row.counted
        assert "TTL 63" in row.why_not


class TestOwnBridge:
    def test_spanning_tree_names_the_clients_mac(self):
        client = facts(mac=KVM)
        around = household(client, neighbours=(Neighbour(KVM, "", "bridge"),))
        assert toward("own_bridge", client, State.NATIVE, around) > 0
        assert not observe("mac_prefix", client, around)[0].counted

    def test_libvirts_own_address(self):
        client = facts("192.168.122.1", KVM)
        assert toward("own_bridge", client, State.BRIDGED) < 0

    def test_a_guest_of_that_network_is_no_bridge(self):
        assert not observe("own_bridge", facts("192.168.122.219", KVM))


class TestMacHostHint:
    def test_hyper_v_names_its_host(self):
        (row,) = observe("mac_host_hint", facts(mac="00:15:5d:e4:9b:48"))
        assert row.host == "hyperv:228.155"

    def test_embedded_address_is_no_host(self):
        (row,) = observe("mac_host_hint", facts(mac="42:01:0a:f0:00:1f"))
        assert row.host == ""
        assert "10.240.0.31" in row.says

    def test_behind_a_router_it_names_nobody(self):
        (row,) = observe("mac_host_hint", facts("10.9.9.9", "00:15:5d:e4:9b:48", ttl=62))
        assert not row.counted
        assert not row.host


class TestEui64Address:
    def test_guests_mac_survives_the_router(self):
        client = facts("fd77::20c:29ff:fe12:ab02", "00:1e:bd:aa:fe:fe", ttl=61)
        (row,) = observe("eui64_address", client)
        assert row.toward[State.BRIDGED] > 4
        assert "00:0c:29:12:ab:02" in row.seen

    def test_privacy_address_says_nothing(self):
        assert not observe("eui64_address", facts("fd77::1234:5678:9abc:def0"))


class TestIdMac:
    @staticmethod
    def owner(mac: str) -> bytes:
        return bytes(4) + bytes.fromhex(mac.replace(":", "")) + bytes([16, 2]) + bytes(14) + b"server:/x\0/mnt\0"

    def test_guests_mac_in_a_mac_os_id(self):
        (row,) = observe("id_mac", facts(client_ids=(record(self.owner("00:1c:42:aa:bb:cc")),)))
        assert row.toward[State.USER_NAT] > 4
        assert row.platform == {"Parallels": 5.0}

    def test_makers_mac_speaks_against_a_guest_behind_nat(self):
        assert toward("id_mac", facts(client_ids=(record(self.owner("f0:18:98:aa:bb:cc")),)), State.USER_NAT) < 0

    def test_linux_id_holds_no_mac(self):
        assert not observe("id_mac", linux())


class TestCallbackAddress:
    def test_slirp(self):
        (row,) = observe("callback_address", facts(callbacks=[("tcp", "10.0.2.15.3.133")]))
        assert row.toward[State.USER_NAT] > 6
        assert row.host == "address:10.77.0.21"

    def test_slirp_ipv6_tells_the_guests_mac(self):
        (row,) = observe("callback_address", facts(callbacks=[("tcp6", "fec0::5054:ff:fe12:3456.234.121")]))
        assert row.toward[State.USER_NAT] > 6
        assert row.platform["KVM/QEMU"] >= 4

    def test_libvirt_is_kernel_nat_and_a_guest(self):
        (row,) = observe("callback_address", facts(callbacks=[("tcp", "192.168.122.50.3.133")]))
        assert row.toward[State.KERNEL_NAT] > 4
        assert row.virtual > 0

    def test_equal_addresses_do_not_exclude_passt(self):
        (row,) = observe("callback_address", facts(callbacks=[("tcp", "10.77.0.21.3.133")]))
        assert -3 < row.toward[State.USER_NAT] < 0

    @pytest.mark.parametrize("r_addr", ["0.0.0.0.0.0", "127.0.0.1.3.133"])
    def test_callbacks_that_are_off(self, r_addr):
        (row,) = observe("callback_address", facts(callbacks=[("tcp", r_addr)]))
        assert not row.counted

    def test_clientaddr_that_was_set_by_hand_says_little(self):
        assert toward("callback_address", facts(callbacks=[("tcp", "192.0.2.55.3.133")]), State.USER_NAT) < 1

    def test_machine_with_two_addresses(self):
        client = facts(callbacks=[("tcp", "10.99.0.5.3.133")])
        around = household(client, neighbours=(Neighbour(DELL, "10.99.0.5", "ip"),))
        assert not observe("callback_address", client, around)[0].counted

    @pytest.mark.parametrize("r_addr", ["", "10.0.2.15", "x" * 5000, "1.2.3.4.5.6.7.8", "10.0.2.15.3.-1"])
    def test_nonsense_is_no_address(self, r_addr):
        assert not observe("callback_address", facts(callbacks=[("tcp", r_addr)]))


class TestIdAddress:
    def test_old_linux_leaks_its_own_address(self):
        owner = record(b"Linux NFSv4.0 10.0.2.15/10.77.0.1 tcp")
        assert toward("id_address", facts(client_ids=(owner,)), State.USER_NAT) > 6

    def test_server_known_by_the_gateways_address(self):
        owner = record(b"Linux NFSv4.0 node1/10.0.2.2")
        assert toward("id_address", facts(client_ids=(owner,)), State.USER_NAT) > 6

    def test_session_name_that_is_an_address(self):
        assert toward("id_address", facts(session_machines=[("192.168.122.7", 0)]), State.KERNEL_NAT) > 4

    def test_name_and_right_server_say_nothing(self):
        assert not observe("id_address", facts(client_ids=(record(b"Linux NFSv4.0 node1/10.77.0.1"),)))


class TestImplementationId:
    @pytest.mark.parametrize("release", ["6.1.0-56-cloud-amd64", "6.8.0-1021-azure", "5.15.0-1-kvm"])
    def test_kernel_for_guests(self, release):
        client = facts(implementations=[("kernel.org", f"Linux {release} #1 SMP x86_64")])
        assert toward("implementation_id", client, State.BRIDGED) >= 4

    def test_wsl(self):
        client = facts(implementations=[("kernel.org", WINDOWS_NAME)])
        assert observe("implementation_id", client)[0].platform == {"Hyper-V": 6.0}

    def test_board(self):
        client = facts(implementations=[("kernel.org", "Linux 6.6.51-rpi-v8 #1 aarch64")])
        assert toward("implementation_id", client, State.BRIDGED) < -3

    def test_generic_kernel_says_nothing_nor_does_its_builder(self):
        client = facts(implementations=[("kernel.org", "Linux 6.1.0-56-amd64 #1 SMP built@x-cloud- x86_64")])
        assert not observe("implementation_id", client)[0].counted


class TestOwnerString:
    def test_names_the_software(self):
        (row,) = observe("owner_string", linux("web01"))
        assert "by name" in row.says
        assert not row.toward

    def test_esxi_is_a_hypervisor(self):
        assert toward("owner_string", facts(client_ids=(record(b"VMware ESXi 8.0.2"),)), State.HYPERVISOR) > 3

    def test_libnfs_says_nothing_of_its_machine(self):
        assert not observe("owner_string", facts(client_ids=(record(b"Libnfs pid:2501 1795382560"),)))[0].toward


class TestMachineName:
    def test_container_id(self):
        assert toward("machine_name", facts(names=["9f3c1d2e77aa"]), State.CONTAINER) > 2

    def test_ordinary_name_says_nothing(self):
        assert not observe("machine_name", facts(names=["web01", "x" * 100_000]))

    def test_users_own_pattern_is_capped(self):
        rules = Rules.builtin().with_user('[[name]]\npattern = "^vm-"\nsays = "ours"\nvirtual = 6.0', "site.toml")
        (row,) = observe("machine_name", facts(names=["vm-7"]), rules=rules)
        assert row.toward[State.BRIDGED] == 3.0
        assert row.source == "user: site.toml"


class TestAuthStamp:
    def test_zero_is_linux(self):
        assert "linux" in observe("auth_stamp", facts(stamps=[("n", 0)], versions=["4.1"]))[0].says

    def test_zero_of_a_program_is_no_kernel(self):
        client = facts(stamps=[("n", 0)], versions=["3"], mount_ports=[40000], syns=[LINUX_SYN])
        assert "user-space" in observe("auth_stamp", client)[0].says


class TestSourcePort:
    def test_linux_without_reserved_port(self):
        assert toward("source_port", linux(ports=(36638,)), State.USER_NAT) > 2.5

    def test_one_reserved_port_among_probes(self):
        client = facts(ports=(54212, 936), stamps=[("n", 0)], programs=["nfs", "nfsacl"], mount_ports=[41000])
        assert toward("source_port", client, State.USER_NAT) < -4

    def test_reserved_port_excludes_user_mode_whatever_the_software(self):
        assert toward("source_port", facts(ports=(545,), names=["libnfs"]), State.USER_NAT) < -4

    def test_port_that_only_nat_gives_linux(self):
        assert toward("source_port", linux(ports=(612,)), State.KERNEL_NAT) > 0
        assert toward("source_port", facts(ports=(612,), names=["libnfs"]), State.KERNEL_NAT) == 0

    @pytest.mark.parametrize(
        "client",
        [
            facts(ports=(40000,), names=["libnfs"]),
            facts(ports=(40000,), stamps=[("n", 0)], versions=["3"], mount_ports=[40001], syns=[LINUX_SYN]),
        ],
    )
    def test_programs_use_ephemeral_ports_anyway(self, client):
        assert not observe("source_port", client)[0].counted


class TestTtl:
    def test_hop_on_the_own_network(self):
        assert toward("ttl", facts(ttl=63), State.KERNEL_NAT) >= 4

    def test_arp_makes_it_surer(self):
        client = facts(ttl=63)
        around = household(client, neighbours=(Neighbour(DELL, client.address, "arp"),))
        assert toward("ttl", client, State.KERNEL_NAT, around) > toward("ttl", client, State.KERNEL_NAT)

    def test_routed_client_is_not_translated(self):
        assert toward("ttl", facts("10.78.0.101", ttl=63), State.KERNEL_NAT) < 1

    def test_windows_below_a_linux_client(self):
        assert toward("ttl", linux(ttl=128), State.USER_NAT) > 4
        assert toward("ttl", facts(ttl=128), State.USER_NAT) == 0

    def test_user_mode_network_behind_a_home_router(self):
        (row,) = observe("ttl", facts(ttl=63, callbacks=[("tcp", "10.0.2.15.3.133")]))
        assert not row.counted


class TestSynFingerprint:
    def test_windows_below_a_linux_client(self):
        (row,) = observe("syn_fingerprint", linux(syns=[WINDOWS_SYN]))
        assert row.toward[State.USER_NAT] == 6.0
        assert str(WINDOWS_SYN) in row.seen

    def test_passt(self):
        assert toward("syn_fingerprint", linux(syns=[PASST_SYN]), State.USER_NAT) > 1

    def test_window_of_another_linux(self):
        old = linux(syns=[LINUX_SYN], implementations=[("kernel.org", "Linux 4.4.0-1-amd64 #1 x86_64")])
        assert toward("syn_fingerprint", old, State.USER_NAT) > 1

    def test_small_machine_is_no_host(self):
        small = Syn(64, 64240, 1460, 5, LINUX_SYN.layout, True)
        assert toward("syn_fingerprint", linux(syns=[small]), State.USER_NAT) < -1

    @pytest.mark.parametrize("client", [linux(syns=[LINUX_SYN]), facts(syns=[WINDOWS_SYN]), facts(syns=[PASST_SYN])])
    def test_fitting_or_unknown_systems_show_the_signature_and_weigh_nothing(self, client):
        (row,) = observe("syn_fingerprint", client)
        assert not row.counted
        assert "1460" in row.seen


class TestKeepaliveSilence:
    def test_idle_without_probes(self):
        client = linux(frames_sent=4, last=BOOT + 600 * 10**9)
        assert toward("keepalive_silence", client, State.USER_NAT) > 2

    def test_busy_connection_need_not_probe(self):
        assert not observe("keepalive_silence", linux(frames_sent=4000, last=BOOT + 600 * 10**9))

    def test_probes_speak_against_a_user_mode_network(self):
        assert toward("keepalive_silence", linux(keepalives=3, frames_sent=9), State.USER_NAT) < 0


class TestSharedAddress:
    def test_two_names_on_ephemeral_ports(self):
        a, b = linux("a", ports=(40000,)), linux("b", ports=(40001,), verifier=BOOT + 1)
        (row,) = observe("shared_address", a, household(a, b))
        assert row.toward[State.USER_NAT] > 4
        assert row.host == "address:10.77.0.21"

    def test_one_name_two_boots_at_once(self):
        a, b = linux("a", ports=(40000,)), linux("a", ports=(40001,), verifier=BOOT + 5)
        assert toward("shared_address", a, State.USER_NAT, household(a, b)) > 4

    def test_reserved_ports_behind_a_hop(self):
        a, b = linux("a", ports=(700,), ttl=63), linux("b", ports=(701,), ttl=63)
        assert toward("shared_address", a, State.KERNEL_NAT, household(a, b)) > 2

    def test_hosts_own_mount_is_not_a_guests(self):
        host, guest = linux("ws1", ports=(700,)), linux("guest", ports=(40000,))
        assert not observe("shared_address", host, household(host, guest))[0].counted

    def test_processes_of_one_machine_are_one(self):
        a = facts(names=["libnfs"], client_ids=(record(b"Libnfs pid:1 1"),), ports=(40000,))
        b = facts(names=["libnfs"], client_ids=(record(b"Libnfs pid:2 1", verifier=7),), ports=(40001,))
        assert not observe("shared_address", a, household(a, b))


class TestSharedMac:
    def test_host_beside_what_it_translates(self):
        host, guest = linux("ws1", ports=(700,)), linux("node2", ports=(701,), ttl=63)
        assert toward("shared_mac", guest, State.KERNEL_NAT, household(host, guest)) > 1

    def test_machines_with_own_addresses_on_one_mac(self):
        a, b = linux("a"), linux("b", address="10.77.0.22")
        assert toward("shared_mac", a, State.BRIDGED, household(a, b)) > 2

    def test_one_machine_with_two_addresses(self):
        a, b = linux("a"), linux("a", address="10.77.0.22")
        assert not observe("shared_mac", a, household(a, b))


class TestVerifierClock:
    @staticmethod
    def turns(*verifiers: int):
        return tuple(
            record(b"Linux NFSv4.2 localhost", BOOT + v, 1, BOOT + i * 10**9, i) for i, v in enumerate(verifiers, 1)
        )

    def test_two_live_machines_take_turns(self):
        client = linux("localhost", ports=(40000,))
        client.client_ids = self.turns(1, 2, 1, 2)
        assert toward("verifier_clock", client, State.USER_NAT) > 4

    def test_reboot_does_not(self):
        client = linux("localhost", ports=(40000,))
        client.client_ids = self.turns(1, 1, 2, 2)
        assert toward("verifier_clock", client, State.USER_NAT) == 0

    def test_clone(self):
        a, b = linux("a"), linux("b", address="10.77.0.22", mac=KVM)
        assert toward("verifier_clock", a, State.BRIDGED, household(a, b)) > 5

    def test_machine_with_two_addresses_is_no_clone(self):
        a, b = linux("a"), linux("a", address="10.77.0.22")
        assert toward("verifier_clock", a, State.BRIDGED, household(a, b)) == 0


class TestOpenOwnerClock:
    @staticmethod
    def owner(create_time: int) -> bytes:
        return b"open id:" + bytes(8) + create_time.to_bytes(8, "big")

    def test_boot_and_one_kernel(self):
        a, b = linux("a", open_owners=[self.owner(5 * 10**9)]), linux("b", open_owners=[self.owner(5 * 10**9 + 10)])
        rows = observe("open_owner_clock", a, household(a, b))
        assert "up 5 s" in rows[0].says
        assert rows[1].toward[State.CONTAINER] > 2

    def test_guests_that_start_together_have_kernels_of_their_own(self):
        a, b = linux("a", open_owners=[self.owner(5 * 10**9)]), linux("b", open_owners=[self.owner(6 * 10**9)])
        assert len(observe("open_owner_clock", a, household(a, b))) == 1

    @pytest.mark.parametrize(("apart", "rows"), [(50_000_000, 2), (50_000_001, 1)])
    def test_one_kernel_ends_at_50_ms(self, apart, rows):
        a, b = (linux(n, open_owners=[self.owner(5 * 10**9 + more)]) for n, more in (("a", 0), ("b", apart)))
        around = household(a, b)
        assert [len(observe("open_owner_clock", client, around)) for client in (a, b)] == [rows, rows]

    def test_the_first_other_client_is_named(self):
        boots = {"a": 0, "c": 20_000_000, "b": 10_000_000}
        clients = [linux(n, open_owners=[self.owner(5 * 10**9 + more)]) for n, more in boots.items()]
        assert "as c " in observe("open_owner_clock", clients[0], household(*clients))[1].seen

    @pytest.mark.parametrize("owner", [b"open id:", b"open id:" + b"\xff" * 16, b"Libnfs", b"open id:" + bytes(16)])
    def test_what_is_no_clock(self, owner):
        assert not observe("open_owner_clock", linux(open_owners=[owner]))


class TestDatastoreNames:
    def test_datastore(self):
        names = ["web01.vmdk", "web01.vmx", ".lck-5b01000000000000"]
        (row,) = observe("datastore_names", facts(file_names=names))
        assert row.toward[State.HYPERVISOR] > 4
        assert row.platform == {"VMware": 3.0}

    def test_one_image_may_be_a_copy(self):
        assert not observe("datastore_names", facts(file_names=["old.vmdk", "notes.txt"]))[0].counted


class TestNatSoftware:
    def test_kernel_behind_nat_is_a_machine_of_its_own(self):
        assert observe("nat_software", linux(ttl=63))[0].virtual > 0
        assert observe("nat_software", facts(ttl=63, names=["libnfs"]))[0].virtual < 0

    def test_nothing_forwarded_nothing_said(self):
        assert not observe("nat_software", linux(ttl=64))


def test_empty_facts_are_no_error():
    client = facts(mac="", ttl=None)
    assert [row for row in weigh(client, household(client), Rules.builtin()) if row.toward] == []


def test_every_row_keeps_the_contract():
    client = linux(ports=(40000,), mac=NOBODY, syns=[PASST_SYN], callbacks=[("tcp", "10.0.2.15.3.133")])
    rows = weigh(client, household(client), Rules.builtin())
    assert len(rows) >= 6
    for row in rows:
        assert row.seen
        assert row.counted == (row.why_not is None)
        assert all(abs(nats) <= 6.9 for nats in row.toward.values())
        assert len(row.says) <= 80

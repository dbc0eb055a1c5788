"""Experiment files: what they may say, what follows from what they leave open, and what a wrong one is told."""

import ipaddress
import re
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.lab import addresses, values
from nfsleuth.lab.experiment import load, read, shipped
from nfsleuth.lab.model import BACKENDS, NIC_DRIVERS, QEMU_MAC, USER_MODE, has_own_place

ONE = 'title = "one"\n[[guests]]\nname = "a"\n'


def refused(text, file="mine.toml"):
    """The message about a wrong experiment."""
    with pytest.raises(NfsleuthError) as error:
        read(text, "mine", file=file)
    assert error.value.exit_code == Exit.WRONG_USE
    assert error.value.message.isprintable()
    return error.value.message


def table(kind, **keys):
    words = (f"{name} = {values_of(value)}" for name, value in keys.items())
    return f"[[{kind}]]\n" + "\n".join(words) + "\n"


def values_of(value):
    if isinstance(value, list):
        return f"[{', '.join(map(values_of, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int) else f'"{value}"'


@pytest.fixture(scope="module", params=sorted(shipped()))
def experiment(request):
    return load(request.param)


class TestShipped:
    def test_those_that_the_manual_promises_are_there(self):
        promised = {"paper", "matrix", "versions", "neighbours", "disguise", "topology", "damage", "boot-storm"}
        assert promised <= set(shipped())

    def test_each_says_what_it_shows(self, experiment):
        assert experiment.clients
        assert 10 <= len(experiment.title) <= 79

    def test_nothing_is_left_open(self, experiment):
        for host in experiment.hosts:
            assert host.mac
            assert host.address
        for client in experiment.clients:
            assert client.hostname
            assert experiment.wire_mac(client)
            assert experiment.wire_address(client)
            assert experiment.workload(client).name == client.workload

    def test_nobody_shares_an_address_on_the_switch_but_clients_of_one_host(self, experiment):
        for a, b in combinations(experiment.clients, 2):
            if experiment.wire_address(a) == experiment.wire_address(b):
                hidden = [not has_own_place(c) for c in (a, b)]
                assert a.host == b.host or experiment.router(experiment.host(a.host)).masquerade
                assert all(hidden) or experiment.router(experiment.host(a.host)).masquerade

    def test_reading_it_twice_gives_the_same(self, experiment):
        assert load(experiment.name) == experiment

    def test_paper_has_the_five_configurations_of_the_study(self):
        clients = load("paper").clients
        assert [(getattr(c, "nic", "native"), getattr(c, "backend", "native")) for c in clients] == [
            ("native", "native"),
            ("virtio-net-pci", "tap"),
            ("virtio-net-pci", "user"),
            ("rtl8139", "tap"),
            ("rtl8139", "user"),
        ]

    def test_matrix_has_every_family_of_nics_behind_every_backend(self):
        guests = load("matrix").guests
        assert {g.backend for g in guests} == set(BACKENDS)
        assert {NIC_DRIVERS[g.nic] for g in guests} == set(NIC_DRIVERS.values())

    def test_versions_has_all_versions_over_both_ip_versions(self):
        guests = load("versions").guests
        for backend in ("tap", "user"):
            found = {(g.version, g.ip) for g in guests if g.backend == backend and g.kernel == "generic"}
            assert found == {(v, ip) for v in ("3", "4.0", "4.1", "4.2") for ip in (4, 6)}

    def test_neighbours_has_equal_names_on_one_host_and_different_ones_on_the_other(self):
        guests = load("neighbours").guests
        names = {host: [g.hostname for g in guests if g.host == host] for host in ("hv1", "hv2")}
        assert len(set(names["hv1"])) == len(names["hv1"])
        assert len(set(names["hv2"])) < len(names["hv2"])


class TestSettling:
    def test_values_that_are_given_are_kept(self):
        found = read(ONE + 'mac = "52:54:00:00:00:07"\naddress = "10.0.0.77"\n', "mine")
        assert (found.guests[0].mac, found.guests[0].address) == ("52:54:00:00:00:07", "10.0.0.77")

    def test_another_seed_gives_other_addresses(self):
        found = [read(f"seed = {seed}\n{ONE}", "mine").guests[0] for seed in (1, 2)]
        assert found[0].mac != found[1].mac

    def test_one_more_client_changes_no_other(self):
        few = read(ONE, "mine")
        more = read(ONE + table("guests", name="b") + table("natives", name="c"), "mine")
        assert few.guests[0] == more.guests[0]

    @given(st.integers(0, 2**32 - 1), st.integers(1, 60))
    def test_drawn_addresses_are_free_and_in_their_network(self, seed, count):
        network = ipaddress.ip_network("10.9.0.0/26")
        segment = addresses.Segment("x", network, None, seed)
        drawn = [segment.ipv4_of(f"host {number}") for number in range(count)]
        assert len(set(drawn)) == count
        assert all(ipaddress.ip_address(a) in list(network.hosts())[1:] for a in drawn)

    def test_a_network_that_is_full_says_so(self):
        segment = addresses.Segment("x", ipaddress.ip_network("10.9.0.0/30"), None, 1)
        segment.ipv4_of("one")
        with pytest.raises(ValueError, match="no address is free"):
            segment.ipv4_of("two")

    def test_the_stateless_address_is_that_of_the_rfc(self):
        """RFC 4291, appendix A: 34-56-78-9A-BC-DE becomes 36-56-78-FF-FE-9A-BC-DE."""
        assert addresses.eui64(ipaddress.ip_network("fd00::/64"), "34:56:78:9a:bc:de") == "fd00::3656:78ff:fe9a:bcde"

    @pytest.mark.parametrize("backend", USER_MODE)
    def test_guests_behind_user_mode_nat_are_seen_with_their_hosts_addresses(self, backend):
        found = read(ONE + f'backend = "{backend}"\n', "mine")
        guest, host = found.guests[0], found.hosts[0]
        assert (found.wire_mac(guest), found.wire_address(guest)) == (host.mac, host.address)
        assert guest.mac == QEMU_MAC
        assert guest.address == ("10.0.2.15" if backend == "user" else host.address)

    def test_a_router_hides_macs_and_a_masquerading_one_addresses_too(self):
        text = ONE + 'host = "h"\n' + table("hosts", name="h", behind="r")
        plain = read(text + table("routers", name="r", inside="10.1.0.0/24"), "mine")
        home = read(text + table("routers", name="r", inside="10.1.0.0/24", masquerade=True), "mine")
        assert plain.wire_mac(plain.guests[0]) == plain.routers[0].mac
        assert plain.wire_address(plain.guests[0]) == plain.guests[0].address
        assert home.wire_address(home.guests[0]) == home.routers[0].address

    def test_mount_options_are_those_of_nfs5(self):
        more = 'version = "4.0"\nnoresvport = true\nnconnect = 4\nclientaddr = "192.0.2.5"\nrsize = "16K"\noptions = ["soft"]\n'
        wanted = "vers=4.0,noresvport,nconnect=4,clientaddr=192.0.2.5,rsize=16384,soft"
        assert read(ONE + more, "mine").guests[0].mount_options == wanted

    def test_a_mount_says_its_flavour_where_it_could_have_another(self):
        for more, wanted in (
            ("", "vers=4.1"),
            ('sec = "krb5i"\n', "vers=4.1,sec=krb5i"),
            ("keytab = true\n", "vers=4.1,sec=sys"),
        ):
            assert read(ONE + more, "mine").guests[0].mount_options == wanted


class TestMatrix:
    def test_all_combinations_are_made_and_named_after_what_differs(self):
        text = 'title = "m"\n' + table("matrix", nic=["virtio", "e1000"], backend=["tap", "user"], version=["4.1"])
        assert [g.name for g in read(text, "mine").guests] == [
            "virtio-tap", "virtio-user", "e1000-tap", "e1000-user",
        ]  # fmt: skip

    def test_hosts_are_dealt_out_in_turn(self):
        text = 'title = "m"\n' + table("matrix", host=["x", "y"], version=["3", "4.0", "4.1"])
        text += table("hosts", name="x") + table("hosts", name="y")
        assert [g.host for g in read(text, "mine").guests] == ["x", "y", "x"]

    def test_what_cannot_be_is_left_out_and_said(self):
        found = read('title = "m"\n' + table("matrix", nic=["virtio", "tulip"], backend=["vhost"]), "mine")
        assert [g.name for g in found.guests] == ["virtio"]
        assert found.left_out == ("tulip: vhost moves frames of virtio only, not of tulip; use tap",)


WRONG = {
    "not TOML": ("title = ", "not TOML"),
    "unknown key": (ONE + 'nick = "virtio"\n', '[[guests]] 1 ("a"): nick is no key; did you mean nic?'),
    "unknown table": ('[guest]\nname = "a"\n' + ONE, "guest is no key; did you mean guests?"),
    "table and not list": ('title = "x"\n[guests]\nname = "a"\n', "[guests]: is a list of tables; write [[guests]]"),
    "missing key": ("[[guests]]\n" + 'name = "a"\n', "title is missing"),
    "no client": ('title = "x"\n', "no client; add"),
    "wrong type": (ONE + "ip = '4'\n", '[[guests]] 1 ("a"): ip = "4": wants one of 4, 6'),
    "boolean for a number": (ONE + "nconnect = true\n", "nconnect = true: wants a whole number from 1 to 16"),
    "size without sense": (ONE + 'memory = "64Q"\n', 'memory = "64Q": wants a size'),
    "too little memory": (ONE + 'memory = "64M"\n', 'memory = "64M": wants a size from'),
    "no such NIC": (ONE + 'nic = "ne2000"\n', 'nic = "ne2000": wants one of "virtio-net-pci"'),
    "no such backend": (ONE + 'backend = "bridge"\n', 'backend = "bridge": wants one of "user"'),
    "multicast MAC": (ONE + 'mac = "53:54:00:00:00:01"\n', "the first octet must be even"),
    "address behind SLiRP": (ONE + 'backend = "user"\naddress = "10.0.0.9"\n', "behind user a guest has no address"),
    "address elsewhere": (ONE + 'address = "10.7.0.9"\n', "address = 10.7.0.9 is no host of 10.0.0.0/24"),
    "broadcast address": (ONE + 'address = "10.0.0.255"\n', "is no host of 10.0.0.0/24"),
    "IPv6 elsewhere": (ONE + 'address6 = "2001:db8::1"\n', "address6 = 2001:db8::1 is not in fd00:10::/64"),
    "the server's address": (ONE + 'address = "10.0.0.1"\n', "10.0.0.1 is already that of the server"),
    "vhost without virtio": (ONE + 'backend = "vhost"\nnic = "e1000"\n', "vhost moves frames of virtio only"),
    "cloud kernel": (ONE + 'kernel = "cloud"\nnic = "tulip"\n', "a cloud kernel has no driver for tulip"),
    "NIC of a process": (ONE + 'kernel = "uml"\nnic = "e1000"\n', "User-Mode Linux emulates no NIC"),
    "process behind SLiRP": (ONE + 'kernel = "uml"\nbackend = "user"\n', "User-Mode Linux has no backend user"),
    "IPv6 behind NAT": (ONE + 'backend = "masquerade"\nip = 6\n', "no IPv6 behind masquerade; set ip = 4"),
    "callback of NFSv4.1": (ONE + 'clientaddr = "192.0.2.1"\n', "clientaddr is sent by NFSv4.0 only"),
    "uniquifier of NFSv3": (ONE + 'version = "3"\nuniquifier = "x"\n', "NFSv3 sends no uniquifier"),
    "READ_PLUS": (ONE + 'kernel = "backports"\nversion = "4.2"\n', "NFS-Ganesha answers with nothing"),
    "option with a comma": (ONE + 'options = ["soft,ro"]\n', "options ="),
    "command in an option": (ONE + 'options = ["soft; reboot"]\n', "options ="),
    "command in a name": (ONE.replace('"a"', '"a b"'), "wants a name of small letters"),
    "host twice": (ONE + table("hosts", name="h") * 2, "router or host h is there twice"),
    "client twice": (ONE + table("natives", name="a"), "client a is there twice"),
    "MAC twice": (
        ONE + 'mac = "52:54:00:00:00:07"\n' + table("guests", name="b", mac="52:54:00:00:00:07"),
        "b: 52:54:00:00:00:07 is already that of a; give one of them another",
    ),
    "address twice": (
        ONE + 'address = "10.0.0.7"\n' + table("hosts", name="h", address="10.0.0.7"),
        "a: 10.0.0.7 is already that of host h",
    ),
    "no such host": (ONE + 'host = "h"\n', "a: host = h is not among the [[hosts]]"),
    "no such workload": (ONE + 'workload = "w"\n', "a: workload = w is not among the [workloads.w]; one of default"),
    "no such router": (ONE + table("hosts", name="h", behind="r"), "host h: behind = r is not among the [[routers]]"),
    "no such capture": (ONE + table("derived", name="d", of="x", damage="loss"), "derived d: of = x"),
    "no such place": (ONE + table("captures", name="c", at="switch"), 'at wants "server", "host:NAME"'),
    "guest that is not there": (ONE + table("captures", name="c", at="guest:b"), "capture c: at = b"),
    "any inside a guest": (ONE + table("captures", name="c", at="guest:a", any=True), "not for the inside of a guest"),
    "overlap": (ONE + table("routers", name="r", inside="10.0.0.0/16"), "inside = 10.0.0.0/16 overlaps 10.0.0.0/24"),
    "VLAN behind a router": (
        ONE + table("hosts", name="h", behind="r", vlan=7) + table("routers", name="r", inside="10.1.0.0/24"),
        "vlan = 7 would not reach the server",
    ),
    "IPv6 through IPv4": (
        ONE + 'host = "h"\nip = 6\n' + table("hosts", name="h", behind="r")
        + table("routers", name="r", inside="10.1.0.0/24"),
        "router r passes no IPv6",
    ),
    "version of libnfs": (ONE + table("natives", name="n", version="4.2"), "libnfs has no NFSv4.2"),
    "option of libnfs": (ONE + table("natives", name="n", noresvport=True), "libnfs takes none of"),
    "Kerberos of libnfs": (ONE + table("natives", name="n", sec="krb5"), "n: only guests have a keytab"),
    "Kerberos of a native": (ONE + table("natives", name="n", client="kernel", keytab=True), "only guests have a keytab"),
    "Kerberos of a kernel's server": (
        ONE + 'sec = "krb5p"\n[server]\nkind = "kernel"\n', "the guest that serves has no Kerberos",
    ),
    "no such flavour": (ONE + 'sec = "krb5x"\n', "sec ="),
    "consumer of a kernel": (ONE + table("natives", name="n", client="kernel", consumer="gzip"), "consumer is libnfs's"),
    "MAC of a native": (ONE + table("natives", name="n", mac="18:66:da:00:00:01"), "a native client is its host"),
    "reboot of a native": (
        ONE + table("natives", name="n", workload="w") + "[workloads.w]\nreboots = 1\n", "a native client cannot reboot",
    ),
    "too many guests": (
        'title = "x"\n'
        + "".join(table("matrix", name=f"m{n}", nic=[*NIC_DRIVERS], version=["3", "4.0", "4.1"]) for n in range(4)),
        "makes more than 200 guests",
    ),
    "too many combinations": (
        'title = "x"\n' + table("matrix", nic=[*NIC_DRIVERS], backend=[*BACKENDS], version=["3", "4.0", "4.1", "4.2"]),
        f"has {len(NIC_DRIVERS) * len(BACKENDS) * 4} combinations; at most 500 are tried",
    ),
    "escape sequence": ('title = "x"\n"\\u001b[31m" = 1\n' + ONE[14:], "\\x1b[31m is no key"),
}  # fmt: skip


class TestWrong:
    @pytest.mark.parametrize("case", WRONG)
    def test_a_wrong_file_is_told_where_and_what_to_do(self, case):
        text, said = WRONG[case]
        message = refused(text)
        assert message.startswith("mine.toml: ")
        assert said in message

    def test_the_file_is_named_as_given(self):
        assert refused("x", file="a\x1b/b.toml").startswith("a\\x1b/b.toml: ")

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(
            NfsleuthError, match=r"cannot be read \(No such file or directory\); name an experiment file"
        ):
            load(tmp_path / "no.toml")

    def test_an_experiment_that_is_not_there(self):
        with pytest.raises(NfsleuthError, match=re.escape("papper: no such experiment; name a .toml file or one of:")):
            load("papper")

    def test_a_file_that_is_no_text(self, tmp_path):
        file = tmp_path / "x.toml"
        file.write_bytes(b"title = '\xff'")
        with pytest.raises(NfsleuthError, match="byte 9 is not UTF-8"):
            load(file)

    def test_a_file_that_is_too_long(self, tmp_path):
        file = tmp_path / "x.toml"
        file.write_bytes(b"#" * (1 << 20) + b"\n")
        with pytest.raises(NfsleuthError, match="larger than 1 MiB"):
            load(file)

    @pytest.mark.parametrize("text", ["x = " + "[" * 5000, "a" * 100 + "=" + "1" * 5000, "a.b" * 9000 + "=1"])
    def test_a_file_that_is_nested_or_long_beyond_reason(self, text):
        assert len(refused(text)) < 2000

    @given(st.text(max_size=60))
    def test_any_text_is_an_experiment_or_refused(self, text):
        try:
            read(text, "mine")
        except NfsleuthError as error:
            assert error.message.isprintable()

    @given(
        st.sampled_from(
            ["guests", "hosts", "natives", "routers", "captures", "derived", "matrix", "server", "network"]
        ),
        st.sampled_from(
            ["name", "mac", "address", "rate", "inside", "version", "memory", "at", "of", "options", "host"]
        ),
        st.one_of(st.integers(), st.booleans(), st.floats(allow_nan=False), st.text(max_size=8), st.none()),
    )
    def test_any_value_of_any_key_is_taken_or_refused(self, kind, name, value):
        from nfsleuth.lab.experiment import from_document

        entry = {name: value} if value is not None else {name: [value]}
        entries = entry if kind in ("server", "network") else [entry]
        try:
            from_document({"title": "x", "guests": [{"name": "g"}], kind: entries}, "mine", "mine.toml")
        except NfsleuthError as error:
            assert error.message.isprintable()


class TestValues:
    @pytest.mark.parametrize(
        ("text", "octets"),
        [(512, 512), ("512", 512), ("500K", 512000), ("64M", 1 << 26), ("2GiB", 2 << 30), ("1mb", 1 << 20)],
    )
    def test_sizes(self, text, octets):
        assert values.size(text) == octets

    @pytest.mark.parametrize(("text", "bits"), [("100mbit", 10**8), ("1gbit", 10**9), ("56kbit", 56000)])
    def test_rates(self, text, bits):
        assert values.rate(text) == bits

    @pytest.mark.parametrize("wrong", ["0mbit", "fast", "1 gbit", 100, None])
    def test_rates_that_are_none(self, wrong):
        with pytest.raises(ValueError, match="as tc writes it"):
            values.rate(wrong)

    @given(st.text(max_size=70))
    def test_a_name_of_the_lab_comes_out_of_any_text(self, text):
        made = values.slug(text)
        assert not made or values.name(made) == made

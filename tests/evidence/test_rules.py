"""Built-in tables and user rule files."""

from __future__ import annotations

import csv
import ipaddress
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.make import facts, observe
from nfsleuth.errors import NfsleuthError
from nfsleuth.evidence import data
from nfsleuth.evidence import rules as rules_module
from nfsleuth.evidence.addresses import embedded_mac, mac_number, mac_text, parse, same, subnet, universal
from nfsleuth.evidence.model import State
from nfsleuth.evidence.rules import SCOPES, Rules, mac_range


def test_builtin_tables_are_whole():
    rules = Rules.builtin()
    assert len(rules.macs) > 60
    assert {p.scope for p in rules.macs} <= set(SCOPES)
    assert all(p.source for p in (*rules.macs, *rules.nats, *rules.names, *rules.files))
    for pattern in (*rules.names, *rules.files):
        pattern.matches("any")  # compiles it
    for name in ("mac_prefixes.csv", "nat_addresses.csv", "names.csv", "files.csv"):
        for row in csv.DictReader(data.text(name).splitlines()):
            assert None not in row, row
            assert None not in row.values(), row


def test_loading_is_fast_and_cached():
    rules_module._builtin.cache_clear()
    began = time.perf_counter()
    rules = Rules.builtin()
    took = time.perf_counter() - began
    assert took < 0.05  # about 3 ms alone; a shared machine gets slack
    assert Rules.builtin() is rules


def test_narrowest_prefix_wins():
    rules = Rules.builtin()
    assert rules.mac("52:54:00:12:34:57").scope == "default"
    assert rules.mac("52:54:00:12:35:57").scope == "convention"
    assert rules.mac("00:50:56:40:00:00").scope == "hypervisor"
    assert rules.mac("00:50:56:c0:00:08").scope == "host-adapter"
    assert rules.mac("00:00:0c:9f:f0:b9").scope == "router"
    assert rules.mac("18:66:da:3b:21:01") is None
    assert rules.mac("nonsense") is None


def test_nat_networks_by_length():
    rules = Rules.builtin()
    assert rules.nat(parse("10.0.2.100")).name == "slirp4netns"
    assert rules.nat(parse("10.0.2.77")).mechanism == "user"
    assert rules.nat(parse("192.168.122.9")).mechanism == "kernel"
    assert rules.nat(parse("8.8.8.8")) is None


MACS = st.sampled_from([p.low for p in Rules.builtin().macs] + [p.high + 1 for p in Rules.builtin().macs])
ADDRESSES = (
    st.ip_addresses()
    | st.sampled_from([n.gateway for n in Rules.builtin().nats])
    | st.sampled_from([n.network.broadcast_address for n in Rules.builtin().nats])
)


@given(MACS | st.integers(0, 2**48 - 1))
def test_a_prefix_is_found_as_by_trying_all(number):
    rules = Rules.builtin()
    fitting = [p for p in rules.macs if p.low <= number <= p.high]
    assert rules.mac(mac_text(number)) is min(fitting, key=lambda p: p.high - p.low, default=None)


@given(ADDRESSES)
def test_a_nat_network_is_found_as_by_trying_all(address):
    rules = Rules.builtin()
    fitting = [n for n in rules.nats if address in n.network]
    assert rules.nat(address) is max(fitting, key=lambda n: n.network.prefixlen, default=None)
    assert rules.gateway(address) is next((n for n in rules.nats if n.gateway == address), None)


@given(st.ip_addresses().map(str) | st.text("0123456789abcdef.:%/ x", max_size=20))
def test_addresses_and_subnets_are_those_of_the_library(text):
    try:
        address = ipaddress.ip_address(text.partition("%")[0].strip())
    except ValueError:
        assert parse(text) is None
        assert subnet(text) == ""
        return
    address = getattr(address, "ipv4_mapped", None) or address
    assert parse(text) == address
    around = ipaddress.ip_network((address, 24 if address.version == 4 else 64), strict=False)
    assert subnet(text) == str(around)


USER = """
[[mac]]
prefix = "18:66:DA"
scope = "guest"
platform = "KVM/QEMU"
weight = 4.5
[[file]]
pattern = '\\.raw$'
says = "our images"
weight = 5
[[name]]
pattern = '^metal'
says = "our machines"
state = "native"
weight = 2
"""


def test_user_rules_come_first():
    rules = Rules.builtin().with_user(USER, "site.toml")
    (mac,) = observe("mac_prefix", facts(), rules=rules)
    assert mac.toward[State.BRIDGED] == 4.5
    assert mac.source == "user: site.toml"
    (file,) = observe("datastore_names", facts(file_names=["a.raw", "b.RAW", "c.raw"]), rules=rules)
    assert file.toward[State.HYPERVISOR] == 5
    (name,) = observe("machine_name", facts(names=["metal-3"]), rules=rules)
    assert name.toward == {State.NATIVE: 2.0}
    assert len(Rules.builtin().macs) + 1 == len(rules.macs)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[mac]\n", ["not valid TOML"]),
        ("[[macs]]\n", ["[[macs]]", "known"]),
        ("[mac]\nprefix='1'", ["single brackets"]),
        ("mac = [1]", ["[[mac]] number 1", "not a table"]),
        ("[[mac]]\nscope='guest'", ["[[mac]] number 1", "prefix is missing"]),
        ("[[mac]]\nprefix='zz:00'", ["'zz:00'", "such as"]),
        ("[[mac]]\nprefix='52:54:00'\nscope='vm'", ["scope 'vm'", "choose one of"]),
        ("[[mac]]\nprefix='52:54:00'\nweight=99", ["weight", "6.9"]),
        ("[[mac]]\nprefix='52:54:00'\nweight=true", ["weight"]),
        ("[[mac]]\nprefix='52:54:00'\ncolour='red'", ["colour", "known are"]),
        ("[[mac]]\nprefix='52:54:00'\n[[mac]]\nprefix='02:00:00:00:00:02-02:00:00:00:00:01'", ["number 2", "range"]),
        ("[[name]]\npattern='('\nsays='x'", ["'('", "regular expression"]),
        ("[[name]]\npattern='x'", ["says is missing"]),
        ("[[name]]\npattern='x'\nsays='x'\nstate='vm'", ["state 'vm'"]),
        ("[[name]]\npattern=5\nsays='x'", ["pattern must be text"]),
    ],
)
def test_mistakes_name_file_entry_and_cure(text, words):
    with pytest.raises(NfsleuthError) as error:
        Rules.builtin().with_user(text, "site.toml")
    assert error.value.message.startswith("site.toml: ")
    assert all(word in error.value.message for word in words)


@given(st.integers(0, (1 << 48) - 1))
def test_mac_text_and_number_are_inverse(number):
    assert mac_number(mac_text(number)) == number


@given(st.text())
def test_any_text_is_an_address_or_none(text):
    for function in (parse, universal):
        assert function(text) is None or function(text).version in (4, 6)
    assert subnet(text) == "" or "/" in subnet(text)
    assert mac_number(text) is None or text.count(":") == 5


@given(st.integers(0, (1 << 48) - 1), st.integers(1 << 32, (1 << 64) - 1))
def test_eui64_round_trip(number, network):
    iid = ((number ^ 0x02_00_00_00_00_00) >> 24) << 40 | 0xFFFE << 24 | number & 0xFF_FFFF
    assert embedded_mac(ipaddress.IPv6Address(network << 64 | iid)) == mac_text(number)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("52:54:00", 0x525400000000, 0x525400FFFFFF), ("00:00:0c:9f:f0:00/36", 0x00000C9FF000, 0x00000C9FFFFF)],
)
def test_mac_ranges(text, low, high):
    assert mac_range(text) == (low, high)


def test_same_address_in_two_spellings():
    assert same("::ffff:10.0.0.1", "10.0.0.1")
    assert same("fe80::1%eth0", "fe80:0::1")
    assert not same("x", "x")
    assert universal("10.0.2.15.3.133") == parse("10.0.2.15")

"""Tables of switches and hypervisors, as their tools write them, and as nobody should."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfsleuth.errors import NfsleuthError
from nfsleuth.hosts.imports import fdb, inventory, lldp
from nfsleuth.hosts.imports.known import AtPort, Guest, Known, mac_of, stem

GUEST, DELL = "52:54:00:8f:21:c4", "18:66:da:3b:21:01"
BRIDGE = [
    {"mac": GUEST, "ifname": "swp3", "flags": [], "master": "br0", "state": ""},
    {"mac": DELL, "ifname": "swp3", "vlan": 10, "flags": [], "master": "br0", "state": "stale"},
    {"mac": "0c:c4:7a:5e:10:01", "ifname": "swp9", "flags": ["extern_learn"], "master": "br0", "state": ""},
    {"mac": "aa:bb:cc:00:11:22", "ifname": "swp3", "vlan": 1, "flags": [], "master": "br0", "state": "permanent"},
    {"mac": "33:33:00:00:00:01", "ifname": "swp3", "flags": ["self"], "state": "permanent"},
    {"mac": "01:00:5e:00:00:01", "ifname": "swp4", "flags": [], "master": "br0", "state": ""},
]
PORTS = {"swp3": {GUEST, DELL}, "swp9": {"0c:c4:7a:5e:10:01"}}
NUMERIC = """\
.1.3.6.1.2.1.17.4.3.1.2.82.84.0.143.33.196 = INTEGER: 3
.1.3.6.1.2.1.17.4.3.1.2.24.102.218.59.33.1 = INTEGER: 3
.1.3.6.1.2.1.17.4.3.1.2.12.196.122.94.16.1 = INTEGER: 9
.1.3.6.1.2.1.17.4.3.1.2.0.1.2.3.4.5 = INTEGER: 0
.1.3.6.1.2.1.17.4.3.1.2.0.1.2.3.4.6 = INTEGER: 9
.1.3.6.1.2.1.17.4.3.1.3.0.1.2.3.4.6 = INTEGER: 4
.1.3.6.1.2.1.17.1.4.1.2.3 = INTEGER: 103
.1.3.6.1.2.1.17.1.4.1.2.9 = INTEGER: 109
.1.3.6.1.2.1.31.1.1.1.1.103 = STRING: swp3
.1.3.6.1.2.1.31.1.1.1.1.109 = STRING: "swp9"
Timeout: No Response from 10.0.0.250
"""
NAMED = """\
BRIDGE-MIB::dot1dTpFdbPort.82.84.0.143.33.196 = INTEGER: 3
BRIDGE-MIB::dot1dTpFdbPort['18:66:da:3b:21:1'] = INTEGER: 3
Q-BRIDGE-MIB::dot1qTpFdbPort[10][STRING: c:c4:7a:5e:10:1] = INTEGER: 9
Q-BRIDGE-MIB::dot1qTpFdbStatus[10][STRING: c:c4:7a:5e:10:1] = INTEGER: learned(3)
BRIDGE-MIB::dot1dBasePortIfIndex.3 = INTEGER: 103
BRIDGE-MIB::dot1dBasePortIfIndex.9 = INTEGER: 109
IF-MIB::ifName.103 = STRING: swp3
IF-MIB::ifName.109 = STRING: swp9
"""


def ports(text: str) -> dict[str, set[str]]:
    (switch,) = fdb.parse(text, "tables/sw1.fdb.json").switches
    assert switch.name == "sw1"
    return {port: set(macs) for port, macs in switch.ports.items()}


def test_the_table_of_a_linux_bridge():
    assert ports(json.dumps(BRIDGE)) == PORTS
    assert not fdb.parse(json.dumps(BRIDGE), "sw1").notes, "what is meant to be passed over is no news"


@pytest.mark.parametrize("text", [NUMERIC, NUMERIC.replace(".1.3.6.1.2.1", "iso.3.6.1.2.1"),
                                  NUMERIC.replace(".1.3.6.1.2.1.", "SNMPv2-SMI::mib-2."), NAMED])  # fmt: skip
def test_walks_of_the_mibs_in_every_notation(text):
    assert ports(text) == PORTS


def test_a_walk_without_interfaces_has_numbers():
    assert ports(".1.3.6.1.2.1.17.4.3.1.2.82.84.0.143.33.196 = INTEGER: 3\n") == {"port 3": {GUEST}}
    assert set(ports(NUMERIC.replace(".31.", ".32."))) == {"ifIndex 103", "ifIndex 109"}


def test_vlans_of_q_bridge_by_number():
    line = ".1.3.6.1.2.1.17.7.1.2.2.1.2.10.82.84.0.143.33.196 = INTEGER: 3\n"
    assert ports(line) == {"port 3": {GUEST}}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "[1]", '[{"mac": 1}]', "[" * 100_000, "hello", "[{}]", ".1.3 = INTEGER: 1", '{"a"'],
    ids=range(10),
)
def test_what_is_no_table_is_refused_by_name(text):
    with pytest.raises(NfsleuthError, match=r"t\.json: ") as caught:
        fdb.parse(text, "t.json")
    assert caught.value.exit_code == 3


def test_single_bad_entries_are_counted():
    rows = [*BRIDGE, {"mac": "nonsense", "ifname": "swp1"}, {"mac": GUEST}, {"mac": None, "ifname": 3}]
    known = fdb.parse(json.dumps(rows), "sw1.json")
    assert known.notes == ("sw1.json: 3 entries passed over: not a MAC with a port",)
    assert {p: set(m) for p, m in known.switches[0].ports.items()} == PORTS
    odd = "BRIDGE-MIB::dot1dTpFdbPort.300.84.0.143.33.196 = INTEGER: 3\n"
    assert "1 entries" in fdb.parse(NUMERIC + odd, "w").notes[0]


CAPABLE = [{"type": "Bridge", "enabled": True}, {"type": "Router", "enabled": False}]
LLDP = {
    "lldp": {
        "interface": [
            {"swp1": {"via": "LLDP", "chassis": {"spine1": {"descr": "Cumulus Linux", "capability": CAPABLE}}}},
            {"swp3": {"chassis": {"hv1": {"descr": "Debian GNU/Linux 12", "capability": {"type": "Station", "enabled": True}}}}},
        ]
    }
}  # fmt: skip
LLDP0 = {
    "lldp": [
        {
            "interface": [
                {
                    "name": "swp1",
                    "chassis": [{"name": [{"value": "spine1"}], "descr": [{"value": "Cumulus Linux"}], "capability": CAPABLE}],
                }
            ]
        }
    ]
}  # fmt: skip


def test_lldp_in_both_of_its_forms():
    found = lldp.parse(json.dumps(LLDP), "sw1.lldp.json").at_ports
    spine = AtPort("spine1", "Cumulus Linux", bridge=True)
    assert found == {("sw1", "swp1"): spine, ("sw1", "swp3"): AtPort("hv1", "Debian GNU/Linux 12", station=True)}
    assert lldp.parse(json.dumps(LLDP0), "sw1").at_ports == {("sw1", "swp1"): spine}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"lldp": {"interface": 3}}', "[" * 100_000, '{"lldp": {}}'], ids=range(6)
)
def test_no_neighbours_is_an_error(text):
    with pytest.raises(NfsleuthError, match=r"l\.json"):
        lldp.parse(text, "l.json")


XML = f"""<?xml version="1.0"?>
<domain type='kvm'><name>web01</name><devices>
<interface type='bridge'><mac address='{GUEST}'/><source bridge='br0'/></interface></devices></domain>
<?xml version='1.0'?>
<domain><name>db02</name></domain>
"""
LISTED = f"""# hv7 web01
 Interface   Type     Source   Model    MAC
---------------------------------------------
 vnet0       bridge   br0      virtio   {GUEST}

# hv8 db02
 vnet1       bridge   br0      virtio   {DELL}
"""


def guests(text: str, path: str = "tables/hv1.xml") -> set[Guest]:
    return set(inventory.parse(text, path).guests)


def test_libvirts_xml():
    assert guests(XML) == {Guest("hv1", "web01", frozenset({GUEST})), Guest("hv1", "db02")}


def test_virsh_domiflist():
    assert guests(LISTED) == {Guest("hv7", "web01", frozenset({GUEST})), Guest("hv8", "db02", frozenset({DELL}))}
    assert guests(LISTED.partition("\n")[2]) == {
        Guest("hv1", "", frozenset({GUEST})),
        Guest("hv8", "db02", frozenset({DELL})),
    }


def test_json_and_csv_say_the_same():
    wanted = {
        Guest("hv1", "web01", frozenset({GUEST}), frozenset({"10.0.0.7", "fd00::7"})),
        Guest("hv2", "", frozenset({DELL})),
    }
    rows = [
        {"host": "hv1", "guest": "web01", "mac": [GUEST.upper()], "address": ["10.0.0.7", "fd00:0::7"]},
        {"host": "hv2", "mac": "1866.da3b.2101"},
    ]
    assert guests(json.dumps(rows)) == guests(json.dumps({"guests": rows})) == wanted
    assert guests(f"Guest,MAC,host,address,rack\nweb01,{GUEST},hv1,10.0.0.7 fd00::7,3\n,{DELL},hv2,,3\n") == wanted
    assert guests(f"guest,mac\nweb01,{GUEST}\n", "a/hv9.csv") == {Guest("hv9", "web01", frozenset({GUEST}))}


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb">]><domain><name>&b;</name></domain>'


@pytest.mark.parametrize(
    "text",
    ["", "<", "<domain>", BOMB, "[3]", "[", "a,b\n1,2\n", "host,guest\n,\n", "{}", "# only a heading\n", "\0"],
    ids=range(11),
)
def test_what_is_no_inventory_is_refused(text):
    with pytest.raises(NfsleuthError, match=r"i\.txt"):
        inventory.parse(text, "i.txt")


def test_lines_without_a_host_are_counted():
    known = inventory.parse(f"host,guest,mac\nhv1,web01,{GUEST}\n,db,{DELL}\n", "i.csv")
    assert len(known.guests) == 1
    assert known.notes == ("i.csv: 1 entries passed over: no host, or nothing of a guest",)


PARSERS = pytest.mark.parametrize("parse", [fdb.parse, lldp.parse, inventory.parse], ids=["fdb", "lldp", "inventory"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["mac", "ifname", "lldp", "interface", "chassis", "capability", "guests", "host", "name", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@PARSERS
@given(text=st.text() | JSON.map(json.dumps))
def test_nothing_but_known_or_an_error_comes_out(parse, text):
    try:
        known = parse(text, "f")
    except NfsleuthError as error:
        assert error.message.startswith("f: ")
    else:
        assert isinstance(known, Known)


@PARSERS
@given(data=st.data())
def test_cut_and_changed_tables(parse, data):
    whole = {"fdb": [json.dumps(BRIDGE), NUMERIC, NAMED], "lldp": [json.dumps(LLDP)], "inventory": [XML, LISTED]}
    text = data.draw(st.sampled_from(whole[parse.__module__.rpartition(".")[2]]))
    at = data.draw(st.integers(0, len(text)))
    text = text[:at] + data.draw(st.text(max_size=3)) + text[at + data.draw(st.integers(0, 9)) :]
    try:
        assert isinstance(parse(text, "f"), Known)
    except NfsleuthError as error:
        assert error.message.startswith("f: ")


def test_macs_in_every_notation():
    for text in (GUEST, GUEST.upper(), "52-54-00-8f-21-c4", "5254.008f.21c4", "5254008f21c4", "52:54:0:8f:21:c4"):
        assert mac_of(text) == GUEST
    for text in ("", "01:00:5e:00:00:01", "00:00:00:00:00:00", "52:54:00:8f:21", "g" * 17, None, 7, "5" * 100):
        assert mac_of(text) is None


def test_files_name_what_they_describe():
    assert [stem(p) for p in ("tables/sw1.fdb.json", "sw1", ".hidden", "a\\b\\hv2.xml")] == [
        "sw1",
        "sw1",
        ".hidden",
        "hv2",
    ]

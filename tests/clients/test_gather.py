"""Rows become strands: which connections count, what is kept of them, that parts add up, that budgets hold."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from nfsleuth.clients import trace_facts
from nfsleuth.clients.facts import MOST, ClientId, Facts, Neighbour, Syn
from nfsleuth.clients.gather import Gatherer
from nfsleuth.clients.text import address_text, decode
from nfsleuth.clients.trace_facts import Kind, Pool, Strand, StrandKey, TraceFacts
from nfsleuth.trace import tables
from nfsleuth.trace.tables import Flavor, Identity, Program, Version

from .rows import MAC, SERVER, T0, Trace, booted, halves


def gathered(trace: Trace) -> TraceFacts:
    gatherer = Gatherer()
    gatherer.add(trace.rows())
    return gatherer.facts()


def only(facts: TraceFacts) -> Facts:
    (strand,) = facts.clients.strands.values()
    return strand.facts


def test_everything_that_a_connection_shows():
    trace = Trace()
    trace.connection(
        791, 2, 9, ttl_min=(63, 64), ttl_max=(64, 64), syns=3, keepalives=(2, 5), retransmitted=(1, 4), errors=7
    ).name("node2").says(Identity.OPEN_OWNER, b"open id:\0\1").says(Identity.FILE_NAME, b"caf\xe9").says(
        Identity.IMPLEMENTATION, b"kernel.org\0Linux 6.1.0"
    ).says(Identity.SESSION, a=1, b=2, server=True)
    f = only(gathered(trace))
    assert (f.address, f.connections, list(f.ports), list(f.nfs_ports), list(f.mount_ports)) == (
        "10.77.0.21", 1, [791], [791], []
    )  # fmt: skip
    assert list(f.servers) == [SERVER]
    assert list(f.macs) == ["18:66:da:3b:21:01"]
    assert list(f.ttls) == [63, 64]
    assert list(f.syns) == [Syn(64, 64240, 1460, 7, "mss,sok,ts,nop,ws", True)]
    assert (list(f.versions), list(f.programs), list(f.flavors), list(f.transports)) == (
        ["4.2"], ["nfs"], ["sys"], ["tcp"]
    )  # fmt: skip
    assert (list(f.names), list(f.open_owners), list(f.file_names)) == (["node2"], [b"open id:\0\1"], ["café"])
    assert list(f.implementations) == [("kernel.org", "Linux 6.1.0")]
    assert list(f.sessions) == ["0000000000000001" + "0000000000000002"]
    assert (f.reused_ports, f.keepalives, f.retransmitted, f.errors) == (2, 2, 5, 7)
    assert (f.first, f.last) == (T0 + 2 * 10**9, T0 + 9 * 10**9)
    assert (f.reads.calls, f.reads.bytes, f.reads.busy) == (3, 3072, 1000)
    assert f.names.frames() == (2,)


def test_a_client_lives_until_its_last_call_whatever_the_server_sends_later():
    trace = Trace()
    second = 10**9
    trace.connection(791, 0, 90, retransmitted=(0, 3), last_call=T0 + 7 * second).name("a")
    (strand,) = gathered(trace).clients.strands.values()
    assert (strand.alive, strand.facts.last) == (T0 + 7 * second, T0 + 90 * second)


def test_what_the_server_says_in_callbacks_is_not_the_client():
    trace = Trace()
    trace.connection(791).name("guest").says(Identity.MACHINE_NAME, b"server", server=True)
    assert list(only(gathered(trace)).names) == ["guest"]


def test_client_ids_keep_order_and_kind():
    trace = Trace()
    c = trace.connection(791).boot(5, b"Linux NFSv4.0 a/10.77.0.1", at=3)
    c.boot(4, b"Linux NFSv4.2 a", at=1)
    f = only(gathered(trace))
    assert [(i.verifier, i.minor) for i in f.client_ids] == [(4, 1), (5, 0)]
    assert f.client_ids_count == 2


def test_connections_of_one_identity_are_one_strand():
    trace = Trace()
    for i in range(50):
        trace.connection(700 + i, i).name("a").boot(booted(-9)).session(i)
    facts = gathered(trace)
    assert only(facts).connections == 50
    assert len(only(facts).sessions) == 50


def test_identities_may_come_before_their_connection_in_other_chunks():
    trace = Trace()
    trace.connection(791).name("a").boot(1)
    trace.connection(792).name("b")
    whole = trace.rows()
    nothing = replace(whole, connections=whole.connections[:0], identities=whole.identities[:0])
    gatherer = Gatherer()
    for i in range(len(whole.identities)):
        # Each chunk has an arena of its own.
        one = whole.identities[i : i + 1].copy()
        text = whole.text[int(one["at"][0]) :][: int(one["length"][0])]
        one["at"] = 3
        gatherer.add(replace(nothing, identities=one, text=b"..." + text))
        gatherer.facts()
    for i in range(2):
        gatherer.add(replace(nothing, connections=whole.connections[i : i + 1]))
    assert gatherer.facts() == gathered(trace)


@pytest.mark.parametrize(
    ("given", "kind", "count"),
    [
        ({"programs": Program.NFS}, Kind.CLIENT, "nfs"),
        ({"programs": Program.NFSACL}, Kind.CLIENT, "nfs"),
        ({"programs": Program.MOUNT | Program.PORTMAP}, Kind.CLIENT, "mount"),
        ({"programs": Program.NLM}, Kind.LOCK, "lock"),
        ({"programs": Program.PORTMAP}, Kind.HELPER, "portmap"),
        ({"programs": Program.NSM}, Kind.HELPER, "portmap"),
        ({"programs": Program.CALLBACK}, None, "callback"),
        ({"programs": 0}, Kind.CLIENT, "unread"),
        ({"programs": 0, "payload": (0, 0)}, Kind.CLIENT, "unread"),
        ({"programs": 0, "payload": (0, 0), "handshake": -1}, None, "other"),
        ({"programs": 0, "server_port": 20490}, Kind.SILENT, "silent"),
        ({"programs": 0, "server_port": 20490, "transport": 17}, None, "other"),
        ({"programs": Program.OTHER}, None, "other"),
    ],
)
def test_what_a_connection_counts_as(given, kind, count):
    trace = Trace()
    trace.connection(791, **given)
    facts = gathered(trace)
    assert [k.kind for pool in (facts.clients, facts.bystanders) for k in pool.strands] == (
        [] if kind is None else [kind]
    )
    assert facts.counts == {count: 1}


def test_link_and_servers():
    trace = Trace()
    trace.connection(791)
    trace.connection(792, server="10.77.0.9", replies=0)  # asked, answered frames without a reply: no server
    trace.connection(793, server="10.77.0.8", replies=0, frames=(20, 0))  # only the client's frames were captured
    trace.neighbour(MAC, "10.77.0.21", tables.Neighbour.IP, 63)
    trace.neighbour(MAC, "fe80::1", tables.Neighbour.ND, 255)
    trace.neighbour(MAC, "", tables.Neighbour.BRIDGE, 0)
    link = gathered(trace).link
    mac = "18:66:da:3b:21:01"
    assert set(link.neighbours) == {
        Neighbour(mac, "10.77.0.21", "ip"), Neighbour(mac, "fe80::1", "nd"), Neighbour(mac, "", "bridge")
    }  # fmt: skip
    assert link.ttls == {(mac, "10.77.0.21"): (63, 63)}
    assert set(link.servers) == {SERVER, "10.77.0.8"}
    assert list(link.server_macs) == ["02:aa:00:00:00:01"]
    assert (SERVER, 2049) in gathered(trace).endpoints


def test_text():
    assert decode(b"caf\xc3\xa9\0\0") == "café"
    assert decode(b"\xff\xfe") == "ÿþ"
    assert address_text(*halves("10.0.2.15")) == "10.0.2.15"
    assert address_text(*halves("fd77::20c:29ff:fe12:ab02")) == "fd77::20c:29ff:fe12:ab02"


def test_text_that_points_nowhere_is_harmless():
    trace = Trace()
    trace.connection(791).name("a")
    rows = trace.rows()
    rows.identities["at"], rows.identities["length"] = 1 << 40, 1 << 30
    gatherer = Gatherer()
    gatherer.add(rows)
    assert list(only(gatherer.facts()).names) == [""]
    rows.identities["at"], rows.identities["length"] = -5, -1
    Gatherer().add(rows)


def test_nothing_is_nothing():
    assert Gatherer().facts() == TraceFacts()
    assert gathered(Trace()) == TraceFacts()


# What adds up.

PIECES = st.lists(
    st.tuples(
        st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::3"]),
        st.integers(1, 4),  # port
        st.sampled_from([Program.NFS, Program.MOUNT, Program.NLM, Program.PORTMAP, 0]),
        st.sampled_from([Version.V3, Version.V4_0 | Version.V4_1]),
        st.sampled_from(["", "a", "b"]),  # name
        st.integers(0, 3),  # verifier, 0 none
        st.integers(0, 2),  # session, 0 none
        st.integers(0, 9),  # start
    ),
    max_size=12,
)


def build(pieces) -> TraceFacts:
    trace = Trace()
    for client, port, programs, versions, name, verifier, session, start in pieces:
        c = trace.connection(
            port, start, client=client, programs=programs, versions=versions, server_port=2049 + port % 2
        )
        if name:
            c.name(name)
        if verifier:
            c.boot(verifier)
        if session:
            c.session(session)
    return gathered(trace)


@settings(max_examples=30, deadline=None)
@given(PIECES, PIECES, PIECES)
def test_adding_is_associative_and_commutative(a, b, c):
    x, y, z = build(a), build(b), build(c)
    assert x + y == y + x
    assert (x + y) + z == x + (y + z)
    assert x + TraceFacts() == x


@settings(max_examples=25, deadline=None)
@given(PIECES, st.integers(0, 12))
def test_a_trace_in_two_parts_is_the_trace(pieces, cut):
    """All but the frame numbers, which start anew in each of the parts here."""

    def shape(facts: TraceFacts):
        return facts.counts, {
            k: (s.facts.connections, s.facts.calls, {p: s.facts.ports.count(p) for p in s.facts.ports}, s.facts.last)
            for pool in (facts.clients, facts.bystanders)
            for k, s in pool.strands.items()
        }

    assert shape(build(pieces[:cut]) + build(pieces[cut:])) == shape(build(pieces))


KEYS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), max_size=40)


def pool(keys) -> Pool:
    made = Pool(8)
    for address, number in keys:
        key = StrandKey(f"10.0.0.{address}", Kind.CLIENT, (str(number),) if number else ())
        made += Pool(8, {key: Strand(Facts(key.address, connections=1))})
    return made


@settings(max_examples=100, deadline=None)
@given(KEYS, KEYS, KEYS)
def test_budgets_do_not_depend_on_the_order(a, b, c):
    parts = [pool(a), pool(b), pool(c)]
    results = [(parts[i] + parts[j]) + parts[k] for i, j, k in permutations(range(3))]
    results.append(parts[0] + (parts[1] + parts[2]))
    assert all(r == results[0] for r in results)
    assert len(results[0].strands) <= 8
    assert sum(s.facts.connections for s in results[0].strands.values()) + results[0].dropped == len(a + b + c)


def test_a_flood_from_one_address_costs_the_others_nothing():
    flood = pool([(1, n) for n in range(10)] * 3 + [(2, 5), (3, 6)])
    assert {k.address for k in flood.strands} == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}
    assert len(flood.strands) == 8


def flooded(count: int) -> tuple[np.ndarray, np.ndarray, bytes]:
    """`count` connections, each with an owner of its own."""
    trace = Trace()
    trace.connection(791).boot(1, b"owner 000000")
    rows = trace.rows()
    connections, identities = np.repeat(rows.connections, count), np.repeat(rows.identities, count)
    connections["uid"] = identities["uid"] = np.arange(count)
    identities["at"] = np.arange(count) * 12
    return connections, identities, b"".join(b"owner %06d" % i for i in range(count))


@pytest.mark.parametrize("count", [4_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_flood_of_connections_with_distinct_client_ids(monkeypatch, count):
    monkeypatch.setattr(trace_facts, "MOST_STRANDS", 512)
    connections, identities, text = flooded(count)
    rows = replace(Trace().rows(), text=text)
    gatherer = Gatherer()
    for at in range(0, count, 20_000):
        part = slice(at, at + 20_000)
        gatherer.add(replace(rows, connections=connections[part], identities=identities[part]))
    facts = gatherer.facts()
    assert len(facts.clients.strands) == 512
    assert facts.dropped == {"client connections": count - 512}
    assert facts.counts["nfs"] == count


def test_a_flood_of_client_ids_on_one_connection():
    connections, identities, text = flooded(100_000)
    identities["uid"] = 0
    gatherer = Gatherer()
    gatherer.add(replace(Trace().rows(), connections=connections[:1], identities=identities, text=text))
    (key, strand), *_ = facts = list(gatherer.facts().clients.strands.items())
    assert len(facts) == 1
    assert len(key.boots) == 8
    assert strand.facts.client_ids_count == 100_000
    assert len(strand.facts.client_ids) == 64
    assert all(isinstance(i, ClientId) for i in strand.facts.client_ids)


def test_identities_of_connections_that_never_end_are_bounded_and_counted(monkeypatch):
    monkeypatch.setattr("nfsleuth.clients.gather.MOST_PENDING", 1000)
    connections, identities, text = flooded(3000)
    identities["kind"][500:] = Identity.FILE_NAME
    gatherer = Gatherer()
    rows = replace(Trace().rows(), text=text)
    gatherer.add(replace(rows, identities=identities))
    assert gatherer.facts().dropped == {"identities": 2500}
    gatherer.add(replace(rows, connections=connections[:500]))
    assert {f.facts.client_ids_count for f in gatherer.facts().clients.strands.values()} == {1}


def test_values_of_a_strand_are_bounded():
    trace = Trace()
    trace.connection(791).name("a")
    rows = trace.rows()
    count = 5000
    connections, identities = np.repeat(rows.connections, count), np.repeat(rows.identities, count)
    connections["uid"] = identities["uid"] = np.arange(count)
    connections["client_port"] = np.arange(count)
    gatherer = Gatherer()
    gatherer.add(replace(rows, connections=connections, identities=identities))
    ports = only(gatherer.facts()).ports
    assert len(ports) == MOST
    assert ports.total == count


def test_flavors_and_versions_by_name():
    trace = Trace()
    trace.connection(1, flavors=Flavor.GSS | Flavor.TLS | Flavor.GSS_HIDDEN, versions=Version.V2 | Version.V3)
    f = only(gathered(trace))
    assert (set(f.flavors), set(f.versions)) == ({"gss", "tls", "gss-hidden"}, {"2", "3"})

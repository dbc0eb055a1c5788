"""Strands become clients: each rule of `clients.split` with its case and its confusion."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from nfsleuth.clients.facts import Facts
from nfsleuth.clients.gather import Gatherer
from nfsleuth.clients.split import household
from nfsleuth.clients.trace_facts import Pool, TraceFacts
from nfsleuth.trace.tables import Flavor, Identity, Program, Role, Version

from .rows import GUEST, SERVER, Trace, booted


def split(trace: Trace) -> list[Facts]:
    gatherer = Gatherer()
    gatherer.add(trace.rows())
    return household(gatherer.facts()).clients


def ports(trace: Trace) -> list[list[int]]:
    return [sorted(c.ports) for c in split(trace)]


def owner(minor: int, name: str) -> bytes:
    return b"Linux NFSv4.%d %s" % (minor, name.encode())


V3 = {"versions": Version.V3}
V41 = {"versions": Version.V4_1}


# One client in several strands.


def test_nconnect_of_v3_by_name():
    trace = Trace()
    for port in (48336, 48342, 48348, 48362):
        trace.connection(port, **V3).name("ncon2")
    assert ports(trace) == [[48336, 48342, 48348, 48362]]


def test_nconnect_of_v4_by_session_where_only_one_connection_was_introduced():
    trace = Trace()
    trace.connection(801).boot(booted(-9)).session(5)
    trace.connection(802).session(5)
    trace.connection(803).session(5)
    assert ports(trace) == [[801, 802, 803]]


def test_reconnect_from_another_port():
    trace = Trace()
    trace.connection(801, 0, 5).name("a").boot(booted(-9), owner(2, "a")).session(1)
    trace.connection(900, 6, 9).name("a").session(1)
    assert ports(trace) == [[801, 900]]


def test_reboot_is_one_client_with_two_boots():
    trace = Trace()
    trace.connection(801, 0.84, 1.12).name("rebooter").boot(booted(-0.6), owner(2, "rebooter"), at=0.85).session(1)
    trace.connection(847, 8.87, 9.34).name("rebooter").boot(booted(7.6), owner(2, "rebooter"), at=8.88).session(2)
    (client,) = split(trace)
    assert [i.verifier for i in client.client_ids] == [booted(-0.6), booted(7.6)]


def test_reboot_whose_old_connection_the_server_closed_later():
    """The server's FIN after an idle timeout meets the next boot, which answers RST: the first is dead all the same."""
    trace = Trace()
    trace.connection(801, 0, 360).name("r").boot(booted(-5), owner(2, "r"), at=0)
    trace.connection(847, 40, 400).name("r").boot(booted(38), owner(2, "r"), at=40)
    assert ports(trace) == [[801, 847]]


def test_reboot_of_a_machine_to_which_the_server_retransmits():
    trace = Trace()
    trace.connection(801, 0, 9, retransmitted=(0, 6)).name("r").boot(booted(-5), owner(2, "r"), at=0)
    trace.connection(847, 8, 12).name("r").boot(booted(7), owner(2, "r"), at=8)
    assert ports(trace) == [[801, 847]]


def test_mounts_of_all_versions_at_once():
    trace = Trace()
    trace.portmap(56864, 0.92)
    trace.connection(44080, 0.94, 0.95, **V3)
    trace.mount(57672, 0.96)
    trace.mount(765, 0.97).name("multi1")
    trace.connection(989, 0.99, 2.1, **V3).name("multi1")
    trace.connection(961, 1.12, 1.6, versions=Version.V4_0).name("multi1").boot(
        booted(-3), b"Linux NFSv4.0 multi1/10.77.0.1", at=1.12
    ).clientid(1)
    trace.connection(1012, 1.29, 1.8, **V41).name("multi1").boot(booted(-3), owner(1, "multi1"), at=1.29).session(1)
    trace.connection(1013, 1.39, 2.2).name("multi1").boot(booted(-3), owner(2, "multi1"), at=1.39).session(2)
    assert ports(trace) == [[765, 961, 989, 1012, 1013, 44080, 56864, 57672]]


def test_processes_of_libnfs_are_one_client():
    """Each has an owner of its own and the default name."""
    trace = Trace()
    trace.connection(782, 0, 9, **V3).name("libnfs")
    for i in range(3):
        trace.connection(790 + i, i, i + 5, versions=Version.V4_0).name("libnfs").boot(
            i << 32, b"Libnfs pid:%d 1795384218" % i, at=i
        ).clientid(i)
    assert len(split(trace)) == 1


def test_renamed_host_is_one_client():
    """The same owner and verifier under two names, and the same boot under two owners, one after the other."""
    trace = Trace()
    trace.connection(801, 0, 5).name("old").boot(booted(-9), owner(2, "old"), at=0)
    trace.connection(802, 6, 7).name("new").boot(booted(-9), owner(2, "old"), at=6)
    trace.connection(803, 20, 25, **V41).name("newer").boot(booted(-9), owner(1, "newer"), at=20)
    assert ports(trace) == [[801, 802, 803]]


def test_nlm_ties_two_names_together():
    trace = Trace()
    trace.connection(801, **V3).name("libnfs")
    trace.connection(802, **V3).name("desk-anna")
    trace.connection(803, programs=Program.NLM).name("libnfs").says(Identity.NLM_CALLER, b"desk-anna")
    trace.connection(804, **V3).name("someone else")
    assert ports(trace) == [[801, 802, 803], [804]]


def test_gss_carries_no_names_but_owners():
    trace = Trace()
    given = {"flavors": Flavor.GSS}
    trace.connection(801, 0, 5, **given).boot(booted(-9), owner(2, "a"), at=0)
    trace.connection(802, 60, 65, **given).boot(booted(50), owner(2, "a"), at=60)
    trace.connection(803, 2, 5, **given).boot(booted(-20), owner(2, "b"), at=2)
    assert ports(trace) == [[801, 802], [803]]


# Several clients behind one address.


def test_two_names_behind_one_address():
    trace = Trace()
    trace.connection(36638, 0, 6).name("h1-nat-1").boot(booted(-5), owner(2, "h1-nat-1")).session(1)
    trace.connection(36652, 0.6, 6, **V41).name("h1-nat-2").boot(booted(-4), owner(1, "h1-nat-2")).session(2)
    assert ports(trace) == [[36638], [36652]]


def test_two_names_from_the_middle():
    trace = Trace()
    trace.connection(36638, 0, 6).name("h1-nat-1").session(1)
    trace.connection(36652, 0, 6, **V41).name("h1-nat-2").session(2)
    assert ports(trace) == [[36638], [36652]]


def test_equal_names_whose_verifiers_alternate():
    trace = Trace()
    a = trace.connection(56056, 0, 12.8).name("localhost")
    b = trace.connection(56062, 1.95, 14.8).name("localhost")
    for i in range(5):
        a.boot(booted(-1.1), at=1 + 2 * i).session(2 * i)
        b.boot(booted(-1.5), at=2 + 2 * i).session(2 * i + 1)
    assert ports(trace) == [[56056], [56062]]


def test_alternation_shows_over_many_connections():
    """Every introduction on a new connection; no clock to go by."""
    trace = Trace()
    for i in range(6):
        trace.connection(50000 + i, 20 * i, 20 * i + 1).name("localhost").boot(7 + i % 2, at=20 * i)
    assert ports(trace) == [[50000, 50002, 50004], [50001, 50003, 50005]]


def test_equal_names_one_after_the_other_too_fast_for_a_reboot():
    """The second guest's NFS started 41 ms after the last frame of the first."""
    trace = Trace()
    trace.connection(50540, 0, 1.826).name("localhost").boot(booted(-1.93), at=0.01)
    trace.connection(50548, 4.884, 6.07).name("localhost").boot(booted(1.867), at=4.898)
    assert ports(trace) == [[50540], [50548]]


def test_equal_names_of_different_minor_versions():
    trace = Trace()
    trace.connection(50540, 0, 9).name("localhost").boot(booted(-3), owner(1, "localhost"), at=0)
    trace.connection(50548, 4, 9).name("localhost").boot(booted(-2), owner(2, "localhost"), at=4)
    assert ports(trace) == [[50540], [50548]]


def test_a_third_boot_goes_to_the_client_that_fell_silent():
    trace = Trace()
    trace.connection(1, 0, 5).name("localhost").boot(booted(-9), at=0)
    trace.connection(2, 3, 40).name("localhost").boot(booted(-8), at=3).boot(booted(-8), at=38)
    trace.connection(3, 30, 40).name("localhost").boot(booted(25), at=30)
    assert ports(trace) == [[1, 3], [2]]


def test_clones_of_one_memory_image_live_at_one_time():
    trace = Trace()
    trace.connection(50540, 0, 9).name("clone-1").boot(booted(-3), owner(2, "clone-1"), at=0)
    trace.connection(50548, 4, 9).name("clone-2").boot(booted(-3), owner(2, "clone-2"), at=4)
    assert ports(trace) == [[50540], [50548]]


def test_sessions_from_the_middle_with_equal_names():
    trace = Trace()
    trace.connection(50540, 0, 9).name("localhost").session(1)
    trace.connection(50548, 0, 9).name("localhost").session(2)
    assert ports(trace) == [[50540], [50548]]


def test_sessions_from_the_middle_that_one_client_may_have():
    """Of two minor versions, of two servers, one after the other, or of a client that is not Linux."""
    for first, second, said in (
        ({}, V41, ()),
        ({}, {"server": "10.77.0.2"}, ()),
        ({"last": 3}, {"first": 4}, ()),
        ({}, {}, (Identity.OPEN_OWNER, b"NFSv4 open owner of another make")),
    ):
        trace = Trace()
        for port, number, fields in ((50540, 1, first), (50548, 2, second)):
            c = trace.connection(port, **{"first": 0, "last": 9, **fields}).name("localhost").session(number)
            if said:
                c.says(*said)
        assert ports(trace) == [[50540, 50548]]


def test_session_of_replies_alone():
    """Captured from server to client only: no calls, no names, but SEQUENCE results carry the session."""
    trace = Trace()
    given = {"role": Role.GUESS, "programs": 0, "versions": 0, "flavors": 0, "replies": 0, "frames": (0, 50)}
    trace.connection(36638, 0, 6, payload=(0, 900), **given).says(Identity.SESSION, a=1, b=1, server=True)
    trace.connection(36652, 1, 6, payload=(0, 900), **given).says(Identity.SESSION, a=1, b=2, server=True)
    trace.connection(46718, 1, 6, payload=(0, 900), client="10.77.0.22", **given)
    assert ports(trace) == [[36638], [36652], [46718]]


def test_clientid_of_one_server():
    trace = Trace()
    v40 = {"versions": Version.V4_0, "flavors": Flavor.GSS}
    trace.connection(801, 0, 5, **v40).clientid(99)
    trace.connection(802, 6, 9, **v40).clientid(99).boot(4, b"someone")
    assert ports(trace) == [[801, 802]]


# Strands without identity.


def test_mount_alone_is_a_client():
    trace = Trace()
    trace.mount(765)
    (client,) = split(trace)
    assert (list(client.mount_ports), list(client.nfs_ports)) == ([765], [])


def test_portmap_alone_is_none():
    trace = Trace()
    trace.portmap(56864).name("scanner")
    assert split(trace) == []


def test_lock_calls_alone_are_a_client_but_not_from_a_server():
    trace = Trace()
    trace.connection(801, **V3).name("a")
    trace.connection(802, client=SERVER, server=GUEST, server_port=40000, programs=Program.NLM).name("server")
    trace.connection(803, client="10.77.0.30", server_port=40001, programs=Program.NLM).name("locker")
    assert [c.address for c in split(trace)] == [GUEST, "10.77.0.30"]


def test_tls_alone_is_a_client():
    trace = Trace()
    trace.connection(801, 0, 9, versions=Version.V4_2, flavors=Flavor.NONE | Flavor.TLS)
    trace.unread(802, 1)
    (client,) = split(trace)
    assert set(client.flavors) == {"none", "tls"}
    assert sorted(client.nfs_ports) == [801, 802]


def test_unread_at_an_unusual_port_counts_if_nfs_was_served_there():
    trace = Trace()
    trace.connection(801, server_port=20490, client="10.77.0.30").name("reader")
    trace.unread(802, server_port=20490)
    trace.unread(803, server_port=443)
    assert ports(trace) == [[802], [801]]


def test_strands_without_identity_join_the_client_that_connects_next():
    trace = Trace()
    trace.portmap(40001, 0.1)
    trace.mount(40002, 0.2)
    trace.connection(700, 0.5, 90, **V3).name("a")
    trace.portmap(40003, 60.1)
    trace.mount(40004, 60.2)
    trace.connection(701, 60.5, 90, **V3).name("b")
    trace.portmap(40005, 100)
    assert ports(trace) == [[700, 40001, 40002], [701, 40003, 40004, 40005]]


def test_helpers_join_by_name():
    trace = Trace()
    trace.connection(700, 0, 90, **V3).name("a")
    trace.connection(701, 60, 90, **V3).name("b")
    trace.portmap(40005, 59.9).name("a")
    assert ports(trace) == [[700, 40005], [701]]


# The whole.


def test_never_across_addresses_and_in_their_order():
    trace = Trace()
    for client in ("10.77.0.201", "10.77.0.22", "fd00::1", "10.77.0.3"):
        trace.connection(700, client=client).name("a").boot(booted(-5), owner(2, "a")).session(1)
    assert [c.address for c in split(trace)] == ["10.77.0.3", "10.77.0.22", "10.77.0.201", "fd00::1"]


STRANDS = st.lists(
    st.tuples(
        st.integers(0, 20),  # start
        st.integers(0, 10),  # length
        st.sampled_from(["", "a", "b"]),
        st.sampled_from([0, 0, booted(-2), booted(-1), booted(8), 5]),
        st.integers(0, 3),  # session
        st.sampled_from([Program.NFS, Program.MOUNT, Program.NLM, Program.PORTMAP]),
    ),
    max_size=9,
)


def of(strands) -> TraceFacts:
    trace = Trace()
    for port, (start, length, name, verifier, session, programs) in enumerate(strands):
        c = trace.connection(port, start, start + length, programs=programs)
        if name:
            c.name(name)
        if verifier:
            c.boot(verifier)
        if session:
            c.session(session)
    gatherer = Gatherer()
    gatherer.add(trace.rows())
    return gatherer.facts()


@settings(max_examples=60, deadline=None)
@given(STRANDS, st.randoms(use_true_random=False))
def test_the_order_of_strands_does_not_matter(strands, random):
    facts = of(strands)
    shuffled = TraceFacts(link=facts.link, endpoints=facts.endpoints, counts=facts.counts)
    for name in ("clients", "bystanders"):
        items = list(getattr(facts, name).strands.items())
        random.shuffle(items)
        setattr(shuffled, name, Pool(8192, dict(items)))
    assert household(shuffled).clients == household(facts).clients


@settings(max_examples=60, deadline=None)
@given(STRANDS)
def test_every_connection_of_a_client_address_is_in_one_client(strands):
    clients = household(of(strands)).clients
    if clients:
        assert sum(c.connections for c in clients) == len(strands)
        assert sorted(p for c in clients for p in c.ports) == list(range(len(strands)))


def test_a_flood_of_names_is_split_in_bounded_time():
    trace = Trace()
    for i in range(600):
        trace.connection(i, i / 100, 100).name("localhost").boot(booted(-i), at=i / 100)
    assert len(split(trace)) == 600

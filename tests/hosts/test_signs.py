"""Each sign: what it is for, and what looks like it and must not be taken for it."""

from __future__ import annotations

import inspect
import random
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.make import BOOT, DELL, KVM, linux
from hosts.make import busy, clock, member, posterior, said, scene, switch
from nfsleuth.clients.facts import Neighbour, Seen
from nfsleuth.evidence.model import Evidence, Group, State
from nfsleuth.hosts.imports.known import AtPort, Guest, Known
from nfsleuth.hosts.signs import clock_skew, heuristics, switch_port
from nfsleuth.hosts.signs.timelines import moments

SECOND = 10**9
NAT = {"state": State.USER_NAT, "address": "10.77.0.9", "mac": DELL}
A, B, C = "52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"
INTEL = "a4:bf:01:6c:22:02"


@pytest.mark.parametrize("name", heuristics())
def test_manual_pages_have_all_sections(name):
    text = inspect.getdoc(heuristics()[name])
    wanted = ("What it sees:", "Why it tells hosts apart:", "Known confusions:", "Example:", "Source:")
    places = [text.index(f"\n{section}") for section in wanted]
    assert places == sorted(places)
    assert text.splitlines()[0].endswith(".")
    assert name == heuristics()[name].RULE


@given(
    st.dictionaries(st.integers(0, 1 << 20), st.integers(0, 1 << 40), max_size=30),
    st.integers(26, 31),
    st.integers(26, 31),
)
def test_moments_are_the_runs_of_a_time_line_put_together(rates, own, asked):
    client = member(exactly=busy(rates, own)) if rates else member()
    found = {}
    if own <= asked:
        for begin, _, (octets, *_) in client.facts.rates.timeline.runs():
            found[begin >> asked] = found.get(begin >> asked, 0) + octets
    assert moments(client, asked) == found


class TestUserNatAddress:
    def test_guests_behind_one_address_and_the_host_itself(self):
        where = scene(member(1, **NAT), member(2, **NAT), member(3, **{**NAT, "state": State.NATIVE}), member(4))
        found = said("user_nat_address", where)
        assert set(found) == {(0, 1), (0, 2), (1, 2)}
        assert all(0.9 < posterior(nats) <= 0.97 for nats in found.values())

    def test_doubtful_guests_weigh_less(self):
        sure = said("user_nat_address", scene(member(1, **NAT), member(2, **NAT)))[0, 1]
        half = said("user_nat_address", scene(member(1, **NAT), member(2, **NAT, sure=0.6)))[0, 1]
        assert half < sure
        assert 0.5 < posterior(half) < 0.6

    def test_two_programs_of_one_machine_are_no_guests(self):
        native = {**NAT, "state": State.NATIVE}
        assert not said("user_nat_address", scene(member(1, **native), member(2, **native)))

    def test_behind_a_home_router_nothing_follows(self):
        assert not said("user_nat_address", scene(member(1, **NAT, ttl=63), member(2, **NAT, ttl=63)))


class TestGuestsNetwork:
    HINT = Evidence("inner_address", Group.ADDRESS, "x", "y", host="address:10.77.0.9")
    BEHIND: ClassVar = {"state": State.KERNEL_NAT, "address": "10.77.0.9", "mac": DELL, "ttl": 63}

    def test_translated_guests_of_an_engine(self):
        guests = [member(n, **self.BEHIND, evidence=(self.HINT,)) for n in (1, 2)]
        found = said("guests_network", scene(*guests, member(3, **{**NAT, "state": State.NATIVE})))
        assert set(found) == {(0, 1), (0, 2), (1, 2)}
        assert all(0.8 < posterior(nats) <= 0.9 for nats in found.values())

    def test_a_home_router_shows_no_such_network(self):
        assert not said("guests_network", scene(member(1, **self.BEHIND), member(2, **self.BEHIND)))


def coded(number: int, host: str, mac: str, **more):
    row = Evidence("mac_host_hint", Group.LINK, "made there", mac, host=host)
    return member(number, mac=mac, evidence=(row,), **more)


class TestHostCodedMac:
    def test_equal_and_different_bytes(self):
        clients = [
            coded(n, f"hyperv:{h}", f"00:15:5d:e4:{m}:0{n}")
            for n, h, m in ((1, "1.2", "9b"), (2, "1.2", "9b"), (3, "1.3", "9c"))
        ]
        found = said("host_coded_mac", scene(*clients))
        assert {pair: round(nats / 0.95**2, 1) for pair, nats in found.items()} == {(0, 1): 4, (0, 2): -2, (1, 2): -2}

    def test_the_host_itself_makes_it_surer(self):
        guests = [coded(n, "hyperv:0.109", f"00:15:5d:00:09:0{n}") for n in (1, 2)]
        host = member(9, State.NATIVE, mac=DELL)
        found = said("host_coded_mac", scene(*guests, host, member(8, State.NATIVE, mac=INTEL)))
        assert set(found) == {(0, 1), (0, 2), (1, 2)}
        assert min(found.values()) == pytest.approx(5.5 * 0.95**2)

    def test_virtual_server_holds_bytes_of_the_mac(self):
        guest = coded(1, "virtual-server:21:01", "00:03:ff:11:21:01")
        assert said("host_coded_mac", scene(guest, member(9, State.NATIVE, mac=DELL)))[0, 1] == pytest.approx(
            5.5 * 0.95
        )

    def test_a_guest_with_such_an_address_is_no_host(self):
        guests = [coded(n, "hyperv:0.109", f"00:15:5d:00:09:0{n}") for n in (1, 2)]
        assert set(said("host_coded_mac", scene(*guests, member(9)))) == {(0, 1)}

    def test_hints_of_two_makers_say_nothing(self):
        pair = [coded(1, "hyperv:1.2", "00:15:5d:01:02:01"), coded(2, "esx:1.3", "00:05:69:01:03:01")]
        assert not said("host_coded_mac", scene(*pair))


class TestOneMac:
    def test_a_card_with_two_addresses(self):
        assert said("one_mac", scene(member(1, mac=DELL), member(2, mac=DELL), member(3)))[0, 1] == 5.0

    def test_one_address_is_no_news_and_routers_and_defaults_do_not_count(self):
        assert not said(
            "one_mac", scene(member(1, mac=DELL, address="10.77.0.9"), member(2, mac=DELL, address="10.77.0.9"))
        )
        routed = [member(n, mac=DELL, ttl=62) for n in (1, 2)]
        assert not said("one_mac", scene(*routed))
        assert not said("one_mac", scene(*(member(n, mac="52:54:00:12:34:56") for n in (1, 2))))

    def test_a_bridge_over_wifi_speaks_for_many(self):
        neighbours = [Neighbour(DELL, f"10.77.0.{n}", "ip") for n in range(1, 6)]
        assert not said("one_mac", scene(*(member(n, mac=DELL) for n in (1, 2)), neighbours=neighbours))


class TestTwoMachines:
    def test_machines_are_not_inside_each_other(self):
        natives = [member(1, State.NATIVE, mac=DELL), member(2, State.NATIVE, mac=INTEL), member(3)]
        assert said("two_machines", scene(*natives)) == {(0, 1): pytest.approx(-2 * 0.98**2)}

    def test_two_clients_of_one_card_are_one_machine(self):
        assert not said("two_machines", scene(*(member(n, State.NATIVE, mac=DELL) for n in (1, 2))))


class TestSwitchPort:
    def found(self, *switches, at=(), guests=(), members=None):
        known = Known(switches, {("sw1", port): neighbour for port, neighbour in at}, tuple(guests))
        return said("switch_port", scene(*(members or [member(1), member(2), member(3)]), known=known))

    def test_one_port_and_two(self):
        assert self.found(switch(p1=[A, B, DELL], p2=[C])) == {(0, 1): 6.0, (0, 2): -5.0, (1, 2): -5.0}

    def test_a_guest_behind_nat_is_where_its_hosts_card_is(self):
        clients = [member(1, **NAT), member(2), member(3)]
        found = self.found(switch(p1=[DELL, B], p2=[C]), members=clients)
        assert found[0, 1] == 6.0
        assert found[0, 2] == -5.0

    def test_an_uplink_is_no_host(self):
        spine = AtPort("spine", "Cumulus Linux version 5", bridge=True)
        assert not self.found(switch(p1=[A, B]), at=[("p1", spine)])
        assert not self.found(switch(p1=[A, B]), at=[("p1", AtPort("gw", "", router=True))])
        assert not self.found(switch(p1=[A, B, DELL, INTEL])), "two machines' cards: a switch in between"
        assert not self.found(switch(p1=[A, B, *(f"18:66:da:00:00:{n:02x}" for n in range(3))]))
        assert not self.found(switch(p1=[A, B, *(f"52:54:00:00:{n >> 8:02x}:{n & 255:02x}" for n in range(300))]))

    def test_a_hypervisor_that_says_it_bridges_is_a_host(self):
        for at in (AtPort("hv1", "Debian GNU/Linux 12", bridge=True), AtPort("x", "", bridge=True, station=True)):
            assert self.found(switch(p1=[A, B, DELL, INTEL]), at=[("p1", at)]) == {(0, 1): 6.0}
        named = AtPort("hv1", "", bridge=True)
        assert self.found(switch(p1=[A, B]), at=[("p1", named)], guests=[Guest("hv1", "web")]) == {(0, 1): 6.0}

    def test_a_card_and_its_management_controller_are_one_machine(self):
        assert self.found(switch(p1=[A, B, DELL, DELL[:-2] + "02"])) == {(0, 1): 6.0}

    def test_of_two_switches_the_one_at_the_edge(self):
        core = switch("core", up=[A, B, C])
        assert self.found(core, switch(p1=[A, B], p2=[C]))[0, 2] == -5.0
        assert self.found(core, switch(p1=[A, B], p2=[C]))[0, 1] == 6.0

    def test_a_home_router_at_the_port_joins_nobody(self):
        clients = [member(n, State.KERNEL_NAT, mac=DELL, ttl=63, address="10.77.0.109") for n in (1, 2)]
        found = self.found(switch(p1=[DELL, B], p2=[C]), members=[*clients, member(2)])
        assert max(found.values()) < 3

    def test_behind_a_router_the_table_says_nothing(self):
        assert not self.found(switch(p1=[A, B]), members=[member(1, ttl=62), member(2, ttl=62)])

    def test_why_is_told(self):
        known = Known((switch(p1=[DELL, INTEL]),))
        where = scene(known=known)
        assert list(switch_port.uplinks(known, where.rules)) == [("sw1", "p1", "cards of 2 machines behind it")]


class TestInventory:
    def test_by_mac_address_and_name(self):
        guests = (
            Guest("hv1", "a", frozenset({A})),
            Guest("hv1", "b", addresses=frozenset({"10.77.0.102"})),
            Guest("hv2", "web03"),
        )
        clients = [member(1), member(2), member(3, names=["web03"]), member(4)]
        found = said("inventory_host", scene(*clients, known=Known(guests=guests)))
        assert found == {(0, 1): 9.0, (0, 2): -9.0, (1, 2): -9.0}

    def test_a_name_of_two_clients_names_nobody(self):
        known = Known(guests=(Guest("hv1", "localhost"), Guest("hv1", "a", frozenset({A}))))
        clients = [member(1), *(member(n, names=["localhost"]) for n in (2, 3))]
        assert not said("inventory_host", scene(*clients, known=known))

    def test_two_hosts_for_one_mac_are_none(self):
        known = Known(guests=tuple(Guest(h, "a", frozenset({A, B})) for h in ("hv1", "hv2")))
        assert not said("inventory_host", scene(member(1), member(2), known=known))


class TestClockSkew:
    def skews(self, *clocks, **more):
        return said("clock_skew", scene(*(member(n, clocks=(c,), **more) for n, c in enumerate(clocks, 1))))

    def test_distinct_skews_that_agree(self):
        found = self.skews(clock(41.3), clock(41.1), clock(-20.0), clock(0.1))
        assert found[0, 1] == pytest.approx(clock_skew.CAP)
        assert found[0, 2] == found[1, 2] == clock_skew.FLOOR
        assert not any(3 in pair for pair in found), "a disciplined clock says nothing"

    def test_disciplined_clocks_agree_and_say_nothing(self):
        assert not self.skews(clock(0.2), clock(0.3), clock(-0.4))

    def test_what_is_not_known_well_says_little(self):
        assert not self.skews(clock(41.3, 20.0), clock(41.1, 20.0))
        assert self.skews(clock(41.3, 5.0), clock(41.1, 5.0))[0, 1] < 3

    def test_beyond_agreement_and_before_difference_nothing_is_said(self):
        assert not self.skews(clock(41.0, 1.0), clock(47.0, 1.0))

    def test_among_many_clocks_some_agree_by_chance(self):
        few, many = (clock_skew.weight(20.0, 0.3, 20.1, 0.3, others) for others in (5, 2000))
        assert few == clock_skew.CAP
        assert many < 2

    def test_the_clock_of_one_address_is_one(self):
        assert not self.skews(clock(41.3), clock(41.1), address="10.77.0.9")

    def test_connections_are_combined(self):
        clocks = tuple(sorted(clock(40 + e, error) for e, error in ((0.2, 0.5), (-0.2, 0.5), (30.0, 50.0))))
        ppm, error = clock_skew.skew_of(member(1, clocks=clocks))
        assert ppm == pytest.approx(40, abs=0.1)
        assert error == pytest.approx(0.5 / 2**0.5, abs=0.01)
        apart = tuple(sorted((clock(40.0, 0.5), clock(60.0, 0.5))))
        assert clock_skew.skew_of(member(1, clocks=apart))[1] > 5


class TestBootEpoch:
    @staticmethod
    def booted(number: int, after: float, **exactly):
        given = linux(f"n{number}", verifier=BOOT + round(after * SECOND), address=f"10.77.0.{100 + number}")
        for name, value in exactly.items():
            setattr(given, name, value)
        made = member(number)
        return type(made)(made.id, given, made.states, made.virtual)

    def others(self):
        return [self.booted(n, -86_400 * n) for n in range(10, 30)]

    def test_booted_together_while_others_were_up(self):
        found = said("boot_epoch", scene(self.booted(1, 0), self.booted(2, 14), self.booted(3, 4000), *self.others()))
        assert found == {(0, 1): 0.7}

    def test_a_power_failure_says_nothing(self):
        assert not said("boot_epoch", scene(*(self.booted(n, n) for n in range(1, 12))))

    def test_clones_say_nothing(self):
        assert not said("boot_epoch", scene(self.booted(1, 0), self.booted(2, 0), *self.others()))

    def test_one_kernel_under_two_names(self):
        def owner(after):
            up = 100 * SECOND
            seen = Seen()
            seen.see(b"open id:" + bytes(8) + up.to_bytes(8), 5, BOOT + up + round(after * SECOND))
            return seen

        pair = [self.booted(1, 5000, open_owners=owner(0)), self.booted(2, 9000, open_owners=owner(0.01))]
        found = said("boot_epoch", scene(*pair, self.booted(3, -5000, open_owners=owner(99)), *self.others()))
        assert set(found) == {(0, 1)}
        assert found[0, 1] == 4.0


class TestClockPause:
    def test_clocks_that_stood_still_together(self):
        pauses = (((BOOT + 7 * SECOND, 3_200_000_000),), ((BOOT + 7 * SECOND + 10**8, 3_210_000_000),))
        clients = [member(n, clocks=(clock(0, pauses=p),)) for n, p in enumerate(pauses, 1)]
        clients += [member(n, clocks=(clock(0),)) for n in (3, 4, 5)]
        assert said("clock_pause", scene(*clients)) == {(0, 1): 3.0}

    def test_a_step_of_the_captures_clock_moves_all(self):
        pause = ((BOOT + 7 * SECOND, 3_200_000_000),)
        clients = [member(n, clocks=(clock(0, pauses=pause),)) for n in range(1, 6)]
        assert not said("clock_pause", scene(*clients))

    def test_other_times_and_lengths(self):
        pauses = [((BOOT + 7 * SECOND, SECOND),), ((BOOT + 7 * SECOND, 2 * SECOND),), ((BOOT + 9 * SECOND, SECOND),)]
        clients = [member(n, clocks=(clock(0, pauses=p),)) for n, p in enumerate(pauses, 1)]
        clients += [member(n, clocks=(clock(0),)) for n in (4, 5, 6, 7)]
        assert not said("clock_pause", scene(*clients))


class TestMacMove:
    def moved(self, *macs):
        seen = Seen()
        for count, mac in zip((9, 2), macs, strict=True):
            seen.see(mac, 4, count=count)
        return member(1, exactly={"macs": seen, "mac_changes": 1})

    def test_an_address_that_moved_to_a_machines_card(self):
        assert said("mac_move", scene(self.moved(KVM, DELL), member(2, State.NATIVE, mac=DELL), member(3))) == {
            (0, 1): 2.0
        }

    def test_a_card_that_nobody_has(self):
        assert not said("mac_move", scene(self.moved(KVM, DELL), member(2)))


T0 = BOOT >> 26


class TestThroughput:
    def test_gaps_that_coincide(self):
        gaps = {*range(40, 50), *range(90, 105)}
        held_up = {T0 + n: 1000 for n in range(200) if n not in gaps}
        steady = {T0 + n: 1000 for n in range(200)}
        clients = [member(n, **busy(line)) for n, line in enumerate((held_up, held_up, steady), 1)]
        found = said("joint_stall", scene(*clients))
        assert set(found) == {(0, 1)}
        assert 1.5 < found[0, 1] <= 2

    def test_a_server_that_stops_for_all_says_nothing(self):
        line = {T0 + n: 1000 for n in range(200) if n not in {*range(40, 50), *range(90, 105)}}
        assert not said("joint_stall", scene(*(member(n, **busy(line)) for n in (1, 2, 3))))

    def shared(self, third: bool):
        rng = random.Random(3)
        one = {(BOOT >> 30) + n: rng.randrange(10**7, 9 * 10**7) for n in range(40)}
        two = {at: 10**8 - octets for at, octets in one.items()}
        other = {at: rng.randrange(10**7, 2 * 10**8) if third else 10**7 for at in one}
        return said("shared_link", scene(*(member(n, **busy(line, 30)) for n, line in enumerate((one, two, other), 1))))

    def test_rates_that_add_up_to_a_constant(self):
        assert self.shared(third=True) == {(0, 1): 1.0}

    def test_a_servers_limit_says_nothing(self):
        assert not self.shared(third=False)

    def test_too_fast_for_one_cable(self):
        lines = [{(BOOT >> 30) + n: 10**8 for n in range(9)}, {(BOOT >> 30) + n: 9 * 10**7 for n in range(9)}]
        clients = [member(n, **busy(line, 30)) for n, line in enumerate(lines, 1)]
        assert said("link_overload", scene(*clients, link_speed=10**9)) == {(0, 1): -4.0}
        assert not said("link_overload", scene(*clients, link_speed=10**10))
        assert not said("link_overload", scene(*clients)), "without a speed nothing is known"

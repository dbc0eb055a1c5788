"""Profiles: what is learnt, what is refused, and what a client is recognised as."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from evidence.make import facts, observe
from nfsleuth.bandwidth.numbers import bootstrapped, spread, student_log_density
from nfsleuth.bandwidth.profile import (
    LEAST_CLIENTS,
    Label,
    Learnt,
    Profile,
    from_toml,
    learn,
    log_spread,
    parse_label,
    to_toml,
)
from nfsleuth.bandwidth.recognise import Recognition, conformal, recognise
from nfsleuth.clients.rates import STEPS, Cell, Histogram, Kind, Limit, Rates
from nfsleuth.errors import NfsleuthError
from nfsleuth.evidence import Rules, State

READ = Kind("read", 131_072)


def histogram(speed: float, count: int) -> Histogram:
    middle = math.floor(math.log2(speed) * STEPS)
    return Histogram(Counter({middle - 2: count // 4, middle: count - 2 * (count // 4), middle + 2: count // 4}))


def rates(speed: float, intervals=40, limited=30, kind=READ) -> Rates:
    by = [0] * len(Limit)
    by[Limit.CLIENT], by[Limit.SERVER] = limited, intervals - limited
    own = histogram(speed, intervals)
    cell = Cell(
        intervals, 10**8, 800, 10**9, limited=tuple(by), own=own, rates=own, limited_own=histogram(speed, limited)
    )
    return Rates({kind: cell})


def row(label="native", own=400.0, source="a", state=None, **fields) -> Learnt:
    state = state or parse_label(label).state
    return replace(Learnt(label, state, "", "read", 131_072, 40, 30, own, 0.2, source), **fields)


def site(**labels) -> Profile:
    """A profile of five clients per label, spread by a few per cent around the given speed."""
    return Profile() + Profile(
        [
            row(label.replace("_", " "), speed * factor, f"{label} {n}")
            for label, speed in labels.items()
            for n, factor in enumerate((0.92, 0.97, 1.0, 1.04, 1.1))
        ]
    )


STUDY = site(native=483.0, virtio_bridged=283.0, virtio_nat=119.0, rtl8139_bridged=60.0)


# Learning


def test_a_client_teaches_its_own_speed():
    (learnt,), lacks = learn(rates(62.0), Label("virtio bridged", "bridged-vm"), "lab", "a.pcap 10.0.0.7")
    assert learnt.own == pytest.approx(62, rel=0.05)
    assert (learnt.intervals, learnt.limited, learnt.kind, learnt.link) == (40, 30, READ, "lab")
    assert lacks == []


@pytest.mark.parametrize(("known", "says"), [(rates(62.0, 9, 9), "takes 10"), (Rates(), "read large files")])
def test_too_little_teaches_nothing(known, says):
    rows, (lack,) = learn(known, Label("native", "native"), "", "a.pcap")
    assert rows == []
    assert says in lack


def test_labels_say_what_they_are():
    assert parse_label("native") == Label("native", "native")
    assert parse_label("virtio bridged").state == "bridged-vm"
    assert parse_label("rtl8139 NAT").state == "user-nat-vm"
    assert parse_label("libvirt masquerade").state == "kernel-nat"
    assert parse_label("old laptop=native") == Label("old laptop", "native")
    for wrong in ("laptop", "", "=native", "laptop=fast"):
        with pytest.raises(NfsleuthError, match="label"):
            parse_label(wrong)


def test_a_profile_says_what_it_lacks():
    assert "nothing in it" in Profile().missing()[0]
    two = Profile([row(source="a"), row(source="b"), row("virtio bridged", 50, "c")])
    assert len(two.missing()) == 2
    assert two.cells("") == {}
    assert STUDY.missing() == []


def test_speeds_are_relative_to_the_native_ones_of_the_same_kind_and_link():
    other = Profile([replace(r, link="10G", own=r.own * 10) for r in STUDY.rows])
    both = STUDY + other
    for link in ("", "10G"):
        cell = both.cells(link)[READ]
        centres = {g.label.name: g.centre for g in cell.groups}
        assert centres["native"] == pytest.approx(0)
        assert centres["virtio nat"] == pytest.approx(math.log(119 / 483))


# Adding up and files


def test_profiles_add_up_in_any_order():
    a, b, c = (Profile([row(own=float(n), source=str(n)), row(source="both", own=n + 1.0)]) for n in (1, 2, 3))
    assert (a + b) + c == a + (b + c) == (c + a) + b
    assert len((a + b + c).rows) == 4
    assert STUDY + STUDY == STUDY


texts = st.text(max_size=40)


@given(
    st.lists(
        st.builds(
            row,
            source=texts,
            link=texts,
            own=st.floats(1e-6, 1e6),
            intervals=st.integers(1, 10**9),
            spread=st.floats(0, 10),
        ),
        max_size=5,
    )
)
def test_a_profile_survives_its_file(rows):
    profile = Profile() + Profile(rows)
    assert from_toml(to_toml(profile), "site.toml") == profile


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no profile"),
        ("schema = 5", "no profile"),
        ("[", "no TOML"),
        ('schema = "nfsleuth.profile/9"', "learn it anew"),
        ('schema = "nfsleuth.profile/1"\nclient = 5', "list of"),
        ('schema = "nfsleuth.profile/1"\nclient = [5]', "number 1"),
        ('schema = "nfsleuth.profile/1"\n[[client]]\nlabel = "x"', "number 1"),
    ],
)
def test_files_that_are_no_profile_are_refused(text, says):
    with pytest.raises(NfsleuthError, match=rf"site\.toml.*{says}"):
        from_toml(text, "site.toml")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("own_MBps = 400.0", "own_MBps = 0"),
        ("own_MBps = 400.0", "own_MBps = nan"),
        ("own_MBps = 400.0", "own_MBps = true"),
        ("intervals = 40", "intervals = 0"),
        ('size = "128K"', 'size = "big"'),
        ('state = "native"', 'state = "fast"'),
        ('operation = "read"', 'operation = "look"'),
        ('label = "native"', f'label = "{"x" * 300}"'),
    ],
)
def test_senseless_values_are_refused_with_their_place(old, new):
    text = to_toml(Profile([row()]))
    assert old in text
    with pytest.raises(NfsleuthError, match=r"site\.toml: \[\[client\]\] number 1"):
        from_toml(text.replace(old, new), "site.toml")


# Recognising


def test_a_client_is_recognised():
    found = recognise(rates(125.0), STUDY, "")
    assert isinstance(found, Recognition)
    assert found.fits[0].label.name == "virtio nat"
    assert max(found.states, key=found.states.get) == "user-nat-vm"
    assert {fit.label.name for fit in found.fits if not fit.rejected} == {"virtio nat"}


def test_a_client_that_fits_nothing_is_unknown():
    for speed in (5.0, 170.0, 5000.0):
        found = recognise(rates(speed), STUDY, "")
        assert isinstance(found, Recognition)
        assert not found.fits_something
        assert found.states == {}


@pytest.mark.parametrize(
    ("known", "profile", "why"),
    [
        (rates(125.0, 40, 9), STUDY, "9 client-limited intervals"),
        (rates(125.0, kind=Kind("read", 4096)), STUDY, "sizes"),
        (rates(125.0), site(native=483.0), "too little"),
        (rates(125.0), site(virtio_bridged=483.0), "too little"),
    ],
)
def test_too_little_recognises_nothing(known, profile, why):
    assert why in recognise(known, profile, "")


def test_conformal_p_values_keep_their_promise():
    """Of clients drawn as those learnt from, at most a share of p has a p-value of p or less."""
    import random

    draw = random.Random(4)
    trials = 2000
    scores = [conformal([draw.gauss(0, 1) for _ in range(19)], draw.gauss(0, 1)) for _ in range(trials)]
    for p in (0.05, 0.1, 0.5):
        assert sum(score <= p for score in scores) / trials <= p + 0.02
    assert conformal([1.0, 2.0], 3.0) == pytest.approx(1 / 3)


def evidence(known: Rates, profile: Profile | None):
    rules = Rules.builtin() if profile is None else Rules.builtin().with_profile(profile)
    return observe("read_speed", facts(rates=known), rules=rules)


def test_reading_like_a_guest_is_evidence_within_caps():
    (found,) = evidence(rates(119.0), STUDY)
    assert found.counted
    assert found.says == "reads like virtio nat"
    assert found.toward == {State.USER_NAT: 1.5, State.BRIDGED: pytest.approx(1.0, abs=2.0)}
    assert all(abs(nats) <= 1.5 for nats in found.toward.values())


def test_reading_like_a_machine_is_evidence_against_guests():
    (found,) = evidence(rates(483.0), STUDY)
    assert found.toward == {State.BRIDGED: pytest.approx(-1.0), State.USER_NAT: pytest.approx(-1.5)}


def test_bandwidth_alone_never_proves_a_guest():
    from nfsleuth.evidence.model import HYPOTHESES
    from nfsleuth.verdict.fuse import fuse
    from nfsleuth.verdict.priors import DEFAULT, complete

    for speed in (119.0, 283.0, 60.0, 483.0):
        assert fuse(evidence(rates(speed), STUDY), complete(DEFAULT)).answer not in HYPOTHESES


def test_no_profile_no_evidence():
    assert evidence(rates(119.0), None) == []
    assert evidence(Rates(), STUDY) == []


@pytest.mark.parametrize(("known", "why"), [(rates(119.0, 40, 9), "takes 10"), (rates(5.0), "fits no label")])
def test_what_cannot_be_compared_is_set_aside_and_shown(known, why):
    (found,) = evidence(known, STUDY)
    assert not found.counted
    assert why in found.why_not


def test_a_profile_of_several_links_wants_one_named():
    both = STUDY + Profile([replace(r, link="10G") for r in STUDY.rows])
    rules = Rules.builtin()
    with pytest.raises(NfsleuthError, match="--link"):
        rules.with_profile(both)
    with pytest.raises(NfsleuthError, match="no link 'dsl'"):
        rules.with_profile(both, "dsl")
    with pytest.raises(NfsleuthError, match="empty"):
        rules.with_profile(Profile())
    assert rules.with_profile(both, "10G").link == "10G"
    assert rules.with_profile(STUDY).link == ""


# Numbers


def test_robust_numbers_are_robust():
    assert spread([1, 2, 3, 4, 1000]) == pytest.approx(1.4826)
    assert bootstrapped([1.0, 2.0]).low is None
    interval = bootstrapped([1.0, 2.0, 3.0, 4.0, 5.0])
    assert interval.low <= interval.median == 3.0 <= interval.high


def test_students_t_is_a_density():
    area = sum(math.exp(student_log_density(x / 100, 1.0, 0.5)) / 100 for x in range(-20_000, 20_000))
    assert area == pytest.approx(1, abs=0.001)


def test_the_spread_of_a_histogram_is_that_of_its_values():
    values = [10.0, 11.0, 12.0, 13.0, 50.0]
    known = Histogram(Counter(math.floor(math.log2(v) * STEPS) for v in values))
    assert log_spread(known) == pytest.approx(spread([math.log(v) for v in values]), abs=0.06)
    assert log_spread(Histogram()) == 0


def test_three_clients_make_a_label():
    assert LEAST_CLIENTS == 3

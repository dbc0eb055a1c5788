"""The parts that need no capture: aligned sequences, labels, masks, corrections, drafts, and what is shown."""

import ast
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfsleuth.contrast import draft, labels, questions, rank, runs
from nfsleuth.contrast.align import Change, align
from nfsleuth.contrast.differences import differences
from nfsleuth.contrast.sketch import Profile, Step
from nfsleuth.errors import NfsleuthError
from nfsleuth.evidence.document import sections
from nfsleuth.report import contrast_html, contrast_json, contrast_text
from nfsleuth.report.escape import columns

HOSTILE = "\x1b[31m<script>\u202e\"'''"


def client(label, number, fields, *, version="4.0", capture="a.pcap", software="linux"):
    profile = Profile(f"10.0.0.{number}", capture, label, frozenset({f"{label}{number}"}), version, software)
    profile.contexts.add("nfs4.OPEN")
    profile.see(fields.items(), number + 1)
    return profile


def two_kinds(count=10, **planted):
    """Clients of which one field follows the label."""
    rng = np.random.default_rng(3)
    return [
        client(
            label,
            n,
            {"nfs4.OPEN.kind": label, "nfs4.OPEN.noise": int(rng.integers(3)), "nfs4.OPEN.own": n * 7 + len(label)}
            | planted,
        )
        for label in ("native", "user-nat")
        for n in range(count)
    ]


# Alignment

steps = st.lists(st.sampled_from(["nfs4.PUTFH READ", "nfs4.PUTFH GETATTR", "nfs3.READ", "nfs3.WRITE"]), max_size=30)


@given(steps, steps)
def test_each_step_is_in_one_pair_and_in_its_order(left, right):
    left = [Step(i, t, "", i) for i, t in enumerate(left)]
    right = [Step(i, t, "", i) for i, t in enumerate(right)]
    pairs = align(left, right)
    assert [p.left for p in pairs if p.left] == left
    assert [p.right for p in pairs if p.right] == right
    for pair in pairs:
        assert (pair.change is Change.SAME) == bool(pair.left and pair.right and pair.left.text == pair.right.text)
        assert (pair.change is Change.DELETED) == (pair.right is None)
        assert (pair.change is Change.INSERTED) == (pair.left is None)


def test_what_was_changed_stands_beside_what_it_was():
    left = [Step(0, "nfs4.PUTFH READ", "", 1), Step(1, "nfs4.PUTFH ACCESS GETATTR", "", 2)]
    right = [Step(0, "nfs4.PUTFH READ", "", 1), Step(1, "nfs4.PUTFH GETATTR", "", 2)]
    assert [p.change for p in align(left, right)] == [Change.SAME, Change.CHANGED]


# Labels


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([], "no label file"),
        ({"clients": []}, "capture"),
        ({"capture": "../x", "clients": [{}]}, "beside it"),
        ({"capture": "x", "clients": {}}, "list"),
        ({"capture": "x", "clients": []}, "labels no clients"),
        ({"capture": "x", "clients": [{}]}, "no address"),
    ],
)
def test_bad_label_files_are_named(content, says):
    with pytest.raises(NfsleuthError, match=says) as caught:
        labels.parse("some.json", content)
    assert caught.value.message.startswith("some.json")


def test_any_key_can_be_the_label():
    one = {"address": "10.0.0.1", "state": "user-nat-vm", "nic": "e1000", "trap": False, "versions": ["3", "4.0"]}
    file = labels.parse("x", {"capture": "x.pcap", "snaplen": 640, "clients": [one]})
    keys = ("nic", "trap", "versions", "snaplen", "network", "state", "missing")
    assert [labels.label_of(file, one, k) for k in keys] == [
        "e1000",
        "no",
        "3+4.0",
        "640",
        "user-nat",
        "user-nat-vm",
        None,
    ]
    assert {"nic", "network", "state"} <= set(labels.keys([file]))


# Runs, questions, ranking


def test_masks_are_learnt_from_runs_of_one_client():
    first = client("a", 1, {"nfs4.OPEN.same": 1, "nfs4.OPEN.moves": 5}, capture="one")
    again = client("a", 1, {"nfs4.OPEN.same": 1, "nfs4.OPEN.moves": 6}, capture="two")
    other = client("a", 2, {"nfs4.OPEN.same": 2, "nfs4.OPEN.moves": 7}, capture="two")
    found, masked = runs.clients([first, again, other])
    assert (len(found), masked, [c.runs for c in found]) == (2, {"nfs4.OPEN.moves"}, [2, 1])


def test_two_clients_of_one_capture_are_never_runs_of_one():
    found, masked = runs.clients([client("a", 1, {"p": 1}), client("a", 1, {"p": 2})])
    assert (len(found), masked) == (2, set())


def test_the_planted_field_alone_is_found():
    result = rank.contrast(two_kinds(), set())
    assert [f.path for f in result.findings] == ["nfs4.OPEN.kind"]
    assert result.findings[0].share == pytest.approx(1)
    assert result.findings[0].p < 0.001


def test_fields_that_divide_alike_are_put_together():
    found = two_kinds()
    for profile in found:
        profile.see([("nfs4.OPEN.twin", len(profile.label))])
    result = rank.contrast(found, set())
    assert [[f.path for f in one.fields] for one in result.findings] == [["nfs4.OPEN.kind", "nfs4.OPEN.twin"]]


def test_what_is_everybodys_own_divides_nobody():
    asked = {q.path: q for q in questions.about(two_kinds(), set())}
    assert "nfs4.OPEN.own" not in {p for p, q in asked.items() if any(x.kind == "values" for x in q.questions)}


def test_a_masked_field_is_compared_by_form():
    found = [client("a", n, {"nfs4.OPEN.id": 1000 + n}) for n in range(8)]
    found += [client("b", n, {"nfs4.OPEN.id": 1000000 + n}) for n in range(8)]
    result = rank.contrast(found, {"nfs4.OPEN.id"})
    assert [(f.path, f.question.kind) for f in result.findings] == [("nfs4.OPEN.id", "form")]


def test_guests_behind_one_mac_count_once_and_a_mac_that_was_not_kept_is_no_mistake():
    found = two_kinds(4)
    for n, profile in enumerate(found):
        profile.contexts.add("eth")
        profile.see([("eth.src.scope", profile.label)])
        if n % 2:
            profile.see([("eth.src", f"52:54:00:00:00:{n:02x}")])
    (asked,) = [one for one in questions.about(found, set()) if one.path == "eth.src.scope"]
    assert asked.who.tolist() == [0, 1, 3, 4, 5, 7]  # of each label those with a MAC, and one of those without


def test_a_difference_of_versions_is_no_finding():
    found = [client("a", n, {"nfs4.OPEN.x": "3"}, version="3" if n < 6 else "4.0") for n in range(8)]
    found += [
        client("b", n, {"nfs4.OPEN.x": "4" if n >= 2 else "3"}, version="4.0" if n >= 2 else "3") for n in range(8)
    ]
    for profile in found:
        profile.fields["nfs4.OPEN.x"].values = {profile.version: [1, 1]}
    assert not rank.contrast(found, set()).findings


def test_a_difference_of_software_is_said_to_be_one():
    found = [client("a", n, {"nfs4.OPEN.x": "libnfs"}, software="libnfs") for n in range(8)]
    found += [client("b", n, {"nfs4.OPEN.x": "linux"}, software="linux") for n in range(8)]
    result = rank.contrast(found, set())
    assert [f.cause for f in result.findings] == [rank.Cause.SOFTWARE]


def test_what_a_client_says_of_its_software_is_a_difference_of_software():
    path = "nfs4.EXCHANGE_ID.eia_client_impl_id[].nii_name"
    found = [client(label, n, {path: f"Linux {label}"}) for label in "ab" for n in range(8)]
    for profile in found:
        profile.contexts.add("nfs4.EXCHANGE_ID")
    assert [(f.path, f.cause) for f in rank.contrast(found, set()).findings] == [(path, rank.Cause.SOFTWARE)]


def test_times_stand_apart_and_never_lead_other_fields():
    found = two_kinds()
    for number, profile in enumerate(found):
        profile.measures["tcp.handshake ns"] = number % 10 + (1000.0 if profile.label == "native" else 0.0)
        profile.measures["calls.gap ns"] = float(number % 5) + (100 if number % 10 < 9 else 0) * (
            profile.label == "native"
        )
    first, second = rank.contrast(found, set()).findings
    assert (first.path, first.cause) == ("nfs4.OPEN.kind", rank.Cause.NONE)
    assert [f.path for f in first.fields] == ["nfs4.OPEN.kind", "tcp.handshake ns"]
    assert (second.path, second.cause) == ("calls.gap ns", rank.Cause.CONDITIONS)
    text = contrast_text.findings(rank.contrast(found, set()), found, [])
    assert text.index("nfs4.OPEN.kind") < text.index("Times and rates, which depend on") < text.index("calls.gap ns")
    page = contrast_html.page(rank.contrast(found, set()), found, [])
    assert "Times and rates, which depend on" in page


def test_what_differs_between_captures_is_no_finding_where_captures_hold_both_labels():
    """Labels that are unequally spread over two captures: the server's address follows the capture."""
    found = []
    for capture, of_a, of_b in (("one.pcap", 9, 4), ("two.pcap", 4, 9)):
        for label, count in (("a", of_a), ("b", of_b)):
            fields = {"nfs4.OPEN.server": capture, "nfs4.OPEN.kind": label}
            found += [client(label, len(found) + n, fields, capture=capture) for n in range(count)]
    result = rank.contrast(found, set())
    assert [f.path for f in result.findings] == ["nfs4.OPEN.kind"]


def test_what_only_clients_of_different_captures_show_stands_apart():
    """One capture has clients of both labels, too few to ask; the others have one label each, and another server."""
    found = [client(label, n, {}, capture="both.pcap") for label in "ab" for n in range(2)]
    for label in "ab":
        found += [client(label, 9 + n, {"nfs4.OPEN.server": label}, capture=f"{label}.pcap") for n in range(9)]
    (finding,) = rank.contrast(found, set()).findings
    assert (finding.path, finding.cause) == ("nfs4.OPEN.server", rank.Cause.CAPTURES)


def test_numbers_that_may_be_anything_are_asked_for_their_form():
    found = [
        client(label, n, {"tcp.timestamp.value": 2**31 + n + 1000 * (label == "a")}) for label in "ab" for n in range(8)
    ]
    for profile in found:
        profile.contexts.add("tcp")
    assert not rank.contrast(found, set()).findings


def test_a_field_that_the_capture_cuts_is_not_missed():
    found = [client("a", n, {"nfs4.OPEN.x": 1, "nfs4.OPEN.y": n % 2}) for n in range(8)]
    found += [client("b", n, {"nfs4.OPEN.y": n % 2}) for n in range(8)]
    assert [f.path for f in rank.contrast(found, set()).findings] == ["nfs4.OPEN.x"]
    for profile in found:
        profile.cut.add("nfs4.OPEN")
    assert not rank.contrast(found, set()).findings


def test_with_two_clients_each_nothing_can_be_concluded():
    found = two_kinds(2)
    result = rank.contrast(found, set())
    assert (result.can_conclude, result.findings) == (False, ())
    assert "nfs4.OPEN.kind" in [d.path for d in differences(found, set())]
    text = contrast_text.findings(result, found, differences(found, set()))
    assert "Cannot conclude" in text


def test_noise_about_the_connection_is_not_carried_by_findings_elsewhere():
    """A field with a large share of the permitted error still has to be unlikely by itself."""
    found = two_kinds(10)
    for n, profile in enumerate(found):
        profile.see([(f"nfs4.OPEN.twin{i}", f"{i}{profile.label}{n % 2 * (i > 0)}") for i in range(30)])
        profile.see([("ip.ttl.hops", int(n % 3 == 0))])
    result = rank.contrast(found, set())
    assert result.findings
    assert "ip.ttl.hops" not in [f.path for one in result.findings for f in one.fields]


def test_one_label_is_an_error():
    with pytest.raises(ValueError, match="two labels"):
        rank.contrast([client("a", 1, {})], set())


def test_benjamini_hochberg_by_hand():
    assert rank.benjamini_hochberg([0.01, 0.04, 0.03], [[1], [1], [1]]) == pytest.approx([0.03, 0.04, 0.04])
    assert rank.benjamini_hochberg([0.02, 0.5], [[1, 1, 1], [1]]) == pytest.approx([0.08 / 3, 0.5])
    assert rank.benjamini_hochberg([0.02, 0.02], [[3], [1]]) == pytest.approx([2 * 0.02 * 2 / 3, 0.04])
    assert rank.benjamini_hochberg([], []) == []


@pytest.mark.slow
def test_noise_is_found_in_one_of_twenty_at_most():
    """200 comparisons of noise: at a rate of 5 %, 10 are expected to find something; 18 would come once in 100 times."""
    found = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        noise = [
            client(label, n, {f"nfs4.OPEN.f{i}": int(rng.integers(2 + i % 4)) for i in range(20)})
            for label in "ab"
            for n in range(8)
        ]
        found += bool(rank.contrast(noise, set()).findings)
    assert found <= 18


# What is shown


def hostile():
    found = two_kinds(8)
    for profile in found:
        profile.label = HOSTILE + profile.label
        profile.client = HOSTILE
        profile.see([(f"nfs4.OPEN.{HOSTILE}", HOSTILE + profile.label[-3:])])
        profile.steps = [Step(0, f"nfs4.{HOSTILE}", HOSTILE, 1)]
    return found


def test_nothing_hostile_reaches_terminal_or_page():
    found = hostile()
    result = rank.contrast(found, set())
    assert result.findings
    pairs = align(found[0].steps, found[-1].steps)
    for verbose in (False, True):
        text = contrast_text.findings(result, found, differences(found, set()), 80, verbose=verbose, show_masked=True)
        text += contrast_text.sequence(found[0], found[-1], pairs)
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert max(columns(line) for line in text.splitlines()) <= 80
    page = contrast_html.page(result, found, [], (found[0], found[-1], pairs), "1")
    assert "<script>" not in page
    assert "\x1b" not in page
    document = json.dumps(contrast_json.contrasted(result, found, [], [], (found[0], found[-1], pairs)))
    assert json.loads(document)["schema"] == "nfsleuth.contrast/1"


def test_a_draft_is_a_heuristic_that_says_what_is_missing(tmp_path, monkeypatch):
    for found in (two_kinds(8), hostile()):
        result = rank.contrast(found, set())
        text = draft.draft("some_rule", result.findings[0], result, found)
        ast.parse(text)
        assert "\x1b" not in text
        assert max(map(len, text.splitlines())) <= 120
    text = draft.draft("some_rule", rank.contrast(two_kinds(8), set()).findings[0], result, two_kinds(8))
    (tmp_path / "some_rule.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    import some_rule

    assert set(sections(some_rule)) >= {
        "What it sees",
        "Why it tells clients apart",
        "Known confusions",
        "Example",
        "Source",
    }
    with pytest.raises(NotImplementedError):
        list(some_rule.observe(None, None, None))
    assert some_rule.WEIGHTS["seen"].source == "lab"


@pytest.mark.parametrize("name", ["", "X", "a b", "class", "../x", "x" * 50])
def test_a_rule_needs_a_name(name):
    with pytest.raises(NfsleuthError):
        draft.check_name(name)


def test_weights_come_from_the_counts():
    found = two_kinds(8)
    finding = rank.contrast(found, set()).findings[0]
    _, ratios = draft.ratios(finding, found)
    best = max(ratios, key=lambda r: r.nats)
    assert (best.mine, best.others) == ((8, 8), (0, 8))
    assert best.nats == pytest.approx(np.log((8.5 / 9) / (0.5 / 9)))
    assert best.low < best.nats < best.high

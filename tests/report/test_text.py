"""The table and the explanation: what they say, and that they stay within their columns whatever a capture says."""

from __future__ import annotations

import pytest

from nfsleuth.clients.facts import ClientId, Seen
from nfsleuth.evidence.model import State
from nfsleuth.report import words
from nfsleuth.report.escape import columns
from nfsleuth.report.text import explanation, table
from nfsleuth.verdict.model import Report
from report import make

WIDTHS = (60, 61, 79, 80, 100, 132, 250)


def test_the_first_line_says_what_was_read() -> None:
    first = table(make.ordinary()).splitlines()[0]
    assert first == "office.pcap: 41,203 frames, 12.3 s, 9,312 calls, 6 clients, 1 shared host"


def test_a_long_path_gives_way_to_what_came_out_of_it() -> None:
    path = "/srv/captures/" + "deep/" * 20 + "monday.pcap.zst"
    first = table(make.report(make.verdict(), captures=(make.capture(path),))).splitlines()[0]
    assert first.startswith("…")
    assert first.endswith("deep/monday.pcap.zst: 41,203 frames, 12.3 s, 9,312 calls, 1 client")
    assert len(first) == 80


def test_a_long_host_is_cut_in_its_middle_and_only_as_far_as_needed() -> None:
    clients = [make.verdict(f"10.77.0.21#{n}", name="guest", host="address:10.77.0.21") for n in (1, 2)]
    assert "  address:10.77.0.21\n" in table(make.report(*clients))
    shown = table(make.report(make.verdict("2001:db8:1234:5678:9abc:1", name=""), *clients))
    assert max(map(columns, shown.splitlines())) <= 80
    assert "…" in shown


def test_a_wide_table_has_one_line_per_client_with_its_reasons() -> None:
    lines = table(make.ordinary(), 130).splitlines()
    assert lines[2].split() == ["Client", "Name", "State", "Platform", "Sure", "Why", "Host"]
    assert lines[3].split("  ")[0] == "10.0.0.7"
    assert "98%  MAC 52:54:00 is KVM/QEMU's" in lines[3]
    assert lines[5].endswith("h1")
    assert len({line.index("h1") for line in lines[5:7]}) == 1


def test_a_narrow_table_has_the_reasons_below() -> None:
    lines = table(make.ordinary(), 80).splitlines()
    assert lines[2].split() == ["Client", "Name", "State", "Platform", "Sure", "Host"]
    assert lines[4] == "  MAC 52:54:00 is KVM/QEMU's, and no sign speaks against it"


def test_an_ipv6_address_is_shown_whole_at_80_columns() -> None:
    address = "2001:db8:1234:5678:9abc:def0:1234:5678"
    shown = table(make.report(make.verdict(address, name="n" * 60)))
    assert address in shown
    assert max(map(columns, shown.splitlines())) <= 80


@pytest.mark.parametrize("state", [State.UNKNOWN, State.CONFLICT])
def test_doubt_is_never_called_sure(state: State) -> None:
    shown = table(
        make.report(make.verdict(state=state, leading=State.NATIVE, probability=0.6, because="", platform=None))
    )
    row = next(line for line in shown.splitlines() if line.startswith("10.0.0.7"))
    assert row.split() == ["10.0.0.7", "vm-a", state.value, "-"]


def test_nothing_is_ever_called_certain() -> None:
    shown = table(make.report(make.verdict(probability=1.0)))
    assert ">99%" in shown
    assert "100%" not in shown


def test_oddities_are_ranked_and_all_of_them_shown_on_request() -> None:
    odd = {"segment_repeated": 900, "gap": 3, "tls": 2, "xdr_malformed": 5, "frame_cut": 7, "brand_new_kind": 1}
    report = make.report(make.verdict(), captures=(make.capture(**odd),))
    short = table(report)
    assert "Odd: frames cut short (snaplen) 7, malformed XDR 5, gaps in the capture 3" in short
    assert "2 more kinds (-v)" in short
    long = table(report, verbose=True)
    assert "segments repeated  first in frame 812" in long
    assert "brand new kind" in long


def test_colour_only_on_request() -> None:
    assert "\x1b" not in table(make.ordinary())
    assert "\x1b[36mbridged-vm" in table(make.ordinary(), colour=True)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "report", [make.ordinary(), make.hostile(), make.report()], ids=["ordinary", "hostile", "none"]
)
def test_nothing_is_wider_than_the_terminal(report: Report, width: int) -> None:
    shown = [table(report, width), table(report, width, verbose=True)]
    shown += [explanation(report, client, width) for client in report.clients]
    for line in "".join(shown).split("\n"):
        assert columns(line) <= width, line
        assert line == "" or line.isprintable()


def test_an_explanation_lists_evidence_by_weight_with_what_was_seen_and_where() -> None:
    report = make.ordinary()
    shown = explanation(report, report.clients[2])
    assert shown.startswith("10.0.0.9#1 (guest-1): user-nat-vm\n98% sure, virtual 99%, KVM/QEMU 97%\n")
    assert "Host h1: 2 clients share a machine (98%): same address 10.0.0.9; same MAC" in shown
    assert shown.index("+4.60  mac_prefix") < shown.index("-0.40  source_port")
    assert "seen 52:54:00:12:34:56 (frames 3, 8, 12)" in shown
    aside = shown[shown.index("Set aside") :]
    assert "because a router rewrote it" in aside
    assert "mac_prefix" not in aside[: aside.index("Probability")]
    assert "without mac_prefix: unknown (0.55)" in shown


def test_an_explanation_of_doubt_names_the_most_likely_state() -> None:
    report = make.ordinary()
    assert "most likely native, 55%" in explanation(report, report.clients[4])


@pytest.mark.parametrize(
    ("flavors", "hidden"),
    [
        (("none", "sys"), ""),
        (("sys", "gss"), ""),
        (("gss",), "Hidden: Kerberos in the place of AUTH_SYS names no machine\n"),
        (("sys", "gss", "gss-hidden"), "Hidden: Kerberos encrypts arguments and results (krb5p)\n"),
        (("none", "tls"), "Hidden: TLS encrypts all that is above TCP\n"),
    ],
)
def test_an_explanation_says_why_less_is_known(flavors: tuple[str, ...], hidden: str) -> None:
    report = make.ordinary()
    verdict = report.clients[0]
    for flavor in flavors:
        verdict.facts.flavors.see(flavor)
    shown = explanation(report, verdict)
    assert hidden in shown
    assert shown.count("Hidden:") == bool(hidden)


def test_a_client_without_auth_sys_goes_by_the_name_in_its_owner_strings() -> None:
    report = make.ordinary()
    verdict = report.clients[0]
    verdict.facts.client_ids = (
        ClientId(b"Linux NFSv4.0 db-7/10.0.0.1", 1, 0, 1, 1),
        ClientId(b"Linux NFSv4.1 db-7", 1, 1, 2, 2),
        ClientId(b"Libnfs pid:1", 3, 0, 3, 3),
    )
    assert words.names(verdict) == ["vm-a"]
    verdict.facts.names = Seen()
    assert words.names(verdict) == ["db-7"]
    verdict.facts.nlm_callers.see("db-7.example.net")
    assert words.names(verdict) == ["db-7.example.net"]


def test_every_state_has_a_line_of_probability() -> None:
    shown = explanation(make.ordinary(), make.ordinary().clients[0])
    lines = shown.split("Probability\n")[1].splitlines()[:6]
    assert [line.split()[0] for line in lines] == [
        "bridged-vm", "container", "hypervisor", "kernel-nat", "native", "user-nat-vm",
    ]  # fmt: skip

"""Mounts protected by Kerberos (RPCSEC_GSS), recorded in the lab: what can be read is read and counted right, what is
encrypted is said to be, and what is left still tells who the client is.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
import zstandard

import nfsleuth
from conftest import CAPTURES
from nfsleuth.evidence.model import State
from nfsleuth.lab import damage
from nfsleuth.lab.model import Derived
from nfsleuth.report import text
from nfsleuth.report.call_lines import CallLines
from nfsleuth.verdict.model import Report, Verdict
from nfsleuth.wire import programs

FOLDER = CAPTURES / "lab" / "kerberos"
CAPTURE = FOLDER / "server.pcapng.zst"
LABELS = {label["name"]: label for label in json.loads((FOLDER / "server.labels.json").read_text())["clients"]}
READABLE = ("krb5-v41", "krb5i-v40", "krb5i-v3", "hidden-v41", "masked-v42", "uml-v41")  # sec=krb5 and krb5i
ENCRYPTED = ("krb5p-v42", "krb5p-v3", "hidden-v40")
FILE = 100 << 10  # bytes of the file that the readers of the workload `look` read
WRITE, EXCHANGE_ID = "38", "42"
LOOK = ("krb5-v41", "krb5i-v40", "krb5i-v3")


@pytest.fixture(scope="module")
def report() -> Report:
    return nfsleuth.identify(CAPTURE)


@pytest.fixture(scope="module")
def calls() -> pl.DataFrame:
    """Calls of NFS, of clients alone."""
    return nfsleuth.read(CAPTURE).calls.filter((pl.col("program") == "nfs") & ~pl.col("from_server"))


def called(report: Report, name: str) -> Verdict:
    """The one client that has the label's ports."""
    label = LABELS[name]
    (found,) = [
        v
        for v in report.clients
        if v.facts.address == label["address"] and set(label["ports"]) & set(v.facts.ports.sightings)
    ]
    return found


def of(calls: pl.DataFrame, *names: str) -> pl.DataFrame:
    """The calls of the clients `names`."""
    ends = [(LABELS[name]["address"], port) for name in names for port in LABELS[name]["ports"]]
    wanted = pl.DataFrame(ends, schema={"client": pl.String, "client_port": pl.UInt16}, orient="row")
    return calls.join(wanted, on=["client", "client_port"], how="semi")


def evidence(verdict: Verdict, rule: str) -> list[str]:
    return [w.evidence.seen for w in verdict.weighed if w.evidence.rule == rule]


# What tshark counts


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The capture unpacked, for a tshark without zstd."""
    target = tmp_path_factory.mktemp("kerberos") / "server.pcapng"
    with CAPTURE.open("rb") as packed, target.open("wb") as out:
        zstandard.ZstdDecompressor().copy_stream(packed, out)
    return target


def by_tshark(capture: Path, filtered: str, *fields: str) -> list[list[str]]:
    """The `fields` of each frame that passes; no frame of the capture holds two messages."""
    words = [word for field in fields for word in ("-e", field)]
    command = ["tshark", "-r", str(capture), "-d", "tcp.port==2049,rpc", "-Y", filtered, "-T", "fields", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return [line.split("\t") for line in done.stdout.splitlines()]


@pytest.mark.tshark
def test_procedures_and_operations_are_counted_as_tshark_counts_them(plain: Path, calls: pl.DataFrame) -> None:
    fields = ("ip.src", "rpc.programversion", "rpc.procedure", "rpc.authgss.service", "nfs.opcode")
    rows = by_tshark(plain, "rpc.msgtyp==0 && rpc.program==100003 && tcp", *fields)
    theirs: Counter[tuple[str, str, str]] = Counter()
    for address, version, procedure, service, opcodes in rows:
        assert procedure.isdigit()
        if version.startswith("3"):
            theirs[address, "3", programs.procedure_name(programs.NFS, 3, int(procedure))] += 1
        elif procedure == "0" or service == "3":
            theirs[address, "4", "NULL" if procedure == "0" else "hidden"] += 1
        else:
            # tshark shows the operations of the bit masks of SP4_MACH_CRED, too (RFC 8881 section 18.35.1).
            codes = opcodes.split(",") if not opcodes.startswith(EXCHANGE_ID) else [EXCHANGE_ID]
            # What stands behind the data of a WRITE that is longer than a segment is not read.
            read = codes[: codes.index(WRITE) + 1] if WRITE in codes else codes
            theirs.update((address, "4", programs.operation_name(int(code))) for code in read)
    ours: Counter[tuple[str, str, str]] = Counter()
    for row in calls.filter(pl.col("client_port").is_in(tcp_ports(plain))).iter_rows(named=True):
        if row["version"] == 3 or row["operation"] == "NULL":
            ours[row["client"], str(row["version"]), row["operation"]] += 1
        elif row["hidden"]:
            ours[row["client"], "4", "hidden"] += 1
        else:
            assert len(row["operations"]) == row["operations_count"] or row["operations"][-1] == "WRITE"
            ours.update((row["client"], "4", operation) for operation in row["operations"])
    assert ours == theirs


def tcp_ports(capture: Path) -> list[int]:
    return [int(port) for (port,) in by_tshark(capture, "tcp.dstport==2049 && tcp.flags.syn==1", "tcp.srcport")]


@pytest.mark.tshark
def test_every_call_has_its_reply_and_none_is_counted_twice(plain: Path, calls: pl.DataFrame) -> None:
    answered = Counter(a for (a,) in by_tshark(plain, "rpc.msgtyp==1 && rpc.program==100003", "ip.dst"))
    assert not calls["reply_frame"].null_count()
    assert Counter(calls["client"]) == answered
    for name, label in LABELS.items():
        assert len(of(calls, name)) == label["rpc_calls"]


@pytest.mark.tshark
def test_what_is_encrypted_is_what_tshark_calls_privacy(plain: Path, report: Report) -> None:
    private = by_tshark(plain, "rpc.msgtyp==0 && rpc.authgss.service==3 && rpc.authgss.procedure==0", "ip.src")
    assert report.captures[0].oddities["body_hidden"] == len(private) > 100


# What can be read


def test_bodies_are_read_to_their_end_with_krb5_and_krb5i(calls: pl.DataFrame) -> None:
    for name in READABLE:
        mine = of(calls, name)
        assert "gss" in mine["flavor"]
        assert not mine.select(pl.any_horizontal("hidden", "cut", "reply_cut").any()).item(), name
        assert mine["status"].null_count() == 0, name


@pytest.mark.parametrize("name", LOOK)
def test_a_file_is_named_and_read_whole(calls: pl.DataFrame, report: Report, name: str) -> None:
    """The length and the sequence number of rpc_gss_integ_data are no part of what is read."""
    mine = of(calls, name)
    reads = mine.filter(pl.col("operation") == "READ")
    (whole,) = (
        bytes_ for bytes_ in reads.group_by("handle").agg(pl.col("bytes").sum())["bytes"].to_list() if bytes_ > 10_000
    )
    assert whole == FILE
    assert str(FILE) in mine["name"].to_list()
    assert called(report, name).facts.reads.bytes == reads["bytes"].sum()


def test_encrypted_bodies_are_said_to_be(calls: pl.DataFrame, report: Report) -> None:
    hidden = calls.filter(pl.col("hidden"))
    assert Counter(hidden["flavor"]) == {"gss": len(hidden)}
    assert not hidden["name"].drop_nulls().len()
    assert set(hidden["status_name"]) == {"not decoded"}
    assert len(of(hidden, *ENCRYPTED)) == len(hidden)
    assert "encrypted" in CallLines().render(hidden)
    assert f"calls encrypted by Kerberos {report.captures[0].oddities['body_hidden']}" in " ".join(
        text.table(report).split()
    )


def test_flavours_are_those_of_the_mounts(report: Report) -> None:
    found = {name: set(called(report, name).facts.flavors) - {"none"} for name in LABELS}
    wanted = {name: {"gss"} for name in READABLE} | {name: {"gss", "gss-hidden"} for name in ENCRYPTED}
    wanted["krb5i-v3"] |= {"sys"}  # its MOUNT calls
    wanted["krb5p-v3"] |= {"sys"}
    assert found == {"libnfs-v3": {"sys"}, "sys-v40": {"sys", "gss"}} | wanted


def test_explain_says_why_less_is_known(report: Report) -> None:
    said = {name: " ".join(text.explanation(report, called(report, name)).split()) for name in LABELS}
    encrypted = {name for name, words in said.items() if "Kerberos encrypts arguments and results (krb5p)" in words}
    nameless = {name for name, words in said.items() if "Kerberos in the place of AUTH_SYS names no machine" in words}
    assert encrypted == set(ENCRYPTED)
    assert nameless == {name for name, label in LABELS.items() if "sec=krb5" in label["mount"]} - {
        "krb5i-v3", "krb5p-v3",  # AUTH_SYS in MOUNT names them
    }  # fmt: skip


# Who it is


def test_each_client_is_one_row_under_its_own_name(report: Report) -> None:
    """NFSv4 clients whose every call is protected are named by their owner strings."""
    assert len(report.clients) == len(LABELS)
    for name, label in LABELS.items():
        verdict = called(report, name)
        assert set(label["ports"]) <= set(verdict.facts.ports.sightings), "rpc.gssd's connections are its own"
        assert text.words.names(verdict) == label["names"]
        assert verdict.facts.versions.sightings.keys() == set(label["nfs_versions"])


def test_state_is_set_up_in_the_clear(report: Report) -> None:
    """Linux signs SETCLIENTID and EXCHANGE_ID (krb5i) whatever the mount's flavour is, so they can be read."""
    for name, label in LABELS.items():
        owners = evidence(called(report, name), "owner_string")
        if label["nfs_versions"] != ["3"]:
            assert [owner.startswith(f"Linux NFSv{label['nfs_versions'][0]} {name}") for owner in owners] == [True]
            assert evidence(called(report, name), "verifier_clock")
    assert evidence(called(report, "krb5i-v40"), "callback_address")
    assert evidence(called(report, "hidden-v40"), "callback_address") == ["r_addr 10.0.2.15, source 10.0.0.115"]


def test_what_is_below_rpc_tells_as_it_always_does(report: Report) -> None:
    for name in (*READABLE, *ENCRYPTED):
        rules = {w.evidence.rule for w in called(report, name).weighed}
        assert {"mac_prefix", "source_port", "syn_fingerprint", "ttl"} <= rules, name


def test_setting_up_a_context_is_a_null_call_that_ends_well(calls: pl.DataFrame) -> None:
    """RFC 2203 section 5.2.2: tokens travel in the arguments of procedure 0."""
    contexts = calls.filter((pl.col("operation") == "NULL") & (pl.col("flavor") == "gss"))
    assert set(contexts["client"]) == {label["address"] for name, label in LABELS.items() if name != "libnfs-v3"}
    assert set(contexts["status"]) == {0}
    assert not contexts.select(pl.any_horizontal("hidden", "cut", "reply_cut").any()).item()


@pytest.mark.parametrize(
    "how",
    [
        Derived(name="headers", damage="snaplen", snaplen=96),
        Derived(name="credentials", damage="snaplen", snaplen=160),  # ends in the verifier of most calls
        Derived(name="lossy", damage="loss", share=0.1),
        Derived(name="late", damage="midstream", share=0.5),
    ],
    ids=lambda how: how.name,
)
def test_worse_captures_make_nobody_surely_mistaken(tmp_path: Path, how: Derived) -> None:
    worse = tmp_path / "worse.pcap"
    damage.damage(CAPTURE, worse, how, seed=12)
    states = {label["address"]: set() for label in LABELS.values()}
    for label in LABELS.values():
        states[label["address"]] |= {*label["acceptable"], State.UNKNOWN, State.CONFLICT}
    found = nfsleuth.identify(worse).clients
    assert {verdict.facts.address for verdict in found} <= states.keys()
    assert len(found) >= 4
    for verdict in found:
        assert verdict.state in states[verdict.facts.address] or verdict.sure <= 0.9, verdict.id

"""Bad captures from good ones: each damage does what it says, to the bytes and to the labels, the same each time."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nfsleuth
from nfsleuth.errors import NfsleuthError
from nfsleuth.lab import damage
from nfsleuth.lab.damage import Frame
from nfsleuth.lab.experiment import load
from nfsleuth.lab.model import DAMAGES, Derived
from nfsleuth.lab.outcome import Flow

OFFICE = Path(__file__).parents[1] / "captures" / "office.pcapng"
ETHERNET = bytes.fromhex("525400000001 18662fda0102 0800") + bytes(range(60))
MANY = [Frame(1000 * n, ETHERNET + bytes([n]), 100 + n, 1) for n in range(100)]


def changed(frames=MANY, seed=1, start=0, mac="", **told):
    how = Derived(name="d", **told)
    return list(damage.changes(how, random.Random(seed), start, mac)(iter(frames)))


def test_a_snaplen_cuts_bytes_and_leaves_the_length_on_the_wire():
    assert [(f.data, f.wire) for f in changed(damage="snaplen", snaplen=32)] == [(f.data[:32], f.wire) for f in MANY]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_loss_leaves_out_about_its_share_and_changes_nothing_else(share):
    kept = changed(damage="loss", share=share)
    assert set(kept) <= set(MANY)
    assert kept == sorted(kept)
    assert len(kept) == pytest.approx(100 * (1 - share), abs=15)


@given(st.integers(0, 99), st.floats(0, 0.95), st.integers(0, 40))
def test_reordering_keeps_every_frame_and_no_time_runs_backwards(seed, share, count):
    moved = changed(MANY[:count], seed, damage="reorder", share=share)
    assert Counter(f.data for f in moved) == Counter(f.data for f in MANY[:count])
    assert [f.time for f in moved] == [f.time for f in MANY[:count]]
    places = {f.data: number for number, f in enumerate(moved)}
    assert all(number - places[f.data] <= damage.LATER for number, f in enumerate(MANY[:count]))


def test_reordering_moves_frames():
    assert changed(damage="reorder", share=0.3) != MANY


def test_the_first_part_of_the_time_goes():
    assert changed(damage="midstream", start=40_000) == MANY[40:]


def test_tags_stand_between_the_macs_and_the_type():
    """IEEE 802.1Q: 0x8100 and the VLAN; 802.1ad: 0x88a8 outside."""
    (one,) = changed(MANY[:1], damage="vlan", vlan=100)
    assert one.data[12:18].hex() == "810000640800"
    assert (len(one.data), one.wire) == (len(MANY[0].data) + 4, MANY[0].wire + 4)
    (two,) = changed(MANY[:1], damage="qinq", vlan=100, outer=200)
    assert two.data[12:22].hex() == "88a800c8810000640800"


@pytest.mark.parametrize(
    ("to", "source", "kind"),
    [("525400000001", "18662fda0102", 0), ("ffffffffffff", "18662fda0102", 1), ("01005e000001", "18662fda0102", 2),
     ("525400000001", "aaaaaaaaaaaa", 4)],
)  # fmt: skip
def test_a_cooked_header_says_who_sent_it_and_to_whom(to, source, kind):
    frame = Frame(0, bytes.fromhex(to + source + "0800") + b"payload", 60, 1)
    (cooked,) = changed([frame], damage="cooked", mac="aa:aa:aa:aa:aa:aa")
    assert cooked.data.hex() == f"{kind:04x}00010006{source}0000" + "0800" + b"payload".hex()
    assert (cooked.wire, cooked.link) == (62, 113)


@given(st.binary(max_size=30), st.sampled_from([d for d in DAMAGES if d != "midstream"]))
def test_frames_of_any_length_survive(data, kind):
    for frame in changed([Frame(5, data, 60, 1)], damage=kind, share=0.5):
        assert frame.wire >= 60 - 12


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_real_capture_is_damaged_the_same_way_each_time(kind, tmp_path):
    files = [tmp_path / f"{name}.pcap.zst" for name in ("one", "two")]
    counts = {damage.damage(OFFICE, file, Derived(name="d", damage=kind, share=0.3), 7) for file in files}
    assert files[0].read_bytes() == files[1].read_bytes()
    assert counts == {sum(1 for _ in damage.frames(files[0]))}
    assert nfsleuth.identify(files[0]).clients


@pytest.mark.tshark
def test_tshark_reads_what_is_written(tmp_path):
    import shutil
    import subprocess

    if not shutil.which("tshark"):
        pytest.skip("tshark is not installed")
    file = tmp_path / "q.pcap"
    damage.damage(OFFICE, file, Derived(name="d", damage="qinq"), 1)
    command = ["tshark", "-r", file, "-T", "fields", "-e", "ieee8021ad.id", "-e", "vlan.id"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert set(lines) == {"200\t100"}


DOCUMENT = {
    "capture": "good.pcapng", "snaplen": 640, "absent": [],
    "clients": [
        {"name": "a", "address": "10.0.0.7", "address6": None, "ports": [700, 701], "acceptable": ["bridged-vm"]},
        {"name": "b", "address": "10.0.0.8", "address6": None, "ports": [800], "acceptable": ["native"]},
    ],
}  # fmt: skip


class TestLabels:
    def test_connections_and_clients_that_are_gone_are_not_labelled(self):
        left = [Flow("10.0.0.7", 701, frozenset({1, 2}))]
        made = damage.labels(DOCUMENT, Derived(name="m", damage="midstream"), "m.pcap", left)
        assert [(c["name"], c["ports"], c["rpc_calls"]) for c in made["clients"]] == [("a", [701], 2)]
        assert made["absent"] == ["b"]
        assert (made["derived_from"], made["capture"]) == ("good.pcapng", "m.pcap")

    @pytest.mark.parametrize(
        ("told", "doubt"),
        [({"damage": "midstream"}, True), ({"damage": "snaplen"}, True), ({"damage": "loss", "share": 0.25}, True),
         ({"damage": "loss", "share": 0.02}, False), ({"damage": "vlan"}, False)],
    )  # fmt: skip
    def test_doubt_is_acceptable_where_names_may_be_gone(self, told, doubt):
        left = [Flow("10.0.0.8", 800, frozenset({1}))]
        (client,) = damage.labels(DOCUMENT, Derived(name="m", **told), "m.pcap", left)["clients"]
        assert ("unknown" in client["acceptable"]) == doubt

    def test_every_damage_says_what_was_done(self):
        said = {damage.words(Derived(name="d", damage=kind)) for kind in DAMAGES}
        assert len(said) == len(DAMAGES)


class TestCommand:
    def test_it_writes_a_capture_and_its_labels(self, tmp_path, capsys):
        good = tmp_path / "office.pcapng"
        good.write_bytes(OFFICE.read_bytes())
        (tmp_path / "office.labels.json").write_text(OFFICE.with_name("office.labels.json").read_text())
        assert damage.main([str(good), "--damage", "loss", "--share", "0.1", "-o", str(tmp_path / "bad.pcap")]) == 0
        assert "frames; 10% of the frames left out" in capsys.readouterr().out
        made = json.loads((tmp_path / "bad.labels.json").read_text())
        assert (made["capture"], made["derived_from"], len(made["clients"])) == ("bad.pcap", "office.pcapng", 8)

    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            (["no.pcap", "--damage", "loss", "-o", "x.pcap"], 3, "no.pcap"),
            ([str(OFFICE), "--damage", "loss", "--share", "2", "-o", "x.pcap"], 2, "--share 2.0: wants a number"),
            ([str(OFFICE), "--damage", "loss", "-o", "x.pcapng"], 2, "end the name in .pcap or .pcap.zst"),
            ([str(OFFICE), "--damage", "loss", "-o", "no/x.pcap"], 3, "cannot be written"),
        ],
    )
    def test_what_is_wrong_is_said(self, arguments, code, said, capsys, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        assert damage.main(arguments) == code
        assert said in capsys.readouterr().err

    def test_a_capture_that_is_not_of_ethernet_is_refused(self, tmp_path):
        cooked = tmp_path / "cooked.pcap"
        damage.damage(OFFICE, cooked, Derived(name="d", damage="cooked"), 1)
        with pytest.raises(NfsleuthError, match="frame 1 has link type 113; vlan is done to captures of Ethernet"):
            damage.damage(cooked, tmp_path / "x.pcap", Derived(name="d", damage="vlan"), 1)


def test_derived_captures_of_a_run_lie_beside_the_good_one(tmp_path):
    experiment = load("damage")
    (tmp_path / "server.pcapng").write_bytes(OFFICE.read_bytes())
    labels = json.loads(OFFICE.with_name("office.labels.json").read_text())
    (tmp_path / "server.labels.json").write_text(json.dumps({**labels, "capture": "server.pcapng"}))
    made = damage.derive(experiment, tmp_path)
    assert [path.name for path in made] == [f"{derived.name}.pcap.zst" for derived in experiment.derived]
    assert all((tmp_path / f"{derived.name}.labels.json").exists() for derived in experiment.derived)


def test_nothing_is_derived_from_what_was_not_recorded(tmp_path):
    assert damage.derive(load("damage"), tmp_path) == []

"""What contrast could not look at is told."""

from __future__ import annotations

import packets as p
from nfsleuth import api
from nfsleuth.contrast import observe
from nfsleuth.contrast.sketch import MOST_FIELDS, Profile
from nfsleuth.report.contrast_words import lost


def test_nothing_lost_is_nothing_to_tell():
    assert lost([Profile("a", "a.pcap"), Profile("b", "a.pcap")]) == []


def test_cut_messages_and_fields_beyond_the_limit_are_told():
    one, two = Profile("a", "a.pcap"), Profile("b", "a.pcap")
    one.cut, two.cut = {"nfs4.OPEN"}, {"nfs4.OPEN", "nfs4.SETCLIENTID"}
    two.see((f"path{n}", n) for n in range(MOST_FIELDS + 7))
    first, second = lost([one, two])
    assert first.endswith(": nfs4.OPEN, nfs4.SETCLIENTID")
    assert second.startswith("7 sightings of fields beyond the 6,000 ")
    one.cut = {f"nfs4.OP{n}" for n in range(6)}
    assert "nfs4.OP3 and 4 more" in lost([one, two])[0]


def test_procedures_that_there_are_not_are_counted_up_to_a_limit(monkeypatch, tmp_path):
    """Any number is a name: a client that calls ever new ones must not fill the memory."""
    monkeypatch.setattr(observe, "MOST_OPERATIONS", 6)
    talk = p.Conversation().handshake()
    for number in range(10):
        talk.send(0, p.record(p.call(number, procedure=100 + number))).send(1, p.record(p.reply(number)))
    (tmp_path / "a.pcap").write_bytes(p.pcap(talk.frames))
    ((_, profile),) = api.profiles(tmp_path / "a.pcap")
    assert len(profile.operations) == 6
    assert profile.dropped == 4

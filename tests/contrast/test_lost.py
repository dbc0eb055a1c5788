"""What contrast could not look at is told."""

from __future__ import annotations

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

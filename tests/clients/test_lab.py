"""Clients of labelled captures, told apart: one row per label, holding that label's ports to NFS.

Not in the list, because the capture does not hold what it takes: e05 (two containers, both with the default name of
libnfs), h31 (replies alone, without session ids), h35 (names cut off by the snaplen). d02 and i05 are no independent
proof: `split.RESTART` was chosen with the two in view.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from nfsleuth.capture import open_trace
from nfsleuth.clients.gather import Gatherer
from nfsleuth.clients.split import household
from nfsleuth.trace.tracker import Tracker

CAPTURES = os.environ.get("NFSLEUTH_CAPTURES")


@pytest.mark.shared
@pytest.mark.skipif(not CAPTURES, reason="NFSLEUTH_CAPTURES does not name the folder of labelled captures")
@pytest.mark.parametrize("name", ["d02", "d05", "d08", "d11", "e08", "h24", "h30", "i05", "i08", "i11"])
def test_one_row_per_labelled_client(name):
    (label,) = Path(str(CAPTURES), "lab").glob(f"{name}-*.labels.json")
    truth = json.loads(label.read_text())
    tracker, gatherer = Tracker(), Gatherer()
    with open_trace([label.parent / truth["capture"]]) as trace:
        for chunk in trace:
            for rows in tracker.feed(chunk):
                gatherer.add(rows)
    for rows in tracker.finish():
        gatherer.add(rows)
    found = [(c.address, sorted(c.nfs_ports)) for c in household(gatherer.facts()).clients]
    assert sorted(found) == sorted((c["address"], sorted(c["ports"])) for c in truth["clients"])

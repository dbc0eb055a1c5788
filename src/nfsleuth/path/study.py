"""The study's Figures 3 to 5, drawn from recordings: recordings come in, pictures for the page of the study go out.

Its Figures 3 and 4 are charts of the calls that a frame takes, one in user mode and one bridged; Figure 5 is the share
of memory management in libslirp's time.
"""

from __future__ import annotations

from collections.abc import Sequence

from nfsleuth.path import figures, shares
from nfsleuth.path.model import Method, Recording
from nfsleuth.path.tree import Tree
from nfsleuth.report.sections import Picture

USER, BRIDGED = "user", "tap"  # backends of the study's two charts
NIC = "rtl8139"  # its model: a recording of it goes before one of another
HOW = (
    "`nfsleuth lab run path` records them, and an experiment with a [path] table; "
    "`nfsleuth path record` records any guest."
)

Grown = tuple[Recording, Tree | None]


def pictures(recordings: Sequence[Grown]) -> list[Picture]:
    """Figures 3 to 5, as far as the recordings have what they need; of several boots the first that was recorded."""
    ordered = sorted(recordings, key=lambda pair: (NIC not in pair[0].guest.nics, pair[0].created))
    found = [_flow(ordered, "in user mode", USER), _flow(ordered, "bridged", BRIDGED), _memory(ordered)]
    return [picture for picture in found if picture]


def _flow(recordings: Sequence[Grown], words: str, backend: str) -> Picture | None:
    for recording, tree in recordings:
        if tree and recording.method is Method.UPROBES and recording.guest.backends == (backend,):
            caption = (
                "Calls from the NIC model to the system call and back, with counts and median times less their probes; "
                "dashed where a frame in one direction sets off frames in the other."
            )
            title = f"Figures 3 and 4: the way of a frame {words}"
            return Picture(title, figures.flow(recording, tree), caption, f"path-{backend}")
    return None


def _memory(recordings: Sequence[Grown]) -> Picture | None:
    for recording, tree in recordings:
        if not shares.unsupported(recording, tree):
            caption = "The study: memory management 50 %, if_output and if_start 22.9 % of the time."
            title = "Figure 5: time by function in libslirp"
            return Picture(title, figures.bars(recording, tree, title.partition(": ")[2]), caption, "path-memory")
    return None

"""Counters are read from /proc as the kernel writes it."""

from __future__ import annotations

from nfsleuth.path import traffic
from nfsleuth.path.process import Process

# /proc/net/dev of Linux 6.1; made-up numbers.
TABLE = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  tap0:    2000       2    0    0    0     0          0         0       30       3    0    0    0     0       0          0
"""


class Here(Process):
    """A process whose /proc is a folder of ours."""

    @property
    def folder(self):
        return self.program


def process(folder, info):
    for name, text in (("net/dev", TABLE), ("fdinfo/5", info)):
        (folder / name).parent.mkdir()
        (folder / name).write_text(text)
    return Here(1, 1, folder)


def test_a_tap_is_counted_alone(tmp_path):
    guest = process(tmp_path, "pos:\t0\nflags:\t02\niff:\ttap0\n")
    assert traffic.source(guest) == ("tap0",)
    assert traffic.passed(guest, ("tap0",)) == 2030


def test_without_a_tap_all_interfaces_are_counted(tmp_path):
    guest = process(tmp_path, "pos:\t0\n")
    assert traffic.source(guest) == ("lo", "tap0")
    assert traffic.passed(guest, ("lo", "tap0")) == 2230


def test_a_process_that_has_gone(tmp_path):
    assert traffic.source(Here(1, 1, tmp_path)) == ()

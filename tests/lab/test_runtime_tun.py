"""/dev/net/tun in a lab: guests run as nobody and open it, whatever the machine's own lets them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import dataclass

import pytest

from nfsleuth.lab import inside, supervise
from nfsleuth.lab.parts import TUN
from nfsleuth.lab.qemu import as_nobody
from nfsleuth.lab.run import run

pytestmark = [pytest.mark.lab, pytest.mark.slow]

OPENED = [sys.executable, "-c", f"import os; os.open({str(TUN)!r}, os.O_RDWR)"]


@dataclass(frozen=True)
class Tried:
    """A task: a node of `mode` takes the place of the machine's, the lab does its part, and nobody opens it."""

    mode: int

    def run(self, report: inside.Report) -> None:
        """Tell whether nobody could open it before and after, and the mode of the node that the lab has then."""
        device = TUN.stat().st_rdev
        run("mount", "-t", "tmpfs", "tmpfs", str(TUN.parent))
        os.mknod(TUN, stat.S_IFCHR, device)
        TUN.chmod(self.mode)
        before = _nobody_opens()
        inside.let_guests_open_tun()
        report(before=before, after=_nobody_opens(), mode=stat.S_IMODE(TUN.stat().st_mode))


def _nobody_opens() -> bool:
    return subprocess.run([*as_nobody(), *OPENED], stderr=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.parametrize(("mode", "before"), [(0o600, False), (0o660, False), (0o666, True)])
def test_nobody_may_open_it_in_the_lab_and_the_machines_own_stays_as_it_is(monkeypatch, mode, before) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))  # for the task, which is of this folder
    if os.geteuid() != 0 or not TUN.exists():
        why = f"needs root and {TUN}"
        (pytest.fail if os.environ.get("NFSLEUTH_LAB") == "required" else pytest.skip)(why)
    own = TUN.stat()
    events: list[dict] = []
    with supervise.recorded() as run:
        supervise.apart(run, Tried(mode), events.append)
    assert events == [{"before": before, "after": True, "mode": 0o666}]
    assert (TUN.stat().st_mode, TUN.stat().st_ino, TUN.stat().st_ctime) == (own.st_mode, own.st_ino, own.st_ctime)

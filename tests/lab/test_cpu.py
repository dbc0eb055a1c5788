"""CPU time is that of a session, whatever it started."""

from __future__ import annotations

import subprocess
import sys
import time

from nfsleuth.lab import cpu

BURN = "import os, time\nos.fork()\nwhile time.process_time() < 0.2: pass\nprint(flush=True)\ntime.sleep(60)"


def test_all_processes_of_a_session_count():
    with subprocess.Popen([sys.executable, "-c", BURN], stdout=subprocess.PIPE, start_new_session=True) as process:
        process.stdout.readline()
        process.stdout.readline()  # both have burnt theirs
        try:
            assert cpu.seconds({process.pid}) >= 0.35
            before = cpu.seconds({process.pid})
            time.sleep(0.05)
            assert cpu.seconds({process.pid}) - before <= 0.05, "they sleep"
        finally:
            subprocess.run(["kill", "-KILL", "--", f"-{process.pid}"], check=True)


def test_nobodys_session_took_no_time():
    assert cpu.seconds(set()) == 0

"""Scripts that need a Python of their own: where kernels are compiled, and what is loaded, is settled when it starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_python(kernels: str, script: str, *arguments: Path | str) -> subprocess.CompletedProcess[str]:
    """Run a script to its end, which must be a good one. kernels: NFSLEUTH_KERNELS."""
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_DISABLE_JIT"} | {"NFSLEUTH_KERNELS": kernels}
    run = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return run

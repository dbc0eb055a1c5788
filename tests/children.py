"""What needs a Python of its own: how kernels are compiled, and what is loaded, is settled when it starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_python(
    *arguments: Path | str, kernels: str, timeout: int = 600, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python to its end, which must be a good one. kernels: NFSLEUTH_KERNELS. timeout: s."""
    inherited = {name: value for name, value in os.environ.items() if name != "NUMBA_DISABLE_JIT"}
    run = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=inherited | environment | {"NFSLEUTH_KERNELS": kernels},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-2000:]
    return run

"""What a generated capture holds, exactly, as the JSON beside it says."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).parent
DATA = HERE / "data"
KINDS = ("full", "snap", "meta")
REVISION = 2  # of the recipes in generate.py: files of another revision are made again


@dataclass(frozen=True)
class Truth:
    """read_bytes: what READ replies brought. clients: NFS clients, each with a name of its own."""

    kind: str
    revision: int
    size: float
    length: int
    seed: int
    frames: int
    bytes: int
    clients: int
    connections: int
    calls: int
    reads: int
    read_bytes: int

    def save(self, capture: Path) -> None:
        """Write it beside the capture."""
        capture.with_suffix(".json").write_text(json.dumps(asdict(self), indent=1) + "\n")


def place(kind: str, folder: Path, size: float, length: int) -> Path:
    """Where a capture is kept."""
    return folder / f"{kind}{'' if size == 1 else f'-{size:g}'}{'' if length == 1 else f'-x{length}'}.pcap"


def known(capture: Path, seed: int) -> Truth | None:
    """The truth about a capture, None if it is not there as it should be."""
    note = capture.with_suffix(".json")
    if not capture.exists() or not note.exists():
        return None
    found = json.loads(note.read_text())
    if found["revision"] != REVISION:
        return None
    truth = Truth(**found)
    return truth if (truth.seed, truth.bytes) == (seed, capture.stat().st_size) else None


def ensure(kind: str, size: float = 1.0, length: int = 1) -> tuple[Path, Truth]:
    """The capture, made if it is not there, by another process: this one stays small, see `measure`."""
    command = [sys.executable, str(HERE / "generate.py"), kind, "--size", str(size), "--length", str(length)]
    subprocess.run(command, check=True)
    path = place(kind, DATA, size, length)
    truth = known(path, 1)
    assert truth is not None
    return path, truth

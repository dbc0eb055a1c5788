#!/usr/bin/env python3
"""Pack captures of a lab run for the repository: a run's folder comes in, a folder below tests/captures/lab goes out.

usage: keep.py RUN CAPTURE...

Copies the captures named (server, any, loss, ...) with their labels, compressed with zstd where they are not yet, the
switch's forwarding table, run.json, which says how they were made, and timings.json, what the clients say that they
read. Captures that lost frames, and runs in which a client failed, are refused.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import zstandard

LAB = Path(__file__).parents[1] / "tests" / "captures" / "lab"
LEVEL = 19


def main(arguments: Sequence[str]) -> int:
    """Check, then copy."""
    if len(arguments) < 2 or not (Path(arguments[0]) / "run.json").is_file():
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    run = Path(arguments[0])
    told = json.loads((run / "run.json").read_text(encoding="utf-8"))
    if told["failed"] or any(told["dropped"].values()):
        print(f"{run}: failed {told['failed']}, dropped {told['dropped']}; run it again", file=sys.stderr)
        return 1
    target = LAB / told["experiment"]
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in ("run.json", "switch.fdb.json", "timings.json"):
        if (run / name).is_file():  # earlier runs lack some
            shutil.copyfile(run / name, target / name)
    for name in arguments[1:]:
        labels = json.loads((run / f"{name}.labels.json").read_text(encoding="utf-8"))
        labels["capture"] = packed(run / labels["capture"], target)
        if labels["derived_from"]:
            labels["derived_from"] = packed_name(labels["derived_from"])
        (target / f"{name}.labels.json").write_text(json.dumps(labels, indent=1) + "\n", encoding="utf-8")
        print(f"{target.name}/{labels['capture']}: {(target / labels['capture']).stat().st_size} bytes")
    return 0


def packed_name(name: str) -> str:
    """The name of a capture once it is compressed."""
    return name if name.endswith(".zst") else f"{name}.zst"


def packed(capture: Path, target: Path) -> str:
    """Compress `capture` into the folder `target`, unless it is already; returns the name there."""
    name = packed_name(capture.name)
    if capture.name == name:
        shutil.copyfile(capture, target / name)
    else:
        packer = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
        (target / name).write_bytes(packer.compress(capture.read_bytes()))
    return name


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

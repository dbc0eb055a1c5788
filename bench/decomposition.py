#!/usr/bin/env python3
"""What it costs to tell where a client's time goes: captures come in, the share that it adds to `identify` goes out.

usage: decomposition.py [--runs 5] [CAPTURE...]

Without captures: those that `make bench` left in bench/data. nfsleuth is copied to a folder that is thrown away, where
the kernels of `trace/flows.py` do nothing, so no interval is found and nothing is made of any. Both are run in turn;
compared are medians of the CPU seconds of whole processes, on one core.
"""

from __future__ import annotations

import argparse
import ast
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from measure import run
from tools import NFSLEUTH

ROOT = Path(__file__).resolve().parents[1]
FULL = ("full", "snap", "meta")
MOST = 0.4  # of identify's time may be added


def without(folder: Path) -> Path:
    """A copy of the package below `folder` in which the functions of `trace/flows.py` return at once."""
    package = folder / "nfsleuth"
    shutil.copytree(ROOT / "src" / "nfsleuth", package, ignore=shutil.ignore_patterns("__pycache__"))
    file = package / "trace" / "flows.py"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            node.body = [ast.Return(value=None)]
    file.write_text(ast.unparse(ast.fix_missing_locations(tree)), encoding="utf-8")
    return folder


def seconds(captures: Sequence[Path], ways: Mapping[str, Mapping[str, str]], runs: int) -> dict[Path, dict[str, float]]:
    """CPU seconds of `identify` per capture and way, which is by its environment. The first round only warms up: it
    compiles. Each round begins with another way."""
    taken: dict[Path, dict[str, list[float]]] = {capture: {way: [] for way in ways} for capture in captures}
    for number in range(runs + 1):
        for capture, found in taken.items():
            for way in sorted(ways, reverse=number % 2 == 1):
                cost = run([*NFSLEUTH, "identify", str(capture), "--json", "--quiet"], 1, None, ways[way])
                if cost.code:
                    raise SystemExit(f"{capture.name}, {way}: identify ended with {cost.code}")
                if number:
                    found[way].append(cost.cpu)
    return {capture: {way: median(each) for way, each in found.items()} for capture, found in taken.items()}


def main() -> None:
    """Print a line per capture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("captures", nargs="*", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    captures = [path.resolve() for path in asked.captures or (ROOT / f"bench/data/{name}.pcap" for name in FULL)]
    with tempfile.TemporaryDirectory() as name:
        copy = without(Path(name))
        ways = {
            "with": {"PYTHONPATH": str(ROOT / "src")},
            "without": {"PYTHONPATH": str(copy), "NUMBA_CACHE_DIR": str(copy / "kernels")},
        }
        print(f"{'':<6}  {'with, s':>8}  {'without, s':>10}  {'added':>6}  at most {MOST:.0%}")
        for capture, found in seconds(captures, ways, asked.runs).items():
            added = found["with"] / found["without"] - 1
            verdict = "met" if added <= MOST else "not met"
            print(f"{capture.stem:<6}  {found['with']:>8.2f}  {found['without']:>10.2f}  {added:>6.0%}  {verdict}")


if __name__ == "__main__":
    main()

"""Make the large captures of the benchmark from the lab capture, and beside each the truth about it.

    python bench/generate.py                 # full, snap and meta into bench/data/, 3.6 GB
    python bench/generate.py meta --size 0.02

- full: READs of 128 KiB in whole frames, some pipelined; about 1 GB, 200 clients with a connection each
- snap: the same clients with more READs, cut at 256 bytes; about 5 million frames. Only READs without pipelining: of
  calls that share a segment the cut leaves the first, whoever reads the file
- meta: the calls of `ls -lR` and of reading 300 small files; 10,000 connections of 200 clients, about 400,000 calls

The same seed gives the same file. `--size` scales the number of clients, and with them frames, bytes and connections;
`--length` scales what each client does.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from replay import CONNECTION, Script, client_key, connection, script, write
from template import Piece, Template, load
from truth import DATA, KINDS, REVISION, Truth, known, place

HERE = Path(__file__).parent
LAB_CAPTURE = HERE.parent / "tests" / "captures" / "reads.pcap.zst"

CLIENTS = 200
FULL_BYTES = 4_000_000  # wanted per client; the last piece may bring up to 3 MB more
SNAP_FRAMES = 25_000
SNAPLEN = 256
META_CONNECTIONS, META_CALLS = 50, 40  # connections per client, calls per connection
WHOLE = 262_144  # snaplen that cuts nothing

# Calls of the lab capture by number: the mount, the sequential read of one file, the tree of small files.
MOUNT_END, READ_END = 22, 160
SECOND = 10**9  # ns
LOWEST_PORT, PORTS = 665, 359  # what a Linux client binds (sunrpc.min_resvport, max_resvport)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0], epilog="A file that is there already is not made again."
    )
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"which of {', '.join(KINDS)}; all if none is named")
    parser.add_argument("--size", type=float, default=1.0, help="scale, 1.0 being about 1 GB or more per file")
    parser.add_argument("--length", type=int, default=1, help="how often each client does its work")
    parser.add_argument("--seed", type=int, default=1, help="of all that is random")
    parser.add_argument("--into", type=Path, default=DATA, help="folder")
    given = parser.parse_args()
    for kind in given.kinds or KINDS:
        if kind not in KINDS:
            parser.error(f"{kind} is none of {', '.join(KINDS)}")
        begin = time.perf_counter()
        path, truth = ensure(kind, given.into, given.size, given.length, given.seed)
        print(f"{path}: {truth.frames:,} frames, {truth.calls:,} calls ({time.perf_counter() - begin:.1f} s)")


def ensure(kind: str, folder: Path, size: float, length: int, seed: int) -> tuple[Path, Truth]:
    """The file, made if it is not there, and the truth about it."""
    path = place(kind, folder, size, length)
    truth = known(path, seed)
    if truth is None:
        folder.mkdir(parents=True, exist_ok=True)
        truth = make(kind, path, size, length, seed)
        truth.save(path)
    return path, truth


def make(kind: str, path: Path, size: float, length: int, seed: int) -> Truth:
    """Write one file."""
    rng = np.random.default_rng(seed)
    template = load(LAB_CAPTURE, SNAPLEN)
    clients = max(round(CLIENTS * size), 1)
    recipe = _meta if kind == "meta" else _reading
    scripts, connections = recipe(template, kind, clients, length, rng)
    with path.open("wb") as out:
        frames = write(out, template, scripts, connections, SNAPLEN if kind == "snap" else WHOLE)
        stored = out.tell()
    made = [scripts[c] for c in connections["script"]]
    return Truth(
        kind, REVISION, size, length, seed, frames, stored, clients, len(connections),
        sum(s.calls for s in made), sum(s.reads for s in made), sum(s.read_bytes for s in made),
    )  # fmt: skip


def _reading(
    template: Template, kind: str, clients: int, length: int, rng: np.random.Generator
) -> tuple[list[Script], np.ndarray]:
    """Each client mounts, reads, beginning at a place of its own, and unmounts."""
    mount, read, _ = _phases(template)
    if kind == "snap":
        read = [p for p in read if not p.hidden]
    scripts = [
        script(template, [template.opening, *mount, *_enough(kind, read, first, length), template.closing])
        for first in range(len(read))
    ]
    rows = []
    for number in range(clients):
        chosen = number % len(scripts)
        start = int(rng.integers(0, 2 * SECOND))
        port = LOWEST_PORT + int(rng.integers(PORTS))
        rows.append(connection(chosen, scripts[chosen], start, client_key(number, rng), port, rng))
    return scripts, np.array(rows, CONNECTION)


def _enough(kind: str, read: Sequence[Piece], first: int, length: int) -> list[Piece]:
    """Pieces from number `first` on, around and around, until a client has as much as it should."""
    had = 0
    chosen: list[Piece] = []
    while had < length * (SNAP_FRAMES if kind == "snap" else FULL_BYTES):
        piece = read[(first + len(chosen)) % len(read)]
        chosen.append(piece)
        had += piece.stop - piece.first if kind == "snap" else piece.ends[1] - piece.begins[1]
    return chosen


def _meta(
    template: Template, _kind: str, clients: int, length: int, rng: np.random.Generator
) -> tuple[list[Script], np.ndarray]:
    """Each client connects again and again, and does a part of the work each time; the first time it mounts."""
    mount, _, tree = _phases(template)
    parts = [tree[i : i + META_CALLS] for i in range(0, len(tree) - META_CALLS + 1, META_CALLS)]
    later = [script(template, [template.opening, *part, template.closing]) for part in parts]
    mounting = [script(template, [template.opening, *mount, *part, template.closing]) for part in parts]
    scripts = [*later, *mounting]
    rows = []
    for number in range(clients):
        key = client_key(number, rng)
        now = int(rng.integers(0, 10 * SECOND))
        for i in range(META_CONNECTIONS * length):
            chosen = (number + i) % len(parts) + (len(parts) if i == 0 else 0)
            port = LOWEST_PORT + (number + 7 * i) % PORTS
            rows.append(connection(chosen, scripts[chosen], now, key, port, rng))
            now = int(rows[-1]["end"]) + int(rng.integers(SECOND // 100, SECOND // 10))
    return scripts, np.array(rows, CONNECTION)


def _phases(template: Template) -> tuple[list[Piece], list[Piece], list[Piece]]:
    """The steps of the mount, of the long read, and of the tree."""
    phases: tuple[list[Piece], list[Piece], list[Piece]] = ([], [], [])
    calls = 0
    for piece in template.steps:
        phases[(calls >= MOUNT_END) + (calls >= READ_END)].append(piece)
        calls += piece.calls
    return phases


if __name__ == "__main__":
    main()

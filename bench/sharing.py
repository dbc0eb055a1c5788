#!/usr/bin/env python3
"""Compare a sampled savings curve with the exact one: a made workload comes in, its errors, time and memory go out.

usage: sharing.py [zipf|loop|wide] [--reads 10000000] [--rate 0.01] [--seed 1813] [--json]

Both curves are computed in processes of their own, so that each one's memory can be told. The workload is made in
portions and never as a whole: 4 KiB blocks that three guests of one host read, by rank with Zipf's law (exponent 1,
1,048,576 blocks, scattered over the file), in a loop over 300,000 blocks, or (wide) in a loop over 1,500,000, which is
more than are all followed beside a sample. The curves are compared at 400 sizes from one block to all of them, evenly,
and at all sizes at which `nfsleuth sharing` reports them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nfsleuth.sharing.curve import STEPS

PORTION = 1 << 16  # reads; the tracker hands out as many at a time
BLOCK = 4096
BLOCKS = {"zipf": 1 << 20, "loop": 300_000, "wide": 1_500_000}
SIZES = 400
GUESTS = 3


def numbers(workload: str, reads: int) -> Iterator[np.ndarray]:
    """Block numbers, int64, in portions."""
    rng = np.random.default_rng(7)
    blocks = BLOCKS[workload]
    weights = np.cumsum(1 / np.arange(1, blocks + 1)) if workload == "zipf" else np.empty(0)
    for begin in range(0, reads, PORTION):
        count = min(PORTION, reads - begin)
        if workload != "zipf":
            yield (begin + np.arange(count)) % blocks
        else:
            ranks = np.searchsorted(weights, rng.random(count) * weights[-1])
            yield (ranks * 387_420_489 + 12_345) % blocks  # an odd factor: each rank has a block of its own


def compared_sizes(workload: str) -> list[int]:
    """Bytes of the caches at which curves are compared: SIZES of them evenly, then those that are reported."""
    blocks = BLOCKS[workload]
    doublings = STEPS * (blocks.bit_length() + 1)
    reported = sorted({int(2 ** (i / STEPS)) for i in range(doublings)})
    return [BLOCK * int(n) for n in [*np.linspace(1, blocks, SIZES).astype(np.int64), *reported]]


def tallied(workload: str, reads: int, rate: float, seed: int) -> dict[str, object]:
    """The curve, and what it cost: in this process, which should do nothing else."""
    from nfsleuth.sharing.result import Named, hosts_of
    from nfsleuth.sharing.tables import EVENT, Kind
    from nfsleuth.sharing.tally import Budget, Tally

    budget = Budget(blocks=1 << 22) if rate == 1 else None  # all of them fit, with a node for each of the guests
    tally = Tally(block=BLOCK, rate=rate, seed=seed, budget=budget)
    events = np.zeros(PORTION, EVENT)
    events["kind"], events["bytes"] = Kind.READ, BLOCK
    tally.feed(events[:1])  # the kernels are compiled or loaded, which is not measured
    tally = Tally(block=BLOCK, rate=rate, seed=seed, budget=budget)
    took, cpu, now = 0.0, 0.0, 0
    for portion in numbers(workload, reads):
        count = len(portion)
        events["offset"][:count] = portion * BLOCK
        events["guest"][:count] = np.arange(count) % GUESTS
        events["time"][:count] = now + np.arange(count)
        now += count
        begin, begin_cpu = time.perf_counter(), time.process_time()
        tally.feed(events[:count])
        took, cpu = took + time.perf_counter() - begin, cpu + time.process_time() - begin_cpu
    [host] = hosts_of(tally, [Named("host", ("a", "b", "c"))])
    points = [host.curve.at(size) for size in compared_sizes(workload)]
    return {
        "sent": host.sent,
        "distinct": host.distinct,
        "shared": host.shared,
        "enough": host.curve.enough,
        "largest": host.curve.largest,
        "blocks": tally.blocks,
        "seconds": took,
        "cpu": cpu,
        "megabytes": _peak() / 1e6,
        "points": [(p.saved / host.sent, p.low / host.sent, p.high / host.sent) for p in points],
    }


def _peak() -> int:
    """Peak memory of this process in bytes. ru_maxrss would start with what the process was that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        [kilobytes] = (line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(kilobytes) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def apart(workload: str, reads: int, rate: float, seed: int) -> dict[str, object]:
    """`tallied` in a process of its own, with kernels as commands have them: without Numba, which takes memory."""
    words = [sys.executable, __file__, workload, "--reads", str(reads), "--rate", str(rate), "--seed", str(seed)]
    environment = os.environ | {"NFSLEUTH_KERNELS": "object"}
    told = subprocess.run([*words, "--one"], check=True, stdout=subprocess.PIPE, env=environment).stdout
    found: dict[str, object] = json.loads(told)
    return found


def compared(workload: str, reads: int, rate: float, seed: int) -> dict[str, object]:
    """The errors of the sampled curve, in percentage points of what was sent, and what each curve cost."""
    exact, sampled = apart(workload, reads, 1.0, seed), apart(workload, reads, rate, seed)
    truth, found = np.array(exact.pop("points")), np.array(sampled.pop("points"))
    off = 100 * np.abs(found[:, 0] - truth[:, 0])
    inside = (found[:, 1] <= truth[:, 0] + 1e-9) & (truth[:, 0] <= found[:, 2] + 1e-9)
    return {
        "workload": workload, "reads": reads, "rate": rate, "seed": seed, "mean_error": float(off[:SIZES].mean()),
        "p95_error": float(np.quantile(off, 0.95)), "largest_error": float(off.max()),
        "largest_reported": float(off[SIZES:].max()), "over_1_point": float((off > 1).mean()),
        "inside_band": float(inside.mean()), "exact": exact, "sampled": sampled,
    }  # fmt: skip


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("workload", nargs="*", choices=[*BLOCKS, []], help="all without it")
    parser.add_argument("--reads", type=int, default=10_000_000)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=1813)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", action="store_true", help="only the curve at --rate, as JSON, in this process")
    wanted = parser.parse_args()
    for workload in wanted.workload or BLOCKS:
        if wanted.one:
            print(json.dumps(tallied(workload, wanted.reads, wanted.rate, wanted.seed)))
            continue
        result = compared(workload, wanted.reads, wanted.rate, wanted.seed)
        if wanted.json:
            print(json.dumps(result))
            continue
        print(f"{workload}: {wanted.reads:,} reads, {100 * wanted.rate:g} % of the blocks, seed {wanted.seed}")
        print(
            f"  error in percentage points: mean {result['mean_error']:.3f}, 95 % below {result['p95_error']:.3f}, "
            f"largest {result['largest_error']:.3f} ({result['largest_reported']:.3f} at the sizes that are reported); "
            f"over 1 at {100 * result['over_1_point']:.1f} % of the sizes"
        )
        print(f"  the exact curve lies within the band at {100 * result['inside_band']:.1f} % of the sizes")
        for name in ("exact", "sampled"):
            cost = result[name]
            print(
                f"  {name}: {cost['cpu']:.1f} s of CPU ({cost['seconds']:.1f} s), {cost['megabytes']:.0f} MB, "
                f"{cost['blocks']:,} blocks; distinct {cost['distinct'] / 1e9:.3f} GB, "
                f"enough {cost['enough'] / 1e6:.2f} MB"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Time nfsleuth and its peers on the same captures, check what they counted, and say how they compare.

    python bench/run.py                     # everything; about 10 minutes with tshark
    python bench/run.py --files meta --peers nfstrace --runs 3
    python bench/run.py --small             # small captures, only whether nfsleuth's counts are exact

Whole processes, warm page cache, commands in turn, medians. Writes bench/results.json and, after a full run, the tables
in docs/performance.md. Exit code 1 if nfsleuth has counted wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from measure import Cost, run
from tools import NFSLEUTH, OURS, PEERS, Counts, Tool
from truth import KINDS, Truth, ensure

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PAGE = HERE.parent / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
SMALL_CAPTURE = HERE.parent / "tests" / "captures" / "office.pcapng"
SMALL = 0.02
MEMORY_SIZE, MEMORY_LENGTHS = 0.3, (1, 3)  # of the files whose memory is compared
COMMAND_FAILED = "{} failed on {} with exit code {}"


@dataclass(frozen=True)
class Row:
    """A tool on a file: medians, and what it counted."""

    file: str
    tool: str
    cores: int
    runs: int
    wall: float
    cpu: float
    rss: int
    code: int
    counts: Counts

    def wrong(self, truth: Truth) -> list[str]:
        """What it counted otherwise than it is."""
        facts = asdict(truth)
        return [f"{name}: {n:,} of {facts[name]:,}" for name, n in self.counts.items() if n != facts[name]]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--files", default=",".join(KINDS), help="which of %(default)s")
    parser.add_argument("--peers", default="all", help="parts of the names of peers, or all, or none")
    parser.add_argument("--runs", type=int, default=5, help="of each command but the slow ones, which run once")
    parser.add_argument("--size", type=float, default=1.0, help="scale of the captures, see generate.py")
    parser.add_argument("--small", action="store_true", help=f"size {SMALL}, one run, no peers, nothing written")
    given = parser.parse_args()
    size = SMALL if given.small else given.size
    kinds = [kind for kind in given.files.split(",") if kind]
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"--files: {', '.join(sorted(unknown))} is none of {', '.join(KINDS)}")
    peers = [] if given.small else chosen_peers(given.peers)
    captures = {kind: ensure(kind, size) for kind in kinds}
    run([*NFSLEUTH, "identify", str(SMALL_CAPTURE), "--quiet"], 2)  # kernels are compiled afterwards

    rows, mistakes = [], []
    for kind, (path, truth) in captures.items():
        mine = compare(kind, path, [OURS, *peers], 1 if given.small else given.runs)
        rows += mine
        print(f"\n{table(mine, truth)}\n", flush=True)
        mistakes += [f"{kind}: {OURS.name}: {w}" for r in mine if r.tool == OURS.name for w in r.wrong(truth)]
    if not given.small:
        truths = {kind: truth for kind, (_, truth) in captures.items()}
        extras = {**start_up(given.runs), **memory(kinds), **inside(captures)}
        print("\n".join(f"{name}: {value:.4g}" for name, value in extras.items()))
        write(rows, truths, extras, complete=kinds == list(KINDS) and given.peers == "all" and size == 1)
    if mistakes:
        sys.exit("WRONG COUNTS\n" + "\n".join(mistakes))
    print("nfsleuth's counts are exact")


def chosen_peers(names: str) -> list[Tool]:
    """The peers whose name contains one of `names` and that are installed."""
    if names == "none":
        return []
    wanted = [p for p in PEERS if names == "all" or any(n in p.name for n in names.split(","))]
    for peer in wanted:
        if not peer.installed:
            print(f"{peer.name}: {peer.program} is not installed, left out")
    return [p for p in wanted if p.installed]


def compare(kind: str, path: Path, tools: list[Tool], runs: int) -> list[Row]:
    """Run the tools in turn, so that what else the machine does falls on all of them alike."""
    costs: dict[tuple[Tool, int], list[Cost]] = {}
    for i in range(runs):
        for tool in tools:
            for cores in tool.cores:
                if i == 0 or not tool.slow:
                    show(f"{kind}: {tool.name}, run {i + 1}")
                    warm(path)
                    costs.setdefault((tool, cores), []).append(run(tool.command(path), cores))
    show("")
    return [row(kind, path, tool, cores, some) for (tool, cores), some in costs.items()]


def row(kind: str, path: Path, tool: Tool, cores: int, costs: list[Cost]) -> Row:
    """Medians; the counts are read from a further run, which is not timed, so that all print to nowhere."""
    counts: Counts = {}
    code = costs[-1].code
    if tool.counts is not None:
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "output"
            code = run(tool.command(path), max(tool.cores), output).code
            if code == 0 or tool is not OURS:
                counts = tool.counts(output)
    if code and tool is OURS:
        sys.exit(COMMAND_FAILED.format(tool.name, path, code))
    middle = [statistics.median(getattr(c, name) for c in costs) for name in ("wall", "cpu", "rss")]
    return Row(kind, tool.name, cores, len(costs), middle[0], middle[1], int(middle[2]), code, counts)


def warm(path: Path) -> None:
    """Have the file in the page cache, all of it: a virtual machine may lose some of its cache within seconds."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 24):
            pass


def show(text: str) -> None:
    """What is going on, for a person who watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def start_up(runs: int) -> dict[str, float]:
    """Seconds for a small capture, with kernels compiled and without."""
    command = [*NFSLEUTH, "identify", str(SMALL_CAPTURE), "--json", "--quiet"]
    compiled = [run(command, 1) for _ in range(max(runs, 1))]
    with tempfile.TemporaryDirectory() as folder:
        first = run(command, 2, environment={"NUMBA_CACHE_DIR": folder})
    return {
        "small_wall": statistics.median(c.wall for c in compiled),
        "small_cpu": statistics.median(c.cpu for c in compiled),
        "small_rss": statistics.median(c.rss for c in compiled),
        "first_wall": first.wall,
        "first_cpu": first.cpu,
        "first_rss": first.rss,
    }


def memory(kinds: list[str]) -> dict[str, float]:
    """Peak memory for files of one and three times the length, the clients being the same ones."""
    found: dict[str, float] = {}
    for kind in kinds:
        for length in MEMORY_LENGTHS:
            path, truth = ensure(kind, MEMORY_SIZE, length)
            found[f"{kind}_x{length}_bytes"] = truth.bytes
            found[f"{kind}_x{length}_rss"] = run(OURS.command(path), 1).rss
            path.unlink()  # some GB that nothing else needs
    return found


def inside(captures: dict[str, tuple[Path, Truth]]) -> dict[str, float]:
    """Seconds per part in a process that has started already, see inside.py."""
    found: dict[str, float] = {}
    for kind, (path, _) in captures.items():
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "output"
            if run([sys.executable, str(HERE / "inside.py"), str(path)], 1, output).code == 0:
                found |= {f"{kind}_inside_{name}": value for name, value in json.loads(output.read_text()).items()}
    return found


def table(rows: list[Row], truth: Truth) -> str:
    """Of one file, 80 columns. Ratios are those of wall time to the tool's own row with as many cores."""
    lines = [
        f"{truth.kind}: {truth.bytes / 1e9:.2f} GB, {truth.frames:,} frames, {truth.connections:,} connections, "
        f"{truth.calls:,} calls",
        f"{'':22}{'cores':>5} {'wall s':>7} {'CPU s':>7} {'MB':>6} {'x us':>6} {'Mframe/s':>9} {'calls/s':>9}  right",
    ]
    ours = {r.cores: r.wall for r in rows if r.tool == OURS.name}
    for r in rows:
        right = "-" if not set(r.counts) & {"calls"} else "no" if r.wrong(truth) else "yes"
        lines.append(
            f"{r.tool:22}{r.cores:>5} {r.wall:>7.2f} {r.cpu:>7.2f} {r.rss / 1e6:>6.0f} {r.wall / ours[r.cores]:>6.2f} "
            f"{truth.frames / r.wall / 1e6:>9.2f} {truth.calls / r.wall:>9,.0f}  {right}"
        )
    for r in rows:
        if r.cores == 1 and (wrong := r.wrong(truth)):
            lines.append(f"{r.tool} counts {', '.join(wrong)}")
        if r.cores == 1 and r.code:
            lines.append(f"{r.tool} ends with exit code {r.code}")
    return "\n".join(lines)


def write(rows: list[Row], truths: dict[str, Truth], extras: dict[str, float], *, complete: bool) -> None:
    """results.json, and the tables of the page if everything was measured."""
    machine = {
        "system": platform.platform(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg(),
    }
    facts = {kind: asdict(truth) for kind, truth in truths.items()}
    result = {"machine": machine, "files": facts, "rows": [asdict(r) for r in rows], "extras": extras}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    if complete and PAGE.exists():
        page = PAGE.read_text()
        before, rest = page.split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{measured(rows, truths, extras)}\n{END}{rest.split(END)[1]}")


def measured(rows: list[Row], truths: dict[str, Truth], extras: dict[str, float]) -> str:
    """What goes into the page: targets against results, then a table per file."""
    load = ", ".join(f"{n:.1f}" for n in os.getloadavg())
    cores = f"{len(os.sched_getaffinity(0))} cores of {processor()}"
    machine = f"{platform.system()} {platform.release()}, {cores}, load average {load}"
    parts = [f"{date.today()}, {machine}; medians of {max(r.runs for r in rows)} runs.", targets(rows, truths, extras)]
    for kind, truth in truths.items():
        parts.append(f"```\n{table([r for r in rows if r.file == kind], truth)}\n```")
    parts.append(parts_of_a_run(truths, extras))
    return "\n\n".join(parts)


def processor() -> str:
    """The processor's name, with family and model where Linux tells: that of a virtual machine's may be short."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    if "model name" not in told:  # not an x86
        return platform.machine()
    return f"{told['model name']} (family {told.get('cpu family', '?')}, model {told.get('model', '?')})"


def targets(rows: list[Row], truths: dict[str, Truth], extras: dict[str, float]) -> str:
    """Whether each target is met."""
    wall = {(r.file, r.tool, r.cores): r.wall for r in rows}
    best = {
        kind: min((r.wall for r in rows if r.file == kind and "nfstrace" in r.tool), default=0.0) for kind in truths
    }
    ours = {kind: wall[kind, OURS.name, 1] for kind in truths}
    dissector = next((r.wall for r in rows if r.file == "full" and "tshark" in r.tool), 0.0)
    peak = max([r.rss for r in rows if r.tool == OURS.name] + [int(v) for k, v in extras.items() if k.endswith("rss")])
    checks: list[tuple[str, float, str, bool, int]] = [
        ("full, share of nfstrace's time", _share(ours["full"], best["full"]), "0.6", False, 2),
        ("full, share of tshark's time", _share(ours["full"], dissector), "0.1", False, 2),
        ("snap, million frames/s", truths["snap"].frames / ours["snap"] / 1e6, "7", True, 1),
        ("meta, share of nfstrace's time", _share(ours["meta"], best["meta"]), "0.4", False, 2),
        ("meta, thousand calls/s", truths["meta"].calls / ours["meta"] / 1e3, "500", True, 0),
        ("peak memory, MB", peak / 1e6, "300", False, 0),
        ("small capture, s", extras["small_wall"], "1.0", False, 2),
        ("first run with compilation, s", extras["first_wall"], "20", False, 1),
    ]
    lines = ["| | target | measured | |", "|---|---|---|---|"]
    for name, value, target, least, digits in checks:
        met = value >= float(target) if least else value <= float(target)
        bound = "at least" if least else "at most"
        verdict = "not measured" if value == 0 else "met" if met else "**not met**"
        lines.append(f"| {name} | {bound} {target} | {value:.{digits}f} | {verdict} |")
    return "\n".join(lines)


def _share(ours: float, other: float) -> float:
    return ours / other if other else 0.0


def parts_of_a_run(truths: dict[str, Truth], extras: dict[str, float]) -> str:
    """Kernels alone, start-up, and memory by size."""
    lines = ["| in a process that has started | " + " | ".join(truths) + " |", "|---|" + "---|" * len(truths)]
    for name in ("reading", "tracking", "gathering", "verdicts", "printing"):
        values = (extras.get(f"{kind}_inside_{name}", 0.0) for kind in truths)
        lines.append(f"| {name}, s of CPU | " + " | ".join(f"{v:.2f}" for v in values) + " |")
    for unit, scale, shown in (("frames", 1e6, "million frames/s"), ("calls", 1e3, "thousand calls/s")):
        rates = []
        for kind in truths:
            seconds = extras.get(f"{kind}_inside_tracking", 0.0)
            rates.append(f"{extras[f'{kind}_inside_{unit}'] / seconds / scale:,.1f}" if seconds else "-")
        lines.append(f"| tracking, {shown} | " + " | ".join(rates) + " |")
    lines += ["", "| memory: file of | MB | peak MB |", "|---|---|---|"]
    for kind in truths:
        for length in MEMORY_LENGTHS:
            size, rss = (extras.get(f"{kind}_x{length}_{name}", 0.0) / 1e6 for name in ("bytes", "rss"))
            lines.append(f"| {kind}, {length} x | {size:,.0f} | {rss:.0f} |")
    first, small = (f"{extras[f'{k}_wall']:.2f} s ({extras[f'{k}_cpu']:.2f} s of CPU)" for k in ("first", "small"))
    lines += ["", f"A small capture: {small}. With the kernels to be compiled first: {first} on two cores."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

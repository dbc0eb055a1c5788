"""Timing without Python: a `Plan` comes in, a shell script for busybox goes out; what it prints becomes `Timings`.

A lab guest boots from an initramfs with busybox and nothing else. Debian's busybox has no clock finer than 10 ms that
a script could ask, but the kernel tells its monotonic clock in ns in the third line of /proc/timer_list, which the
shell reads without starting a process. What starting ``dd`` takes is measured by reading an empty file and taken off.
"""

from __future__ import annotations

from statistics import median

from nfsleuth.bandwidth.plan import Plan
from nfsleuth.bandwidth.timings import Timings, Trial

MARK = "nfsleuth-timing"  # begins each line of results: MARK SIZE ROUND NANOSECONDS
LEAST_SECONDS = 1e-6

_HEAD = """\
# Reads files in {folder} against the clock. Made by nfsleuth; needs busybox (or any sh) with dd, and /proc.
now() {{
  NOW=
  if [ -r /proc/timer_list ]; then
    while read -r a b n rest; do [ "$a $b" = "now at" ] && {{ NOW=$n; break; }}; done < /proc/timer_list
  fi
  if [ -z "$NOW" ]; then read -r up rest < /proc/uptime; NOW=${{up%.*}}${{up#*.}}0000000; fi
}}
timed() {{
  sync; {{ echo 3 > /proc/sys/vm/drop_caches; }} 2>/dev/null
  now; began=$NOW
  dd if="$3" of=/dev/null bs={block} 2>/dev/null || {{ echo "{mark} failed $1 $2"; return; }}
  now; echo "{mark} $1 $2 $((NOW - began))"
}}
"""


def script(plan: Plan, folder: str) -> str:
    """A POSIX shell script that reads the files of `plan` in `folder` and prints a line per trial.

    The files must be there: named ``nfsleuth-bench-BYTES``, and ``nfsleuth-bench-0``, which is empty.
    """
    quoted = "'" + folder.replace("'", "'\\''") + "'"
    lines = [_HEAD.format(folder=" ".join(folder.split()), block=plan.block, mark=MARK), f"cd {quoted} || exit 1\n"]
    for number, step in enumerate(plan.steps()):
        if number % len(plan.sizes) == 0:
            lines.append(f"timed 0 {step.round} {file_name(0)}\n")
        lines.append(f"timed {step.size} {step.round} {file_name(step.size)}\n")
    lines.append(f'echo "{MARK} end"\n')
    return "".join(lines)


def file_name(size: int) -> str:
    """Name of the file of `size` bytes."""
    return f"nfsleuth-bench-{size}"


def timings(output: str, plan: Plan, target: str, label: str = "") -> Timings:
    """What a guest's `output` (its console, whatever else was printed there) says about the trials of `plan`."""
    lines = [line[line.index(MARK) :].split() for line in output.splitlines() if MARK in line]
    rows = [_row(words) for words in lines if len(words) == 4 and all(w.isdecimal() and len(w) < 20 for w in words[1:])]
    empty = [seconds for size, _, seconds in rows if size == 0]
    overhead = median(empty) if empty else 0.0
    run = Timings(target, "guest", plan.block, label, client_cache="drop_caches", seed=plan.seed, rounds=plan.rounds)
    run.overhead = overhead
    run.trials = [
        Trial(size, number, max(seconds - overhead, LEAST_SECONDS), number == 0)
        for size, number, seconds in rows
        if size in plan.sizes
    ]
    if overhead:
        run.notes.append(f"{overhead * 1e3:.1f} ms taken off each trial: what reading an empty file takes")
    failed = sum(words[1:2] == ["failed"] for words in lines)
    if failed:
        run.notes.append(f"{failed} trials failed in the guest")
    if [MARK, "end"] not in lines:
        run.problem = "the guest's output ends before the last trial"
    return run


def _row(words: list[str]) -> tuple[int, int, float]:
    """Size, round and seconds of a line of results."""
    return int(words[1]), int(words[2]), int(words[3]) / 1e9

"""A recording for other programs: JSON, Chrome's trace format, folded stacks. Text goes out, all of it ASCII."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from nfsleuth.path import shares
from nfsleuth.path.calls import nest
from nfsleuth.path.model import Direction, Recording
from nfsleuth.path.tree import Node, Tree

SCHEMA = "nfsleuth.path-tree/1"
WORDS = {Direction.NEITHER: "neither", Direction.TO_NETWORK: "guest-to-network", Direction.TO_GUEST: "network-to-guest"}


def as_json(recording: Recording, tree: Tree | None) -> str:
    """The tree and what is derived from it; times in ns, null where the method cannot tell them."""
    guest = recording.guest
    value: dict[str, Any] = {
        "schema": SCHEMA,
        "method": recording.method,
        "created": recording.created,
        "seconds": recording.seconds,
        "kernel": recording.kernel,
        "guest": {"qemu": guest.qemu, "libslirp": guest.libslirp, "nics": guest.nics, "backends": guest.backends},
        "costs": {n: {"pair": c.pair, "inside": c.inside} for n, c in recording.costs.items()},
        "overhead": vars(recording.overhead) if recording.overhead else None,
        "lost": recording.lost,
        "left_out": recording.left_out,
        "notes": recording.notes,
        "functions": [
            {"name": f.name, "object": f.object, "address": f.address, "role": f.role, "stepped": f.stepped,
             "source": f.source, "count": recording.counts[n] if recording.counts else None}
            for n, f in enumerate(recording.functions)
        ],
        "nodes": [_node(recording, node) for node in tree.nodes] if tree else [],
        "frames": _frames(tree) if tree else None,
        "own": [{"name": own.name, "role": own.role, "value": own.value, "memory": own.memory}
                for own in shares.own_times(recording, tree)] if not shares.unsupported(recording, tree) else None,
        "shares": [vars(share) for share in shares.shares(recording, tree)],
        "shares_why_not": shares.unsupported(recording, tree) or None,
    }  # fmt: skip
    return json.dumps(value, indent=1) + "\n"


def _node(recording: Recording, node: Node) -> dict[str, Any]:
    return {
        "function": recording.functions[node.function].name,
        "parent": node.parent if node.parent >= 0 else None,
        "direction": WORDS[node.direction],
        "turned": node.turned,
        "calls": node.calls,
        "sum_raw": node.total,
        "own_sum_raw": node.own,
        "median_raw": node.typical.total,
        "median": node.typical.total_corrected if node.typical.total_trusted else None,
        "own_median": node.typical.own_corrected if node.typical.own_trusted else None,
        "frames_to_guest": node.to_guest,
        "frames_to_network": node.to_network,
        "callers": {recording.callers[c]: n for c, n in node.callers},
        "threads": {str(recording.threads[t].tid): n for t, n in node.threads},
    }


def _frames(tree: Tree) -> dict[str, Any]:
    f = tree.frames
    return {
        "to_network": f.to_network, "to_guest": f.to_guest, "nested": f.nested, "sent": f.sent, "answered": f.answered,
        "quiet": f.quiet, "set_off": quantiles(f.set_off), "bursts": quantiles(f.bursts),
        "waits": quantiles(f.waits),
        "syscalls": {WORDS[d]: calls for d, calls in f.syscalls.items()},
        "until_syscall": quantiles(f.until_syscall), "syscall": quantiles(f.syscall), "whole": quantiles(f.whole),
        "whole_corrected": quantiles(f.whole_corrected),
        "to_guest_whole": quantiles(f.to_guest_whole),
    }  # fmt: skip


def quantiles(values: npt.NDArray[np.int64] | npt.NDArray[np.float64]) -> dict[str, float] | None:
    """Count and 10th, 50th and 90th percentile; None of nothing."""
    if not len(values):
        return None
    low, middle, high = np.percentile(values, (10, 50, 90)).tolist()
    return {"count": len(values), "p10": low, "p50": middle, "p90": high}


def chrome(recording: Recording, tree: Tree) -> str:  # noqa: ARG001 (all exports are called alike)
    """Every call as an event of Chrome's trace format ("Trace Event Format", complete events), for Perfetto."""
    calls = nest(recording.events).calls
    start = int(calls["begin"].min()) if len(calls) else 0
    names = [json.dumps(f.name) for f in recording.functions]
    kinds = [json.dumps(f.role) for f in recording.functions]
    tids = [t.tid for t in recording.threads]
    pid = recording.guest.pid
    lines = [
        json.dumps({"name": "thread_name", "ph": "M", "pid": pid, "tid": t.tid, "args": {"name": t.name}})
        for t in recording.threads
    ]
    columns = (calls[name].tolist() for name in ("begin", "end", "function", "thread"))
    lines += [
        f'{{"name":{names[f]},"cat":{kinds[f]},"ph":"X","pid":{pid},"tid":{tids[t]},'
        f'"ts":{(b - start) / 1000:.3f},"dur":{(e - b) / 1000:.3f}}}'
        for b, e, f, t in zip(*columns, strict=True)
    ]
    about = json.dumps({"method": recording.method, "times": "as measured, probes included"})
    return f'{{"displayTimeUnit":"ns","otherData":{about},"traceEvents":[\n' + ",\n".join(lines) + "\n]}\n"


def folded(recording: Recording, tree: Tree) -> str:
    """One line per path: the method, functions from the outermost, and the ns that the innermost took itself, less its
    probes."""
    lines = []
    paths: list[str] = []
    for node in tree.nodes:
        name = _plain(recording.functions[node.function].name)
        above = paths[node.parent] if node.parent >= 0 else f"{recording.method};{WORDS[node.direction]}"
        turn = f"{WORDS[node.direction]};" if node.turned else ""
        paths.append(f"{above};{turn}{name}")
        own = round(node.own_corrected)
        if own > 0:
            lines.append(f"{paths[-1]} {own}")
    return "".join(f"{line}\n" for line in lines)


def _plain(name: str) -> str:
    """Without what folded stacks use themselves, and without anything that is not printable ASCII."""
    return "".join(c if c.isascii() and c.isprintable() and c not in "; " else "_" for c in name)

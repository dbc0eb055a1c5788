#!/usr/bin/env python3
"""Mutates captures for a while and looks whether anything breaks: `fuzz.py --seconds 300`, or `--replay FILE`.

Each case is a capture that follows from the seed and its number alone: some seed frames (one small conversation per kind of
packet, and the office capture of the tests), changed, cut, doubled, swapped, and sometimes the file's own bytes as well.
A child process runs it through all of nfsleuth with Numba's bounds checks: reader, tracker, facts, evidence, verdict, JSON
and text. Anything but a report or an `NfsleuthError` is a failure, as are more than LIMIT seconds or MEMORY bytes.

A failing capture is written to the folder of failures with its traceback beside it. Exit status 1 if there were any.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import selectors
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent / "tests"
LIMIT = 20.0  # s for one case
WARM_UP = 900.0  # s for the first one, which waits for the compiler
MEMORY = 6 << 30  # bytes of address space; an idle child has about 2 GB of it, most of it never touched
MOST_FRAMES = 60
NASTY = (0, 1, 3, 4, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0x80000018, 0xFFFFFFF0, 0xFFFFFFFF)

sys.path.insert(0, str(TESTS))


def seeds() -> list[tuple[int, list[bytes]]]:
    """(link type, frames): a conversation per kind of packet."""
    import packets as p

    def talk(*messages: tuple[bytes, bytes], **fields: object) -> list[bytes]:
        conversation = p.Conversation(**fields).handshake()
        for number, (asked, answered) in enumerate(messages):
            conversation.send(0, p.record(asked, 1 + number % 3)).send(1, p.record(answered, 1 + number % 2))
        return [frame.data for frame in conversation.frames]

    def four(*operations: bytes, minor: int = 0) -> bytes:
        return p.call(8, p.NFS, 4, 1, p.compound(*operations, minor=minor))

    three = [
        (p.call(1, credential=p.AUTH_NONE), p.reply(1)),
        (p.call(2, p.NFS, 3, 3, p.lookup3()), p.reply(2, p.u32(0) + p.opaque(b"handle") + p.u32(0, 0))),
        (p.call(3, p.NFS, 3, 6, p.read3()), p.reply(3, p.read3_results(bytes(3000)))),
        (p.call(4, p.NFS, 3, 7, p.write3(data=bytes(2000))), p.reply(4, p.write3_results(2000))),
        (p.call(5, p.MOUNT, 3, 1, p.opaque("/export")), p.reply(5, p.u32(13))),
    ]
    versions4 = [
        (
            four(p.setclientid(5, "Linux NFSv4.0 web01/10.0.0.7")),
            p.reply(8, p.compound_results(p.u32(35, 0) + p.u64(1, 2))),
        ),
        (four(p.exchange_id(5, "Linux NFSv4.2 web01"), minor=2), p.reply(8, p.compound_results(status=10008))),
        (
            four(p.sequence4(), p.putfh(), p.lookup4(), p.read4(), minor=1),
            p.reply(8, p.compound_results(p.sequence4_result())),
        ),
        (four(p.renew(7)), p.denied(8)),
    ]
    gss = p.call(9, p.NFS, 4, 1, bytes(60), credential=p.auth_gss(3), verifier=p.auth(6, bytes(28)))
    tls = (p.call(1, credential=p.AUTH_TLS), p.reply(1, verifier=p.auth(0, p.STARTTLS)))
    ip = p.ipv4(p.udp(p.call(1, p.PORTMAP, 2, 3, p.u32(p.NFS, 3, 6, 0)), 700, 111), protocol=17)
    parts = [p.ipv4(p.tcp(p.record(three[1][0]))[:64], more=True), p.ipv4(p.tcp(p.record(three[1][0]))[64:], at=64)]
    around = [p.ethernet(p.arp(), kind=0x0806), p.stp(), p.ethernet(p.ipv6(b"\x88" + bytes(23), hops=255, protocol=58))]
    return [
        (p.ETHERNET, talk(*three)),
        (p.ETHERNET, talk(*versions4, client="fd00::7", server="fd00::1")),
        (p.ETHERNET, talk((gss, p.reply(9, bytes(40))), tls)),
        (p.ETHERNET, [p.ethernet(part, vlans=[7]) for part in parts] + around),
        (p.ETHERNET, [p.ethernet(p.ipv6(p.tcp(p.record(three[0][0])), extensions=[(0, b"\0\1\4" + bytes(4))]))]),
        (p.RAW, [ip, *parts]),
        (p.SLL, [p.sll(ip)]),
        (p.SLL2, [p.sll2(ip)]),
        (p.NULL, [p.null(ip)]),
        (p.ETHERNET, office()),
    ]


def office() -> list[bytes]:
    """The frames of the capture that the tests have."""
    from nfsleuth.capture import open_trace

    frames = []
    with open_trace([TESTS / "captures" / "office.pcapng"]) as trace:
        for chunk in trace:
            for row in chunk.frames:
                at = int(row["offset"])
                frames.append(chunk.buffer[at : at + int(row["captured"])].tobytes())
    return frames


def case(sources: list[tuple[int, list[bytes]]], seed: int, number: int) -> bytes:
    """The capture file with this number."""
    import packets as p

    rng = random.Random(f"{seed}-{number}")
    link, frames = rng.choice(sources)
    begin = rng.randrange(max(len(frames) - MOST_FRAMES, 0) + 1)
    frames = frames[begin : begin + MOST_FRAMES]
    for _ in range(rng.choice([1, 2, 5, 20])):
        frames = rng.choice(MUTATIONS)(rng, frames)
    snaplen = rng.choice([1 << 18, 1 << 18, 64, 96, 200])
    when = 1_700_000_000 * 10**9
    cut = []
    for data in frames:
        when += rng.choice([1000, 1000, 10**6, 10**10, -(10**6)])
        wire = len(data) + rng.choice([0, 0, 0, 1, 70_000])
        cut.append(p.Frame(data[:snaplen], max(when, 0), wire=wire))
    file = p.pcap(cut, link if rng.random() < 0.95 else rng.choice([0, 12, 113, 276, 147]))
    return mutate_bytes(rng, file) if rng.random() < 0.2 else file


def mutate_bytes(rng: random.Random, data: bytes) -> bytes:
    """A few bytes or a length changed, something cut out or put in."""
    if not data:
        return data
    out = bytearray(data)
    at = rng.randrange(len(out))
    kind = rng.randrange(6)
    if kind == 0:
        out[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        out[at] = rng.randrange(256)
    elif kind in (2, 3):
        size = rng.choice([1, 2, 4])
        at -= at % size
        out[at : at + size] = (rng.choice(NASTY) & ((1 << 8 * size) - 1)).to_bytes(size, "big")
    elif kind == 4:
        del out[at : at + rng.choice([1, 4, 40, 10**6])]
    else:
        out[at:at] = out[rng.randrange(len(out)) :][: rng.choice([1, 4, 100])]
    return bytes(out)


def _change(rng: random.Random, frames: list[bytes]) -> list[bytes]:
    if not frames:
        return frames
    i = rng.randrange(len(frames))
    return [*frames[:i], mutate_bytes(rng, frames[i]), *frames[i + 1 :]]


def _drop(rng: random.Random, frames: list[bytes]) -> list[bytes]:
    i = rng.randrange(len(frames) + 1)
    return frames[:i] + frames[i + rng.choice([1, 1, 5]) :]


def _swap(rng: random.Random, frames: list[bytes]) -> list[bytes]:
    out = list(frames)
    if len(out) > 1:
        i, j = rng.randrange(len(out)), rng.randrange(len(out))
        out[i], out[j] = out[j], out[i]
    return out


def _repeat(rng: random.Random, frames: list[bytes]) -> list[bytes]:
    i, j = sorted((rng.randrange(len(frames) + 1), rng.randrange(len(frames) + 1)))
    return (frames[:j] + frames[i:j] * rng.choice([1, 2]) + frames[j:])[: 10 * MOST_FRAMES]


def _splice(rng: random.Random, frames: list[bytes]) -> list[bytes]:
    """The head of one frame, the tail of another."""
    if not frames:
        return frames
    a, b = rng.choice(frames), rng.choice(frames)
    at = rng.randrange(len(a) + 1)
    return [*frames, a[:at] + b[min(at, len(b)) :]]


MUTATIONS: tuple[Callable[[random.Random, list[bytes]], list[bytes]], ...] = (
    _change, _change, _change, _change, _drop, _swap, _repeat, _splice,
)  # fmt: skip


def run(path: Path) -> str:
    """All of nfsleuth over one capture: in how many frames and calls that came to."""
    import nfsleuth
    from nfsleuth.report import json_report, text

    try:
        tables = nfsleuth.read(path)
    except nfsleuth.NfsleuthError as error:
        return f"refused: {error.message}"
    report = nfsleuth.conclude(tables.facts, tables.captures)
    json.dumps(json_report.identified(report), allow_nan=False)
    text.table(report, verbose=True)
    for frame in (tables.connections, tables.identities, tables.neighbours, tables.oddities):
        assert len(frame) >= 0
    return f"{tables.captures[0].frames} frames, {len(tables.calls)} calls"


def child(seed: int, first: int, stop: int) -> None:
    """Run the cases from `first` on. A line is written before and after each, for the parent to watch."""
    sources = seeds()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.pcap"

        path.write_bytes(case(sources, 0, 0))
        run(path)  # waits for the compiler, which needs more memory
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        for number in range(first, stop):
            print("begin", number, flush=True)
            path.write_bytes(case(sources, seed, number))
            try:
                run(path)
            except Exception:
                print("failed", number, json.dumps(traceback.format_exc()), flush=True)
            else:
                print("passed", number, flush=True)


class Fuzzer:
    """Starts children, watches them, writes down what they fail at."""

    def __init__(self, seed: int, failures: Path) -> None:
        self.seed, self.failures = seed, failures
        self.sources = seeds()
        self.cases = self.failed = 0

    def run(self, seconds: float) -> None:
        """Cases for this long, the compiler's time not counted."""
        first, left = 0, seconds
        while left > 0:
            first, left = self._one_child(first, left)

    def _one_child(self, first: int, seconds: float) -> tuple[int, float]:
        """Watch a child until the time is over or it breaks: (number of the next case, seconds that are left)."""
        command = [sys.executable, __file__, "--child", str(self.seed), str(first)]
        environment = os.environ | {"NUMBA_BOUNDSCHECK": "1", "NFSLEUTH_KERNELS": "numba"}
        with subprocess.Popen(
            command, bufsize=0, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        ) as process:
            assert process.stdout is not None
            current, deadline, begun = first, time.monotonic() + WARM_UP, 0.0
            with selectors.DefaultSelector() as selector:
                selector.register(process.stdout, selectors.EVENT_READ)
                while True:
                    ready = selector.select(max(deadline - time.monotonic(), 0))
                    line = process.stdout.readline().split(b" ", 2) if ready else []
                    now = time.monotonic()
                    if len(line) < 2:
                        process.kill()
                        end = process.wait()
                        why = (
                            f"the child ended with status {end}" if ready else f"no end after {deadline - begun:.0f} s"
                        )
                        self._write(current, why)
                        return current + 1, seconds - (now - begun if begun else seconds)
                    begun = begun or now
                    current, deadline = int(line[1]), now + LIMIT
                    if line[0] == b"failed":
                        self._write(current, json.loads(line[2]))
                    self.cases += line[0] != b"begin"
                    if now - begun >= seconds:
                        process.kill()
                        return current + 1, 0.0

    def _write(self, number: int, why: str) -> None:
        self.failed += 1
        self.failures.mkdir(parents=True, exist_ok=True)
        path = self.failures / f"{self.seed}-{number}.pcap"
        path.write_bytes(case(self.sources, self.seed, number))
        path.with_suffix(".txt").write_text(why)
        print(f"{path}: {why.strip().splitlines()[-1]}")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default: 60); compiling not counted")
    parser.add_argument("--seed", type=int, help="of the mutations (default: from the clock)")
    parser.add_argument("--failures", type=Path, default=HERE / "failures", help="where failing captures go")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one capture in this process")
    parser.add_argument("--child", nargs=2, type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child[0], args.child[1], sys.maxsize)
    if args.replay:
        print(run(args.replay))
        return 0
    seed = int(time.time()) if args.seed is None else args.seed
    fuzzer = Fuzzer(seed, args.failures)
    fuzzer.run(args.seconds)
    print(f"{fuzzer.cases} cases with seed {seed}, {fuzzer.failed} failures")
    return 1 if fuzzer.failed else 0


if __name__ == "__main__":
    sys.exit(main())

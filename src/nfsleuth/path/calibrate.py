"""What a probe costs on this machine: how many threads are watched comes in, a `Cost` per class of function goes out.

Functions of a few instructions, in an anonymous file, are called in a loop of machine code by this very thread, without
and with the probes that a recording uses. Of many repetitions the least counts: whatever else the machine does can only
add. The classes are those that differ: a first instruction that the kernel emulates, one that it must single-step, and
a system call.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np

from nfsleuth.path.model import Cost
from nfsleuth.path.perf_events import Probe, Watch, tracepoint

REPETITIONS = 40
CALLS = 250  # in each repetition: 40 x 250 calls of 20 us are 0.2 s
ALIGNED = 16
# push %rbp; pop %rbp; ret      mov %rdi,%rax; ret
EMULATED, STEPPED = bytes.fromhex("555dc3"), bytes.fromhex("4889f8c3")
# mov $sendto,%eax; mov $-1,%edi; syscall; ret: no such descriptor, and nothing else happens
SYSCALL = bytes.fromhex("b82c000000bfffffffff0f05c3")
# loop(f, n): push %rbx; push %rbp; push %rax; mov %rdi,%rbx; mov %rsi,%rbp; 1: call *%rbx; dec %rbp; jnz 1b;
# pop %rax; pop %rbp; pop %rbx; ret
LOOP = bytes.fromhex("5355504889fb4889f5ffd348ffcd75f9585d5bc3")
PROGRAMS = {"emulated": EMULATED, "stepped": STEPPED, "syscall": SYSCALL}


@functools.cache
def probe_costs(threads: int) -> dict[str, Cost]:
    """The cost per class of function, with probes opened for `threads` threads: a probe looks at each of them.

    Measured once in the life of a process, which takes some seconds: it is a least, so it does not depend on the time.
    """
    with code() as (path, address), _idle(threads - 1) as others:
        calls = loop(address)
        found = {}
        for number, name in enumerate(PROGRAMS):
            at = ALIGNED * number
            probes = [Probe(path, at), Probe(path, at, returning=True)]
            if name == "syscall":
                probes = [Probe(tracepoint=tracepoint(f"syscalls/sys_{side}_sendto")) for side in ("enter", "exit")]
            found[name] = _cost(calls, address + at, probes, [threading.get_native_id(), *others])
    return found


def loop(address: int) -> ctypes._CFunctionType:
    """A function (f, n) that calls `f` n times, by the machine code at `address`."""
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_long)(address + ALIGNED * len(PROGRAMS))


def _cost(calls: ctypes._CFunctionType, function: int, probes: list[Probe], tids: list[int]) -> Cost:
    bare = min(_timed(calls, function) for _ in range(REPETITIONS))
    pairs, insides = [], []
    with Watch(probes, tids, pages=64) as watch:
        watch.enable()
        for _ in range(REPETITIONS):
            pairs.append(_timed(calls, function))
            samples = np.concatenate([np.zeros(0, watch.dtype), *(s for _, s in watch.read())])
            insides.append(_inside(samples))
        watch.disable()
    pair = max(0.0, min(pairs) - bare)
    return Cost(round(pair, 1), round(min(pair, *insides), 1))


def _inside(samples: np.ndarray[tuple[int], np.dtype[np.void]]) -> float:
    """Mean time between the beginning and the end of a call."""
    begin, end = (samples["time"][samples["event"] == side] for side in (0, 1))
    count = min(len(begin), len(end))
    return float((end[:count] - begin[:count]).mean()) if count else float("inf")


def _timed(calls: ctypes._CFunctionType, function: int) -> float:
    """ns per call."""
    start = time.perf_counter_ns()
    calls(function, CALLS)
    return (time.perf_counter_ns() - start) / CALLS


@contextmanager
def code() -> Iterator[tuple[str, int]]:
    """The machine code in memory, from a file that has no name: a path to it, and its address."""
    content = b"".join(c.ljust(ALIGNED, b"\xcc") for c in PROGRAMS.values()) + LOOP
    file = os.memfd_create("nfsleuth-calibration", os.MFD_CLOEXEC)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *([ctypes.c_int] * 3), ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    with ExitStack() as stack:
        stack.callback(os.close, file)
        os.write(file, content.ljust(mmap.PAGESIZE, b"\0"))
        address = libc.mmap(None, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_PRIVATE, file, 0)
        if address in (None, ctypes.c_void_p(-1).value):
            raise OSError(ctypes.get_errno(), "mmap")
        stack.callback(libc.munmap, address, mmap.PAGESIZE)
        yield f"/proc/self/fd/{file}", address


@contextmanager
def _idle(count: int) -> Iterator[list[int]]:
    """Threads that wait, to be watched as well: a probe of a process costs more the more threads it is opened for."""
    done = threading.Event()
    started = threading.Barrier(max(count, 0) + 1)
    tids: list[int] = []

    def wait() -> None:
        tids.append(threading.get_native_id())
        started.wait()
        done.wait()

    threads = [threading.Thread(target=wait, daemon=True) for _ in range(count)]
    try:
        for thread in threads:
            thread.start()
        started.wait()
        yield tids
    finally:
        done.set()
        for thread in threads:
            thread.join()

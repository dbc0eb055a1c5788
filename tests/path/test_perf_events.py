"""Rings are read as the kernel writes them, and a watched function of our own is counted exactly."""

from __future__ import annotations

import ctypes
import os
import struct
import threading

import numpy as np
import pytest

from nfsleuth.errors import NfsleuthError
from nfsleuth.path import calibrate, perf_events
from nfsleuth.path.perf_events import LOST, PROBED, SAMPLE, UPROBE, Probe, Ring, Watch, records

root = pytest.mark.skipif(os.geteuid() != 0 or not UPROBE.exists(), reason="needs root and uprobes in the kernel")
MODE = 2 << 32  # PERF_RECORD_MISC_USER, between type and size
BREAKPOINT = b"\xcc"  # int3


def sample(event, mode=MODE):
    row = np.zeros(1, PROBED)
    row["head"], row["event"] = SAMPLE | mode | PROBED.itemsize << 48, event
    return row.tobytes()


def lost(count):
    return struct.pack("<IHHQQ", LOST, 0, 24, 0, count)


def test_samples_are_read_as_runs():
    ring = Ring(memory=None)
    content = sample(1) + sample(2, 0) + lost(5) + sample(3) + struct.pack("<IHHQ", SAMPLE, 2, 16, 0) + sample(4)
    found = [table["event"].tolist() for table in records(content, ring, PROBED)]
    assert found == [[1, 2], [3], [4]]
    assert (ring.lost, ring.unread) == (5, 1)


@pytest.mark.parametrize("cut", range(0, 80, 7))
def test_a_record_that_is_cut_is_not_read(cut):
    content = (sample(1) + lost(1))[:cut]
    tables = list(records(content, Ring(memory=None), PROBED))
    assert sum(map(len, tables)) == (cut >= PROBED.itemsize)


@root
def test_calls_are_counted_exactly():
    with calibrate.code() as (path, address):
        loop = calibrate.loop(address)
        with Watch([Probe(path, 0), Probe(path, 0, returning=True)], [threading.get_native_id()], pages=16) as watch:
            loop(address, 5)
            watch.enable()
            loop(address, 23)
            watch.disable()
            loop(address, 5)
            samples = np.concatenate([table for _, table in watch.read()])
            assert watch.counts() == [23, 23]
            assert samples["event"].tolist() == [0, 1] * 23
            assert (np.diff(samples["time"]) >= 0).all()


@root
def test_what_does_not_fit_is_counted():
    with calibrate.code() as (path, address):
        loop = calibrate.loop(address)
        with Watch([Probe(path, 0)], [threading.get_native_id()], pages=1) as watch:
            watch.enable()
            loop(address, 500)
            watch.disable()
            read = sum(len(table) for _, table in watch.read())
            loop(address, 1)
            watch.enable()
            loop(address, 1)  # the kernel tells of lost samples when it writes the next
            watch.disable()
            read += sum(len(table) for _, table in watch.read())
            assert watch.counts() == [501]
            assert read + watch.lost == 501
            assert watch.lost > 0


@root
def test_costs_are_calibrated_for_both_classes():
    costs = calibrate.probe_costs(2)
    assert costs.keys() == {"emulated", "stepped", "syscall"}
    assert all(0 < cost.inside <= cost.pair for cost in costs.values())


def test_without_uprobes(monkeypatch, tmp_path):
    monkeypatch.setattr(perf_events, "UPROBE", tmp_path)
    with (
        pytest.raises(NfsleuthError, match="no uprobes"),
        Watch([Probe("/bin/true", 0)], [threading.get_native_id()]),
    ):
        pass


@root
def test_no_such_tracepoint():
    with pytest.raises(NfsleuthError, match="no tracepoint syscalls/nothing"):
        perf_events.tracepoint("syscalls/nothing")


@root
@root
def test_probes_are_taken_out_while_others_go_on():
    with calibrate.code() as (path, address):
        place = ctypes.string_at(address, 1)
        with Watch([Probe(path, 0)], [threading.get_native_id()], pages=1) as watch:
            assert ctypes.string_at(address, 1) == BREAKPOINT
            files = [opened.file for opened in watch.opened]
            watch.take_out().join()
            assert ctypes.string_at(address, 1) == place != BREAKPOINT
        for file in files:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(file)


def test_a_thread_that_has_ended_is_left_out():
    gone = (1 << 22) - 1  # above all that this machine gives out before it has given all
    with Watch([Probe(clock=100)], [gone]) as watch:
        assert watch.opened == []

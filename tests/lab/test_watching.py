"""A recorder in a thread: it has begun when it is entered, and its failure is the caller's."""

from __future__ import annotations

import time

import pytest

from nfsleuth.errors import NfsleuthError
from nfsleuth.lab import watching
from nfsleuth.lab.watching import Recorder


def test_it_records_until_it_is_left(monkeypatch):
    heard = []

    def record(pid, method, wishes):
        heard.append((pid, method, wishes.seconds, wishes.baseline))
        while not wishes.over():
            time.sleep(0.001)
        return "a recording"

    monkeypatch.setattr(watching.api, "record", record)
    recorder = Recorder(7, "uprobes", 5)
    with recorder:
        assert recorder._thread.is_alive()
    assert recorder.result() == "a recording"
    assert recorder.whole
    assert heard == [(7, "uprobes", 5, 0)]


def test_a_recorder_that_cannot_begin_says_why(monkeypatch):
    def record(*_):
        raise NfsleuthError("no uprobes")

    monkeypatch.setattr(watching.api, "record", record)
    recorder = Recorder(7, "uprobes", 5)
    with pytest.raises(NfsleuthError, match="no uprobes"), recorder:
        raise AssertionError("not reached")


def test_one_that_never_begins_is_given_up(monkeypatch):
    monkeypatch.setattr(watching, "STARTS", 0.05)
    monkeypatch.setattr(watching.api, "record", lambda *_: time.sleep(1))
    with pytest.raises(NfsleuthError, match="does not start within"), Recorder(7, "uprobes", 5):
        raise AssertionError("not reached")


def test_one_that_ends_before_the_reads_is_not_whole(monkeypatch):
    def record(pid, method, wishes):
        wishes.over()
        return "a part"

    monkeypatch.setattr(watching.api, "record", record)
    recorder = Recorder(7, "uprobes", 5)
    with recorder:
        recorder._thread.join()
    assert recorder.result() == "a part"
    assert not recorder.whole


def test_what_ends_it_too_late_is_told(monkeypatch):
    def record(pid, method, wishes):
        while not wishes.over():
            time.sleep(0.001)
        raise NfsleuthError("the guest has gone")

    monkeypatch.setattr(watching.api, "record", record)
    recorder = Recorder(7, "uprobes", 5)
    with recorder:
        pass
    with pytest.raises(NfsleuthError, match="has gone"):
        recorder.result()

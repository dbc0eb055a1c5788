"""Real guests under stock QEMU: the edges that the sources say, exact counts, and nothing that stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("elftools", reason="pyelftools is not installed: pip install nfsleuth[path]")

from tests.path import guests
from tests.path.guests import Guest

from nfsleuth.errors import NfsleuthError
from nfsleuth.path import api, library, perf_events, process, store, target
from nfsleuth.path.image import Image
from nfsleuth.path.model import Direction, Recording
from nfsleuth.path.process import Process
from nfsleuth.path.tree import Tree, grow

REQUIRED = os.environ.get("NFSLEUTH_LAB") == "required"  # then these fail where no guest can run
pytestmark = [
    pytest.mark.slow,
    pytest.mark.path,
    pytest.mark.skipif(bool(guests.missing()) and not REQUIRED, reason=guests.missing() or "-"),
    pytest.mark.skipif(not perf_events.UPROBE.exists(), reason="this kernel has no uprobes"),
]
PINGS = 23


def qemu(guest: Guest) -> int:
    """The pid of the QEMU that the guest's first process has become the parent of."""
    for running in process.everyone():
        parent = int((running.folder / "stat").read_text().rpartition(")")[2].split()[1])
        if guest.pid in (running.pid, parent):
            return running.pid
    raise AssertionError("no QEMU")


class Recorder(threading.Thread):
    """Records while the test talks to the guest."""

    def __init__(self, pid: int, seconds: float, method: str = "uprobes", **wishes: object) -> None:
        super().__init__()
        self.pid, self.method, self.wishes = pid, method, api.Wishes(seconds, 0, **wishes)
        self.begun = threading.Event()
        self.recording: Recording | None = None
        self.start()

    def run(self) -> None:
        try:
            self.recording = api.record(self.pid, self.method, self.wishes, self._heard)
        finally:
            self.begun.set()

    def _heard(self, text: str) -> None:
        if text.startswith("recording"):
            self.begun.set()

    def result(self) -> tuple[Recording, Tree]:
        self.join()
        assert self.recording
        return self.recording, grow(self.recording)


def edges(recording: Recording, tree: Tree) -> set[tuple[str, str]]:
    """(function, function called in it), for all paths."""
    name = [recording.functions[node.function].name for node in tree.nodes]
    return {(name[node.parent], name[n]) for n, node in enumerate(tree.nodes) if node.parent >= 0}


# What QEMU 7.2's sources say: which queue function each model's transmission goes through, and which handler the NIC has.
QUEUE = {"rtl8139": "qemu_net_queue_send", "e1000": "qemu_net_queue_send", "virtio-net-pci": "qemu_net_queue_send_iov"}
NIC = {"rtl8139": "rtl8139:receive", "e1000": "e1000:receive_iov", "virtio-net-pci": "virtio-net:receive"}


@pytest.mark.parametrize("backend", ["user", "tap"])
@pytest.mark.parametrize("model", ["rtl8139", "e1000", "virtio-net-pci"])
def test_edges_and_counts(model, backend, tmp_path):
    with guests.running(model, backend, tmp_path, megabytes=1) as guest:
        counted = Recorder(qemu(guest), 4)
        counted.begun.wait()
        guest.ping(PINGS)
        recording, tree = counted.result()
        read = Recorder(qemu(guest), 5)
        read.begun.wait()
        guest.read()
        whole, reading = read.result()
    assert recording.lost == whole.lost == 0
    assert (tree.frames.to_network, tree.frames.to_guest) == (PINGS, PINGS)
    found = edges(whole, reading)
    handler = "user:receive" if backend == "user" else "tap:receive_iov"
    assert (QUEUE[model], handler) in found
    nic_queue = "qemu_net_queue_send"  # from a backend a frame comes as one buffer
    if NIC[model].endswith("receive_iov"):
        assert {(nic_queue, NIC[model]), (nic_queue, "e1000:receive")} & found
    else:
        assert (nic_queue, NIC[model]) in found
    if backend == "user":
        assert ("user:receive", "slirp_input") in found
        assert ("slirp_input", "qemu_net_queue_send") in found, "frames towards the guest inside a frame from it"
        assert reading.frames.nested > 0
        turned = [node for node in reading.nodes if node.turned and node.direction == Direction.TO_GUEST]
        assert sum(node.to_guest for node in turned) == reading.frames.nested
    else:
        assert ("tap:receive_iov", "writev") in found
        assert ("tap_read_packet", "read") in found
        assert reading.frames.nested == 0
        assert reading.frames.sent == reading.frames.to_network
        assert whole.guest.backends == ("tap",)


def test_uprobes_and_the_instrumented_library_agree(tmp_path):
    try:
        ours = library.build("instrumented")
    except NfsleuthError as error:
        pytest.skip(error.message)
    with guests.running("rtl8139", "user", tmp_path, 1, {"LD_LIBRARY_PATH": str(ours)}) as guest:
        both = [Recorder(qemu(guest), 9, "instrumented"), Recorder(qemu(guest), 7, "uprobes", stepped=True)]
        for recorder in both:
            recorder.begun.wait()
        guest.ping(PINGS)
        guest.read()
        (inside, inner), (outside, outer) = (recorder.result() for recorder in both)
    counts = [
        {f.name: n for f, n in zip(r.functions, r.counts, strict=True) if f.object.startswith("libslirp")}
        for r in (inside, outside)
    ]
    common = counts[0].keys() & counts[1].keys() - {
        "slirp_pollfds_poll",
        "if_start",
    }  # which the main loop calls anyway
    assert {"slirp_input", "ip_input", "tcp_output", "if_encap", "m_get", "icmp_input"} <= common
    assert {name: counts[0][name] for name in common} == {name: counts[1][name] for name in common}
    assert counts[0]["icmp_input"] == PINGS
    for recording, tree in ((inside, inner), (outside, outer)):
        assert ("tcp_input", "tcp_output") in edges(recording, tree)
        output = [n for n in tree.nodes if recording.functions[n.function].name == "tcp_output" and n.turned]
        assert {n.direction for n in output} == {Direction.TO_GUEST}
        assert sum(n.to_guest for n in output) > 0
    assert inner.frames.nested == outer.frames.nested


def probed(pid: int) -> tuple[target.Target, int, int]:
    """A guest, where the handler of its backend lies in its memory, and in the file."""
    found = target.look(process.find(pid))
    handler = next(h for h in found.handlers if h.client == "user")
    base = next(base for image, base in found._bases if image is found.qemu)
    return found, base + handler.address, handler.address


def untouched(guest: Process, image: Image, at: int, address: int) -> bool:
    return guest.read(at, 8) == image.bytes_at(address, 8)


def uprobe_events() -> str:
    with os.fdopen(os.open("uprobe_events", os.O_RDONLY, dir_fd=perf_events._tracefs())) as file:
        return file.read()


def record_by_command(pid: int, output: Path, seconds: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "nfsleuth", "path", "record", "--pid", str(pid), "--seconds", str(seconds), "--baseline", "0",
         "-o", str(output)],
        stderr=subprocess.PIPE,
    )  # fmt: skip


def within(reached, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if reached():
            return True
        time.sleep(0.1)
    return False


def test_nothing_stays_however_it_ends(tmp_path):
    with guests.running("rtl8139", "user", tmp_path, megabytes=1) as guest:
        found, at, address = probed(qemu(guest))
        assert untouched(found.process, found.qemu, at, address)
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            command = record_by_command(found.process.pid, tmp_path / f"{number}.path", 60)
            assert within(lambda: not untouched(found.process, found.qemu, at, address)), (
                "a breakpoint while it records"
            )
            assert uprobe_events() == ""
            time.sleep(0.5)
            command.send_signal(number)
            command.wait(30)
            assert within(lambda: untouched(found.process, found.qemu, at, address)), "and none behind it"
            assert uprobe_events() == ""
        guest.ping(1)
        # Ctrl-C keeps what there is.
        assert "ended by hand" in store.load(tmp_path / f"{signal.SIGINT.value}.path").notes
        assert not list(tmp_path.glob(".*"))


def test_another_guest_of_the_same_program_is_left_alone(tmp_path):
    waiting = [guests.QEMU, "-nodefaults", "-display", "none", "-accel", "tcg", "-S", "-nic", "user,model=rtl8139"]
    with guests.running("rtl8139", "user", tmp_path, megabytes=1) as guest, subprocess.Popen(waiting) as second:
        try:
            assert within(lambda: len({second.pid, qemu(guest)} & {p.pid for p in process.everyone()}) == 2)
            with pytest.raises(NfsleuthError, match=rf"choose one with --pid: .*{second.pid} \(qemu-system"):
                api.record(None)
            found, at, address = probed(qemu(guest))
            other, other_at, _ = probed(second.pid)
            recorder = Recorder(found.process.pid, 3)
            recorder.begun.wait()
            assert not untouched(found.process, found.qemu, at, address)
            assert untouched(other.process, other.qemu, other_at, address), "its code has no breakpoint"
            guest.ping(1)
            recording, tree = recorder.result()
        finally:
            second.kill()
    assert recording.guest.pid == found.process.pid
    assert tree.frames.to_network >= 1


def test_a_guest_that_ends_ends_the_recording(tmp_path):
    with guests.running("e1000", "user", tmp_path, megabytes=1) as guest:
        pid = qemu(guest)
        command = record_by_command(pid, tmp_path / "x.path", 60)
        found, at, address = probed(pid)
        assert within(lambda: not untouched(found.process, found.qemu, at, address))
        guest.ping(1)
        time.sleep(0.5)
        os.kill(pid, signal.SIGKILL)
        assert command.wait(30) == 0
    recording = store.load(tmp_path / "x.path")
    assert "the guest ended while it was recorded" in recording.notes
    assert grow(recording).frames.to_network >= 1


def test_methods_say_what_they_cannot(tmp_path):
    with guests.running("e1000", "user", tmp_path, megabytes=1) as guest:
        pid = qemu(guest)
        with pytest.raises(NfsleuthError, match="LD_LIBRARY_PATH"):
            api.record(pid, "instrumented", api.Wishes(0.5, 0))
        recorder = Recorder(pid, 2, "sampling")
        recorder.begun.wait()
        guest.read()
        recorder.join()
        assert recorder.recording
        assert sum(recorder.recording.samples) > 0
        assert {"kernel"} <= {f.name for f in recorder.recording.functions}

"""Labs with real guests: what they record is identified rightly, and nothing of them stays behind.

Two labs run at once, three clients and a guest each at most at a time, since a guest without KVM takes a whole core.
"""

from __future__ import annotations

import functools
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import nfsleuth
from nfsleuth.lab import supervise
from nfsleuth.lab.outcome import timings_from_json
from nfsleuth.report import json_report

pytestmark = [pytest.mark.lab, pytest.mark.slow]

MARK = "NFSLEUTH_TEST_MARK"  # in the environment of a lab's processes, which children inherit
# Of those that last as long as their lab: a mount namespace is made for every command, and its number used again.
NAMESPACES = ("net", "pid", "uts", "ipc")
SIZES = (300_000, 2_000_000)

COMMON = """
start = "in turn"
[[hosts]]
name = "pc"
[[hosts]]
name = "hv"
[workloads.default]
files = [300000, 2000000]
small = 3
pause = 0.2
"""
PLAIN = f"""title = "native, bridged over NFSv3, User-Mode NAT over NFSv4.0"
{COMMON}
[[natives]]
name = "native"
host = "pc"
[[guests]]
name = "bridged"
host = "hv"
version = "3"
[[guests]]
name = "behind-user"
host = "hv"
backend = "user"
nic = "e1000"
version = "4.0"
"""
NAT = f"""title = "masqueraded over NFSv4.0 with Kerberos, captured at three places"
{COMMON}
[[guests]]
name = "behind-nat"
host = "hv"
backend = "masquerade"
version = "4.0"
sec = "krb5i"
[[guests]]
name = "crashes"
host = "hv"
version = "4.1"
workload = "crash"
[workloads.crash]
files = [300000]
reboots = 1
pause = 0.2
[[guests]]
name = "cannot-be"
host = "hv"
backend = "vhost"
optional = true
[[captures]]
name = "server"
[[captures]]
name = "host"
at = "host:hv"
format = "pcap"
[[captures]]
name = "guest"
at = "guest:behind-nat"
snaplen = 0
"""


def interfaces() -> str:
    """The machine's own links and addresses."""
    return subprocess.run(["ip", "-oneline", "address"], capture_output=True, text=True, check=True).stdout


def mounts() -> str:
    """What is mounted, but for FUSE: no lab mounts that, and tests of timed reads, which may run beside these, do."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return "\n".join(line.split(" ", 2)[2] for line in lines if " - fuse" not in line)


@dataclass
class Started:
    """A `lab run` that was started, and what it has on the machine."""

    process: subprocess.Popen[str]
    mark: str
    output: Path
    namespaces: set[str] = field(default_factory=set)
    scratch: set[str] = field(default_factory=set)

    def processes(self) -> set[int]:
        """Its processes, found by their environment."""
        found = set()
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    environment = (folder / "environ").read_bytes()
                    state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                except OSError:
                    continue
                if f"{MARK}={self.mark}".encode() in environment.split(b"\0") and state != "Z":
                    found.add(int(folder.name))
        return found

    def look(self) -> None:
        """Remember the namespaces and the working folder that it has now, once its network is there."""
        if "client 1" not in self.said():
            return
        for process in self.processes():
            with suppress(OSError):
                command = Path(f"/proc/{process}/cmdline").read_text()
                self.scratch |= set(re.findall(rf"/[\w/]+/{supervise.SCRATCH}\w+", command))
        self.namespaces |= {name for process in self.processes() for name in namespaces_of(process)} - namespaces_of(
            os.getpid()
        )

    def until(self, text: str, seconds: float = 200) -> None:
        """Wait until it says `text`."""
        deadline = time.monotonic() + seconds
        while text not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def remains(self, ended: float) -> str:
        """What of it is still there, which ended at `ended`, in clock ticks since boot.

        Numbers of namespaces are used again: one that a younger process is in is another's.
        """
        processes = self.processes()
        older = [f.name for f in Path("/proc").iterdir() if f.name.isdigit() and started_at(f.name) <= ended]
        held = {name for process in older for name in namespaces_of(process)}
        mounted = [name for name in self.namespaces if name in mounts()]
        return f"{processes or ''}{self.namespaces & held or ''}{mounted or ''}"

    def gone(self, seconds: float = 20) -> None:
        """Wait until nothing of it is there."""
        deadline = time.monotonic() + seconds
        ended = time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")
        while left := self.remains(ended):
            assert time.monotonic() < deadline, left
            time.sleep(0.1)


def started_at(process: str) -> float:
    return supervise.start_time(int(process)) or float("inf")


def namespaces_of(process: int | str) -> set[str]:
    found = set()
    for kind in NAMESPACES:
        try:
            found.add(os.readlink(f"/proc/{process}/ns/{kind}"))  # noqa: PTH115 (no path)
        except OSError:
            continue
    return found


@contextmanager
def started(folder: Path, text: str, name: str, *words: str) -> Iterator[Started]:
    """`nfsleuth lab run` on an experiment, in the background; killed at the end if it still runs."""
    (folder / f"{name}.toml").write_text(text)
    mark = secrets.token_hex(8)
    output = folder / f"{name}.out"
    # As a user would: with kernels that were compiled before, not with those of the tests.
    environment = {k: v for k, v in os.environ.items() if k != "NFSLEUTH_KERNELS"} | {MARK: mark}
    command = [sys.executable, "-m", "nfsleuth", "lab", "run", str(folder / f"{name}.toml"), "--accel", "tcg"]
    with output.open("wb") as out:
        process = subprocess.Popen(
            [*command, "-o", str(folder / name), *words], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            env=environment, start_new_session=True,
        )  # fmt: skip
    try:
        yield Started(process, mark, output)
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Ran:
    """Two labs that ran at once."""

    folder: Path
    before: str
    after: str
    labs: tuple[Started, Started]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("labs")
    before = interfaces() + mounts()
    with started(folder, PLAIN, "plain") as plain, started(folder, NAT, "nat") as nat:
        for lab in (plain, nat):
            while lab.process.poll() is None:
                plain.look()
                nat.look()
                time.sleep(0.5)
            lab.gone()
    return Ran(folder, before, interfaces() + mounts(), (plain, nat))


def labels(folder: Path, name: str = "server") -> list[dict]:
    return json.loads((folder / f"{name}.labels.json").read_text())["clients"]


@functools.cache
def identified(capture: Path) -> list[dict]:
    """Clients as `identify --json` shows them."""
    return json_report.identified(nfsleuth.identify(capture))["clients"]


def found(folder: Path, label: dict) -> dict:
    """The client that identify finds where the label says that one is."""
    here = [c for c in identified(folder / "server.pcapng") if c["address"] == label["address"]]
    (client,) = [c for c in here if set(label["ports"]) & set(c["ports"])]
    return client


@pytest.mark.parametrize("lab", ["plain", "nat"])
def test_both_labs_end_well(ran, lab):
    (this,) = [started for started in ran.labs if started.output.stem == lab]
    assert this.process.returncode == 0, this.said()
    assert "report.md has the rest" in this.said()
    assert (ran.folder / lab / "report.md").stat().st_size


@pytest.mark.parametrize(
    ("lab", "name", "state", "version"),
    [
        ("plain", "native", "native", "3"),
        ("plain", "bridged", "bridged-vm", "3"),
        ("plain", "behind-user", "user-nat-vm", "4.0"),
        ("nat", "behind-nat", "kernel-nat", "4.0"),
        ("nat", "crashes", "bridged-vm", "4.1"),
    ],
)
def test_clients_are_identified_rightly(ran, lab, name, state, version):
    (label,) = [row for row in labels(ran.folder / lab) if row["name"] == name]
    assert label["state"] == state
    client = found(ran.folder / lab, label)
    assert client["state"] == state
    assert client["nfs_versions"] == [version]
    assert label["mac"] in client["macs"]


def test_a_client_with_a_keytab_speaks_kerberos_and_nobody_else_does(ran):
    rows = {row["name"]: found(ran.folder / lab, row) for lab in ("plain", "nat") for row in labels(ran.folder / lab)}
    assert {name for name, client in rows.items() if "gss" in client["flavors"]} == {"behind-nat"}
    assert "sys" not in rows["behind-nat"]["flavors"]  # of its state neither


def test_labels_say_what_was_seen(ran):
    rows = {row["name"]: row for lab in ("plain", "nat") for row in labels(ran.folder / lab)}
    assert rows["bridged"]["mac"] == rows["bridged"]["guest_mac"]
    assert rows["behind-user"]["mac"] != rows["behind-user"]["guest_mac"] == "52:54:00:12:34:56"
    assert rows["behind-nat"]["guest_kernel"].endswith("-amd64")
    assert rows["crashes"]["boots"] == 2
    assert all(row["ports"] and row["rpc_calls"] and not row["failed"] for row in rows.values())


def test_guests_time_their_reads(ran):
    for lab, expected in (("plain", 3 * 2), ("nat", 2 + 2)):
        rows = timings_from_json(json.loads((ran.folder / lab / "timings.json").read_text()))
        assert len(rows) == expected
        assert {row.octets for row in rows} <= set(SIZES)
        assert all(0 < row.seconds < 60 for row in rows)


def test_captures_say_who_is_who_and_have_no_gaps(ran):
    for name in ("plain", "nat"):
        capture = (ran.folder / name / "server.pcapng").read_bytes()
        assert b"nfsleuth lab, experiment" in capture[:4096]
        told = json.loads((ran.folder / name / "run.json").read_text())
        assert set(told["dropped"].values()) == {0}
        assert told["versions"]["nfsleuth"]
        assert told["accelerator"] == "tcg"


def test_each_place_shows_its_side(ran):
    folder = ran.folder / "nat"
    (label,) = [row for row in labels(folder) if row["name"] == "behind-nat"]
    assert {client["address"] for client in identified(folder / "guest.pcapng")} == {label["guest_address"]}
    assert label["address"] in {client["address"] for client in identified(folder / "host.pcap")}


def test_what_cannot_be_played_is_left_out_and_said(ran):
    if Path("/dev/vhost-net").exists():
        pytest.skip("this machine has vhost")
    assert json.loads((ran.folder / "nat/run.json").read_text())["left_out"] == {
        "cannot-be": "this machine has no vhost"
    }
    assert "left out: cannot-be: this machine has no vhost" in ran.labs[1].said()


def test_nothing_of_them_stays(ran):
    for lab in ran.labs:
        assert len(lab.namespaces) > 4  # so the check could find them
        assert lab.scratch
        assert not any(Path(folder).exists() for folder in lab.scratch)
    assert ran.after == ran.before


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=str
)
def test_a_lab_that_is_ended_in_the_middle_leaves_nothing(tmp_path, number, code):
    before = interfaces() + mounts()
    text = PLAIN.replace('[[natives]]\nname = "native"\nhost = "pc"\n', "")
    with started(tmp_path, text, "ended") as lab:
        lab.until("bridged starts")
        time.sleep(2)  # the guest boots
        lab.look()
        assert len(lab.namespaces) > 4
        assert any("qemu" in os.readlink(f"/proc/{process}/exe") for process in lab.processes())  # noqa: PTH115
        os.kill(lab.process.pid, number)
        assert lab.process.wait(30) == code
        lab.gone()
    assert interfaces() + mounts() == before
    (scratch,) = map(Path, lab.scratch)
    assert scratch.exists() == (number == signal.SIGKILL)
    if scratch.exists():
        cleaned = subprocess.run(
            [sys.executable, "-m", "nfsleuth", "lab", "clean"], capture_output=True, text=True, check=True
        )
        assert f"removed {scratch} of a killed lab" in cleaned.stdout
        assert not scratch.exists()


def test_a_client_that_fails_is_named_with_its_log(tmp_path):
    text = PLAIN.replace('version = "3"', 'version = "4.1"\noptions = ["nosuchoption"]')
    with started(tmp_path, text, "fails") as lab:
        assert lab.process.wait(200) == 6
        lab.gone()
    assert "bridged: mount: " in lab.said()
    assert (tmp_path / "fails/logs/bridged.log").stat().st_size

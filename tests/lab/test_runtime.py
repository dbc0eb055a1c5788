"""The lab's parts that need no guest: archives, captures with remarks, jobs, what a machine lacks, what a kill leaves."""

from __future__ import annotations

import fcntl
import gzip
import json
import lzma
import os
import shutil
import stat
import struct
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from nfsleuth.capture import open_trace
from nfsleuth.cli import main
from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.lab import (
    accel,
    cpio,
    execute,
    initramfs,
    kerberos,
    kernels,
    parts,
    pcapng,
    play,
    record,
    recorders,
    servers,
    supervise,
)
from nfsleuth.lab.agents import AWAITED, Agent
from nfsleuth.lab.experiment import load, read
from nfsleuth.lab.model import Workload
from nfsleuth.lab.network import Network
from nfsleuth.lab.parts import Part

ONE = """
title = "one"
[[hosts]]
name = "pc"
[[hosts]]
name = "hv"
optional = true
[[natives]]
name = "native"
host = "pc"
[[guests]]
name = "vm"
host = "hv"
backend = "vhost"
"""


def unpacked(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """A naive reader of cpio's newc format: name -> mode, content."""
    found, at = {}, 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, length = fields[1], fields[6], fields[11]
        name = archive[at + 110 : at + 110 + length - 1].decode()
        at += -(-(110 + length) // 4) * 4
        if name == "TRAILER!!!":
            assert at == len(archive)
            return found
        found[name] = (mode, archive[at : at + size])
        at += -(-size // 4) * 4


names = st.lists(st.text("abc.", min_size=1, max_size=9).filter(lambda t: t.strip(".")), min_size=1, max_size=3)


@given(st.dictionaries(names.map("/".join), st.binary(max_size=99), max_size=9))
def test_an_archive_holds_its_files_and_the_folders_above_them(files):
    folders = {str(parent) for name in files for parent in Path(name).parents if parent.name}
    files = {name: content for name, content in files.items() if name not in folders}
    found = unpacked(cpio.archive({name: cpio.Entry(content) for name, content in files.items()}))
    assert {name: content for name, (mode, content) in found.items() if stat.S_ISREG(mode)} == files
    assert {name for name, (mode, _) in found.items() if stat.S_ISDIR(mode)} == folders
    order = list(found)
    assert all(
        order.index(folder) < order.index(name) for name in files for folder in folders if name.startswith(f"{folder}/")
    )


@pytest.mark.skipif(shutil.which("cpio") is None and shutil.which("busybox") is None, reason="no cpio here")
def test_cpio_reads_the_archive(tmp_path):
    tool = ["cpio"] if shutil.which("cpio") else ["busybox", "cpio"]
    made = cpio.archive({"bin/init": cpio.program(b"#!"), "etc/mtab": cpio.link("/proc/mounts")})
    subprocess.run([*tool, "-i", "-d"], input=made, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "bin/init").read_bytes() == b"#!"
    assert os.access(tmp_path / "bin/init", os.X_OK)
    assert str((tmp_path / "etc/mtab").readlink()) == "/proc/mounts"


def test_a_guests_file_is_modules_programs_and_job_in_this_order(tmp_path):
    modules = tmp_path / "modules.cpio.gz"
    modules.write_bytes(gzip.compress(cpio.archive({"modules/a.ko": cpio.Entry(b"A")})))
    kernel = kernels.Kernel(tmp_path / "vmlinuz", modules, "6.1", "p")
    base = cpio.archive({"init": cpio.program(b"#!")})
    initramfs.write(tmp_path / "image", kernel, base, {"name": "it's", "mtu": 1500}, {"steps": b"read a 1\n"})
    image = (tmp_path / "image").read_bytes()
    at = len(modules.read_bytes()) + -len(modules.read_bytes()) % 4
    assert at % 4 == 0
    assert image.startswith(modules.read_bytes())
    assert image[at:].startswith(base)
    job = unpacked(image[at + len(base) :])
    assert job["job/steps"][1] == b"read a 1\n"
    told = subprocess.run(
        ["sh", "-c", f'{job["job/settings"][1].decode()} echo "$name $mtu"'], capture_output=True, check=True
    )
    assert told.stdout == b"it's 1500\n"


def pcap(frames: list[bytes], magic: int = 0xA1B23C4D) -> bytes:
    head = struct.pack("<IHHiIII", magic, 2, 4, 0, 0, 640, 1)
    packets = (struct.pack("<IIII", 100 + n, n, len(f), len(f) + 7) + f for n, f in enumerate(frames))
    return head + b"".join(packets)


@pytest.mark.parametrize(("magic", "unit"), [(0xA1B23C4D, 1), (0xA1B2C3D4, 1000)])
def test_pcapng_has_the_same_frames_and_says_who_is_who(tmp_path, magic, unit):
    frames = [bytes(range(n)) for n in (14, 15, 60, 200)]
    (tmp_path / "a.pcap").write_bytes(pcap(frames, magic))
    pcapng.convert([tmp_path / "a.pcap"], tmp_path / "a.pcapng", ["client web01: 10.0.0.7"], "server")
    with open_trace([str(tmp_path / "a.pcapng")]) as trace:
        seen = []
        for chunk in trace:
            octets = chunk.buffer.tobytes()
            for row in chunk.frames:
                at = int(row["offset"])
                seen.append((octets[at : at + int(row["captured"])], int(row["wire"]), int(row["time"])))
    assert seen == [(f, len(f) + 7, (100 + n) * 10**9 + n * unit) for n, f in enumerate(frames)]
    assert b"client web01: 10.0.0.7" in (tmp_path / "a.pcapng").read_bytes()


@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_captures_of_two_boots_become_one(tmp_path, form):
    sources = [tmp_path / "0.pcap", tmp_path / "1.pcap"]
    for source, length in zip(sources, (60, 61), strict=True):
        source.write_bytes(pcap([bytes(length)]))
    target = tmp_path / f"both.{form}"
    if form == "pcap":
        pcapng.join(sources, target)
    else:
        pcapng.convert(sources, target, [], "guest")
    with open_trace([str(target)]) as trace:
        assert [int(length) for chunk in trace for length in chunk.frames["captured"]] == [60, 61]


def test_a_capture_that_ends_in_a_frame_keeps_those_before_it(tmp_path):
    whole = pcap([bytes(60), bytes(60)])
    for end in range(24, len(whole)):
        (tmp_path / "a.pcap").write_bytes(whole[:end])
        pcapng.convert([tmp_path / "a.pcap"], tmp_path / "a.pcapng", [], "server")
    (tmp_path / "a.pcap").write_bytes(whole[:20])
    with pytest.raises(NfsleuthError, match="not a capture"):
        pcapng.convert([tmp_path / "a.pcap"], tmp_path / "a.pcapng", [], "server")


APT = {
    ("depends", "--important", "linux-image-amd64"): "linux-image-amd64\n  Depends: linux-image-6.1.0-56-amd64\n",
    ("search", "--names-only", r"^linux-image-[0-9][^ ]*-amd64$"): "\n".join(
        f"linux-image-{name}-amd64 - Linux" for name in
        ("6.1.0-56", "6.12.9+deb12", "6.12.111+deb12", "6.12.200+deb12-cloud", "6.12.200+deb12-rt", "6.1.0-9")
    ),
}  # fmt: skip


def test_kernels_are_the_newest_that_apt_offers(monkeypatch):
    monkeypatch.setattr(kernels, "_apt", lambda *words: APT.get(words, ""))
    assert kernels.package_of("generic") == "linux-image-6.1.0-56-amd64"
    assert kernels.package_of("backports") == "linux-image-6.12.111+deb12-amd64"
    with pytest.raises(NfsleuthError, match="apt-get update") as caught:
        kernels.package_of("cloud")
    assert caught.value.exit_code == Exit.PARTS_MISSING


def bzimage(payload: bytes) -> bytes:
    """A compressed kernel as far as `unpacked` looks at it: one sector of setup code behind the first."""
    header = bytearray(2 * 512)
    header[0x1F1] = 1
    header[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", header, 0x248, 8, len(payload))
    return bytes(header) + bytes(8) + payload


ELF = b"\x7fELF" + bytes(100) + struct.pack("<III4sI", 4, 4, 18, b"Xen\0", 0x1000000)
PACKED = {"xz": lzma.compress(ELF), "zstd": zstandard.compress(ELF)}


@pytest.mark.parametrize("how", PACKED)
def test_a_kernel_is_unpacked_with_its_length_behind_it(how):
    assert kernels.unpacked(bzimage(PACKED[how] + struct.pack("<I", len(ELF)))) == ELF


@pytest.mark.parametrize(
    "image",
    [
        b"", bytes(1024), bzimage(b""), bzimage(ELF), bzimage(PACKED["xz"][:40]), bzimage(PACKED["zstd"][:20]),
        bzimage(b"\xfd7zXZ\0" + bytes(30)), bzimage(b"\x28\xb5\x2f\xfd" + b"\xff" * 30),
        bzimage(lzma.compress(b"no kernel")), bzimage(lzma.compress(ELF[:100])),
    ],
)  # fmt: skip
def test_what_cannot_be_unpacked_boots_as_it_came(image, tmp_path):
    assert kernels.unpacked(image) is None
    (tmp_path / "vmlinuz").write_bytes(image)
    assert kernels.bootable(tmp_path) == tmp_path / "vmlinuz"


def test_a_kernel_is_unpacked_once(tmp_path, monkeypatch):
    (tmp_path / "vmlinuz").write_bytes(bzimage(PACKED["xz"]))
    first = kernels.bootable(tmp_path)
    assert first.read_bytes() == ELF
    assert first.stat().st_mode & 0o444 == 0o444, "guests run as nobody"
    monkeypatch.setattr(kernels, "unpacked", lambda _: pytest.fail("unpacked again"))
    assert kernels.bootable(tmp_path) == first


def test_modules_come_with_what_they_need_and_in_order(tmp_path):
    def module(name, depends="", before=""):
        content = b"\0depends=" + depends.encode() + b"\0"
        if before:
            content += b"\0softdep=pre: " + before.encode() + b"\0"
        (tmp_path / "kernel").mkdir(exist_ok=True)
        (tmp_path / "kernel" / f"{name}.ko").write_bytes(content)

    module("nfsv4", "nfs,sunrpc", "crc32c")
    module("nfs", "sunrpc,fscache-x")
    module("sunrpc")
    module("fscache_x")
    module("crc32c")
    found = unpacked(gzip.decompress(kernels.modules_archive(tmp_path)))
    assert found["modules/nfsv4.order"][1].split() == [b"sunrpc", b"fscache_x", b"nfs", b"crc32c", b"nfsv4"]
    assert found["modules/e1000.order"][1] == b""  # built in, or not there
    assert "modules/sunrpc.ko" in found


def test_steps_of_a_workload_are_in_the_order_of_its_keys():
    workload = Workload(metadata=2, small=3, files=(10, 20), rounds=2, block=4, order="reverse", write=5, idle=6)
    text = play.steps(workload, {"files/shared/10": 10, "files/shared/20": 20})
    reads = ["read files/shared/10 4 order-10", "read files/shared/20 4 order-20"]
    assert text.splitlines() == ["metadata", "metadata", "small 3", *reads, *reads, "write 5", "idle 6"]
    assert play.orders(workload, "s")["order-10"].split() == ["2", "1", "0"]


def test_between_rounds_a_slow_client_may_have_done_enough():
    workload = Workload(metadata=0, small=0, files=(10,), rounds=4, warmup=1, block=4, enough=9)
    lines = [line.split()[0] for line in play.steps(workload, {"files/shared/10": 10}).splitlines()]
    assert lines == ["read", "read", "enough", "read", "enough", "read"]


def test_a_random_order_has_each_block_once_and_is_the_seeds():
    workload = Workload(files=(1000,), block=10, order="random")
    one, again, other = (play.orders(workload, seed)["order-1000"].split() for seed in ("1 a", "1 a", "2 a"))
    assert one == again != other
    assert sorted(map(int, one)) == list(range(100))
    assert play.orders(Workload(order="sequential"), "s") == {}


def test_the_share_holds_what_the_workloads_read(tmp_path):
    experiment = read(ONE + '[workloads.default]\nfiles = [1000, "3M", 0]\nsmall = 15\n', "one")
    servers.fill(tmp_path, experiment)
    for client in experiment.clients:
        for path, octets in servers.files_of(experiment, client).items():
            assert (tmp_path / path).stat().st_size == octets
    small = [path for path in (tmp_path / "tree").rglob("*") if path.is_file()]
    assert len(small) == 15
    assert stat.S_IMODE((tmp_path / "outbox").stat().st_mode) == 0o777


def test_guests_are_told_addresses_that_fit_their_backend():
    told = {}
    for backend in ("user", "masquerade", "tap"):
        experiment = read(ONE.replace("vhost", backend), "one")
        told[backend] = play.addresses(experiment, Network(experiment), experiment.guests[0])
        told[backend, "guest"] = experiment.guests[0]
    assert (told["user"]["addresses"], told["user"]["gateway"]) == ("10.0.2.15/24", "10.0.2.2")
    assert told["masquerade"]["gateway"] == "192.168.122.1"
    guest = told["tap", "guest"]
    assert told["tap"]["addresses"] == f"{guest.address}/24 {guest.address6}/64"
    assert told["tap"]["gateway"] == ""


def agent(tmp_path: Path, script: str) -> Agent:
    return Agent("web01", ["sh", "-c", script], tmp_path / "web01.log")


def test_an_agent_is_heard_and_told(tmp_path):
    heard: list[list[str]] = []
    running = agent(
        tmp_path, "echo noise; echo '[ 1.2] x@lab read f 5 0.1'; echo @lab ready; read word; echo @lab $word"
    )
    assert running.expect("ready", 10, heard.append) == []
    assert heard == [["read", "f", "5", "0.1"]]
    running.tell("go")
    running.expect("go", 10)
    assert running.ended(10)
    assert "noise" in running.log.read_text()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo @lab failed mount: no route", "mount: no route"),
        ("echo panic", "ended before it could mount .*panic"),
        ("sleep 60", "did not mount within 0 s; perhaps the server does not answer"),
    ],
)
def test_a_guest_that_fails_is_named_with_its_last_words(tmp_path, script, why):
    running = agent(tmp_path, script)
    try:
        with pytest.raises(NfsleuthError, match=f"web01: .*{why}.*web01.log") as caught:
            running.expect("ready", 0.3 if "sleep" in script else 10)
    finally:
        running.kill()
    assert caught.value.exit_code == Exit.LAB_FAILED
    assert running.ended(1)


@pytest.mark.parametrize(
    ("mark", "why"),
    [
        (
            "recording",
            "get to the reads that are recorded within 0 s; perhaps the mount hangs, or the NIC loses frames",
        ),
        ("worked", "finish its work within 0 s; perhaps the mount hangs, or the NIC loses frames"),
        ("surprise", "say 'surprise' within 0 s"),
    ],
)
def test_a_guest_that_hangs_is_told_in_one_line(tmp_path, mark, why):
    """Which guest, what was waited for and how long, what may be the cause, where to look."""
    running = agent(tmp_path, "sleep 60")
    try:
        with pytest.raises(NfsleuthError) as caught:
            running.expect(mark, 0.01)
    finally:
        running.kill()
    assert caught.value.message == f"web01: did not {why}; see web01.log among the logs"


def test_what_is_waited_for_is_what_an_agent_says():
    script = files("nfsleuth.lab").joinpath("agent.sh").read_text().replace('"', "")
    assert [mark for mark in AWAITED if f"say {mark}" not in script] == []


def test_frames_that_the_kernel_dropped_are_counted(tmp_path):
    log = tmp_path / "log"
    log.write_text("10 packets captured\n12 packets received by filter\n2 packets dropped by kernel\n")
    done = subprocess.Popen(["true"])
    assert recorders.Recorder(done, log, tmp_path / "x").dropped() == 2
    log.write_text("tcpdump: no suitable device found\n")
    with pytest.raises(NfsleuthError, match="tcpdump did not end"):
        recorders.Recorder(done, log, tmp_path / "x").dropped()
    done.wait()


# What the machine lacks


def machine(monkeypatch, *lacks: str, root: bool = True) -> None:
    """Pretend that this machine has everything but `lacks`."""
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    packages = {kind.name: kind.package for kind in parts._KINDS}
    needed = {kind.name: kind.needed for kind in parts._KINDS}
    everything = [Part(n, "", n not in lacks, packages[n], needed[n]) for n in packages]
    monkeypatch.setattr(parts, "check", lambda _=None: everything)


def test_one_command_brings_what_is_missing(monkeypatch):
    machine(monkeypatch, "tcpdump", "ganesha.nfsd", "rpcbind", "rpcinfo")
    with pytest.raises(NfsleuthError) as caught:
        parts.fitted(read(ONE, "one"))
    assert caught.value.exit_code == Exit.PARTS_MISSING
    assert "apt-get install --no-install-recommends tcpdump nfs-ganesha rpcbind" in caught.value.message


def test_what_no_package_brings_is_said(monkeypatch):
    machine(monkeypatch, "/dev/net/tun")
    with pytest.raises(NfsleuthError, match=r"lacks /dev/net/tun; no package brings /dev/net/tun"):
        parts.fitted(read(ONE, "one"))


def test_what_is_optional_is_left_out_and_named(monkeypatch):
    machine(monkeypatch, "vhost")
    left, why = parts.fitted(read(ONE, "one"))
    assert [client.name for client in left.clients] == ["native"]
    assert why == {"vm": "this machine has no vhost"}
    with pytest.raises(NfsleuthError, match=r"lacks vhost \(wanted by vm\)"):
        parts.fitted(read(ONE.replace("optional = true\n", ""), "one"))


def test_kerberos_is_needed_by_those_who_speak_it(monkeypatch):
    machine(monkeypatch, "krb5kdc", "kadmin.local", "vhost")
    assert parts.fitted(read(ONE, "one"))
    with pytest.raises(NfsleuthError, match=r"lacks kadmin.local \(wanted by vm\); run: apt-get .* krb5-admin-server$"):
        parts.fitted(read(ONE.replace('backend = "vhost"', 'sec = "krb5"').replace("optional = true\n", ""), "one"))


@pytest.mark.lab
def test_a_realm_has_a_keytab_for_the_server_and_for_each_who_needs_one(tmp_path):
    guests = '[[guests]]\nname = "b"\nhostname = "web01"\nsec = "krb5p"\n[[guests]]\nname = "c"\nkeytab = true\n'
    experiment = read(ONE + guests, "one")
    assert kerberos.wanted(experiment)
    assert not kerberos.wanted(read(ONE, "one"))
    realm = kerberos.realm(experiment, tmp_path / "the realm")
    assert {path.stem for path in realm.folder.glob("*.keytab")} == {experiment.server.name, "web01", "c"}
    files = realm.files(experiment.client("b"))
    assert set(files) == {"krb5.conf", "krb5.keytab", "hosts"}
    assert b"web01.lab.example" in files["krb5.keytab"]
    assert f"{experiment.server.address} filer01.lab.example filer01\n".encode() in files["hosts"]
    assert b"127.0.0.1 web01.lab.example web01\n" in files["hosts"]
    assert f"kdc = {experiment.server.address}:88\n".encode() in files["krb5.conf"]


def test_if_nothing_is_left_the_reason_is_said(monkeypatch):
    machine(monkeypatch, "vhost")
    only = ONE[: ONE.index("[[natives]]")] + ONE[ONE.index("[[guests]]") :]
    with pytest.raises(NfsleuthError, match="nothing of one can be played here: vm: this machine has no vhost"):
        parts.fitted(read(only, "one"))


def test_parts_are_looked_for_on_this_very_machine():
    found = {part.name: part for part in parts.check(())}
    assert found["root"].there == (os.geteuid() == 0)
    assert found["tcpdump"].there == bool(shutil.which("tcpdump", path=f"{os.environ['PATH']}:/usr/sbin:/sbin"))
    assert found["/dev/net/tun"].there == Path("/dev/net/tun").exists()
    assert all(part.needed for part in found.values())
    if os.geteuid() != 0:
        assert found["bridge"].there is None


def run(capsys, *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["lab", *words])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_check_says_what_is_missing_and_fails(monkeypatch, capsys):
    machine(monkeypatch, "ethtool", "vhost", "passt")
    code, out, _ = run(capsys, "check")
    assert code == Exit.PARTS_MISSING
    assert "no  ethtool" in out
    assert "install --no-install-recommends ethtool\n" in out
    assert "For all experiments:\n  apt-get install --no-install-recommends passt\n" in out
    assert max(map(len, out.splitlines())) <= 80


def test_check_of_a_whole_machine(monkeypatch, capsys):
    machine(monkeypatch)
    code, out, _ = run(capsys, "check")
    assert (code, out.splitlines()[-1]) == (Exit.DONE, "Ready.")


def test_without_root_nothing_is_made(monkeypatch, capsys, tmp_path):
    machine(monkeypatch, "root", root=False)
    code, _, err = run(capsys, "run", "paper", "-o", str(tmp_path / "out"))
    assert code == Exit.PARTS_MISSING
    assert "needs root; run it with sudo" in err
    assert not (tmp_path / "out").exists()
    assert run(capsys, "clean")[0] == Exit.PARTS_MISSING


def test_a_missing_part_is_named_before_anything_is_made(monkeypatch, capsys, tmp_path):
    machine(monkeypatch, "/dev/net/tun")
    code, _, err = run(capsys, "run", "paper", "-o", str(tmp_path / "out"))
    assert code == Exit.PARTS_MISSING
    assert "/dev/net/tun" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("title = ", "not TOML"),
        ('title = "x"', "no client"),
        (ONE.replace('"vhost"', '"vhst"'), "backend"),
        (ONE.replace('host = "pc"', 'host = "pcc"'), "pcc"),
    ],
)
def test_a_wrong_experiment_is_a_message(capsys, tmp_path, text, why):
    (tmp_path / "mine.toml").write_text(text)
    code, _, err = run(capsys, "run", str(tmp_path / "mine.toml"), "-o", str(tmp_path / "out"))
    assert code == Exit.WRONG_USE
    assert "mine.toml" in err
    assert why in err
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_left_alone(monkeypatch, capsys, tmp_path):
    machine(monkeypatch)
    (tmp_path / "mine").touch()
    code, _, err = run(capsys, "run", "paper", "--accel", "tcg", "-o", str(tmp_path))
    assert code == Exit.WRONG_USE
    assert "is not empty; choose a new folder" in err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_experiments_that_ship_are_listed(capsys):
    code, out, _ = run(capsys, "list")
    assert code == Exit.DONE
    assert "paper          5 clients" in out


def test_a_run_is_estimated_before_it_starts():
    paper = load("paper")
    small, full = record.estimate(paper), record.estimate(record.full_sizes(paper))
    assert full.octets > 10 * small.octets > 0
    assert full.seconds > small.seconds
    assert small.captured == pytest.approx(small.octets * 640 / 1514)
    workload = record.full_sizes(paper).workload(paper.clients[0])
    assert max(workload.files) == 2 << 30


def test_a_seed_takes_the_place_of_the_experiments_own():
    own, again, other = load("paper"), load("paper", load("paper").seed), load("paper", 7)
    assert own == again
    assert other.seed == 7
    assert {g.mac for g in other.guests}.isdisjoint({g.mac for g in own.guests if g.mac != "52:54:00:12:34:56"})


def test_what_does_not_fit_the_disk_is_not_begun(monkeypatch, tmp_path):
    monkeypatch.setattr(servers.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 5, 1000))
    with pytest.raises(NfsleuthError, match="no room for 1 MB; set TMPDIR"):
        servers.fill(tmp_path / "share", read(ONE, "one"))


def test_a_proof_is_for_guests_under_qemu_only(monkeypatch, tmp_path):
    heard: list[dict] = []
    kernel = kernels.Kernel(tmp_path, tmp_path, "6.1", "p")
    monkeypatch.setattr(accel, "proved", lambda found, *_: "kvm" if found is kernel else "wrong")

    def using(wanted, names):
        task = execute.Recording(read(ONE, "one"), tmp_path, wanted, dict.fromkeys(names, kernel), None)
        return task._accelerator(lambda **event: heard.append(event))

    assert [using("auto", names) for names in ([], ["uml"], ["uml", "generic"])] == ["tcg", "tcg", "kvm"]
    assert using("tcg", ["generic"]) == "tcg"
    assert [event["proved"] for event in heard if "proved" in event] == [False, False, True, False]


# The accelerator


def test_an_accelerator_is_proved_once_per_boot(monkeypatch, tmp_path):
    monkeypatch.setattr(accel, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(accel.qemu, "KVM", tmp_path)
    monkeypatch.setattr(accel, "_boot", lambda: "boot1")
    assert accel.chosen("auto") == "auto"
    accel.remember("tcg")
    assert accel.chosen("auto") == "tcg"
    assert accel.chosen("kvm") == "kvm"
    monkeypatch.setattr(accel, "_boot", lambda: "boot2")
    assert accel.chosen("auto") == "auto"


def test_without_kvm_there_is_only_tcg(monkeypatch, tmp_path):
    monkeypatch.setattr(accel.qemu, "KVM", tmp_path / "kvm")
    assert accel.chosen("auto") == "tcg"
    with pytest.raises(NfsleuthError, match="no /dev/kvm here") as caught:
        accel.chosen("kvm")
    assert caught.value.exit_code == Exit.PARTS_MISSING


# What a kill leaves


@pytest.fixture
def records(monkeypatch, tmp_path):
    monkeypatch.setattr(supervise, "RECORDS", tmp_path / "records")
    return tmp_path / "records"


def left(records: Path, scratch: Path, process: int = 0, started: int = 0) -> Path:
    """The record of a lab whose owner was killed."""
    records.mkdir(exist_ok=True)
    file = records / "0123456789ab.json"
    file.write_text(json.dumps({"scratch": str(scratch), "process": process, "started": started}))
    return file


def test_a_run_is_on_record_and_leaves_nothing(records):
    with supervise.recorded() as run:
        assert run.scratch.is_dir()
        assert json.loads(run.file.read_text())["scratch"] == str(run.scratch)
        assert supervise.sweep() == []  # its owner lives
        assert run.scratch.is_dir()
    assert not run.scratch.exists()
    assert list(records.iterdir()) == []


def test_a_working_folder_is_where_nobody_may_enter(monkeypatch, tmp_path, records):
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    monkeypatch.setattr("tempfile.tempdir", str(private))
    with supervise.recorded() as run:
        assert private not in run.scratch.parents
        assert all(folder.stat().st_mode & 0o001 for folder in (run.scratch, *run.scratch.parents))


def test_a_killed_runs_folder_is_removed(records, tmp_path):
    scratch = tmp_path / f"{supervise.SCRATCH}x"
    (scratch / "share").mkdir(parents=True)
    left(records, scratch)
    assert supervise.sweep() == [f"removed {scratch} of a killed lab"]
    assert not scratch.exists()
    assert list(records.iterdir()) == []


def test_a_killed_runs_process_is_ended_unless_the_number_was_used_again(records, tmp_path):
    scratch = tmp_path / f"{supervise.SCRATCH}x"
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        started = supervise.start_time(process.pid)
        assert started
        left(records, scratch, process.pid, started + 1)
        supervise.sweep()
        assert process.poll() is None
        left(records, scratch, process.pid, started)
        supervise.sweep()
        assert process.wait(5) == -9


@pytest.mark.parametrize("text", ["", "{", "[]", '{"scratch": 5, "else": 1}', '{"process": 1}', '{"scratch": 5}'])
def test_a_record_that_says_nothing_is_removed(records, text):
    records.mkdir()
    (records / "0123456789ab.json").write_text(text)
    assert supervise.sweep() == []
    assert list(records.iterdir()) == []


def test_a_record_never_removes_what_is_no_labs(records, tmp_path):
    for victim in (tmp_path / "home", tmp_path / f"{supervise.SCRATCH}link"):
        (tmp_path / "home").mkdir(exist_ok=True)
        if not victim.exists():
            victim.symlink_to(tmp_path / "home")
        left(records, victim)
        supervise.sweep()
        assert (tmp_path / "home").is_dir()


def test_a_record_in_use_is_left_alone(records, tmp_path):
    file = left(records, tmp_path / f"{supervise.SCRATCH}x")
    with file.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        supervise.sweep()
        assert file.exists()


class Broken:
    """A task that is wrong: the bug of ours that must not be taken for a message."""

    def run(self, report):
        report(step="here")
        raise ZeroDivisionError("a bug")


class Refused(Broken):
    def run(self, report):
        raise NfsleuthError("no such thing", Exit.PARTS_MISSING)


class Killed(Broken):
    def run(self, report):
        report(step=" ".join(sorted(path.name for path in Path("/proc").iterdir() if path.name.isdigit())))
        os.kill(os.getpid(), 9)  # of no effect on the first process of a namespace
        os._exit(9)


@pytest.mark.lab
@pytest.mark.parametrize(
    ("task", "error", "why"),
    [
        (Broken(), RuntimeError, "ZeroDivisionError: a bug"),
        (Refused(), NfsleuthError, "no such thing"),
        (Killed(), NfsleuthError, "it was killed"),
    ],
)
def test_how_a_task_ends_is_told_outside(records, monkeypatch, task, error, why):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2]), *sys.path]))
    heard: list[dict] = []
    with supervise.recorded() as run, pytest.raises(error, match=why):
        supervise.apart(run, task, heard.append)
    if isinstance(task, Killed):
        assert heard == [{"step": "1"}]  # it is alone in its process namespace
    assert list(records.iterdir()) == []


def test_a_process_that_has_ended_has_no_start_time():
    with subprocess.Popen(["true"]) as process:
        pass
    deadline = time.monotonic() + 5
    while supervise.start_time(process.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert supervise.start_time(process.pid) is None
    assert supervise.start_time(os.getpid()) is not None

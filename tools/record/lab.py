"""A network on one machine: a switch, an NFS server, hosts, guests and a recorder, each in a namespace of its own.

Comes in: addresses, MACs and guest images. Goes out: running clients and a capture from the server's interface.
`Lab` is a context manager: leaving it ends every process it started and deletes every namespace it made, also after
an error. Nothing outside its namespaces is touched.
Needs: root, Debian 12 with iproute2, ethtool, tcpdump, nftables, rpcbind, nfs-ganesha, nfs-ganesha-vfs,
qemu-system-x86, user-mode-linux, util-linux; a kernel with bridge, veth, tun and nf_tables masquerade.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, NoReturn, Self

from guest_image import Image

# The capture must hold frames as a wire carries them: at most 1514 bytes, checksums filled in.
OFFLOADS = ("tso", "gso", "gro", "tx", "rx", "sg")
SERVER = "10.0.0.1"
PREFIX = "nslo"  # of namespace names, so that they meet no others

# Short lease: renewals appear within a short recording. READ_PLUS of Ganesha 4.3 never reports the end of a file, so
# clients that use it (Linux 6.12 on 4.2) must mount another minor version.
GANESHA = """
NFS_CORE_PARAM {{ Protocols = 3, 4; Mount_Path_Pseudo = true; MNT_Port = 20048; Enable_NLM = false;
                 Enable_RQUOTA = false; }}
NFSv4 {{ Graceless = true; Lease_Lifetime = 20; Minor_Versions = 0, 1, 2; }}
EXPORT {{ Export_Id = 1; Path = {share}; Pseudo = /office; Access_Type = RW; Squash = No_Root_Squash;
         SecType = sys; FSAL {{ Name = VFS; }} }}
LOG {{ Default_Log_Level = EVENT; }}
"""

# In a process, mount and host name space of its own the server sees no state and no name of this machine.
SERVE = """
hostname {name}
mount -t tmpfs tmpfs /run && mkdir -p /run/rpcbind /run/ganesha
mount -t tmpfs tmpfs /var/lib/nfs && mkdir -p /var/lib/nfs/ganesha
rpcbind -f -w & sleep 1
exec ganesha.nfsd -F -f {folder}/ganesha.conf -L {folder}/ganesha.log -p /run/ganesha/pid
"""


@dataclass(frozen=True)
class Namespace:
    """A network namespace."""

    name: str

    def command(self, *words: str | Path) -> list[str]:
        """`words` as a command line that runs inside."""
        return ["ip", "netns", "exec", self.name, *map(str, words)]

    def run(self, *words: str | Path) -> None:
        """Run a command inside to its end; CalledProcessError if it fails."""
        subprocess.run(self.command(*words), check=True, stdout=subprocess.DEVNULL)

    def tap(self, bridge: str) -> str:
        """Add the TAP interface of a guest to `bridge`, and return its name."""
        self.run("ip", "tuntap", "add", "tap0", "mode", "tap")
        self.run("ip", "link", "set", "tap0", "master", bridge, "up")
        return "tap0"


@dataclass(frozen=True)
class Guest:
    """What a guest is told on its kernel command line, see guest-init.sh."""

    host: str
    address: str
    options: str
    steps: str
    gateway: str = ""
    pause: int = 8

    def words(self) -> str:
        """The part of the kernel command line that guest-init.sh reads."""
        told = {**vars(self), "server": SERVER}
        return " ".join(f"lab_{name}={value}" for name, value in told.items() if value != "")


@dataclass
class Lab:
    """The network. `folder` takes logs, the share and the capture."""

    folder: Path
    namespaces: list[Namespace] = field(default_factory=list)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    switch: Namespace = field(init=False)
    server: Namespace = field(init=False)

    def __enter__(self) -> Self:
        signal.signal(signal.SIGTERM, _leave)
        try:
            self.switch = self._namespace("switch")
            _bridge(self.switch, "br0")
            self.folder.mkdir(parents=True, exist_ok=True)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self.processes):
            _end(process)
        for namespace in self.namespaces:
            subprocess.run(["ip", "netns", "delete", namespace.name], check=False)

    def _namespace(self, name: str) -> Namespace:
        namespace = Namespace(f"{PREFIX}-{name}")
        subprocess.run(["ip", "netns", "add", namespace.name], check=True)
        self.namespaces.append(namespace)
        namespace.run("ip", "link", "set", "lo", "up")
        return namespace

    def _cable(self, namespace: Namespace, port: str, mac: str | None) -> None:
        """Connect eth0 of `namespace` to `port` of the switch."""
        address = ["address", mac] if mac else []
        peer = ["peer", "name", port, "netns", self.switch.name]
        namespace.run("ip", "link", "add", "eth0", *address, "type", "veth", *peer)
        settings = [word for name in OFFLOADS for word in (name, "off")]
        namespace.run("ethtool", "-K", "eth0", *settings)
        self.switch.run("ethtool", "-K", port, *settings)
        self.switch.run("ip", "link", "set", port, "master", "br0", "up")

    def host(self, name: str, address: str, mac: str) -> Namespace:
        """A machine with an address of its own on the switch."""
        namespace = self._namespace(name)
        self._cable(namespace, name, mac)
        namespace.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
        namespace.run("ip", "link", "set", "eth0", "up")
        return namespace

    def hypervisor(self, name: str) -> Namespace:
        """A machine that is only a bridge `br0` between its guests and the switch."""
        namespace = self._namespace(name)
        _bridge(namespace, "br0")
        self._cable(namespace, name, None)
        namespace.run("ip", "link", "set", "eth0", "master", "br0", "up")
        return namespace

    def masquerading(self, name: str, address: str, mac: str) -> Namespace:
        """A machine that hides guests of 192.168.122.0/24 on `virbr0` behind its address, as libvirt does."""
        namespace = self.host(name, address, mac)
        _bridge(namespace, "virbr0")
        namespace.run("ip", "address", "add", "192.168.122.1/24", "dev", "virbr0")
        namespace.run("sysctl", "-q", "net.ipv4.ip_forward=1")
        rule = "ip saddr 192.168.122.0/24 ip daddr != 192.168.122.0/24 masquerade"
        namespace.run("nft", "add table ip lab")
        namespace.run("nft", "add chain ip lab out { type nat hook postrouting priority srcnat; }")
        namespace.run("nft", f"add rule ip lab out {rule}")
        return namespace

    def serve(self, share: Path, name: str, mac: str) -> None:
        """Start NFS-Ganesha with `share` as /office on SERVER."""
        self.server = self.host("server", SERVER, mac)
        (self.folder / "ganesha.conf").write_text(GANESHA.format(share=share))
        script = SERVE.format(name=name, folder=self.folder)
        apart = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self.start(self.server, *apart, "sh", "-c", script, log="server")
        probe = self.server.command("sh", "-c", "ss -Hltn 'sport = 2049' | grep -q 2049 && rpcinfo -t 127.0.0.1 nfs 3")
        wait_for(lambda: subprocess.run(probe, check=False, capture_output=True).returncode == 0, "the server", 30)

    def record(self, capture: Path, snaplen: int) -> "Recorder":
        """Capture every frame of the server's interface, at nanosecond resolution."""
        options = ["-i", "eth0", "-s", str(snaplen), "-B", "65536", "-Z", "root", "--time-stamp-precision=nano"]
        process = self.start(self.server, "tcpdump", *options, "-w", capture, log="tcpdump")
        log = self.folder / "tcpdump.log"
        wait_for(lambda: "listening on" in log.read_text(), "tcpdump", 10)
        return Recorder(process, log)

    def start(self, namespace: Namespace, *words: str | Path, log: str) -> subprocess.Popen[bytes]:
        """Start a command inside `namespace` that ends with the lab at the latest."""
        with (self.folder / f"{log}.log").open("wb") as output:
            process = _popen(namespace.command(*words), output)
        self.processes.append(process)
        return process

    def qemu(self, namespace: Namespace, image: Image, guest: Guest, nic: Sequence[str]) -> "Running":
        """Boot `guest` under QEMU without KVM; `nic` are the options from `bridged_nic` or `user_nic`."""
        machine = ["-accel", "tcg", "-cpu", "max", "-m", "256", "-nodefaults", "-display", "none", "-no-reboot"]
        console = self.folder / f"{guest.host}.console"
        console.write_text("")
        process = self.start(
            namespace, "qemu-system-x86_64", *machine, "-kernel", image.kernel, "-initrd", image.initramfs,
            "-append", f"console=ttyS0 quiet panic=1 {guest.words()}", "-serial", f"file:{console}", *nic,
            log=guest.host,
        )  # fmt: skip
        return Running(guest.host, process, console)

    def uml(self, namespace: Namespace, image: Image, guest: Guest, mac: str) -> "Running":
        """Run `guest` as a process: User-Mode Linux has the kernel's NFS client, but no emulated NIC."""
        tap = namespace.tap("br0")
        process = self.start(
            namespace, image.kernel, "mem=256M", f"initrd={image.initramfs}", f"eth0=tuntap,{tap},{mac}",
            f"uml_dir={self.folder}/", "con=null", "con0=null,fd:1", "quiet", *guest.words().split(), log=guest.host,
        )  # fmt: skip
        return Running(guest.host, process, self.folder / f"{guest.host}.log")


@dataclass(frozen=True)
class Running:
    """A client at work; its console says how far it is."""

    name: str
    process: subprocess.Popen[bytes]
    console: Path

    def mounted(self) -> None:
        """Wait until the share is mounted, or the client has ended: `done` tells how."""
        wait_for(lambda: self._says("LAB mounted") or self.process.poll() is not None, f"the mount of {self.name}", 120)

    def done(self) -> None:
        """Wait until the guest has finished its steps and is switched off."""
        wait_for(lambda: self.process.poll() is not None, f"the end of {self.name}", 600)
        if not self._says("LAB done"):
            raise RuntimeError(f"{self.name} failed, see {self.console}")

    def _says(self, mark: str) -> bool:
        text = self.console.read_text(errors="replace")
        if "LAB failed" in text:
            raise RuntimeError(f"{self.name} failed, see {self.console}")
        return mark in text


@dataclass(frozen=True)
class Recorder:
    """A running tcpdump."""

    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> str:
        """End the capture; returns what tcpdump counted. RuntimeError if the kernel dropped a frame."""
        time.sleep(1)  # the last frames may still wait in the ring
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        counted = self.log.read_text()
        if "\n0 packets dropped by kernel" not in counted:
            raise RuntimeError(f"the capture has gaps: {counted}")
        return counted


def bridged_nic(tap: str, device: str, mac: str) -> list[str]:
    """QEMU options for a NIC on a TAP interface: the guest's frames reach the wire as they are."""
    return [
        "-netdev", f"tap,id=n0,ifname={tap},script=no,downscript=no",
        "-device", f"{device},netdev=n0,mac={mac},romfile=",
    ]  # fmt: skip


def user_nic(device: str, inside: Path) -> list[str]:
    """QEMU options for a NIC behind libslirp; the guest's side of it is recorded in the file `inside`."""
    return [
        "-netdev", "user,id=n0",
        "-device", f"{device},netdev=n0,romfile=",
        "-object", f"filter-dump,id=f0,netdev=n0,file={inside}",
    ]  # fmt: skip


def wait_for(reached: Callable[[], bool], what: str, seconds: float) -> None:
    """Poll `reached`; TimeoutError names `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.2)


def numbered_lines(path: Path, size: int, label: str) -> None:
    """Write `size` bytes of text in which every line differs; no content of this machine."""
    lines = "".join(f"{label} line {number:08d}\n" for number in range(size // (len(label) + 15) + 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(lines[:size])


def _bridge(namespace: Namespace, name: str) -> None:
    """Add a silent bridge: without IPv6, spanning tree and IGMP of its own, only machines on it speak."""
    namespace.run("sysctl", "-q", "net.ipv6.conf.default.disable_ipv6=1", "net.ipv6.conf.all.disable_ipv6=1")
    namespace.run("ip", "link", "add", name, "type", "bridge", "stp_state", "0", "mcast_snooping", "0")
    namespace.run("ip", "link", "set", name, "up")


def _popen(command: list[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)


def _leave(number: int, _frame: object) -> NoReturn:
    """End as after an error, so that the lab is taken down."""
    raise SystemExit(128 + number)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process group of `process`: `ip netns exec` becomes the command, whose children are in its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

"""Record office.pcapng and office.labels.json: eight NFS clients of five kinds against one server.

Comes in: a folder for the results, one for work. Goes out: the capture from the server's interface and the truth about
each client. The clients start one after the other and overlap; guests run under QEMU without KVM.
Needs: what lab.py and guest_image.py need, and libnfs-utils, tshark, editcap. Run as root:

    python3 tools/record/office.py --into tests/captures --work "$(mktemp -d)"
"""

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import guest_image
from guest_image import Image

from lab import SERVER, Guest, Lab, Running, bridged_nic, numbered_lines, user_nic

SNAPLEN = 640  # keeps every call that names a client whole
# Debian's security updates change these names: `apt-cache search linux-image-6` lists those of today.
GENERIC = "linux-image-6.1.0-56-amd64"
CLOUD = "linux-image-6.1.0-56-cloud-amd64"
NEWER = "linux-image-6.12.111+deb12-amd64"
BIG = 64 * 1024  # octets of the file that most clients read whole


@dataclass(frozen=True)
class Label:
    """The truth about one client, in the form of the lab's other labels; `steps` and `mount` say what it did."""

    address: str
    mac: str  # of the frames that the server sees
    guest_mac: str | None
    names: list[str]
    nfs_versions: list[str]
    state: str
    acceptable: list[str]
    virtual: bool
    platform: str | None
    platform_acceptable: list[str | None]
    nic: str
    backend: str
    host: str
    guest_kernel: str
    mount: str
    steps: list[str]
    trap: bool = False
    standin_for_native: bool = False
    notes: str = ""
    boots: int | None = None
    address6: str | None = None


@dataclass(frozen=True)
class Client:
    """A client before it runs: `start` boots it."""

    label: Label
    start: Callable[[], Running]


# What may be said of the platform of a guest behind NAT: the wire does not show its NIC.
HIDDEN = [None, "KVM/QEMU", "QEMU SLiRP", "VirtualBox"]


@dataclass(frozen=True)
class Office:
    """Makes the clients of this recording: one method for each kind."""

    lab: Lab
    images: dict[str, Image]

    def clients(self) -> Iterable[Client]:
        """Build each client's host when its turn comes, and yield the client ready to start."""
        yield self.bridged(
            Guest("web01", "10.0.0.7/24", "vers=4.2,rsize=32768", "small,big,sweep,write,idle"),
            GENERIC, "virtio-net-pci", "52:54:00:8f:21:c4", platforms=["KVM/QEMU"],
        )  # fmt: skip
        yield from self.behind_user_nat(
            "10.0.0.9",
            "a0:36:9f:5c:09:1e",
            (Guest("build-agent-1", "10.0.2.15/24", "vers=4.0,rsize=16384", "big,sweep,write,idle", "10.0.2.2"), CLOUD),
            (
                Guest("build-agent-2", "10.0.2.15/24", "vers=4.1,rsize=16384", "sweep,small,big,write", "10.0.2.2"),
                NEWER,
            ),
        )
        yield self.native("10.0.0.12", "18:66:da:0b:12:5d")
        yield self.bridged(
            Guest("mail01", "10.0.0.14/24", "vers=3,nolock", "small,sweep,big,write"),
            GENERIC, "vmxnet3", "00:0c:29:6b:3d:52", platforms=[None, "VMware", "KVM/QEMU"],
            notes="VMware's MAC prefix and NIC model; the hypervisor is QEMU",
        )  # fmt: skip
        yield self.masqueraded(
            "10.0.0.16",
            "a0:36:9f:77:16:2a",
            Guest("gitlab", "192.168.122.45/24", "vers=4.0", "small,big,sweep,write,idle", "192.168.122.1"),
            "52:54:00:d1:07:9b",
        )
        yield self.user_mode_linux(
            Guest("ws-anna", "10.0.0.18/24", "vers=4.1,rsize=32768", "small,big,sweep,write"), "18:66:da:4e:18:c3"
        )
        yield self.bridged(
            Guest("db02", "10.0.0.20/24", "vers=4.0,rsize=16384", "sweep,big,write,idle"),
            NEWER, "e1000", "18:66:da:91:20:07", platforms=[None, "KVM/QEMU"], trap=True,
            notes="a guest with a physical maker's MAC: `unknown` is right, certainty is not",
        )  # fmt: skip

    def bridged(
        self,
        guest: Guest,
        kernel: str,
        device: str,
        mac: str,
        *,
        platforms: list[str | None],
        trap: bool = False,
        notes: str = "",
    ) -> Client:
        """A guest whose own frames reach the server; the first of `platforms` is what its MAC rightly suggests."""
        name = f"hv{_last(guest.address)}"
        host = self.lab.hypervisor(name)
        image = self.images[kernel]
        label = replace(
            _label(guest, image, mac, device, name), platform=platforms[0], platform_acceptable=platforms, trap=trap,
            acceptable=["bridged-vm", "unknown"] if trap else ["bridged-vm"], notes=notes,
        )  # fmt: skip
        nic = bridged_nic(host.tap("br0"), device, mac)
        return Client(label, partial(self.lab.qemu, host, image, guest, nic))

    def behind_user_nat(self, address: str, mac: str, *guests: tuple[Guest, str]) -> Iterable[Client]:
        """Guests behind libslirp on one host: the server sees the host's connections."""
        name = f"h{_last(address)}"
        host = self.lab.host(name, address, mac)
        for guest, kernel in guests:
            image = self.images[kernel]
            label = replace(
                _label(guest, image, mac, "virtio-net-pci", name), address=address, guest_mac="52:54:00:12:34:56",
                state="user-nat-vm", acceptable=["user-nat-vm"], platform_acceptable=HIDDEN, backend="user",
            )  # fmt: skip
            nic = user_nic("virtio-net-pci", inside(self.lab.folder, guest.host))
            yield Client(label, partial(self.lab.qemu, host, image, guest, nic))

    def masqueraded(self, address: str, mac: str, guest: Guest, guest_mac: str) -> Client:
        """A guest behind the NAT of its host's kernel: its own TCP, the host's address."""
        name = f"h{_last(address)}"
        host = self.lab.masquerading(name, address, mac)
        image = self.images[GENERIC]
        label = replace(
            _label(guest, image, mac, "virtio-net-pci", name), address=address, guest_mac=guest_mac, state="kernel-nat",
            acceptable=["kernel-nat", "unknown"], platform_acceptable=HIDDEN, backend="masquerade",
        )  # fmt: skip
        nic = bridged_nic(host.tap("virbr0"), "virtio-net-pci", guest_mac)
        return Client(label, partial(self.lab.qemu, host, image, guest, nic))

    def user_mode_linux(self, guest: Guest, mac: str) -> Client:
        """The stand-in for a native Linux machine."""
        name = f"h{_last(guest.address)}"
        host = self.lab.hypervisor(name)
        image = self.images["uml"]
        label = replace(
            _label(guest, image, mac, "uml-tuntap", name), state="native", acceptable=["native", "unknown"],
            virtual=False, platform_acceptable=[None], standin_for_native=True,
            notes="User-Mode Linux: a kernel client with a physical maker's MAC and no emulated NIC; in truth a guest",
        )  # fmt: skip
        return Client(label, partial(self.lab.uml, host, image, guest, mac))

    def native(self, address: str, mac: str) -> Client:
        """A user-space client: libnfs commands on a machine of their own, one connection for each."""
        name = f"h{_last(address)}"
        host = self.lab.host(name, address, mac)
        share = f"nfs://{SERVER}/office"
        fetched = self.lab.folder / "fetched.txt"
        commands = (
            f"nfs-ls {share}/; echo LAB mounted", f"nfs-ls -R {share}/projects/", f"nfs-cat {share}/notes/01.txt",
            f"nfs-cat {share}/shared/dataset.txt", f"nfs-cp {share}/notes/02.txt {fetched}",
            f"nfs-cp {fetched} {share}/outbox/scanner.txt", "echo LAB done",
        )  # fmt: skip
        label = Label(
            address=address, mac=mac, guest_mac=None, names=["libnfs"], nfs_versions=["3"], state="native",
            acceptable=["native"], virtual=False, platform=None, platform_acceptable=[None], nic="veth",
            backend="native", host=name, guest_kernel="libnfs 4.0.0", mount="version=3",
            steps=["nfs-ls", "nfs-cat", "nfs-cp"], notes="libnfs always calls itself libnfs in AUTH_SYS",
        )  # fmt: skip

        def start() -> Running:
            process = self.lab.start(host, "sh", "-ec", "; sleep 4; ".join(commands), log=name)
            return Running(name, process, self.lab.folder / f"{name}.log")

        return Client(label, start)


def _label(guest: Guest, image: Image, mac: str, device: str, host: str) -> Label:
    """The truth about a bridged guest, which the other kinds change where they differ."""
    return Label(
        address=guest.address.split("/")[0], mac=mac, guest_mac=mac, names=[guest.host],
        nfs_versions=[guest.options.split(",")[0].removeprefix("vers=")], state="bridged-vm", acceptable=["bridged-vm"],
        virtual=True, platform=None, platform_acceptable=[None, "KVM/QEMU"], nic=device, backend="tap", host=host,
        guest_kernel=image.release, mount=guest.options, steps=["ls", *guest.steps.split(",")],
    )  # fmt: skip


def _last(address: str) -> str:
    """The last number of an IPv4 address, with or without a prefix length."""
    return address.partition("/")[0].rpartition(".")[2]


def fill(share: Path) -> None:
    """The files that clients find on the server."""
    numbered_lines(share / "shared/dataset.txt", BIG, "dataset")
    for number in range(1, 6):
        numbered_lines(share / f"notes/{number:02d}.txt", 300 * number, f"note {number}")
    for project in ("apollo", "borealis", "cygnus"):
        for part in ("Makefile", "main.c", "report.txt"):
            numbered_lines(share / f"projects/{project}/{part}", 900, part)
    (share / "outbox").mkdir(exist_ok=True)
    (share / "outbox").chmod(0o777)


def inside(folder: Path, host: str) -> Path:
    """Where the guest's side of a user-mode NAT is recorded."""
    return folder / f"{host}.inside.pcap"


def tshark(capture: Path, condition: str, *fields: str) -> list[list[str]]:
    """One row for each frame that meets `condition`; port 2049 is RPC whatever the client's port."""
    columns = [word for name in fields for word in ("-e", name)]
    command = ["tshark", "-r", str(capture), "-d", "tcp.port==2049,rpc", "-Y", condition, "-T", "fields", *columns]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [line.split("\t") for line in listing.splitlines()]


def observed(capture: Path, label: Label, folder: Path) -> dict[str, object]:
    """What the capture shows of a client by its address alone: ports to 2049 and calls as tshark counts them.

    Guests that share an address are told apart by the RPC XIDs that their own side of the NAT shows.
    """
    mine = f"ip.src == {label.address} && tcp.dstport == 2049"
    calls = tshark(capture, f"{mine} && rpc.msgtyp == 0", "tcp.srcport", "rpc.xid")
    ports = {int(port) for (port,) in tshark(capture, mine, "tcp.srcport")}
    dump = inside(folder, label.names[0])
    if dump.exists():
        xids = {xid for (cell,) in tshark(dump, "rpc.msgtyp == 0", "rpc.xid") for xid in cell.split(",")}
        ports = {int(port) for port, cell in calls if xids & set(cell.split(","))}
    counted = sum(len(cell.split(",")) for port, cell in calls if int(port) in ports)
    return {"ports": sorted(ports), "rpc_calls": counted}


def main() -> None:
    """Record, label, and put both files into place."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, required=True, help="folder for office.pcapng and office.labels.json")
    parser.add_argument("--work", type=Path, required=True, help="folder for kernels, logs and the share")
    args = parser.parse_args()
    work = args.work.resolve()
    images = {package: guest_image.debian(package, work) for package in (GENERIC, CLOUD, NEWER)}
    images["uml"] = guest_image.user_mode_linux(work)
    run = Path(tempfile.mkdtemp(prefix="office-", dir=work))
    fill(run / "share")

    labels, running = [], []
    with Lab(run) as lab:
        lab.serve(run / "share", "filer01", "18:66:da:2f:01:a0")
        recorder = lab.record(lab.folder / "office.pcap", SNAPLEN)
        for client in Office(lab, images).clients():
            running.append(client.start())
            running[-1].mounted()
            labels.append(client.label)
            time.sleep(2)
        for client_at_work in running:
            client_at_work.done()
        print(recorder.stop())

    capture = args.into / "office.pcapng"
    subprocess.run(["editcap", "-F", "pcapng", lab.folder / "office.pcap", capture], check=True)
    document = {
        "capture": capture.name, "server": SERVER, "snaplen": SNAPLEN, "derived_from": None, "transform": None,
        "notes": "rpc_calls: calls to port 2049 as tshark 4.0 counts them",
        "clients": [{**asdict(label), **observed(capture, label, lab.folder)} for label in labels],
    }  # fmt: skip
    (args.into / "office.labels.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()

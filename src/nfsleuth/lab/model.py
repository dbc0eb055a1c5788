"""What an experiment says: hosts and links, a server, clients, their work, where to capture.

Frozen dataclasses, one per kind of table in an experiment file; `experiment.load` makes them, the rest of the lab
reads them. Each field carries its line of documentation and the reader of its value, so that docs/lab.md and the
parser cannot say different things. Units: bytes, seconds, bits per second, parts per million.

After loading nothing is left open: every MAC and address that the file does not give is filled in from the seed.
"""

# ruff: noqa: RUF009 (`key` makes a dataclass field, as `field` does)
from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, NamedTuple

from nfsleuth.lab import values

# Models of emulated NICs that QEMU offers (`qemu-system-x86_64 -device help`) and Debian's kernels drive -> the
# driver's module. The names are QEMU's.
NIC_DRIVERS: Mapping[str, str] = {
    "virtio-net-pci": "virtio_net",
    "e1000": "e1000",
    "e1000-82544gc": "e1000",
    "e1000-82545em": "e1000",
    "e1000e": "e1000e",
    "rtl8139": "8139cp",
    "vmxnet3": "vmxnet3",
    "pcnet": "pcnet32",
    "ne2k_pci": "ne2k-pci",
    "tulip": "tulip",
    **dict.fromkeys(
        (
            "i82550", "i82551", "i82557a", "i82557b", "i82557c", "i82558a", "i82558b", "i82559a", "i82559b", "i82559c",
            "i82559er", "i82562", "i82801",
        ),
        "e100",
    ),
}  # fmt: skip
NIC_NAMES = {"virtio": "virtio-net-pci", "i8255x": "i82557b"}  # short names -> QEMU's

# How a guest's NIC reaches the wire -> what it is.
BACKENDS: Mapping[str, str] = {
    "user": "libslirp in QEMU: the host's own sockets speak for the guest",
    "passt": "passt beside QEMU: the same, with the host's address inside too",
    "tap": "a TAP interface on the host's bridge: the guest's frames reach the wire as they are",
    "hub": "the same through a hub of QEMU",
    "vhost": "the same, with the host's kernel moving the frames; needs /dev/vhost-net and virtio",
    "macvtap": "a macvtap interface on the host's NIC, in bridge mode",
    "masquerade": "a TAP interface on a private bridge, behind the host kernel's NAT, as libvirt's default network",
}
BRIDGED = ("tap", "hub", "vhost", "macvtap")  # the guest's own MAC is on the wire
USER_MODE = ("user", "passt")  # the host's own sockets are on the wire

KERNELS: Mapping[str, str] = {
    "generic": "Debian's kernel for any machine",
    "cloud": "Debian's kernel for clouds; its name ends in -cloud-amd64 and it drives few NICs",
    "backports": "a newer kernel from Debian's backports",
    "uml": "User-Mode Linux: a kernel client without an emulated NIC, the stand-in for a native one",
}
CLOUD_NICS = ("virtio-net-pci", "vmxnet3", "e1000", "e1000e")  # what a cloud kernel has drivers for
UML_NIC = "uml-tuntap"
VERSIONS = ("3", "4.0", "4.1", "4.2")
LIBNFS_VERSIONS = ("3", "4.0")
SYS = "sys"
FLAVOURS = (SYS, "krb5", "krb5i", "krb5p")
STARTS = ("in turn", "staggered", "together")
ORDERS = ("sequential", "reverse", "random")
FORMATS = ("pcapng", "pcap")
METHODS = ("uprobes", "sampling", "instrumented")
DAMAGES = ("snaplen", "loss", "reorder", "midstream", "vlan", "qinq", "cooked")
SLIRP_ADDRESS, SLIRP_ADDRESS6 = "10.0.2.15", "fec0::/64"  # what libslirp gives its guest (QEMU, -netdev user)
QEMU_MAC = "52:54:00:12:34:56"  # QEMU's default for the first NIC


def key(doc: str, reader: values.Reader[Any], default: Any = ...) -> Any:  # noqa: ANN401 (as dataclasses.field)
    """A field that a table may have; without `default` it must. `doc` is its line in docs/lab.md."""
    told = {"doc": doc, "reader": reader}
    return field(metadata=told) if default is ... else field(default=default, metadata=told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The switch that everything hangs on."""

    ipv4: ipaddress.IPv4Network = key(
        "IPv4 network of the switch", values.network4, ipaddress.IPv4Network("10.0.0.0/24")
    )
    ipv6: ipaddress.IPv6Network = key(
        "IPv6 network of the switch", values.network6, ipaddress.IPv6Network("fd00:10::/64")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Fields of everything that has a cable to the switch or to a router."""

    mac: str = key("MAC of its NIC; given by the seed, with a physical maker's prefix", values.mac, "")
    address: str = key("IPv4 address; given by the seed", values.ipv4, "")
    address6: str = key("IPv6 address; given by the seed", values.ipv6, "")
    rate: int = key('rate of its cable, shaped by tbf, such as "100mbit"; not shaped', values.rate, 0)
    mtu: int = key("MTU of its cable, bytes", values.whole(576, 9000), 1500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server(Link):
    """The NFS server."""

    kind: str = key(
        '"ganesha": NFS-Ganesha in a namespace; "kernel": the kernel\'s server in a guest',
        values.one_of(("ganesha", "kernel")),
        "ganesha",
    )
    name: str = key("its host name", values.hostname, "filer01")
    lease: int = key("NFSv4 lease, seconds; short ones show renewals soon", values.whole(10, 3600), 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Router(Link):
    """A router between the switch and a network of its own; `address` and `mac` are its side at the switch."""

    name: str = key("its name", values.name)
    inside: ipaddress.IPv4Network = key("IPv4 network behind it", values.network4)
    inside6: ipaddress.IPv6Network | None = key("IPv6 network behind it; none", values.network6, None)
    masquerade: bool = key("hides what is behind it, as a home router does", values.flag, False)

    @property
    def inner(self) -> str:
        """Its IPv4 address in the network behind it: the first."""
        return str(self.inside[1])

    @property
    def inner6(self) -> str:
        """Its IPv6 address in the network behind it, "" if there is none."""
        return str(self.inside6[1]) if self.inside6 else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host(Link):
    """A physical machine, played by a network namespace. It has a NIC, a bridge on it and an address of its own."""

    name: str = key("its name, which labels use", values.name)
    behind: str = key("name of the router that its cable goes to; the switch", values.name, "")
    vlan: int = key("802.1Q VLAN id of its frames at the server; 0: no tag", values.whole(0, 4094), 0)
    private: ipaddress.IPv4Network = key(
        "network of its masqueraded guests", values.network4, ipaddress.IPv4Network("192.168.122.0/24")
    )
    optional: bool = key("leave it and its clients out where the machine cannot play it", values.flag, False)

    @property
    def gateway(self) -> str:
        """Its address in the private network: the first, as libvirt has it."""
        return str(self.private[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Fields of every NFS client."""

    name: str = key("its name, which labels, logs and timings use", values.name)
    host: str = key("name of the host that it runs on; a host of its own, called `on-NAME`", values.name, "")
    hostname: str = key("its host name, which need not be unique; its name", values.hostname, "")
    workload: str = key("name of the workload that it does", values.name, "default")
    version: str = key("NFS version", values.one_of(VERSIONS), "4.1")
    ip: int = key("IP version that it mounts over: 4 or 6", values.one_of((4, 6)), 4)
    noresvport: bool = key("mount from any port, not from a reserved one", values.flag, False)
    nconnect: int = key("TCP connections per mount", values.whole(1, 16), 1)
    clientaddr: str = key("callback address that it claims, NFSv4.0 only; its own", values.address, "")
    sec: str = key("security flavour of its mount; all but sys take a Kerberos realm", values.one_of(FLAVOURS), SYS)
    keytab: bool = key("it has a keytab and rpc.gssd, even if it mounts with sec = sys", values.flag, False)
    uniquifier: str = key("nfs4_unique_id of its kernel; none", values.word, "")
    rsize: int = key("bytes per READ call; as the server offers", values.size_between(1024, 1 << 20), 0)
    wsize: int = key("bytes per WRITE call; as the server offers", values.size_between(1024, 1 << 20), 0)
    options: tuple[str, ...] = key("further mount options, a list of words", values.list_of(values.word, 16), ())
    ttl: int = key("TTL and hop limit that it starts with; its kernel's", values.whole(1, 255), 0)
    receive_buffer: int = key(
        "largest TCP receive buffer, which its window scale follows; its kernel's",
        values.size_between(1 << 12, 1 << 28),
        0,
    )
    trap: bool = key("made to mislead: the label accepts `unknown`", values.flag, False)
    optional: bool = key("leave it out where the machine cannot play it", values.flag, False)
    notes: str = key("a remark for the label", values.text, "")

    @property
    def kerberos(self) -> bool:
        """Whether it has a keytab: Linux then protects its state (SETCLIENTID), even if it mounts with sec=sys."""
        return self.keytab or self.sec != SYS

    @property
    def mount_options(self) -> str:
        """What stands behind `mount -o`, but for addresses: "vers=4.0,noresvport,clientaddr=192.0.2.55"."""
        words = [f"vers={self.version}"]
        words += ["noresvport"] if self.noresvport else []
        words += [f"nconnect={self.nconnect}"] if self.nconnect > 1 else []
        words += [f"clientaddr={self.clientaddr}"] if self.clientaddr else []
        # Without a word Linux would take what the server offers first, were it able to.
        words += [f"sec={self.sec}"] if self.kerberos else []
        words += [f"rsize={self.rsize}"] if self.rsize else []
        words += [f"wsize={self.wsize}"] if self.wsize else []
        return ",".join([*words, *self.options])


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest(Client):
    """A virtual machine under QEMU, or User-Mode Linux."""

    nic: str = key(
        "NIC model, by QEMU's name; `virtio` and `i8255x` are short for virtio-net-pci and i82557b",
        lambda value: values.one_of(tuple(NIC_DRIVERS))(NIC_NAMES.get(str(value), value)),
        "virtio-net-pci",
    )
    backend: str = key("how its NIC reaches the wire, see below", values.one_of(tuple(BACKENDS)), "tap")
    mac: str = key("MAC of its NIC; given by the seed, as QEMU or libvirt would", values.mac, "")
    address: str = key("its IPv4 address, where it may have one of its own; given by the seed", values.ipv4, "")
    address6: str = key("its IPv6 address; made from its MAC, as stateless hosts do", values.ipv6, "")
    memory: int = key("its memory", values.size_between(192 << 20, 8 << 30), 320 << 20)
    kernel: str = key("which kernel it boots, see below", values.one_of(tuple(KERNELS)), "generic")
    clock_ppm: int = key("how much its clock is fast, parts per million", values.whole(-500, 500), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Native(Client):
    """A client that is no guest."""

    client: str = key(
        '"libnfs": its commands in a namespace; "kernel": the machine\'s own kernel client',
        values.one_of(("libnfs", "kernel")),
        "libnfs",
    )
    version: str = key("NFS version; libnfs knows 3 and 4.0", values.one_of(VERSIONS), "3")
    consumer: str = key(
        '"gzip" or "sha256": what libnfs hands each piece of a file to, before it asks for the next; nothing',
        values.one_of(("gzip", "sha256")),
        "",
    )
    container: bool = key(
        "in a namespace of its own behind the host kernel's NAT, as a container is; else it is the host itself",
        values.flag,
        False,
    )
    mac: str = key("MAC inside its container; given by the seed", values.mac, "")
    address: str = key("address inside its container; given by the seed", values.ipv4, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What a client does between mount and unmount, in the order of these keys."""

    name: str = "default"
    metadata: int = key("sweeps over the tree of small files: ls -lR, then stat", values.whole(0, 100), 1)
    small: int = key("how many of the small files it reads", values.whole(0, 1000), 5)
    files: tuple[int, ...] = key("sizes of the files that it reads whole", values.list_of(values.size), (1 << 20,))
    full: tuple[int, ...] = key("what takes the place of `files` in a full run", values.list_of(values.size), ())
    rounds: int = key("how often each file is read, from the server each time", values.whole(1, 100), 1)
    warmup: int = key("of these rounds, how many at the beginning do not count", values.whole(0, 99), 0)
    block: int = key("bytes per read() of the reader", values.size_between(512, 16 << 20), 64 << 10)
    order: str = key("order of blocks in a file", values.one_of(ORDERS), "sequential")
    shared: bool = key("all clients read the same files; else each its own", values.flag, True)
    write: int = key("bytes that it writes, flushes and renames", values.size_between(0, 1 << 30), 0)
    idle: int = key("seconds of silence before unmounting; over half a lease shows renewals", values.whole(0, 3600), 0)
    patience: int = key(
        "seconds in which a client must have done all of it; follows from what it reads", values.whole(1, 86400), 0
    )
    enough: int = key(
        "seconds after which a slow client begins no further round, if it has done one that counts; 0: it does all",
        values.whole(0, 86400),
        0,
    )
    reboots: int = key("times that it crashes while mounted, boots and does all again", values.whole(0, 5), 0)
    pause: float = key("seconds between its steps", values.number(0, 60), 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """A place where frames are recorded."""

    name: str = key("its name; files are called after it", values.name, "server")
    at: str = key('"server", "host:NAME", "router:NAME" or "guest:NAME"', values.text, "server")
    any: bool = key("capture on the pseudo-interface `any`: cooked frames of all interfaces", values.flag, False)
    snaplen: int = key("bytes kept of each frame; 0 keeps all, 640 keeps all that names a client", values.size, 640)
    format: str = key("format of the file", values.one_of(FORMATS), "pcapng")
    optional: bool = key("leave it out where the machine cannot do it", values.flag, False)

    @property
    def place(self) -> tuple[str, str]:
        """Kind and name of where it is: ("host", "hv1"); the server has no name."""
        kind, _, name = self.at.partition(":")
        return kind, name


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """A worse capture, made from a good one after the run; `nfsleuth.lab.damage` says how."""

    name: str = key("its name; files are called after it", values.name)
    of: str = key("name of the capture that it is made from", values.name, "server")
    damage: str = key("what is done to it, see below", values.one_of(DAMAGES))
    snaplen: int = key("`snaplen`: bytes that are kept of each frame", values.whole(32, 65535), 96)
    share: float = key(
        "`loss`, `reorder`: share of the frames; `midstream`: share of the time that is cut off in front",
        values.number(0, 0.95),
        0.02,
    )
    vlan: int = key("`vlan`, `qinq`: the (inner) VLAN id", values.whole(1, 4094), 100)
    outer: int = key("`qinq`: the outer VLAN id", values.whole(1, 4094), 200)


@dataclass(frozen=True, slots=True, kw_only=True)
class PathRecording:
    """What is recorded inside each guest's QEMU while it reads, as `nfsleuth path record` does; nothing without it."""

    method: tuple[str, ...] = key(
        "how, a list; each but the first takes a boot of its own, and `instrumented` is for backend `user` alone",
        values.list_of(values.one_of(METHODS), 3),
        ("uprobes",),
    )
    reads: int = key("how often the guest reads a file while it is recorded", values.whole(1, 1000), 2)
    file: int = key("size of that file", values.size_between(1 << 16, 1 << 30), 4 << 20)
    block: int = key("bytes per read() of it", values.size_between(512, 16 << 20), 64 << 10)
    seconds: int = key("the longest that one recording may take", values.whole(1, 600), 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A whole experiment, with nothing left open."""

    name: str  # of its file
    title: str = key("what it shows, one line", values.text)
    seed: int = key("where all that is not given comes from", values.whole(0, 2**32 - 1), 1)
    start: str = key(
        '"in turn": a client starts when the one before has ended; "staggered": `gap` seconds after it; '
        '"together": all wait until all are mounted',
        values.one_of(STARTS),
        "in turn",
    )
    gap: float = key("seconds between the starts of staggered clients", values.number(0, 600), 2.0)
    boots: int = key(
        "rounds: how often each client boots and does its part, each round in an order of its own; more than 1 only "
        "in turn",
        values.whole(1, 100),
        1,
    )
    network: Network = field(default_factory=Network)
    server: Server = field(default_factory=Server)
    routers: tuple[Router, ...] = ()
    hosts: tuple[Host, ...] = ()
    guests: tuple[Guest, ...] = ()
    natives: tuple[Native, ...] = ()
    workloads: tuple[Workload, ...] = ()
    captures: tuple[Capture, ...] = ()
    derived: tuple[Derived, ...] = ()
    path: PathRecording | None = None
    left_out: tuple[str, ...] = ()  # combinations of a matrix that cannot be, with the reason

    @property
    def in_rounds(self) -> bool:
        """Whether boots are what is compared: there are several, or runs that add up would make several."""
        return self.boots > 1 or (self.path is not None and not self.captures)

    @property
    def clients(self) -> tuple[Guest | Native, ...]:
        """All clients in the order in which they start: as they stand in the file, natives first."""
        return (*self.natives, *self.guests)

    def client(self, name: str) -> Guest | Native:
        """The client of that name."""
        return next(client for client in self.clients if client.name == name)

    def host(self, name: str) -> Host:
        """The host of that name."""
        return next(host for host in self.hosts if host.name == name)

    def router(self, host: Host) -> Router | None:
        """The router that `host` is behind, or None."""
        return next((router for router in self.routers if router.name == host.behind), None)

    def workload(self, client: Client) -> Workload:
        """What `client` does."""
        return next(workload for workload in self.workloads if workload.name == client.workload)

    def wire_mac(self, client: Guest | Native) -> str:
        """The source MAC of its frames on the server's segment."""
        host = self.host(client.host)
        if router := self.router(host):
            return router.mac
        return client.mac if has_own_place(client) else host.mac

    def wire_address(self, client: Guest | Native) -> str:
        """The source address that the server sees: of the IP version that the client mounts over."""
        host = self.host(client.host)
        router = self.router(host)
        if router and router.masquerade:
            return router.address
        holder = client if isinstance(client, Guest) and has_own_place(client) else host
        return holder.address6 if client.ip == 6 else holder.address


def has_own_place(client: Guest | Native) -> bool:
    """Whether the client's own MAC and address are on its host's segment: a bridged guest."""
    return isinstance(client, Guest) and client.backend in BRIDGED


class Key(NamedTuple):
    """A key that a table may have: its documentation, the reader of its value, whether it must be there."""

    doc: str
    reader: values.Reader[Any]
    needed: bool


def keys_of(table: type[Any]) -> dict[str, Key]:
    """The keys of tables of this kind, in the order in which they are documented."""
    return {
        f.name: Key(f.metadata["doc"], f.metadata["reader"], f.default is MISSING)
        for f in fields(table)
        if "reader" in f.metadata
    }

"""What a lab is built of: nothing comes in, what this machine has and lacks goes out, and what brings the rest.

Kernel features are tried, in a network namespace that is thrown away: a configuration says what was compiled, not what
works. That takes root; without it they are `None`, not known.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.lab import kernels
from nfsleuth.lab.model import Client, Experiment, Guest, Host, Native
from nfsleuth.lab.run import search_path

TUN, VHOST, KVM = Path("/dev/net/tun"), Path("/dev/vhost-net"), Path("/dev/kvm")
GANESHA_VFS = ("/usr/lib/x86_64-linux-gnu/ganesha/libfsalvfs.so", "/usr/lib/ganesha/libfsalvfs.so")
LIBRARIES = (Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/lib64"), Path("/usr/lib"))


@dataclass(frozen=True)
class Part:
    """One thing that a lab uses."""

    name: str
    what: str  # what it is for
    there: bool | None  # None: only root can tell
    package: str = ""  # what brings it, "" if no package does
    needed: bool = True  # by every experiment; others by those that ask for it


@dataclass(frozen=True)
class _Kind:
    """How a part is looked for."""

    name: str
    what: str
    look: Callable[[], bool | None]
    package: str = ""
    needed: bool = True


def _program(name: str) -> Callable[[], bool]:
    return lambda: shutil.which(name, path=search_path()) is not None


def _works(*steps: str) -> Callable[[], bool | None]:
    """Whether the commands `steps`, as one, work in a network namespace of their own."""

    def look() -> bool | None:
        if os.geteuid() != 0:
            return None
        try:
            with _namespace() as enter:
                return all(_succeeds([*enter, *step.split()]) for step in steps)
        except OSError:
            return False

    return look


@contextmanager
def _namespace() -> Iterator[list[str]]:
    """A network namespace for as long as a process waits in it; gives what to put before a command."""
    command, nowhere = ["unshare", "--net", "cat"], subprocess.DEVNULL
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere)
    try:
        while holder.poll() is None and not _apart(holder.pid):
            time.sleep(0.001)
        yield ["nsenter", "--net", "--target", str(holder.pid), "--"]
    finally:
        holder.kill()
        holder.communicate()


def _apart(process: int) -> bool:
    """Whether `process` has left our network namespace."""
    return Path(f"/proc/{process}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()


def _succeeds(command: list[str]) -> bool:
    environment = os.environ | {"PATH": search_path()}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, env=environment
        )  # fmt: skip
    except FileNotFoundError:
        return False
    return done.returncode == 0


def _apt_offers(name: str) -> Callable[[], bool]:
    def look() -> bool:
        try:
            kernels.package_of(name)
        except NfsleuthError:
            return False
        return True

    return look


def _library(name: str) -> bool:
    return any(next(folder.glob(f"{name}*"), None) for folder in LIBRARIES if folder.is_dir())


def _kernel_client() -> bool:
    known = Path("/proc/filesystems").read_text()
    return "\tnfs4\n" in known or _succeeds(["modprobe", "--dry-run", "--quiet", "nfsv4"])


_BRIDGE = "ip link add br9 type bridge"
_KINDS = (
    _Kind("root", "makes network namespaces", lambda: os.geteuid() == 0),
    _Kind("unshare, setpriv", "namespaces that end with the lab", _program("setpriv"), "util-linux"),
    _Kind("ip, tc, ss", "the lab's network", _program("tc"), "iproute2"),
    _Kind("sysctl", "forwarding in hosts and routers", _program("sysctl"), "procps"),
    _Kind("ethtool", "frames as a wire carries them", _program("ethtool"), "ethtool"),
    _Kind("tcpdump", "captures", _program("tcpdump"), "tcpdump"),
    _Kind("nft", "NAT of hosts and routers", _program("nft"), "nftables"),
    _Kind("qemu-system-x86_64", "guests", _program("qemu-system-x86_64"), "qemu-system-x86"),
    _Kind("busybox", "what runs in guests", lambda: Path("/bin/busybox").exists(), "busybox-static"),
    _Kind("mount.nfs", "mounts in guests", _program("mount.nfs"), "nfs-common"),
    _Kind("ganesha.nfsd", "the NFS server", _program("ganesha.nfsd"), "nfs-ganesha"),
    _Kind("Ganesha's VFS", "its file system", lambda: any(Path(f).exists() for f in GANESHA_VFS), "nfs-ganesha-vfs"),
    _Kind("rpcbind", "NFSv3", _program("rpcbind"), "rpcbind"),
    _Kind("rpcinfo", "asks whether the server is up", _program("rpcinfo"), "rpcbind"),
    _Kind("libnfs", "native clients", lambda: _library("libnfs.so.1"), "libnfs-utils"),
    _Kind("apt-get, dpkg-deb", "Debian's kernels", _program("dpkg-deb"), "dpkg"),
    _Kind("network namespaces", "hosts", _works("true")),
    _Kind("veth", "cables", _works("ip link add veth9 type veth peer name veth8")),
    _Kind("bridge", "switches", _works(_BRIDGE)),
    _Kind("/dev/net/tun", "NICs of guests", TUN.exists),
    _Kind("TAP", "NICs of guests", _works("ip tuntap add tap9 mode tap")),
    _Kind(
        "masquerade", "NAT of hosts and routers",
        _works(
            "nft add table ip lab",
            "nft add chain ip lab out { type nat hook postrouting priority srcnat; }",
            "nft add rule ip lab out ip saddr 192.0.2.0/24 masquerade",
        ),
    ),
    _Kind("tbf", "slow cables", _works(_BRIDGE, "tc qdisc add dev br9 root tbf rate 1mbit burst 32k latency 50ms")),
    _Kind("passt", "guests behind passt", _program("passt"), "passt", needed=False),
    _Kind("User-Mode Linux", "a stand-in for a native kernel client", _program("linux.uml"), "user-mode-linux", False),
    _Kind("krb5kdc", "mounts with Kerberos", _program("krb5kdc"), "krb5-kdc", needed=False),
    _Kind("kadmin.local", "keytabs of these mounts", _program("kadmin.local"), "krb5-admin-server", needed=False),
    _Kind("/dev/kvm", "guests at full speed, if a kernel boots under it", KVM.exists, needed=False),
    _Kind("macvtap", "guests on macvtap", _works(_BRIDGE, "ip link add link br9 mvt9 type macvtap"), needed=False),
    _Kind("vhost", "guests on vhost", VHOST.exists, needed=False),
    _Kind("VLAN", "tagged hosts", _works(_BRIDGE, "ip link add link br9 name br9.9 type vlan id 9"), needed=False),
    _Kind("kernel NFS client", "native kernel clients", _kernel_client, needed=False),
    _Kind("cloud kernel", "guests with a cloud kernel", _apt_offers("cloud"), needed=False),
    _Kind("backports kernel", "guests with a newer kernel", _apt_offers("backports"), needed=False),
)  # fmt: skip


def check(optional: Iterable[str] | None = None) -> list[Part]:
    """All parts, needed ones first; of those that not every lab needs only the ones named `optional`, if given."""
    wanted = {kind.name for kind in _KINDS} if optional is None else set(optional)
    return [
        Part(kind.name, kind.what, kind.look(), kind.package, kind.needed)
        for kind in _KINDS
        if kind.needed or kind.name in wanted
    ]


def cure(parts: Iterable[Part]) -> str:
    """The one apt command that brings what is missing of `parts`; "" if no package would."""
    packages = dict.fromkeys(part.package for part in parts if part.there is False and part.package)
    return f"apt-get install --no-install-recommends {' '.join(packages)}" if packages else ""


def fitted(experiment: Experiment) -> tuple[Experiment, dict[str, str]]:
    """`experiment` without what the machine cannot play and the file calls optional, and why each was left out.

    NfsleuthError (parts missing) if something is lacking that is not optional, with what brings it.
    """
    wanted = {host.name: _host_needs(host) for host in experiment.hosts}
    wanted |= {client.name: _client_needs(client) for client in experiment.clients}
    here = {part.name: part for part in check({part for names in wanted.values() for part in names})}
    missing = [part for part in here.values() if part.needed and part.there is False]
    refused = {
        who: next(part for part in names if not here[part].there)
        for who, names in wanted.items()
        if not all(here[part].there for part in names)
    }
    optional = {host.name for host in experiment.hosts if host.optional}
    optional |= {client.name for client in experiment.clients if client.optional or client.host in optional}
    lacking = [here[part] for who, part in refused.items() if who not in optional]
    if missing or lacking:
        raise _missing([*missing, *lacking], [who for who in refused if who not in optional])
    why = {who: f"this machine has no {part}" for who, part in refused.items()}
    for client in experiment.clients:
        if client.host in why:
            why.setdefault(client.name, f"its host {client.host} was left out")
    return _without(experiment, why), why


def _without(experiment: Experiment, why: Mapping[str, str]) -> Experiment:
    left = replace(
        experiment,
        hosts=tuple(host for host in experiment.hosts if host.name not in why),
        natives=tuple(native for native in experiment.natives if native.name not in why),
        guests=tuple(guest for guest in experiment.guests if guest.name not in why),
        captures=tuple(capture for capture in experiment.captures if capture.place[1] not in why),
    )
    if not left.clients:
        reasons = "; ".join(f"{who}: {reason}" for who, reason in why.items())
        raise NfsleuthError(f"nothing of {experiment.name} can be played here: {reasons}", Exit.PARTS_MISSING)
    return left


def _host_needs(host: Host) -> list[str]:
    return ["VLAN"] if host.vlan else []


def _client_needs(client: Client) -> list[str]:
    if isinstance(client, Native):
        return ["kernel NFS client"] if client.client == "kernel" else []
    assert isinstance(client, Guest)
    by_kernel = {"uml": "User-Mode Linux", "cloud": "cloud kernel", "backports": "backports kernel"}
    by_backend = {"passt": "passt", "macvtap": "macvtap", "vhost": "vhost"}
    found = [by_kernel.get(client.kernel), by_backend.get(client.backend)]
    # The first one that is missing is named, and the package of kadmin.local brings the other.
    found += ["kadmin.local", "krb5kdc"] if client.kerberos else []
    return [part for part in found if part]


def _missing(parts: Iterable[Part], who: list[str]) -> NfsleuthError:
    unique = list({part.name: part for part in parts}.values())
    names = ", ".join(part.name for part in unique)
    asked = f" (wanted by {', '.join(who[:4])}{' and others' if len(who) > 4 else ''})" if who else ""
    command = cure(unique)
    bare = ", ".join(part.name for part in unique if not part.package)
    cures = ([f"run: {command}"] if command else []) + ([f"no package brings {bare}"] if bare else [])
    return NfsleuthError(f"this machine lacks {names}{asked}; {'; '.join(cures)}", Exit.PARTS_MISSING)

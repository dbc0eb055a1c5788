"""The network of a lab: an experiment's hosts, routers and cables come in, namespaces that play them go out.

    server -- switch -- host (br0: its guests on TAPs, its own address)
                 \\
                  router -- host ...

It is built inside the lab's own namespaces (see `supervise`), so names need not be unique on the machine and nothing
has to be taken down: it goes when they go.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from nfsleuth.lab.model import Experiment, Guest, Host, Link, Native, Router, has_own_place
from nfsleuth.lab.run import Word, run

# Frames must be as a wire carries them: at most an MTU long, checksums filled in.
OFFLOADS = ("tso", "gso", "gro", "tx", "rx", "sg")
SWITCH = "switch"
AGEING = ("ageing_time", "360000")  # 1/100 s after which a bridge forgets a MAC that is silent: after the run
SERVER = "server"
# tc-tbf(8): a burst is what passes unshaped. 10 ms of the rate, but some frames at least; a queue of 50 ms.
BURSTS, FRAMES, LATENCY = 100, 4, "50ms"


@dataclass(frozen=True)
class Namespace:
    """A network namespace that plays a machine."""

    name: str

    def command(self, *words: Word) -> list[str]:
        """`words` as a command line that runs inside."""
        return ["ip", "netns", "exec", self.name, *map(str, words)]

    def run(self, *words: Word) -> str:
        """Run a command inside to its end and return its output; NfsleuthError if it fails."""
        return run(*self.command(*words))

    def ip(self, *words: Word) -> str:
        """The same for `ip`, which needs no shell inside."""
        return run("ip", "-n", self.name, *words)


@dataclass
class Network:
    """The machines of an experiment and the cables between them."""

    experiment: Experiment
    machines: dict[str, Namespace] = field(default_factory=dict)
    _ports: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def build(self) -> None:
        """Switch, server and routers; hosts come when they are asked for."""
        switch = self._machine(SWITCH)
        self._bridge(switch, "br0", mtu=max((link.mtu for link in self._links()), default=1500))
        server = self._machine(SERVER)
        if self.experiment.server.kind == "kernel":
            # The server is a guest on this bridge, and eth0 is its cable.
            self._cable(server, switch, "br0", replace(self.experiment.server, mac=""))
            self._bridge(server, "br0", mtu=self.experiment.server.mtu)
            server.ip("link", "set", "eth0", "master", "br0")
        else:
            self._cable(server, switch, "br0", self.experiment.server)
            self._address(server, "eth0", self.experiment.server)
        for router in self.experiment.routers:
            self._router(router)

    def _links(self) -> Iterator[Link]:
        yield self.experiment.server
        yield from self.experiment.routers
        yield from self.experiment.hosts

    def forwarding_table(self) -> list[dict[str, object]]:
        """What the switch has learnt, as ``bridge -j fdb show`` on it prints it: which MAC is at which of its ports."""
        told = self.machines[SWITCH].run("bridge", "-j", "fdb", "show", "br", "br0")
        table: list[dict[str, object]] = json.loads(told)
        return table

    @property
    def server(self) -> Namespace:
        """The server's machine."""
        return self.machines[SERVER]

    def host(self, host: Host) -> Namespace:
        """The machine of `host`, built when it is first asked for: a bridge `br0` on its NIC, with its address."""
        name = f"host-{host.name}"
        if name in self.machines:
            return self.machines[name]
        here = self._machine(name)
        self._bridge(here, "br0", mac=host.mac, mtu=host.mtu)
        router = self.experiment.router(host)
        segment = self.machines[f"router-{router.name}"] if router else self.machines[SWITCH]
        self._cable(here, segment, "br1" if router else "br0", host)
        uplink = "eth0"
        if host.vlan:
            uplink = f"eth0.{host.vlan}"
            here.ip("link", "add", "link", "eth0", "name", uplink, "type", "vlan", "id", str(host.vlan))
            self._server_vlan(host)
        here.ip("link", "set", uplink, "master", "br0", "up")
        self._address(here, "br0", host, router)
        return here

    def private_bridge(self, host: Host) -> Namespace:
        """The machine of `host` with `virbr0`, whose network it hides behind its address, as libvirt does."""
        here = self.host(host)
        if not self._has(here, "virbr0"):
            self._bridge(here, "virbr0")
            here.ip("address", "add", f"{host.gateway}/{host.private.prefixlen}", "dev", "virbr0")
            here.run("sysctl", "-q", "net.ipv4.ip_forward=1")
            _masquerade(here, str(host.private))
        return here

    def tap(self, here: Namespace, bridge: str, mtu: int, user: str) -> str:
        """A TAP interface on `bridge` that `user` may open; returns its name."""
        name = f"tap{next(self._ports)}"
        here.ip("tuntap", "add", name, "mode", "tap", "user", user)
        here.ip("link", "set", name, "mtu", str(mtu), "master", bridge, "up")
        return name

    def macvtap(self, here: Namespace, mac: str, folder: Path) -> tuple[str, Path]:
        """A macvtap interface in bridge mode on the host's bridge: its name, and its device, made in `folder`."""
        name = f"mvt{next(self._ports)}"
        here.ip("link", "add", "link", "br0", "name", name, "address", mac, "type", "macvtap", "mode", "bridge")
        here.ip("link", "set", name, "up")
        # `ip netns exec` mounts the /sys of the namespace, which alone shows the device's number.
        number = here.run("cat", *self._sys(here, name)).strip()
        device = folder / name
        run("mknod", device, "c", *number.split(":"))
        return name, device

    def remove(self, here: Namespace, interface: str) -> None:
        """Take away an interface whose guest has ended."""
        here.ip("link", "delete", interface)

    def _sys(self, here: Namespace, name: str) -> list[str]:
        found = here.run("find", f"/sys/class/net/{name}/", "-maxdepth", "1", "-name", "tap*").split()
        return [f"{path}/dev" for path in found]

    def container(self, client: Native, host: Host) -> Namespace:
        """A machine of its own for `client` behind the NAT of `host`."""
        here = self.private_bridge(host)
        inner = self._machine(f"container-{client.name}")
        port = self._veth(inner, here, client.mac)
        here.ip("link", "set", port, "master", "virbr0", "up")
        inner.ip("address", "add", f"{client.address}/{host.private.prefixlen}", "dev", "eth0")
        inner.ip("link", "set", "eth0", "up")
        inner.ip("route", "add", "default", "via", host.gateway)
        return inner

    def gateways(self, client: Guest | Native) -> tuple[str, str]:
        """Next hops of a client that is on its host's own segment, IPv4 and IPv6; "" where it needs none."""
        router = self.experiment.router(self.experiment.host(client.host))
        return (router.inner, router.inner6) if router else ("", "")

    def _router(self, router: Router) -> None:
        here = self._machine(f"router-{router.name}")
        self._cable(here, self.machines[SWITCH], "br0", router)
        self._address(here, "eth0", router)
        self._bridge(here, "br1", mtu=router.mtu)
        here.ip("address", "add", f"{router.inner}/{router.inside.prefixlen}", "dev", "br1")
        here.run("sysctl", "-q", "net.ipv4.ip_forward=1")
        if router.inner6 and router.inside6:
            _enable_ipv6(here, "br1")
            here.ip("address", "add", f"{router.inner6}/{router.inside6.prefixlen}", "dev", "br1", "nodad")
            here.run("sysctl", "-q", "net.ipv6.conf.all.forwarding=1")
        if router.masquerade:
            _masquerade(here, str(router.inside))
            return
        if self.experiment.server.kind == "ganesha":  # a guest is told of its routes
            for network, hop in routes(router):
                self.server.ip("route", "add", network, "via", hop)

    def _machine(self, name: str) -> Namespace:
        run("ip", "netns", "add", name)
        here = Namespace(name)
        # Silent: only machines on a bridge speak, and no interface speaks IPv6 before it is given an address.
        here.run("sysctl", "-q", "net.ipv6.conf.default.disable_ipv6=1", "net.ipv6.conf.all.disable_ipv6=1")
        here.ip("link", "set", "lo", "up")
        self.machines[name] = here
        return here

    def _bridge(self, here: Namespace, name: str, *, mac: str = "", mtu: int = 1500) -> None:
        address = ["address", mac] if mac else []
        here.ip("link", "add", name, *address, "type", "bridge", "stp_state", "0", "mcast_snooping", "0", *AGEING)
        here.ip("link", "set", name, "mtu", str(mtu), "up")

    def _cable(self, here: Namespace, there: Namespace, bridge: str, link: Link) -> None:
        """Connect eth0 of `here` to `bridge` of `there`, shaped in both directions if the link has a rate."""
        port = self._veth(here, there, link.mac)
        here.ip("link", "set", "eth0", "mtu", str(link.mtu), "up")
        there.ip("link", "set", port, "mtu", str(link.mtu), "master", bridge, "up")
        if link.rate:
            for machine, interface in ((here, "eth0"), (there, port)):
                burst = max(link.rate // 8 // BURSTS, FRAMES * link.mtu)
                shape = ("tbf", "rate", f"{link.rate}bit", "burst", str(burst), "latency", LATENCY)
                run("tc", "-n", machine.name, "qdisc", "add", "dev", interface, "root", *shape)

    def _veth(self, here: Namespace, there: Namespace, mac: str) -> str:
        """A cable without offloads from eth0 of `here`; returns the name of its end in `there`."""
        port = f"port{next(self._ports)}"
        address = ["address", mac] if mac else []
        here.ip("link", "add", "eth0", *address, "type", "veth", "peer", "name", port, "netns", there.name)
        settings = [word for name in OFFLOADS for word in (name, "off")]
        here.run("ethtool", "-K", "eth0", *settings)
        there.run("ethtool", "-K", port, *settings)
        return port

    def _address(self, here: Namespace, interface: str, link: Link, router: Router | None = None) -> None:
        prefix = (router.inside if router else self.experiment.network.ipv4).prefixlen
        here.ip("address", "add", f"{link.address}/{prefix}", "dev", interface)
        here.ip("link", "set", interface, "up")
        if router:
            here.ip("route", "add", "default", "via", router.inner)
        elif interface == "br0":
            # passt takes its guest's network from the default route.
            here.ip("route", "add", "default", "via", self.experiment.server.address)
        if link.address6:
            _enable_ipv6(here, interface)
            here.ip("address", "add", f"{link.address6}/64", "dev", interface, "nodad")
            if router and router.inner6:
                here.ip("-6", "route", "add", "default", "via", router.inner6)

    def _server_vlan(self, host: Host) -> None:
        """Let the server speak to `host` and its bridged guests in their VLAN, with the addresses it has outside."""
        tagged, server = f"eth0.{host.vlan}", self.experiment.server
        if not self._has(self.server, tagged):
            self.server.ip("link", "add", "link", "eth0", "name", tagged, "type", "vlan", "id", str(host.vlan))
            self.server.ip("address", "add", f"{server.address}/32", "dev", tagged)
            self.server.ip("link", "set", tagged, "up")
            _enable_ipv6(self.server, tagged)
            self.server.ip("address", "add", f"{server.address6}/128", "dev", tagged, "nodad")
        bridged = [c for c in self.experiment.guests if c.host == host.name and has_own_place(c)]
        for ipv4, ipv6 in ((host.address, host.address6), *((guest.address, guest.address6) for guest in bridged)):
            self.server.ip("route", "add", f"{ipv4}/32", "dev", tagged, "src", server.address)
            self.server.ip("route", "add", f"{ipv6}/128", "dev", tagged, "src", server.address6)

    def _has(self, here: Namespace, interface: str) -> bool:
        return f" {interface}: " in here.ip("-o", "link", "show").replace("@", ": ")


def routes(router: Router) -> list[tuple[str, str]]:
    """What the server must know of the networks behind `router`: network, next hop."""
    if router.masquerade:
        return []
    behind = [(str(router.inside), router.address)]
    return [*behind, (str(router.inside6), router.address6)] if router.inside6 else behind


def _enable_ipv6(here: Namespace, interface: str) -> None:
    here.run("sysctl", "-q", f"net.ipv6.conf.{interface.replace('.', '/')}.disable_ipv6=0")


def _masquerade(here: Namespace, network: str) -> None:
    """Hide `network` behind the machine's address, with the ports that the kernel's NAT keeps or chooses."""
    here.run("nft", "add table ip lab")
    here.run("nft", "add chain ip lab out { type nat hook postrouting priority srcnat; }")
    here.run("nft", f"add rule ip lab out ip saddr {network} ip daddr != {network} masquerade")

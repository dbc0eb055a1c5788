"""The run itself, inside the lab's namespaces: an experiment comes in, captures and events go out.

Events, one dictionary each: `step` (what runs now, in words), `accel`, `told` (what a client said), `captured` (a file
and how many frames the kernel dropped), `switch` (its forwarding table, as bridge(8) prints it).
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.lab import accel, initramfs, kerberos, play, qemu, servers
from nfsleuth.lab.agents import Agent
from nfsleuth.lab.inside import Report
from nfsleuth.lab.kernels import UML, Kernel
from nfsleuth.lab.model import Capture, Experiment, Guest, Native
from nfsleuth.lab.network import Namespace, Network, routes
from nfsleuth.lab.recorders import Recorder, record
from nfsleuth.lab.turns import Turn, plan

LOGS = "logs"  # folder in the scratch folder
SERVER_GUEST = "server"  # name of the guest that serves
MOST_FAILURES = 2  # boots of a client that may fail, before it is given up
SERVER_MEMORY = 1 << 29  # bytes, besides its files


@dataclass(frozen=True)
class Recording:
    """The task that `inside` runs. `accel` is kvm, tcg, or auto: to be proved. Kernels are by name."""

    experiment: Experiment
    scratch: Path
    accel: str
    kernels: Mapping[str, Kernel]
    server_programs: Path | None  # root of nfs-kernel-server's files
    libslirp: Path | None = None  # folder of the libslirp that takes notes

    @property
    def logs(self) -> Path:
        """Where logs are written, until `logs_of` copies them."""
        return self.scratch / LOGS

    def run(self, report: Report) -> None:
        """Build the network, serve, record, play all clients' parts."""
        using = self._accelerator(report)
        report(step="network and server")
        network = Network(self.experiment)
        network.build()
        for host in self.experiment.hosts:
            network.host(host)
        self.logs.mkdir(exist_ok=True)
        realm = kerberos.realm(self.experiment, self.scratch / "realm") if kerberos.wanted(self.experiment) else None
        wanted = (*initramfs.CLIENT_PROGRAMS, *(initramfs.KERBEROS_PROGRAMS if realm else ()))
        programs = initramfs.programs(wanted) if self.kernels else b""
        stage = play.Stage(
            self.experiment, network, self.kernels, programs, using, self.scratch, self.logs, self.libslirp, realm
        )
        turns = plan(self.experiment)
        players = Players(stage, report)
        with ExitStack() as stack:
            self._serve(stage, stack)
            recorders = [
                (capture, self._record(network, capture)) for capture in self.experiment.captures
                if capture.place[0] != "guest"
            ]  # fmt: skip
            try:
                players.run(turns.captured, self.experiment.start)
            finally:
                report(switch=network.forwarding_table())
                for capture, recorder in recorders:
                    report(captured=capture.name, file=str(recorder.file), dropped=recorder.stop())
            players.run(turns.after, "in turn")

    def _accelerator(self, report: Report) -> str:
        """kvm or tcg; proves it if that is asked and a guest will need it."""
        emulated = [kernel for name, kernel in self.kernels.items() if name != UML]
        using, proved = self.accel, False
        if using == "auto" and emulated:
            report(step="does KVM boot a kernel")
            using, proved = accel.proved(emulated[0], self.scratch / "proof", self.logs), True
        elif using == "auto":
            using = "tcg"  # of no consequence
        report(accel=using, proved=proved)
        return using

    def _serve(self, stage: play.Stage, stack: ExitStack) -> None:
        server = self.experiment.server
        if server.kind == "kernel":
            agent = kernel_server(stage, self.server_programs or Path("/"))
            stack.callback(agent.kill)
            return
        share = self.scratch / "share"
        servers.fill(share, self.experiment)
        running = servers.ganesha(
            stage.network.server, self.experiment, share, self.scratch / "ganesha", self.logs, stage.realm
        )
        stack.callback(running.stop)

    def _record(self, network: Network, capture: Capture) -> Recorder:
        here, interface = place(network, capture)
        file = self.scratch / f"{capture.name}.pcap"
        return record(here, interface, file, capture.snaplen, self.logs / f"{capture.name}.tcpdump.log")


def place(network: Network, capture: Capture) -> tuple[Namespace, str]:
    """The machine and the interface of a capture: the cable of a server or a host, both sides of a router."""
    kind, name = capture.place
    here = network.server if kind == "server" else network.machines[f"{kind}-{name}"]
    return here, "any" if capture.any else "eth0"


def kernel_server(stage: play.Stage, root: Path) -> Agent:
    """Boot a guest that serves /export with its kernel, on the bridge of the server's machine."""
    experiment, network = stage.experiment, stage.network
    server = experiment.server
    folder = qemu.own_folder(stage.scratch / f"{SERVER_GUEST}-guest")
    kernel = stage.kernels["generic"]
    files = servers.tree(experiment) | servers.files(experiment)
    settings = {
        "role": "server", "port": qemu.PORT, "hostname": server.name, "modules": "virtio_pci virtio_net ipv6 nfsd",
        "addresses": f"{server.address}/{experiment.network.ipv4.prefixlen} {server.address6}/64",
        "routes": " ".join(f"{net},{hop}" for router in experiment.routers for net, hop in routes(router)),
        "mtu": server.mtu, "lease": server.lease,
    }  # fmt: skip
    image = folder / "initramfs"
    listing = "".join(f"{octets} {path}\n" for path, octets in files.items())
    programs = initramfs.programs(initramfs.SERVER_PROGRAMS, root)
    initramfs.write(image, kernel, programs, settings, {"files": listing.encode()})
    tap = network.tap(network.server, "br0", server.mtu, qemu.USER)
    memory = SERVER_MEMORY + int(sum(files.values()) * 1.1)
    machine = qemu.Machine(kernel, image, folder, memory, stage.accel)
    nic = [*qemu.tap(tap), *qemu.device("virtio-net-pci", server.mac)]
    agent = Agent(SERVER_GUEST, network.server.command(*qemu.command(machine, nic)), stage.logs / "server.log")
    try:
        agent.expect("serving", play.BOOT + sum(files.values()) / play.SLOWEST)
    except BaseException:
        agent.kill()
        raise
    return agent


@dataclass
class Players:
    """All clients of a lab, each turn in a thread, started as the experiment says."""

    stage: play.Stage
    report: Report
    _told: dict[str, play.Told] = field(default_factory=dict)  # by client, over all its turns
    _failed: list[NfsleuthError] = field(default_factory=list)
    _waiting: set[str] = field(default_factory=set)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def run(self, turns: Sequence[Turn], start: str) -> None:
        """Play all turns. Raises the first failure of a client that is not optional; the others end with the lab."""
        experiment = self.stage.experiment
        self._waiting = {turn.client.name for turn in turns} if start == "together" else set()
        threads = []
        for number, turn in enumerate(turns, start=1):
            of = f"client {number} of {len(turns)}: {turn.client.name}"
            if self._given_up(turn):
                continue
            thread = threading.Thread(target=self._play, args=(turn, of), daemon=True)
            thread.start()
            threads.append(thread)
            if start == "in turn":
                self._watch([thread])
            elif start == "staggered" and number < len(turns):
                time.sleep(experiment.gap)
        self._watch(threads)

    def _given_up(self, turn: Turn) -> bool:
        """Whether the client has failed so often that another boot would be a waste of time."""
        told = self._told.get(turn.client.name)
        return told is not None and len(told.failed) >= MOST_FAILURES

    def _watch(self, threads: Sequence[threading.Thread]) -> None:
        """Wait until all `threads` have ended, or one client has failed."""
        while any(thread.is_alive() for thread in threads) and not self._failed:
            time.sleep(0.05)
        if self._failed:
            raise self._failed[0]

    def _play(self, turn: Turn, which: str) -> None:
        client = turn.client
        told = self._told.setdefault(client.name, play.Told())
        self.report(step=f"{which} starts")
        try:
            play.play(self.stage, turn, told, lambda: self._ready(client, which))
        except NfsleuthError as error:
            told.failed[turn.boot] = error.message
            host = self.stage.experiment.host(client.host)
            if not (client.optional or host.optional):
                self._failed.append(error)
        except Exception as error:  # a bug of ours: it must not be lost in a thread
            told.failed[turn.boot] = repr(error)
            self._failed.append(NfsleuthError(f"{client.name}: {error!r}", Exit.LAB_FAILED))
            raise
        finally:
            self._done_waiting(client.name)
            self._report(client, told)

    def _report(self, client: Guest | Native, told: play.Told) -> None:
        """What a client has told up to now."""
        several = self.stage.experiment.boots > 1
        failed = [f"boot {boot}: {why}" if several else why for boot, why in told.failed.items()]
        self.report(
            told=client.name, kernel=told.kernel, boots=told.boots, failed="; ".join(failed),
            timings=[timing.as_json() for timing in told.timings], steps=told.steps,
            inside=[str(file) for file in told.inside if file.exists()],
            recorded=[asdict(recorded) for recorded in told.recorded],
        )  # fmt: skip

    def _ready(self, client: Guest | Native, which: str) -> None:
        """Go on at once, or when all others are ready too."""
        self.report(step=f"{which} works")
        self._done_waiting(client.name)
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting)

    def _done_waiting(self, name: str) -> None:
        with self._changed:
            self._waiting.discard(name)
            self._changed.notify_all()


def logs_of(scratch: Path, target: Path) -> None:
    """Copy the logs of a run, and the consoles of guests, which they write in their own folders, to `target`."""
    found = {file.name: file for file in sorted((scratch / LOGS).glob("*"))}
    found |= {f"{console.parent.name}.console": console for console in sorted(scratch.glob("*/console"))}
    for name, file in found.items():
        with suppress(OSError):
            shutil.copyfile(file, target / name)

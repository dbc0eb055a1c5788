"""One client's part in a lab: a client of the experiment comes in, it boots, mounts, works and ends; what it told of
itself goes out.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.lab import cpu, initramfs, kerberos, qemu, servers, watching
from nfsleuth.lab.agents import Agent, end
from nfsleuth.lab.kernels import KERBEROS, Kernel
from nfsleuth.lab.model import (
    NIC_DRIVERS,
    USER_MODE,
    Client,
    Experiment,
    Guest,
    Native,
    PathRecording,
    Workload,
    has_own_place,
)
from nfsleuth.lab.network import Namespace, Network
from nfsleuth.lab.outcome import Recorded, Timing
from nfsleuth.lab.recorders import Recorder, record
from nfsleuth.lab.turns import Turn
from nfsleuth.path import store

BOOT, MOUNT, STEP = 120, 60, 60  # seconds that each may take under TCG beside others
SLOWEST = 250_000  # bytes per second: a read that is slower has failed (RTL8139 behind passt never ends)
SLIRP_GATEWAY = "10.0.2.2"  # QEMU, -netdev user
INSIDE_SNAPLEN = 640  # bytes of each frame on a guest's side of its NAT: more than an RPC header
PPM = 65536  # adjtimex(2): frequency is in parts per million with a 16-bit fraction


@dataclass(frozen=True)
class Stage:
    """What all clients of a lab share. `scratch` is below a folder that anyone may enter."""

    experiment: Experiment
    network: Network
    kernels: Mapping[str, Kernel]
    programs: bytes  # of guests, see `initramfs`
    accel: str
    scratch: Path
    logs: Path
    libslirp: Path | None = None  # folder of the libslirp that takes notes, for recordings by `instrumented`
    realm: kerberos.Realm | None = None

    @property
    def recordings(self) -> Path:
        """Where recordings of QEMU are left."""
        return self.scratch / "path"


@dataclass
class Told:
    """What a client has told of itself so far."""

    kernel: str = ""
    boots: int = 0
    timings: list[Timing] = field(default_factory=list)
    steps: list[tuple[str, float]] = field(default_factory=list)  # name, seconds
    inside: list[Path] = field(default_factory=list)  # captures of its own side, one after the other
    recorded: list[Recorded] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)  # boot -> why it did not end well


def play(stage: Stage, turn: Turn, told: Told, ready: Callable[[], None]) -> None:
    """Do all of a client's part; `ready` is called once it is ready to work, and returns when it may.

    Fills in `told` as it goes. NfsleuthError says what went wrong; nothing of it runs afterwards.
    """
    reboots = stage.experiment.workload(turn.client).reboots if turn.work else 0
    with _place(stage, turn, told) as start:
        for boot in range(reboots + 1):
            agent = start()
            taken: list[_Taken] = []
            try:
                _once(stage, agent, turn, told, taken, ready if boot == 0 else lambda: None)
                if boot < reboots:
                    continue  # the plug is pulled while the share is mounted
                agent.tell("end")
                agent.expect("ended", STEP)
                if not agent.ended(STEP):
                    raise agent.failure("does not switch off")
            finally:
                agent.kill()
                # Of reads that failed as well: it may say why they did.
                told.recorded += [one.keep(stage, turn) for one in taken]
            if not all(one.recorder.whole for one in taken):
                told.failed[turn.boot] = "the recording ended before the reads that it is of; counts are not given"


def _once(stage: Stage, agent: Agent, turn: Turn, told: Told, taken: list[_Taken], ready: Callable[[], None]) -> None:
    """From boot to the end of the workload; `taken` gets what was recorded, if anything."""
    rounds: Counter[str] = Counter()
    client = turn.client.name
    emulated = isinstance(turn.client, Guest) and turn.client.kernel != "uml"
    sessions = {agent.process, *agent.helpers}
    began = 0.0  # CPU seconds when the step began

    def heard(words: list[str]) -> None:
        nonlocal began
        match words:
            case ["read", path, octets, seconds]:
                rounds[path] += 1
                timing = Timing(
                    client=client, octets=int(octets), seconds=float(seconds), round=rounds[path], boot=turn.boot,
                    cpu=round(cpu.seconds(sessions) - began, 2) if emulated else 0.0,
                )  # fmt: skip
                told.timings.append(timing)
            case ["step", name, seconds]:
                told.steps.append((name, float(seconds)))
                began = cpu.seconds(sessions) if emulated else 0.0

    release, *_ = agent.expect("booted", BOOT)
    told.kernel = release
    told.boots += 1
    agent.expect("ready", MOUNT)
    ready()
    began = cpu.seconds(sessions) if emulated else 0.0
    agent.tell("go")
    patience = limit(stage.experiment.workload(turn.client)) if turn.work else STEP
    if not turn.method:
        agent.expect("worked", patience, heard)
        return
    agent.expect("recording", patience, heard)
    _record(stage, agent, turn, taken)
    agent.expect("worked", STEP, heard)


def _record(stage: Stage, agent: Agent, turn: Turn, taken: list[_Taken]) -> None:
    """Record the guest's QEMU while it reads; it waits to be told."""
    path = stage.experiment.path
    assert path, "the agent has such a step only if the experiment records"
    mine = _Taken(watching.Recorder(agent.process, turn.method, path.seconds))

    def heard(words: list[str]) -> None:
        match words:
            case ["watched", octets, seconds]:
                mine.reads.append((int(octets), float(seconds)))
            case ["taken", frames]:
                mine.frames = int(frames)

    with mine.recorder:
        taken.append(mine)
        agent.tell("go")
        agent.expect("enough", _recording_limit(path), heard)
        mine.done = True


@dataclass
class _Taken:
    """A recording, and what the guest read meanwhile: bytes and seconds of each time."""

    recorder: watching.Recorder
    reads: list[tuple[int, float]] = field(default_factory=list)
    frames: int = 0  # that the driver of its NIC took
    done: bool = False  # it has read all that it should

    def keep(self, stage: Stage, turn: Turn) -> Recorded:
        """Save the recording."""
        file = f"{turn.client.name}-{turn.boot}.{turn.method}.path"
        stage.recordings.mkdir(exist_ok=True)
        store.save(self.recorder.result(), stage.recordings / file)
        complete = self.done and self.recorder.whole
        return Recorded(
            client=turn.client.name, boot=turn.boot, method=turn.method, file=file,
            reads=len(self.reads) if complete else 0,
            octets=sum(octets for octets, _ in self.reads), seconds=sum(seconds for _, seconds in self.reads),
            taken=self.frames if complete else 0,
        )  # fmt: skip


def _recording_limit(path: PathRecording) -> float:
    """Seconds that the recorded reads may take: as long as one recording, and longer if it may end before them."""
    return path.seconds + path.reads * path.file / SLOWEST


def limit(workload: Workload) -> float:
    """Seconds that a workload may take."""
    if workload.patience:
        return workload.patience
    octets = sum(workload.files) * workload.rounds + workload.write
    lines = len(steps(workload, {}).splitlines())
    return STEP + workload.idle + lines * (workload.pause + 5) + workload.small / 2 + octets / SLOWEST


def steps(workload: Workload, paths: Mapping[str, int]) -> str:
    """What an agent is to do, a line per step; `paths` are its files."""
    order = "" if workload.order == "sequential" else " order-{octets}"
    lines = ["metadata"] * workload.metadata
    lines += [f"small {workload.small}"] if workload.small else []
    once = [f"read {path} {workload.block}{order.format(octets=octets)}" for path, octets in paths.items()]
    least = min(workload.warmup + 1, workload.rounds) if workload.enough else workload.rounds
    lines += once * least
    for _ in range(workload.rounds - least):
        lines += [f"enough {workload.enough}", *once]
    lines += [f"write {workload.write}"] if workload.write else []
    lines += [f"idle {workload.idle}"] if workload.idle else []
    return "".join(f"{line}\n" for line in lines)


def orders(workload: Workload, seed: str) -> dict[str, str]:
    """Block numbers in the order in which each file is read, by the file that holds them; none for sequential."""
    if workload.order == "sequential":
        return {}
    found = {}
    for octets in workload.files:
        numbers = list(range(-(-octets // workload.block)))
        if workload.order == "reverse":
            numbers.reverse()
        else:
            random.Random(f"{seed} {octets}").shuffle(numbers)  # noqa: S311 (an order of reads, no secret)
        found[f"order-{octets}"] = "".join(f"{number}\n" for number in numbers)
    return found


def _job(stage: Stage, turn: Turn) -> dict[str, bytes]:
    """The files of a client's job besides its settings."""
    experiment = stage.experiment
    workload = experiment.workload(turn.client)
    text = steps(workload, servers.files_of(experiment, turn.client)) if turn.work else ""
    if turn.method and experiment.path:
        text += f"record {servers.recorded_file(experiment.path)} {experiment.path.block} {experiment.path.reads}\n"
    texts = {"steps": text, **orders(workload, f"{experiment.seed} {turn.client.name}")}
    told = {name: content.encode() for name, content in texts.items()}
    if stage.realm and turn.client.kerberos:
        told |= stage.realm.files(turn.client)
    return told


def _source(experiment: Experiment, client: Client) -> str:
    server = experiment.server
    return f"[{server.address6}]:/export" if client.ip == 6 else f"{server.address}:/export"


def _mount_settings(stage: Stage, client: Guest | Native) -> dict[str, object]:
    options = client.mount_options
    if client.version == "3":
        options += ",nolock"  # statd is not there, and nothing here needs it
        if isinstance(client, Guest) and client.backend == "passt":
            # The kernel asks mountd over UDP from a reserved port, which passt as nobody cannot take for it.
            options += ",mountproto=tcp"
    return {
        "name": client.name, "hostname": client.hostname, "source": _source(stage.experiment, client),
        "options": options, "pause": f"{stage.experiment.workload(client).pause:g}",
        "uniquifier": client.uniquifier, "ttl": client.ttl or "", "receive_buffer": client.receive_buffer or "",
    }  # fmt: skip


@contextmanager
def _place(stage: Stage, turn: Turn, told: Told) -> Iterator[Callable[[], Agent]]:
    """Where a client runs, ready; yields what starts it."""
    client = turn.client
    with ExitStack() as stack:
        if isinstance(client, Native):
            yield _native(stage, client, turn, told, stack)
        elif client.kernel == "uml":
            yield _uml(stage, client, turn, stack)
        else:
            yield _guest(stage, client, turn, told, stack)


def _native(stage: Stage, client: Native, turn: Turn, told: Told, stack: ExitStack) -> Callable[[], Agent]:
    host = stage.experiment.host(client.host)
    here = stage.network.container(client, host) if client.container else stage.network.host(host)
    if client.container:
        _inside(stage, stack, client, told, here, "eth0")
    job = stage.scratch / client.name
    job.mkdir(parents=True, exist_ok=True)
    for name, content in _job(stage, turn).items():
        (job / name).write_bytes(content)
    log = stage.logs / f"{client.name}.log"
    if client.client == "kernel":
        share = job / "share"
        share.mkdir(exist_ok=True)
        settings = _mount_settings(stage, client) | {"role": "kernel-client", "mount_program": "mount.nfs", "at": share}
        (job / "settings").write_text(initramfs.shell(settings))
        (job / "agent.sh").write_bytes(files("nfsleuth.lab").joinpath("agent.sh").read_bytes())
        words = ["unshare", "--mount", "--uts", "--propagation", "private", "sh", str(job / "agent.sh"), str(job)]
        return lambda: Agent(client.name, here.command(*words), log)
    server = stage.experiment.server
    address = server.address6 if client.ip == 6 else server.address
    settings = {
        "server": address,
        "version": int(client.version[0]),
        "pause": stage.experiment.workload(client).pause,
        "name": client.name,
        "consumer": client.consumer,
    }
    (job / "settings.json").write_text(json.dumps(settings))
    return lambda: Agent(client.name, here.command(sys.executable, "-m", "nfsleuth.lab.native", job), log)


def _uml(stage: Stage, guest: Guest, turn: Turn, stack: ExitStack) -> Callable[[], Agent]:
    here, bridge = _bridge(stage, guest)
    tap = stage.network.tap(here, bridge, stage.experiment.host(guest.host).mtu, qemu.USER)
    stack.callback(stage.network.remove, here, tap)
    machine = _machine(stage, guest, turn, port="", modules="")
    return lambda: Agent(
        guest.name, here.command(*qemu.uml_command(machine, tap, guest.mac)), stage.logs / f"{guest.name}.log"
    )


def _guest(stage: Stage, guest: Guest, turn: Turn, told: Told, stack: ExitStack) -> Callable[[], Agent]:
    modules = f"virtio_pci {NIC_DRIVERS[guest.nic]}" if guest.nic.startswith("virtio") else NIC_DRIVERS[guest.nic]
    machine = _machine(stage, guest, turn, port=qemu.PORT, modules=modules)
    here, bridge = _bridge(stage, guest)
    mtu = stage.experiment.host(guest.host).mtu
    descriptors: tuple[int, ...] = ()
    helpers: tuple[int, ...] = ()
    match guest.backend:
        case "user":
            netdev = qemu.user()
        case "passt":
            socket, process = _passt(stage, stack, guest, here)
            netdev, helpers = qemu.stream(socket), (process,)
        case "macvtap":
            tap, device = stage.network.macvtap(here, guest.mac, machine.folder)
            stack.callback(stage.network.remove, here, tap)
            descriptor = os.open(device, os.O_RDWR)
            stack.callback(os.close, descriptor)
            descriptors = (descriptor,)
            netdev = qemu.opened(descriptor)
            _inside(stage, stack, guest, told, here, tap)
        case _:
            tap = stage.network.tap(here, bridge, mtu, qemu.USER)
            stack.callback(stage.network.remove, here, tap)
            netdev = qemu.hub(tap) if guest.backend == "hub" else qemu.tap(tap, vhost=guest.backend == "vhost")
            _inside(stage, stack, guest, told, here, tap)

    def start() -> Agent:
        nic = [*netdev, *qemu.device(guest.nic, guest.mac)]
        # For labels of captures. It would be on the way of the frames that a recording follows.
        if guest.backend in USER_MODE and turn.work and stage.experiment.captures:
            told.inside.append(machine.folder / f"inside-{len(told.inside)}.pcap")  # a file per boot
            nic += qemu.dump(told.inside[-1], _guest_snaplen(stage.experiment, guest))
        command = here.command(*_with_libslirp(stage, turn), *qemu.command(machine, nic))
        agent = Agent(guest.name, command, stage.logs / f"{guest.name}.log", descriptors)
        agent.helpers = helpers
        return agent

    return start


def _with_libslirp(stage: Stage, turn: Turn) -> list[str]:
    """What to put before a command so that it takes our libslirp, if the turn's method needs it."""
    if turn.method != "instrumented":
        return []
    assert stage.libslirp, "built before any guest starts"
    return ["env", f"LD_LIBRARY_PATH={stage.libslirp}"]


def _bridge(stage: Stage, guest: Guest) -> tuple[Namespace, str]:
    """The machine of a guest's host, and the bridge that its TAP goes to."""
    host = stage.experiment.host(guest.host)
    if guest.backend == "masquerade":
        return stage.network.private_bridge(host), "virbr0"
    return stage.network.host(host), "br0"


def _machine(stage: Stage, guest: Guest, turn: Turn, port: str, modules: str) -> qemu.Machine:
    """What `guest` boots, made in a folder of its own."""
    folder = qemu.own_folder(stage.scratch / guest.name)
    kernel = stage.kernels[guest.kernel]
    version = "nfsv3" if guest.version == "3" else "nfsv4"
    crypto = " ".join(KERBEROS) if guest.kerberos else ""
    settings = _mount_settings(stage, guest) | {
        "role": "client", "port": port, "modules": f"{modules} ipv6 {version} {crypto}".strip(), "at": "/mnt",
        "mount_program": "mount.nfs", "ipv6": int(guest.ip == 6), "clock": guest.clock_ppm * PPM or "",
        "keytab": int(guest.kerberos),
        **addresses(stage.experiment, stage.network, guest),
    }  # fmt: skip
    image = folder / "initramfs"
    initramfs.write(image, kernel, stage.programs, settings, _job(stage, turn))
    return qemu.Machine(kernel, image, folder, guest.memory, stage.accel)


def addresses(experiment: Experiment, network: Network, guest: Guest) -> dict[str, object]:
    """The addresses and routes that a guest is told, as the settings of its agent."""
    host = experiment.host(guest.host)
    told: dict[str, object] = {"gateway": "", "gateway6": "", "routes": "", "mtu": host.mtu}
    router = experiment.router(host)
    prefix = (router.inside if router else experiment.network.ipv4).prefixlen
    match guest.backend:
        case "user":
            # libslirp announces its IPv6 prefix, and the kernel makes the guest's address of it.
            return told | {"addresses": f"{guest.address}/24", "gateway": SLIRP_GATEWAY, "mtu": 1500}
        case "masquerade":
            return told | {"addresses": f"{guest.address}/{host.private.prefixlen}", "gateway": host.gateway}
        case "passt":
            hop = router.inner if router else experiment.server.address
            return told | {"addresses": f"{guest.address}/{prefix}", "gateway": hop}
    gateway, gateway6 = network.gateways(guest)
    own = [f"{guest.address}/{prefix}", *([f"{guest.address6}/64"] if guest.address6 else [])]
    return told | {"addresses": " ".join(own), "gateway": gateway, "gateway6": gateway6}


def _guest_snaplen(experiment: Experiment, client: Client) -> int:
    """What a capture inside the guest wants of each frame; enough for RPC XIDs if there is none."""
    wanted = [capture.snaplen for capture in experiment.captures if capture.place == ("guest", client.name)]
    return wanted[0] if wanted else INSIDE_SNAPLEN


def _inside(
    stage: Stage, stack: ExitStack, client: Guest | Native, told: Told, here: Namespace, interface: str
) -> None:
    """Record the client's own side, if its NAT hides it or the experiment asks for it."""
    if not stage.experiment.captures:
        return
    asked = any(capture.place == ("guest", client.name) for capture in stage.experiment.captures)
    if not asked and (has_own_place(client) or not _hidden(client)):
        return
    told.inside.append(stage.scratch / f"{client.name}.inside.pcap")
    recorder = record(
        here, interface, told.inside[-1], _guest_snaplen(stage.experiment, client),
        stage.logs / f"{client.name}.inside.tcpdump.log",
    )  # fmt: skip
    stack.callback(_stop, recorder)


def _stop(recorder: Recorder) -> None:
    recorder.stop()


def _hidden(client: Guest | Native) -> bool:
    return client.container if isinstance(client, Native) else client.backend == "masquerade"


def _passt(stage: Stage, stack: ExitStack, guest: Guest, here: Namespace) -> tuple[Path, int]:
    """Start passt for one guest; it ends with its connection to QEMU. Returns its socket and its process id."""
    socket = stage.scratch / guest.name / "passt.socket"
    socket.unlink(missing_ok=True)  # of its last boot
    log = stage.logs / f"{guest.name}.passt.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    # The host's default route names the server, which passt would otherwise take for another name of the host.
    words = ["passt", "--foreground", "-4", "--no-map-gw", "--runas", qemu.USER, "--socket", str(socket)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            here.command(*words), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    stack.callback(end, process)
    deadline = time.monotonic() + 10
    while not socket.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise NfsleuthError(f"{guest.name}: passt does not start; see {log.name} among the logs", Exit.LAB_FAILED)
        time.sleep(0.05)
    return socket, process.pid

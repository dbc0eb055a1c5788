"""`lab run`: an experiment comes in; a folder with captures, labels, timings, logs and versions goes out.

FOLDER/
  NAME.pcapng, NAME.labels.json   per capture point
  switch.fdb.json                 the switch's forwarding table at the end: `nfsleuth hosts --fdb`
  timings.json                    per file and round, measured by the clients
  report.md, study.html           the run; the study beside it, where configurations of the study read in turn
  run.json                        versions, seed, accelerator, what was left out, dropped frames
  experiment.toml, experiment.json  as given; as run, with every address and MAC
  logs/                           of the server, guests and clients
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nfsleuth.errors import NfsleuthError
from nfsleuth.lab import accel, damage, kernels, labels, pages, parts, pcapng, servers, supervise, versions
from nfsleuth.lab.execute import Recording, logs_of
from nfsleuth.lab.kernels import Kernel
from nfsleuth.lab.model import NIC_NAMES, Capture, Experiment, Guest, Native
from nfsleuth.lab.outcome import Flow, Ran, Recorded, Timing, flows
from nfsleuth.lab.turns import plan
from nfsleuth.path import library

Progress = Callable[[str], None]
# What was seen without KVM on a busy machine of two cores, for estimates: bytes per second, and seconds.
GUEST_RATE, NATIVE_RATE, GUEST_BOOT = 8e6, 60e6, 25
TABLE = "switch.fdb.json"
CALIBRATION = 2  # seconds before a recording
FRAME = 1514  # bytes of a full frame


@dataclass
class Record:
    """What a run left: files are in `folder`."""

    experiment: Experiment
    folder: Path
    accel: str = "tcg"
    ran: dict[str, Ran] = field(default_factory=dict)
    timings: list[Timing] = field(default_factory=list)
    recorded: list[Recorded] = field(default_factory=list)
    captures: list[Path] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)  # capture -> frames that the kernel dropped
    left_out: dict[str, str] = field(default_factory=dict)  # client or capture -> why it did not run
    kept: Path | None = None  # working folder
    ended: str = ""  # why the run ended before its time


@dataclass
class _Heard:
    """What came out of the lab as events."""

    progress: Progress
    accel: str = ""
    files: dict[str, list[Path]] = field(default_factory=dict)  # of a capture, one after the other
    dropped: dict[str, int] = field(default_factory=dict)
    clients: dict[str, dict[str, Any]] = field(default_factory=dict)
    switch: list[dict[str, Any]] = field(default_factory=list)  # its forwarding table
    recordings: tuple[Path, Path] | None = None  # where the lab leaves them, and where they go

    def __call__(self, event: dict[str, Any]) -> None:
        match event:
            case {"step": text}:
                self.progress(text)
            case {"accel": answer, "proved": proved}:
                self.accel = answer
                if proved:
                    accel.remember(answer)
            case {"captured": name, "file": file, "dropped": dropped}:
                self.files[name] = [Path(file)]
                self.dropped[name] = dropped
            case {"switch": table}:
                self.switch = table
            case {"told": name}:
                self.clients[name] = event
                self._keep()

    def _keep(self) -> None:
        """Take recordings to safety at once: the lab's own folder goes with it."""
        if self.recordings and self.recordings[0].is_dir():
            here, there = self.recordings
            there.mkdir(exist_ok=True)
            for file in here.iterdir():
                shutil.move(file, there / file.name)


def record(
    experiment: Experiment,
    folder: Path,
    *,
    given: str = "",
    accelerator: str = "auto",
    keep: bool = False,
    progress: Progress = lambda _: None,
) -> Record:
    """Run `experiment` and leave everything that came of it in `folder`, which must be new or empty.

    given: the text of its file, kept beside what comes out. accelerator: auto, kvm or tcg. keep: leave the working
    folder. NfsleuthError says what is missing or went wrong; whatever happens, nothing of the lab runs afterwards, and
    logs are in `folder`. A run without captures that is ended by hand (SIGINT, SIGTERM, SIGHUP) keeps the turns that
    are over: nothing of them depends on those that are not.
    """
    supervise.needs_root()
    chosen = accel.chosen(accelerator)
    progress("parts of this machine")
    fitting, why = parts.fitted(experiment)
    new_folder(folder)
    logs = folder / "logs"
    with supervise.ends_orderly(), supervise.recorded(keep=keep) as run:
        for line in supervise.sweep():
            progress(line)
        logs.mkdir(parents=True)
        if given:
            (folder / "experiment.toml").write_text(given, encoding="utf-8")
        heard = _Heard(progress, recordings=(run.scratch / "path", folder / "path"))
        task = Recording(
            fitting, run.scratch, chosen, _kernels(fitting, run.scratch, progress),
            _server_programs(fitting, progress), _libslirp(fitting, run.scratch, progress),
        )  # fmt: skip
        ended = ""
        try:
            supervise.apart(run, task, heard)
        except (KeyboardInterrupt, SystemExit):
            if fitting.captures or not heard.clients:
                raise
            ended = "ended by hand"
        finally:
            logs_of(run.scratch, logs)
            _give(folder)
        progress("labels and report")
        done = Record(experiment, folder, heard.accel, dropped=heard.dropped, left_out=why, ended=ended)
        done = _finish(done, heard)
        done.kept = run.scratch if keep else None
    _give(folder)
    return done


def full_sizes(experiment: Experiment) -> Experiment:
    """The experiment with the sizes of a full run, where its workloads name some."""
    workloads = (
        dataclasses.replace(workload, files=workload.full) if workload.full else workload
        for workload in experiment.workloads
    )
    return dataclasses.replace(experiment, workloads=tuple(workloads))


def only(experiment: Experiment, words: Sequence[str]) -> Experiment:
    """The experiment with some of its clients: those whose NIC model, backend or name `words` hold.

    A NIC model narrows what backends leave, and the other way round. Raises NfsleuthError if a word fits no client or
    nothing is left.
    """
    nics = {guest.nic for guest in experiment.guests}
    backends = {guest.backend for guest in experiment.guests}
    wanted = {NIC_NAMES.get(word, word) for word in words}
    unknown = wanted - nics - backends - {client.name for client in experiment.clients}
    if unknown:
        known = ", ".join(sorted(nics | backends))
        raise NfsleuthError(f"--only {sorted(unknown)[0]}: no client has that; name clients, or of {known}")

    def stays(client: Guest | Native) -> bool:
        if client.name in wanted or isinstance(client, Native):
            return client.name in wanted
        return client.nic in (wanted & nics or nics) and client.backend in (wanted & backends or backends)

    guests = tuple(g for g in experiment.guests if stays(g) and (wanted & (nics | backends) or g.name in wanted))
    natives = tuple(native for native in experiment.natives if stays(native))
    if not guests and not natives:
        raise NfsleuthError(f"--only {','.join(words)}: leaves no client; name models and backends that go together")
    return dataclasses.replace(experiment, guests=guests, natives=natives, left_out=())


@dataclass(frozen=True)
class Estimate:
    """What a run will take without KVM on two cores: bytes that all clients read, seconds, bytes of captures."""

    octets: int
    seconds: float
    captured: float


def estimate(experiment: Experiment) -> Estimate:
    """What to tell before a run."""
    octets, seconds = 0, 0.0
    for client in experiment.clients:
        workload = experiment.workload(client)
        reads = sum(workload.files) * workload.rounds * (workload.reboots + 1)
        guest = isinstance(client, Guest)
        took = reads / (GUEST_RATE if guest else NATIVE_RATE) + workload.idle + (GUEST_BOOT if guest else 0)
        octets += reads * experiment.boots
        seconds += took * experiment.boots
    if experiment.path:
        turns = plan(experiment)
        recorded = sum(bool(turn.method) for turn in (*turns.captured, *turns.after))
        extra = sum(not turn.work for turn in (*turns.captured, *turns.after))
        reads = recorded * experiment.path.reads * experiment.path.file
        octets += reads
        seconds += reads / GUEST_RATE + recorded * CALIBRATION + extra * GUEST_BOOT
    # A capture elsewhere sees part of it; how much is not worked out, so this is the most.
    kept = sum(min(capture.snaplen or FRAME, FRAME) / FRAME for capture in experiment.captures)
    return Estimate(octets, seconds, octets * kept)


def new_folder(folder: Path) -> None:
    """Make `folder`; NfsleuthError if it holds anything."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        used = any(folder.iterdir())
    except OSError as error:
        raise NfsleuthError(f"{folder}: cannot be made ({error.strerror}); choose another with -o") from None
    if used:
        raise NfsleuthError(f"{folder}: is not empty; choose a new folder with -o")


def _give(folder: Path) -> None:
    """Give what was made under sudo to who asked for it."""
    user, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if user.isdigit() and group.isdigit():
        for path in (folder, *folder.rglob("*")):
            os.chown(path, int(user), int(group), follow_symlinks=False)


def _kernels(experiment: Experiment, scratch: Path, progress: Progress) -> dict[str, Kernel]:
    """The kernels of all guests by name, copied to where a guest's user may read them."""
    wanted = {guest.kernel for guest in experiment.guests}
    wanted |= {"generic"} if experiment.server.kind == "kernel" else set()
    found = {}
    for name in sorted(wanted):
        progress(f"kernel {name}")
        kept = kernels.kernel(name)
        copy = scratch / f"kernel-{name}"
        shutil.copyfile(kept.kernel, copy)
        copy.chmod(0o755)  # User-Mode Linux is a program
        found[name] = dataclasses.replace(kept, kernel=copy)
    return found


def _server_programs(experiment: Experiment, progress: Progress) -> Path | None:
    if experiment.server.kind != "kernel":
        return None
    progress("programs of the kernel's NFS server")
    return servers.unpacked("nfs-kernel-server", kernels.cache_folder())


def _libslirp(experiment: Experiment, scratch: Path, progress: Progress) -> Path | None:
    """The libslirp that takes notes, where a guest's user may read it, if the experiment records by it."""
    if not experiment.path or "instrumented" not in experiment.path.method:
        return None
    progress("libslirp that takes notes")
    copy = scratch / "libslirp"
    # Its name says which build it is (see `path.target`).
    shutil.copytree(kept := library.build("instrumented"), copy / kept.name)
    return copy / kept.name


def _finish(done: Record, heard: _Heard) -> Record:
    """Captures with comments, labels, timings, versions, report."""
    from nfsleuth import api

    experiment, folder = done.experiment, done.folder
    for name, told in heard.clients.items():
        inside = (flow for file in told["inside"] for flow in flows(api.calls(file)))
        xids = frozenset(xid for flow in inside for xid in flow.xids)
        done.ran[name] = Ran(
            client=name, kernel=told["kernel"], boots=told["boots"], failed=told["failed"], inside=xids
        )
        done.timings += [Timing(**row) for row in told["timings"]]
        done.recorded += [Recorded(**row) for row in told["recorded"]]
    sources = heard.files | _guest_captures(experiment, heard)
    seen: dict[Capture, Sequence[Flow]] = {}
    for capture in experiment.captures:
        if capture.name not in sources:
            done.left_out.setdefault(capture.name, f"nothing was recorded at {capture.at}")
            continue
        file = _capture_file(experiment, capture, folder, sources[capture.name])
        seen[capture] = flows(api.calls(str(file)))
        done.captures.append(file)
    done.ran = labels.recognised(experiment, seen, done.ran)
    for capture, found in seen.items():
        document = labels.document(experiment, capture, f"{capture.name}.{capture.format}", found, done.ran)
        _write_json(folder / f"{capture.name}.labels.json", document)
    done.captures += damage.derive(experiment, folder)
    told = _conditions(done, {name: told["steps"] for name, told in heard.clients.items()})
    _write_json(folder / TABLE, heard.switch)
    _write_json(folder / "timings.json", [timing.as_json() for timing in done.timings])
    if done.recorded:
        _write_json(folder / "path.json", [dataclasses.asdict(recorded) for recorded in done.recorded])
    _write_json(folder / "run.json", told)
    _write_json(folder / "experiment.json", dataclasses.asdict(experiment))
    paths = {row.file: folder / "path" / row.file for row in done.recorded}
    server = pages.server_capture(experiment, folder)
    pages.write(folder, pages.Measured(experiment, done.timings, done.recorded, told, paths, server))
    return done


def _conditions(done: Record, steps: dict[str, list[tuple[str, float]]]) -> dict[str, Any]:
    """What run.json holds. `steps`: of each client, name and seconds."""
    return {
        "experiment": done.experiment.name, "seed": done.experiment.seed, "accelerator": done.accel,
        "versions": versions.here(), "kernels": {name: ran.kernel for name, ran in done.ran.items()},
        "failed": {name: ran.failed for name, ran in done.ran.items() if ran.failed}, "left_out": done.left_out,
        "ended": done.ended, "impossible": list(done.experiment.left_out), "dropped": done.dropped, "steps": steps,
    }  # fmt: skip


def _guest_captures(experiment: Experiment, heard: _Heard) -> dict[str, list[Path]]:
    """Captures that were made inside guests, by name."""
    found = {}
    for capture in experiment.captures:
        kind, name = capture.place
        inside = heard.clients.get(name, {}).get("inside") if kind == "guest" else None
        if inside:
            found[capture.name] = [Path(file) for file in inside]
    return found


def _capture_file(experiment: Experiment, capture: Capture, folder: Path, sources: list[Path]) -> Path:
    file = folder / f"{capture.name}.{capture.format}"
    if capture.format == "pcap":
        pcapng.join(sources, file)
        return file
    comments = [f"nfsleuth lab, experiment {experiment.name}, seed {experiment.seed}", *who(experiment)]
    pcapng.convert(sources, file, comments, interface=capture.at)
    return file


def who(experiment: Experiment) -> list[str]:
    """A line on the server and on each client, for people who open the capture."""
    lines = [f"server {experiment.server.name}: {experiment.server.address}, MAC {experiment.server.mac}"]
    for client in experiment.clients:
        what = f"{client.nic} on {client.backend}, guest MAC {client.mac}" if isinstance(client, Guest) else "no guest"
        address, mac = experiment.wire_address(client), experiment.wire_mac(client)
        lines.append(f"client {client.name}: {address}, MAC {mac}, {what}, host {client.host}, {client.mount_options}")
    return lines


def _write_json(file: Path, document: object) -> None:
    file.write_text(json.dumps(document, indent=1, default=_plain) + "\n", encoding="utf-8")


def _plain(value: object) -> object:
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return str(value)
    if isinstance(value, frozenset | set | tuple):
        return sorted(value)
    raise TypeError(f"{value!r} has no form in JSON")

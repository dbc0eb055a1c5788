"""Bad captures from good ones: a capture with its labels comes in, a worse one with its labels goes out.

    python -m nfsleuth.lab.damage good.pcapng --damage loss --share 0.02 --seed 5 -o loss.pcap.zst

What can be done to a capture (`DAMAGES`):

- snaplen: keeps the first bytes of each frame, as a capture with `-s` does;
- loss: leaves a share of the frames out, as a capture that cannot keep up does;
- reorder: a share of the frames arrives up to four frames later, as over several paths;
- midstream: leaves out the first part of the time, as a capture that starts late does;
- vlan, qinq: puts an IEEE 802.1Q tag, or an 802.1ad and an 802.1Q one, in front of the type of each frame;
- cooked: the form of Linux's pseudo-interface `any`, LINKTYPE_LINUX_SLL.

The same capture, damage and seed give the same bytes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from nfsleuth.capture import open_trace
from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.lab import values
from nfsleuth.lab.model import DAMAGES, Derived, Experiment, keys_of
from nfsleuth.lab.outcome import Flow, flows
from nfsleuth.report.escape import visible
from nfsleuth.wire.ethernet import LINK_ETHERNET, LINK_SLL, TYPE_QINQ, TYPE_VLAN

PCAP_NS = 0xA1B23C4D  # magic of pcap with nanoseconds (https://www.tcpdump.org/manpages/pcap-savefile.5.html)
SNAPLEN = 262144  # the largest frame that readers of pcap expect
LATER = 4  # frames that a reordered one is held back at most
MACS = 12  # bytes in front of the type of an Ethernet frame
# sll_pkttype of LINKTYPE_LINUX_SLL (https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL.html)
TO_US, BROADCAST, MULTICAST, BY_US = 0, 1, 2, 4
ARPHRD_ETHER = 1
HEAVY = 0.1  # share of lost frames above which the few calls that name a client may be among them


class Frame(NamedTuple):
    """A captured frame. `time`: ns since 1970; `wire`: bytes that were on the wire; `link`: its LINKTYPE_."""

    time: int
    data: bytes
    wire: int
    link: int


Frames = Iterator[Frame]


def damage(source: Path, target: Path, how: Derived, seed: int, server_mac: str = "") -> int:
    """Write to `target` what becomes of the capture `source`; returns the number of frames.

    target: ends in .pcap or .pcap.zst. server_mac: what a cooked capture takes for the machine's own. NfsleuthError if
    the capture cannot be read, or is not of Ethernet where it must be.
    """
    if not target.name.endswith((".pcap", ".pcap.zst")):
        raise NfsleuthError(f"{visible(str(target))}: damaged captures are pcap; end the name in .pcap or .pcap.zst")
    start = _late(source, how.share) if how.damage == "midstream" else 0
    chance = random.Random(f"{seed} {how.damage} {how.share}")  # noqa: S311 (reproducible, guards nothing)
    changed = changes(how, chance, start, server_mac)(_checked(frames(source), how, source))
    return _write(target, changed, LINK_SLL if how.damage == "cooked" else LINK_ETHERNET)


def changes(how: Derived, chance: random.Random, start: int = 0, server_mac: str = "") -> Callable[[Frames], Frames]:
    """What `how` does to frames. `start`: the time before which `midstream` leaves all out."""
    own = bytes.fromhex(server_mac.replace(":", ""))
    inner = (TYPE_VLAN << 16 | how.vlan).to_bytes(4)
    doubled = (TYPE_QINQ << 16 | how.outer).to_bytes(4) + inner
    return {
        "snaplen": lambda all_: (f._replace(data=f.data[: how.snaplen]) for f in all_),
        "loss": lambda all_: (f for f in all_ if chance.random() >= how.share),
        "reorder": lambda all_: _reordered(all_, how.share, chance),
        "midstream": lambda all_: (f for f in all_ if f.time >= start),
        "vlan": lambda all_: (_tagged(f, inner) for f in all_),
        "qinq": lambda all_: (_tagged(f, doubled) for f in all_),
        "cooked": lambda all_: (_cooked(f, own) for f in all_),
    }[how.damage]


def words(how: Derived) -> str:
    """What was done, for the label."""
    return {
        "snaplen": f"first {how.snaplen} bytes of each frame",
        "loss": f"{how.share:.0%} of the frames left out at random",
        "reorder": f"{how.share:.0%} of the frames up to {LATER} frames later",
        "midstream": f"first {how.share:.0%} of the time left out",
        "vlan": f"802.1Q VLAN {how.vlan} in every frame",
        "qinq": f"802.1ad VLAN {how.outer} and 802.1Q VLAN {how.vlan} in every frame",
        "cooked": "Linux cooked (SLL), as captured on `any`",
    }[how.damage]


def labels(document: Mapping[str, Any], how: Derived, file: str, left: Iterable[Flow]) -> dict[str, Any]:
    """The labels of the damaged capture in `file`. left: the flows that it still shows.

    Where the calls that name a client may be gone, doubt is acceptable.
    """
    visible_flows = {(flow.address, flow.port): len(flow.xids) for flow in left}
    blind = how.damage in ("snaplen", "midstream") or (how.damage == "loss" and how.share >= HEAVY)
    clients, absent = [], list(document.get("absent", []))
    for client in document["clients"]:
        addresses = (client["address"], client.get("address6"))
        calls = {p: visible_flows[a, p] for p in client["ports"] for a in addresses if (a, p) in visible_flows}
        if not calls:
            absent.append(client.get("name", client["address"]))
            continue
        acceptable = sorted({*client["acceptable"], *(["unknown"] if blind else [])})
        clients.append({**client, "ports": sorted(calls), "rpc_calls": sum(calls.values()), "acceptable": acceptable})
    return {
        **document,
        "capture": file,
        "snaplen": how.snaplen if how.damage == "snaplen" else document["snaplen"],
        "derived_from": document["capture"],
        "transform": words(how),
        "absent": absent,
        "clients": clients,
    }


def frames(source: Path) -> Frames:
    """The frames of a capture in their order."""
    with open_trace([str(source)]) as trace:
        for chunk in trace:
            octets = chunk.buffer.tobytes()
            for at, time, captured, wire, link in zip(
                *(chunk.frames[name].tolist() for name in ("offset", "time", "captured", "wire", "link")), strict=True
            ):
                yield Frame(time, octets[at : at + captured], wire, link)


def _late(source: Path, share: float) -> int:
    """The time at which `share` of the capture's time has passed."""
    first = last = None
    for frame in frames(source):
        first = frame.time if first is None else min(first, frame.time)
        last = frame.time if last is None else max(last, frame.time)
    return 0 if first is None or last is None else first + int((last - first) * share)


def _checked(all_: Frames, how: Derived, source: Path) -> Frames:
    """The frames; NfsleuthError at the first that is not of Ethernet: one pcap file has one link type."""
    for number, frame in enumerate(all_, start=1):
        if frame.link != LINK_ETHERNET:
            raise NfsleuthError(
                f"{visible(str(source))}: frame {number} has link type {frame.link}; {how.damage} is done to "
                "captures of Ethernet, so capture on one interface"
            )
        yield frame


def _reordered(all_: Frames, share: float, chance: random.Random) -> Frames:
    """Frames, of which a share changes its place with one of the next few; times stay where they are."""
    window: list[Frame] = []
    for frame in all_:
        window.append(frame)
        if len(window) > LATER:
            yield _first(window, share, chance)
    while window:
        yield _first(window, share, chance)


def _first(window: list[Frame], share: float, chance: random.Random) -> Frame:
    """Take the first frame out of the window; by chance it has changed places with a later one."""
    if len(window) > 1 and chance.random() < share:
        other = chance.randrange(1, len(window))
        early, late = window[0], window[other]
        window[0], window[other] = late._replace(time=early.time), early._replace(time=late.time)
    return window.pop(0)


def _tagged(frame: Frame, tags: bytes) -> Frame:
    data = frame.data[:MACS] + tags + frame.data[MACS:] if len(frame.data) > MACS else frame.data
    return frame._replace(data=data, wire=frame.wire + len(tags))


def _cooked(frame: Frame, own: bytes) -> Frame:
    """The frame with the header of LINKTYPE_LINUX_SLL in place of Ethernet's."""
    to, source = frame.data[:6], frame.data[6:MACS]
    if source == own:
        kind = BY_US
    elif to == b"\xff" * 6:
        kind = BROADCAST
    else:
        kind = MULTICAST if to[:1] and to[0] & 1 else TO_US
    header = struct.pack(">HHH8s", kind, ARPHRD_ETHER, 6, source)
    return Frame(frame.time, header + frame.data[MACS:], frame.wire + len(header) - MACS, LINK_SLL)


def _write(target: Path, all_: Frames, link: int) -> int:
    """Write a pcap file with nanoseconds; returns the number of frames."""
    count = 0
    with _opened(target) as out:
        out.write(struct.pack("<IHHiIII", PCAP_NS, 2, 4, 0, 0, SNAPLEN, link))
        for frame in all_:
            seconds, ns = divmod(frame.time, 10**9)
            out.write(struct.pack("<IIII", seconds, ns, len(frame.data), frame.wire) + frame.data)
            count += 1
    return count


@contextlib.contextmanager
def _opened(target: Path) -> Iterator[IO[bytes]]:
    import zstandard

    try:
        with target.open("wb") as file:
            if target.suffix != ".zst":
                yield file
                return
            with zstandard.ZstdCompressor(level=19, write_checksum=True).stream_writer(file, closefd=False) as packed:
                yield packed
    except OSError as error:
        raise NfsleuthError(f"{visible(str(target))}: cannot be written ({error.strerror})", Exit.UNREADABLE) from None


def derive(experiment: Experiment, folder: Path) -> list[Path]:
    """Make the derived captures of a run in `folder` from those that it recorded, with labels; returns where they are.

    A capture that was not recorded has none derived from it.
    """
    made = []
    for how in experiment.derived:
        good = folder / f"{how.of}.labels.json"
        if good.exists():
            target = folder / f"{how.name}.pcap.zst"
            source = folder / json.loads(good.read_text(encoding="utf-8"))["capture"]
            damage(source, target, how, experiment.seed, experiment.server.mac)
            write_labels(good, target, how)
            made.append(target)
    return made


def write_labels(good: Path, target: Path, how: Derived) -> Path:
    """Write the labels of the damaged capture `target` beside it, from those of the good one; returns where."""
    import nfsleuth

    document = json.loads(good.read_text(encoding="utf-8"))
    made = labels(document, how, target.name, flows(nfsleuth.calls(target)))
    path = target.with_name(target.name.partition(".")[0] + ".labels.json")
    path.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """The command in the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m nfsleuth.lab.damage",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = keys_of(Derived)
    parser.add_argument("capture", type=Path, help="a good capture; NAME.labels.json beside it is taken along")
    parser.add_argument("-o", "--output", type=Path, required=True, help="where to write: NAME.pcap or NAME.pcap.zst")
    parser.add_argument("--damage", choices=DAMAGES, required=True, help="what to do to it")
    for name, kind in (("snaplen", int), ("share", float), ("vlan", int), ("outer", int)):
        parser.add_argument(
            f"--{name}", type=kind, default=getattr(Derived(name="x", damage="loss"), name), help=known[name].doc
        )
    parser.add_argument("--seed", type=int, default=1, help="chance follows from it")
    given = parser.parse_args(arguments)
    try:
        told = {name: _read(name, getattr(given, name)) for name in ("damage", "snaplen", "share", "vlan", "outer")}
        how = Derived(name=values.slug(given.output.name.partition(".")[0]) or "damaged", **told)
        good = given.capture.with_name(given.capture.name.partition(".")[0] + ".labels.json")
        mac = json.loads(good.read_text(encoding="utf-8")).get("server_mac", "") if good.exists() else ""
        count = damage(given.capture, given.output, how, given.seed, mac)
        print(f"{given.output}: {count} frames; {words(how)}")  # noqa: T201
        if good.exists():
            print(f"{write_labels(good, given.output, how)}: labels")  # noqa: T201
    except NfsleuthError as error:
        print(f"nfsleuth: {error.message}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


def _read(name: str, value: object) -> Any:  # noqa: ANN401
    """An option's value through the reader of the key of that name."""
    try:
        return keys_of(Derived)[name].reader(value)
    except ValueError as error:
        raise NfsleuthError(f"--{name} {values.shown(value)}: {error}") from None


if __name__ == "__main__":
    sys.exit(main())

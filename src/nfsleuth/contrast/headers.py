"""A frame's bytes come in, the fields of its link, network and TCP header go out, options in their order.

The kernels of `wire` keep what verdicts need; this reads everything else, too, in plain Python, of the few frames that
`observe` picks. Layouts are in the docstrings of `wire.ethernet`, `wire.ip` and `wire.tcp`.
"""

from __future__ import annotations

from struct import unpack_from

from nfsleuth.contrast.leaves import Leaf
from nfsleuth.wire import ethernet, ip, tcp

_LINK_HEADER = {ethernet.LINK_ETHERNET: 12, ethernet.LINK_SLL: 14, ethernet.LINK_SLL2: 0}
_RAW = (ethernet.LINK_RAW, ethernet.LINK_RAW_BSD, ethernet.LINK_RAW_OPENBSD, ethernet.LINK_IPV4, ethernet.LINK_IPV6)
_TAGS = (ethernet.TYPE_VLAN, ethernet.TYPE_QINQ, ethernet.TYPE_QINQ_OLD)
_KIND_NAMES = tcp.LAYOUT_NAMES | {tcp.OPTION_SACK: "sack"}


def read_headers(frame: bytes, link: int) -> list[Leaf] | None:
    """The headers of a frame as captured. What is unknown is left out; None if it is not TCP, or is cut."""
    out: list[Leaf] = []
    at, kind = _link(frame, link, out)
    if kind == ethernet.TYPE_IPV4:
        transport = _ipv4(frame, at, out)
    elif kind == ethernet.TYPE_IPV6:
        transport = _ipv6(frame, at, out)
    else:
        transport = None
    if transport is None or len(frame) - transport < 20:
        return None
    _tcp(frame, transport, out)
    return out


def mac_text(mac: bytes) -> str:
    """ "52:54:00:12:34:56"."""
    return mac.hex(":")


def _link(frame: bytes, link: int, out: list[Leaf]) -> tuple[int, int]:
    """Where the network layer begins, and its ethertype (0: not IP)."""
    if link == ethernet.LINK_ETHERNET and len(frame) >= 14:
        out += [("eth.src", mac_text(frame[6:12])), ("eth.dst", mac_text(frame[:6]))]
        at = 12
    elif link == ethernet.LINK_SLL and len(frame) >= 16:
        if frame[4:6] == b"\0\6":
            out.append(("eth.src", mac_text(frame[6:12])))
        at = 14
    elif link == ethernet.LINK_SLL2 and len(frame) >= 20:
        if frame[11] == 6:
            out.append(("eth.src", mac_text(frame[12:18])))
        return 20, unpack_from(">H", frame)[0]
    elif link in _RAW and frame:
        return 0, ethernet.TYPE_IPV6 if frame[0] >> 4 == 6 else ethernet.TYPE_IPV4
    elif link in (ethernet.LINK_NULL, ethernet.LINK_LOOP) and len(frame) > 4:
        return 4, ethernet.TYPE_IPV6 if frame[4] >> 4 == 6 else ethernet.TYPE_IPV4
    else:
        return 0, 0
    (kind,) = unpack_from(">H", frame, at)
    at += 2
    tags = 0
    while kind in _TAGS and len(frame) - at >= 4 and tags < ethernet.MOST_TAGS:
        control, kind = unpack_from(">HH", frame, at)
        out += [("eth.vlan.id", control & 0xFFF), ("eth.vlan.priority", control >> 13)]
        at += 4
        tags += 1
    return at, kind


def _ipv4(frame: bytes, at: int, out: list[Leaf]) -> int | None:
    """Where TCP begins, None if it does not."""
    if len(frame) - at < 20 or frame[at] >> 4 != 4:
        return None
    header = (frame[at] & 0xF) * 4
    tos, _, identification, fragment, ttl, protocol = unpack_from(">BHHHBB", frame, at + 1)
    out += [
        ("ip.version", 4),
        ("ip.options.length", header - 20),
        ("ip.dscp", tos >> 2),
        ("ip.ecn", tos & 3),
        ("ip.id", identification),
        ("ip.df", fragment >> 14 & 1),
        ("ip.ttl", ttl),
    ]
    if protocol != ip.PROTOCOL_TCP or fragment & 0x1FFF or header < 20:
        return None
    return at + header


def _ipv6(frame: bytes, at: int, out: list[Leaf]) -> int | None:
    """Where TCP begins, None if it does not."""
    if len(frame) - at < 40 or frame[at] >> 4 != 6:
        return None
    first, _, following, hops = unpack_from(">IHBB", frame, at)
    out += [
        ("ip.version", 6),
        ("ip.dscp", first >> 22 & 0x3F),
        ("ip.ecn", first >> 20 & 3),
        ("ip.flow_label", first & 0xFFFFF),
        ("ip.ttl", hops),
    ]
    if following != ip.PROTOCOL_TCP:  # extension headers before TCP are rare: such frames give no TCP fields
        return None
    return at + 40


def _tcp(frame: bytes, at: int, out: list[Leaf]) -> None:
    """Fields of the TCP header. Those of a SYN have paths of their own."""
    offset, flags, window = unpack_from(">BBH", frame, at + 12)
    path = "tcp.syn" if flags & tcp.SYN else "tcp"
    header = (offset >> 4) * 4
    options = frame[at + 20 : min(at + header, len(frame))]
    whole = header >= 20 and at + header <= len(frame)
    out += [(f"{path}.window", window), (f"{path}.urgent", int(unpack_from(">H", frame, at + 18)[0]))]
    if whole:
        names, found = _options(options)
        out.append((f"{path}.options", ",".join(names)))
        out += [(f"{path}.{name}", value) for name, value in found]
    if flags & tcp.SYN:
        out += [("tcp.syn.ece", flags >> 6 & 1), ("tcp.syn.cwr", flags >> 7 & 1), ("tcp.syn.header.length", header)]
        mss = dict(found).get("mss") if whole else None
        if isinstance(mss, int) and mss:
            out.append(("tcp.syn.window / mss", f"{window / mss:.2f}"))


def _options(options: bytes) -> tuple[list[str], list[Leaf]]:
    """Names of the options in their order, and their values. A length that cannot be ends them with "bad"."""
    names: list[str] = []
    values: list[Leaf] = []
    at = 0
    while at < len(options):
        kind = options[at]
        names.append(_KIND_NAMES.get(kind, f"kind{kind}"))
        if kind == tcp.OPTION_EOL:
            break
        if kind == tcp.OPTION_NOP:
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if length < 2 or at + length > len(options):
            names.append("bad")
            break
        if kind == tcp.OPTION_MSS and length == 4:
            values.append(("mss", int(unpack_from(">H", options, at + 2)[0])))
        elif kind == tcp.OPTION_SCALE and length == 3:
            values.append(("wscale", options[at + 2]))
        elif kind == tcp.OPTION_TIMESTAMP and length == 10:
            value, echo = unpack_from(">II", options, at + 2)
            values += [("timestamp.value", value), ("timestamp.echo", echo)]
        at += length
    return names, values

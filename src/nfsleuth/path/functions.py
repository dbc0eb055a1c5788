"""Which functions are watched: images of QEMU and libslirp come in, `Function`s go out.

The names are those of QEMU 7.2 and libslirp 4.7; what a binary does not have is not watched.
"""

from __future__ import annotations

from collections.abc import Iterable

from nfsleuth.path import handlers
from nfsleuth.path.image import Image, is_emulated
from nfsleuth.path.model import Function, Role

# QEMU's network layer (net/net.c, net/queue.c, net/tap*.c), between a NIC model and a backend.
NET = (
    "qemu_send_packet", "qemu_send_packet_async", "qemu_sendv_packet", "qemu_sendv_packet_async",
    "qemu_net_queue_send", "qemu_net_queue_send_iov", "qemu_net_queue_receive", "qemu_deliver_packet_iov",
    "net_hub_receive", "net_hub_receive_iov", "tap_read_packet",
)  # fmt: skip
ENTRIES = ("tap_read_packet",)  # tells a read of a frame from all other reads: watched whatever it costs
# libslirp: what QEMU calls, and, where names are known, what is called inside.
SLIRP_API = ("slirp_input", "slirp_pollfds_poll")
SLIRP = (
    "ip_input", "ip6_input", "arp_input", "icmp_input", "udp_input", "tcp_input", "sbappend", "slirp_send", "sosendto",
    "sowrite", "soread", "sorecvfrom", "tcp_output", "tcp_respond", "udp_output", "icmp_reflect", "ip_output",
    "ip6_output", "if_output", "if_start", "if_encap", "slirp_send_packet_all", "m_get", "m_free", "slirp_insque",
    "slirp_remque",
)  # fmt: skip
# The study's set of functions that manage memory, for its Figure 5.
MEMORY = ("slirp_input", "m_get", "slirp_insque", "if_output", "if_start", "m_free", "slirp_remque")
SYSCALLS = ("sendto", "sendmsg", "write", "writev", "recvfrom", "recvmsg", "read", "readv")
LONGEST_INSTRUCTION = 15


def of_qemu(image: Image, tables: Iterable[handlers.Handler]) -> list[Function]:
    """Functions of QEMU that are watched: the network layer, and the receive handlers in `tables`."""
    named = image.named()
    wanted = [(named[name], name, Role.NET, "exported") for name in NET if name in named]
    seen = {address for address, *_ in wanted}
    for handler in tables:
        if handler.address not in seen:
            seen.add(handler.address)
            wanted.append((handler.address, handler.name, role(handler), "handler table"))
    return [function(image, *one) for one in wanted]


def role(handler: handlers.Handler) -> Role:
    """What the client with this handler is."""
    if handler.nic:
        return Role.NIC
    return Role.HUB if handler.client == "hubport" else Role.BACKEND


def of_slirp(image: Image) -> list[Function]:
    """Functions of libslirp that are watched."""
    named = image.named()
    return [
        function(image, named[name], name, Role.SLIRP, "exported" if name in SLIRP_API else "symbol table")
        for name in (*SLIRP_API, *SLIRP)
        if name in named
    ]


def system_calls() -> list[Function]:
    """System calls that move frames."""
    return [Function(name, "kernel", 0, Role.SYSCALL, source="tracepoint") for name in SYSCALLS]


def function(image: Image, address: int, name: str, role_: Role, source: str) -> Function:
    """A function of `image`, with what a probe at its beginning has to do."""
    stepped = not is_emulated(image.bytes_at(address, LONGEST_INSTRUCTION))
    return Function(name, image.name, address, role_, stepped, source)

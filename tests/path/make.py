"""Recordings made by hand: nested calls come in, a `Recording` goes out."""

from __future__ import annotations

import numpy as np

from nfsleuth.path.model import EVENT, NO_CALLER, Cost, Function, Guest, Kind, Method, Recording, Role, Thread

USER = (
    ("qemu_net_queue_send", Role.NET),
    ("user:receive", Role.BACKEND),
    ("slirp_input", Role.SLIRP),
    ("tcp_input", Role.SLIRP),
    ("tcp_output", Role.SLIRP),
    ("rtl8139:receive", Role.NIC),
    ("sendto", Role.SYSCALL),
    ("slirp_pollfds_poll", Role.SLIRP),
    ("recvfrom", Role.SYSCALL),
    ("tap:receive_iov", Role.BACKEND),
    ("writev", Role.SYSCALL),
    ("m_get", Role.SLIRP),
    ("slirp_send_packet_all", Role.SLIRP),
    ("write", Role.SYSCALL),
    ("tap_read_packet", Role.NET),
    ("recvmsg", Role.SYSCALL),
)
NUMBER = {name: number for number, (name, _) in enumerate(USER)}
FUNCTIONS = tuple(Function(name, "x", 16 * n, role) for n, (name, role) in enumerate(USER))
STEP = 10  # ns between two events


def events(*threads: object) -> np.ndarray:
    """Events of calls, one tree after the other: a call is (name, call, call, ...) or a name."""
    rows: list[tuple[int, int, int, int, int]] = []

    def add(call: object, thread: int) -> None:
        name, *inner = (call,) if isinstance(call, str) else call
        rows.append((STEP * len(rows), NO_CALLER, NUMBER[name], thread, Kind.ENTER))
        for other in inner:
            add(other, thread)
        rows.append((STEP * len(rows), NO_CALLER, NUMBER[name], thread, Kind.LEAVE))

    for number, calls in enumerate(threads):
        for call in calls:
            add(call, number)
    return np.array(rows, EVENT)


def recording(*threads: object, method: Method = Method.UPROBES, costs: dict[str, Cost] | None = None) -> Recording:
    """A recording of calls, see `events`."""
    found = events(*threads)
    return Recording(
        method, "2026-11-22T12:00:00+00:00", 1.5, "6.1", Guest(7, "7.2.22", "libslirp 4.7.0-1", ("rtl8139",), ("user",)),
        tuple(Thread(100 + n, f"thread {n}") for n in range(len(threads))), FUNCTIONS, ("caller",), costs or {},
        tuple(np.bincount(found["function"][found["kind"] == Kind.ENTER], minlength=len(FUNCTIONS)).tolist()),
        events=found,
    )  # fmt: skip


def send(*inner: object) -> tuple[object, ...]:
    """A frame from the guest that reaches libslirp's tcp_input, which does `inner`."""
    return ("qemu_net_queue_send", ("user:receive", ("slirp_input", "m_get", ("tcp_input", *inner))))


DELIVER = ("qemu_net_queue_send", "rtl8139:receive")  # a frame to the guest
REPLY = ("tcp_output", ("slirp_send_packet_all", DELIVER))

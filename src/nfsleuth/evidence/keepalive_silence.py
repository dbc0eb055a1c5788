"""TCP keep-alive probes, or their absence on an idle connection.

What it sees: probes that the client sent, and whether a connection was idle so long that Linux must have sent some.
Why it tells clients apart: Linux's client asks for probes after 60 s of idleness. The sockets that libslirp and passt
open do not ask for any, and the guest's own probes end inside its host.
Known confusions: renewals keep v4 connections busy; other systems and mounts with other time-outs; the capture may
have missed small frames.
Example: a Linux v3 mount that sent 4 frames in 10 minutes and no probe lies behind a user-mode network.
Source: net/sunrpc/xprtsock.c xs_tcp_set_socket_timeouts; libslirp tcp_fconnect; RFC 9293 section 3.8.4.
"""

from __future__ import annotations

from collections.abc import Iterator

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.client_os import software
from nfsleuth.evidence.model import Evidence, Group, State
from nfsleuth.evidence.rules import Rules
from nfsleuth.evidence.weights import Weight

RULE = "keepalive_silence"
GROUP = Group.TRANSPORT
WEIGHTS = {
    "silent": Weight("idle without keep-alive probes", {State.USER_NAT: 2.5}, "prior; net/sunrpc/xprtsock.c"),
    "probes": Weight("sends keep-alive probes itself", {State.USER_NAT: -1.5}, "prior; net/sunrpc/xprtsock.c"),
}
IDLE = 70.0  # s: the default timeo of 60 s and some slack


def observe(client: Facts, around: Household, rules: Rules) -> Iterator[Evidence]:
    """One row for Linux clients over TCP that probe, or that must have been idle and did not."""
    system = software(client, around)
    if system.name != "linux" or not system.sure or "tcp" not in client.transports:
        return
    if client.keepalives:
        yield WEIGHTS["probes"].evidence(RULE, GROUP, f"{client.keepalives} probes from the client")
        return
    idle = surely_idle(client)
    if idle > IDLE:
        seen = f"{client.frames_sent} frames in {(client.last - client.first) / 1e9:.0f} s, none a probe"
        yield WEIGHTS["silent"].evidence(RULE, GROUP, seen)


def surely_idle(client: Facts) -> float:
    """Seconds that some gap between the client's frames must have had: the mean gap, which the longest reaches."""
    span = max(0, client.last - client.first) / 1e9
    return span / (client.frames_sent - 1) if client.frames_sent > 1 and client.connections == 1 else 0.0

"""A simulated client and server with known speeds: what limits them is known, so what is told of a trace can be checked.

Times are in ms where nothing else is said. `Link` keeps a `Conversation` of the packet builders in time.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from packets import Conversation, call, read3, read3_results, record, reply, write3, write3_results

MS = 1_000_000
SEGMENT = 1448
SCALE = 7  # of both SYNs


@dataclass
class Link:
    """A connection whose next frame comes at `now` (ns since its start)."""

    talk: Conversation = field(default_factory=Conversation)
    now: int = 0
    xid: int = 100

    def __post_init__(self):
        self.talk.step = 0
        self.start = self.talk.time

    def shake_hands(self) -> Link:
        from packets import LINUX_SYN

        for side, flags, ms in ((0, 2, 0.01), (1, 18, 0.01), (0, 16, 0.0)):
            self.frame(
                side,
                sequence=self.talk.start[side] + (flags == 16),
                flags=flags,
                options=LINUX_SYN if flags & 2 else b"",
            )
            self.wait(ms)
        return self

    def wait(self, ms: float) -> None:
        self.now += round(ms * MS)

    def frame(self, side, payload=b"", *, window=1 << 20, **fields):
        self.talk.time = self.start + self.now
        self.talk.raw(side, payload, window=window >> SCALE, **fields)

    def ask(self, size=131_072) -> int:
        """The client sends a READ."""
        self.xid += 1
        self.frame(0, record(call(self.xid, procedure=6, arguments=read3(count=size))))
        return self.xid

    def answer(self, xid, size=131_072, *, gap=0.0, after=lambda sent: None) -> None:
        """The server sends a READ's reply, `gap` ms between segments; `after` is called with the bytes sent after each."""
        data = record(reply(xid, read3_results(bytes(size))))
        for at in range(0, len(data), SEGMENT):
            self.frame(1, data[at : at + SEGMENT])
            after(min(at + SEGMENT, len(data)))
            self.wait(gap)

    def acknowledge(self, number=None, *, window=1 << 20) -> None:
        """The client acknowledges all, or up to `number`."""
        self.frame(0, window=window, **({} if number is None else {"acknowledged": number}))

    def write(self, size=131_072, *, gap=0.0, jitter=None) -> int:
        """The client sends a WRITE, `gap` ms between segments, or as `jitter` gives them."""
        self.xid += 1
        data = record(call(self.xid, procedure=7, arguments=write3(data=bytes(size))))
        for at in range(0, len(data), SEGMENT):
            self.frame(0, data[at : at + SEGMENT])
            self.wait(jitter() if jitter else gap)
        return self.xid

    def written(self, xid, size=131_072) -> None:
        self.frame(1, record(reply(xid, write3_results(size))))

    @property
    def frames(self):
        return self.talk.frames


def reads(link: Link, count=40, *, server=0.1, gap=0.001, ack=0.05, turn=0.05, size=131_072) -> Link:
    """READs one after the other; times in ms: of the server, between segments, to the acknowledgment, to the next call."""
    for _ in range(count):
        xid = link.ask(size)
        link.wait(server)
        link.answer(xid, size, gap=gap)
        link.wait(ack)
        link.acknowledge()
        link.wait(turn)
    return link


def slow_guest(link: Link, count=40, *, busy=6.0, seed=1) -> Link:
    """Each reply comes at once, and the guest takes it in irregular gulps over `busy` ms, asking for more 2 ms later."""
    draw = random.Random(seed)
    for _ in range(count):
        before = link.talk.number(1)
        xid = link.ask()
        link.wait(0.1)
        link.answer(xid, gap=0.001)
        size = (link.talk.number(1) - before) & 0xFFFF_FFFF
        cuts = sorted(draw.randrange(1, size) for _ in range(5))
        for cut in [*cuts, size]:
            link.wait(draw.uniform(0.2, 1.8) * busy / 6)
            link.acknowledge(before + cut)
        link.wait(draw.uniform(1, 3))
    return link

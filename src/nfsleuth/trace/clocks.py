"""A client's TCP timestamps: now and then one becomes a CLOCK row, for whoever wants to know how fast its clock runs.

TSval (RFC 7323 section 3.2) is the sender's clock in ticks. It is taken where a message of the client begins, at most
once in `STEP` at first, then after each `OCTAVE` samples half as often: a connection gives some 50 samples by the first
seconds, some 1400 by a day, and always both of its ends.
"""

from __future__ import annotations

from nfsleuth.compiled import part
from nfsleuth.trace.state import Control
from nfsleuth.wire.fields import be32

STEP = 50_000_000  # ns
OCTAVE = 128
MOST_DOUBLINGS = 24  # 50 ms grow to 9.7 days
LATEST = 1 << 62  # ns, the year 2116: what is added to it still fits
NOP_NOP_TIMESTAMP = 0x0101_080A  # the options of any segment but a SYN as RFC 7323 appendix A recommends them


@part
def sample(s, k, buf, transport_at, payload_at, end):
    """Take the TSval of a packet of stream `k`, which is a client's, if the time for one has come.

    Its TCP header begins at buf[transport_at], its payload at buf[payload_at], and it was captured up to buf[end].
    """
    conn = s["conns"][k >> 1]
    time = s["control"][Control.TIME]
    at = transport_at + 20
    if time < conn["clock_next"] or at + 12 > payload_at or at + 12 > end:
        return
    n = s["control"][Control.CLOCKS]
    if n >= len(s["clocks"]) or be32(buf, at) != NOP_NOP_TIMESTAMP:
        return
    s["control"][Control.CLOCKS] = n + 1
    conn["clock_next"] = min(time, LATEST) + (STEP << min(conn["clock_taken"] // OCTAVE, MOST_DOUBLINGS))
    conn["clock_taken"] += 1
    row = s["clocks"][n]
    row["uid"] = conn["uid"]
    row["time"] = time
    row["frame"] = s["control"][Control.FRAME]
    row["value"] = be32(buf, at + 4)
    row["port"] = conn["port"][k & 1]

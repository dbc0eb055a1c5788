"""A client's TCP timestamps: now and then one becomes a CLOCK row, for whoever wants to know how fast its clock runs.

TSval (RFC 7323 section 3.2) is the sender's clock in ticks. It is taken where a message of the client begins, so never
on the short way of `trace.shortcut`, and at most once in `STEP` at first, then after each `OCTAVE` samples half as
often: a connection gives some 50 samples by the first seconds, some 1400 by a day, and always both of its ends.
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
def sample(s, c, p, buf, end):
    """Take the TSval of packet `p`, sent by the client of connection `c`, if the time for one has come."""
    conn = s["conns"][c]
    time = s["control"][Control.TIME]
    at = p["transport_at"] + 20
    if time < conn["clock_next"] or at + 12 > p["payload_at"] or at + 12 > end:
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
    row["port"] = p["source_port"]

"""The row that the readers of one frame's headers fill, layer by layer: link, network, transport."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

PACKET = np.dtype(
    [
        # link layer
        ("mac", np.uint64),  # source MAC, trace.tables.NO_MAC where the link has none
        ("ethertype", np.int64),  # -1 unknown link, -2 IEEE 802.3 length field (LLC follows)
        ("vlan", np.int64),  # innermost 802.1Q VLAN, 0 none
        ("network_at", np.int64),  # where the network header begins
        # network layer
        ("version", np.int64),  # 4 or 6
        ("protocol", np.int64),
        ("ttl", np.int64),
        ("source_hi", np.uint64),
        ("source_lo", np.uint64),
        ("destination_hi", np.uint64),
        ("destination_lo", np.uint64),
        ("fragment_id", np.int64),
        ("fragment_at", np.int64),  # bytes of the datagram before this fragment
        ("fragment_more", np.int64),
        ("df", np.int64),
        ("transport_at", np.int64),
        ("transport_length", np.int64),  # bytes on the wire from transport_at on, by the IP header
        # transport layer
        ("source_port", np.int64),
        ("destination_port", np.int64),
        ("sequence", np.int64),
        ("acknowledged", np.int64),
        ("flags", np.int64),
        ("window", np.int64),
        ("payload_at", np.int64),
        ("payload_length", np.int64),  # bytes on the wire
        # SYN options
        ("mss", np.int64),
        ("scale", np.int64),  # -1 none
        ("options", np.uint64),
        ("options_bad", np.int64),
        ("timestamp_zero", np.int64),
    ],
    align=True,
)


class Header(IntEnum):
    """What reading a header came to."""

    OK = 0
    CUT = 1  # not all of it was captured
    MALFORMED = 2
    OTHER = 3  # something that this reader does not read

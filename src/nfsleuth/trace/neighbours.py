"""Which MAC speaks for which addresses: rows of NEIGHBOUR, one per pair and kind, from every frame that tells.

Needed to know whose MAC a client's frames carry. Frames of a known connection are asked again only when their MAC or
TTL changes, so this costs nothing per frame of a transfer.
"""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import ZERO, part
from nfsleuth.trace.hashing import mix
from nfsleuth.trace.notes import note
from nfsleuth.trace.state import Control
from nfsleuth.trace.tables import Neighbour, Oddity
from nfsleuth.wire.fields import be16, be32, be48, u8
from nfsleuth.wire.ip import MAPPED, PROTOCOL_ICMPV6, PROTOCOL_OSPF, PROTOCOL_VRRP

PROBES = 16
_NO_MAC = np.uint64(0xFFFF_FFFF_FFFF_FFFF)

ND_ROUTER_ADVERTISEMENT, ND_SOLICITATION, ND_ADVERTISEMENT = 134, 135, 136  # RFC 4861 section 4
LLC_STP = 0x4242  # DSAP and SSAP of spanning tree, IEEE 802.1D section 9
HSRP_PORT = 1985  # RFC 2281


@part
def meet(s, mac, hi, lo, kind, ttl):
    """Note that `mac` sent from the address (hi, lo), with `ttl` (0: does not apply)."""
    if mac == _NO_MAC:
        return
    h = mix(mix(mix(mix(np.uint64(s["control"][Control.SEED]), mac), hi), lo), np.uint64(kind))
    mask = np.uint64(len(s["neighbour_rows"]) - 1)
    place = (h >> np.uint64(8)) & mask
    for _ in range(PROBES):
        n = np.int64(s["neighbour_rows"][place])
        if n < 0:
            _add(s, place, mac, hi, lo, kind, ttl)
            return
        row = s["neighbours"][n]
        if row["mac"] == mac and row["hi"] == hi and row["lo"] == lo and row["kind"] == kind:
            row["frames"] += 1
            row["ttl_min"] = min(np.int64(row["ttl_min"]), ttl)
            row["ttl_max"] = max(np.int64(row["ttl_max"]), ttl)
            return
        place = (place + np.uint64(1)) & mask
    note(s, Oddity.NEIGHBOURS_DROPPED)


@part
def _add(s, place, mac, hi, lo, kind, ttl):
    n = s["control"][Control.NEIGHBOURS]
    if n >= len(s["neighbours"]):
        note(s, Oddity.NEIGHBOURS_DROPPED)
        return
    s["control"][Control.NEIGHBOURS] = n + 1
    s["neighbour_rows"][place] = n
    row = s["neighbours"][n]
    row["mac"] = mac
    row["hi"] = hi
    row["lo"] = lo
    row["kind"] = kind
    row["ttl_min"] = ttl
    row["ttl_max"] = ttl
    row["frames"] = 1
    row["first_frame"] = s["control"][Control.FRAME]


@part
def meet_arp(s, buf, at, end):
    """Sender of an ARP packet (RFC 826) for IPv4 over Ethernet."""
    if end - at < 28 or be16(buf, at) != 1 or be16(buf, at + 2) != 0x0800 or be16(buf, at + 4) != 0x0604:
        return
    address = be32(buf, at + 14)
    if address != 0:  # 0: a probe, RFC 5227
        meet(s, be48(buf, at + 8), np.uint64(0), MAPPED | np.uint64(address), Neighbour.ARP.value, ZERO)


@part
def meet_llc(s, buf, at, end):
    """Bridge id of a spanning-tree frame: the MAC of a switch, or of the bridge of a hypervisor."""
    if end - at < 3 + 25 or be16(buf, at) != LLC_STP or be16(buf, at + 3) != 0 or buf[at + 6] not in (0, 2):
        return
    meet(s, be48(buf, at + 3 + 19), np.uint64(0), np.uint64(0), Neighbour.BRIDGE.value, ZERO)


@part
def meet_other(s, p, buf, end):
    """The sender of an IP packet that is neither TCP nor UDP."""
    kind = Neighbour.IP.value
    if p["protocol"] == PROTOCOL_VRRP or p["protocol"] == PROTOCOL_OSPF:
        kind = Neighbour.ROUTER.value
    elif p["protocol"] == PROTOCOL_ICMPV6 and p["ttl"] == 255 and p["transport_at"] < end:
        message = u8(buf, p["transport_at"])
        if message == ND_ROUTER_ADVERTISEMENT:
            kind = Neighbour.ROUTER.value
        elif message == ND_SOLICITATION or message == ND_ADVERTISEMENT:
            kind = Neighbour.ND.value
    if p["source_hi"] == 0 and p["source_lo"] == 0:
        return  # the unspecified address: duplicate address detection
    meet(s, p["mac"], p["source_hi"], p["source_lo"], kind, p["ttl"])

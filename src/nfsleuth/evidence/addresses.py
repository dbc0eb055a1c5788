"""Addresses as text in, facts about their form out: universal addresses, embedded MACs, ranges, subnets.

Nothing here raises on what a capture holds: text that is no address gives None.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

LONGEST = 64  # characters looked at: the longest address with scope and port is shorter

# RFC 1918 and RFC 4193: what sites number for themselves. Python's is_private also holds documentation ranges.
PRIVATE = tuple(ipaddress.ip_network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))
SITE_LOCAL = ipaddress.ip_network("fec0::/10")  # deprecated by RFC 3879; libslirp still uses it


@lru_cache(maxsize=4096)
def parse(text: str) -> IPAddress | None:
    """The address in `text`, without its scope; an IPv4-mapped one as IPv4. None if it is none."""
    plain = text[:LONGEST].partition("%")[0].strip()
    try:
        if ":" not in plain:
            # Most texts that are asked about are machine names: ipaddress takes long to say why one is no address.
            return ipaddress.IPv4Address(plain) if plain.count(".") == 3 else None
        address = ipaddress.IPv6Address(plain)
    except ValueError:
        return None
    return address.ipv4_mapped or address


def universal(r_addr: str) -> IPAddress | None:
    """The host part of a universal address, "10.0.2.15.3.133" or "fec0::1.3.133" (RFC 5665 section 5.2.3)."""
    host, *port = r_addr[:LONGEST].rsplit(".", 2)
    return parse(host) if len(port) == 2 and all(p.isdecimal() for p in port) else None


def same(a: str, b: str) -> bool:
    """Whether two texts name one address."""
    parsed = parse(a)
    return parsed is not None and parsed == parse(b)


def is_private(address: IPAddress) -> bool:
    """RFC 1918, RFC 4193 or site-local."""
    if address.version == 6 and address in SITE_LOCAL:
        return True
    return any(address.version == net.version and address in net for net in PRIVATE)


def is_nowhere(address: IPAddress) -> bool:
    """Unspecified or loopback: an address that nobody can call back."""
    return address.is_unspecified or address.is_loopback


@lru_cache(maxsize=4096)
def subnet(text: str) -> str:
    """The /24 or /64 that an address lies in, as text; "" if it is no address.

    Captures do not show netmasks. /24 and /64 are what sites mostly use, so a shared one is a guess, never a proof.
    """
    address = parse(text)
    if address is None:
        return ""
    if address.version == 4:
        return f"{ipaddress.IPv4Address(int(address) >> 8 << 8)}/24"
    return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"


def embedded_mac(address: IPAddress) -> str | None:
    """The MAC in a modified EUI-64 interface identifier (RFC 4291 appendix A), or None."""
    if address.version == 4:
        return None
    iid = int(address) & 0xFFFF_FFFF_FFFF_FFFF
    if (iid >> 24) & 0xFFFF != 0xFFFE:
        return None
    mac = ((iid >> 40) << 24 | iid & 0xFF_FFFF) ^ 0x02_00_00_00_00_00
    return mac_text(mac)


def mac_text(mac: int) -> str:
    """A 48-bit number as "52:54:00:12:34:56"."""
    return ":".join(f"{mac >> shift & 0xFF:02x}" for shift in range(40, -1, -8))


@lru_cache(maxsize=4096)
def mac_number(text: str) -> int | None:
    """The 48-bit number of "52:54:00:12:34:56"; None if it is no MAC."""
    parts = text.split(":")
    if len(parts) != 6:
        return None
    try:
        return int.from_bytes([int(p, 16) for p in parts])
    except ValueError:  # no digits, or more than an octet
        return None


def is_locally_administered(mac: int) -> bool:
    """Whether the U/L bit is set (IEEE 802-2014 section 8.2.2)."""
    return bool(mac >> 41 & 1)

"""Numbers and bytes of the rows come in, the text that people use for them goes out: addresses, MACs, SYNs, names.

What a client sent is decoded and nothing more: `report` makes it safe for a terminal.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

MAPPED = 0xFFFF  # ::ffff:0:0/96, IPv4-mapped addresses (RFC 4291 section 2.5.5.2)


@lru_cache(maxsize=1 << 16)
def address_text(hi: int, lo: int) -> str:
    """The address whose 128 bits are `hi` and `lo`, an IPv4-mapped one as dotted decimals."""
    if hi == 0 and lo >> 32 == MAPPED:
        return str(IPv4Address(lo & 0xFFFF_FFFF))
    return str(IPv6Address(hi << 64 | lo))


@lru_cache(maxsize=1 << 16)
def mac_text(mac: int) -> str:
    """The low 48 bits of `mac` as ``52:54:00:12:34:56``."""
    return (mac & 0xFFFF_FFFF_FFFF).to_bytes(6).hex(":")


def decode(sent: bytes) -> str:
    """Text that a client sent, without NULs at its end: UTF-8 if it is that, else Latin-1, which takes any byte."""
    sent = sent.rstrip(b"\0")
    try:
        return sent.decode()
    except UnicodeDecodeError:
        return sent.decode("latin-1")


def decode_pair(sent: bytes) -> tuple[str, str]:
    """Two texts with a NUL between them."""
    left, _, right = sent.partition(b"\0")
    return decode(left), decode(right)


def session_text(a: int, b: int) -> str:
    """A sessionid4 (RFC 8881 section 3.3.12) from its halves, as 32 hexadecimal digits."""
    return f"{a:016x}{b:016x}"

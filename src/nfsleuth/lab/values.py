"""Values in an experiment file: what TOML gives comes in, a checked value goes out.

Every reader takes a value of any type and returns it in the form that the lab works with, or raises ValueError whose
text says what is wanted. `experiment` puts the file, the table and the key in front of it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
Reader = Callable[[object], T]

SIZE = re.compile(r"(\d{1,12})\s*([KMG]?)(?:i?B)?", re.IGNORECASE)
SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
RATE = re.compile(r"(\d{1,6})(kbit|mbit|gbit)", re.IGNORECASE)
RATES = {"kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
# Names become namespaces, files and console marks; host names and options become words of a kernel command line.
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")
WORD = re.compile(r"[A-Za-z0-9_.:/=-]{1,80}")


def text(value: object) -> str:
    """Free text of one line; it is shown, never run."""
    if not isinstance(value, str) or len(value) > 1000 or not value.isprintable():
        raise ValueError("wants text on one line, at most 1000 characters")
    return value


def flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("wants true or false, without quotes")
    return value


def whole(low: int, high: int) -> Reader[int]:
    """A reader of whole numbers from `low` to `high`."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"wants a whole number from {low} to {high}")
        return value

    return read


def number(low: float, high: float) -> Reader[float]:
    """A reader of numbers from `low` to `high`."""

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"wants a number from {low:g} to {high:g}")
        return float(value)

    return read


def one_of(choices: Sequence[T]) -> Reader[T]:
    """A reader of one of `choices`."""

    def read(value: object) -> T:
        for choice in choices:
            if type(value) is type(choice) and value == choice:
                return choice
        raise ValueError(f"wants one of {', '.join(map(shown, choices))}")

    return read


def list_of(reader: Reader[T], most: int = 64) -> Reader[tuple[T, ...]]:
    """A reader of lists of at most `most` values."""

    def read(value: object) -> tuple[T, ...]:
        if not isinstance(value, list) or len(value) > most:
            raise ValueError(f"wants a list of at most {most} values, such as [..., ...]")
        return tuple(map(reader, value))

    return read


def size(value: object) -> int:
    """Bytes: a whole number, or text with a unit of 1024s such as "64M"."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = SIZE.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ValueError('wants a size in bytes, such as 4096, "500K", "64M" or "2G"')
    return int(found[1]) * SIZES[found[2].upper()]


def size_between(low: int, high: int) -> Reader[int]:
    """A reader of sizes from `low` to `high` bytes."""

    def read(value: object) -> int:
        octets = size(value)
        if not low <= octets <= high:
            raise ValueError(f"wants a size from {low} to {high} bytes")
        return octets

    return read


def rate(value: object) -> int:
    """Bits per second, written as tc does: "100mbit", "1gbit"."""
    found = RATE.fullmatch(value) if isinstance(value, str) else None
    if not found or not int(found[1]):
        raise ValueError('wants a rate as tc writes it, such as "100mbit" or "1gbit"')
    return int(found[1]) * RATES[found[2].lower()]


def mac(value: object) -> str:
    """A MAC that one NIC can have, in lower case."""
    known = value.lower() if isinstance(value, str) else ""
    if not MAC.fullmatch(known):
        raise ValueError('wants a MAC in quotes, such as "52:54:00:8f:21:c4"')
    if int(known[:2], 16) & 1 or known == "00:00:00:00:00:00":
        raise ValueError("wants a MAC of one NIC: the first octet must be even, and not all may be 0")
    return known


def ipv4(value: object) -> str:
    """An IPv4 address."""
    return str(_parsed(ipaddress.IPv4Address, value, 'wants an IPv4 address in quotes, such as "10.0.0.7"'))


def ipv6(value: object) -> str:
    """An IPv6 address."""
    return str(_parsed(ipaddress.IPv6Address, value, 'wants an IPv6 address in quotes, such as "fd00:10::7"'))


def address(value: object) -> str:
    """An IPv4 or IPv6 address."""
    return str(_parsed(ipaddress.ip_address, value, 'wants an IP address in quotes, such as "192.0.2.55"'))


def network4(value: object) -> ipaddress.IPv4Network:
    """An IPv4 network with room for hosts: /16 to /28."""
    found = _parsed(ipaddress.IPv4Network, value, 'wants an IPv4 network in quotes, such as "10.0.0.0/24"')
    if not 16 <= found.prefixlen <= 28:
        raise ValueError("wants an IPv4 network from /16 to /28")
    return found


def network6(value: object) -> ipaddress.IPv6Network:
    """An IPv6 network of the size that stateless addresses need (RFC 4291, section 2.5.1)."""
    found = _parsed(ipaddress.IPv6Network, value, 'wants an IPv6 network in quotes, such as "fd00:10::/64"')
    if found.prefixlen != 64:
        raise ValueError("wants an IPv6 network of /64")
    return found


def name(value: object) -> str:
    """A name in the lab: of a host, a client, a capture."""
    return _matching(NAME, value, "wants a name of small letters, digits and '-', at most 40 characters")


def hostname(value: object) -> str:
    """A host name as a machine has it."""
    return _matching(HOSTNAME, value, "wants a host name of letters, digits, '-' and '.', at most 63 characters")


def word(value: object) -> str:
    """A word without spaces, quotes and commas: a mount option, an identifier."""
    return _matching(WORD, value, "wants one word of letters, digits and any of _ . : / = -")


def slug(label: str) -> str:
    """`label` as a name of the lab: what no name may hold becomes "-"."""
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:40].rstrip("-")


def shown(value: object) -> str:
    """`value` as it would stand in the file, shortened; nothing in it can reach a terminal as a command."""
    if isinstance(value, bool):
        return str(value).lower()
    plain = ascii(value) if not isinstance(value, str) else '"' + ascii(value)[1:-1] + '"'
    return plain if len(plain) <= 60 else plain[:57] + "..."


def _matching(pattern: re.Pattern[str], value: object, wanted: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(wanted)
    return value


def _parsed(parse: Callable[[str], T], value: object, wanted: str) -> T:
    try:
        if isinstance(value, str):
            return parse(value)
    except ValueError as error:
        if "host bits" in str(error):
            raise ValueError("wants a network, but bits of a host are set behind the prefix length") from None
    raise ValueError(wanted)

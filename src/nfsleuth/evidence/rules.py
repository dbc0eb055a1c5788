"""The tables that heuristics look things up in: built-in ones, and what a user's rule files add.

Text of CSV and TOML files comes in, a `Rules` value goes out. A rule file is TOML with any number of these tables::

    [[mac]]                      # a MAC prefix of this site
    prefix = "02:ab:cd"          # whole octets, or PREFIX/BITS, or FIRST-LAST
    scope = "guest"              # what it belongs to: one of SCOPES
    platform = "KVM/QEMU"        # optional
    weight = 5.0                 # optional, nats in 0..6.9
    note = "our cloud"           # optional

    [[name]]                     # a pattern on machine names (regular expression, searched)
    pattern = '^vm-'
    says = "named as we name guests"
    virtual = 2.0                # nats for "a guest"; or state = "native" and weight = 2.0
    platform = "KVM/QEMU"        # optional, with platform_weight

    [[file]]                     # a pattern on file names that only a virtualisation host uses
    pattern = '\\.raw$'
    says = "our disk images"
    platform = "KVM/QEMU"        # optional
    weight = 3.0                 # optional, nats in 0..6.9

Patterns come from the user and are trusted; what they are applied to is cut to `LONGEST_TEXT` characters.
"""

from __future__ import annotations

import csv
import ipaddress
import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from nfsleuth.errors import NfsleuthError
from nfsleuth.evidence import data
from nfsleuth.evidence.addresses import IPAddress, mac_number
from nfsleuth.evidence.model import HYPOTHESES, State
from nfsleuth.evidence.weights import STRONGEST

if TYPE_CHECKING:
    from nfsleuth.bandwidth.profile import Profile

LONGEST_TEXT = 1024  # characters of a capture's text that a pattern sees
REMEMBERED = 4096  # look-ups of one kind: a name or MAC that comes again is near
PLATFORM_WEIGHT = 2.0  # nats toward the platform that a name tells of, where none are given
TABLES = 8  # `Rules` whose tables are kept in order: a process has one or two

# What a MAC prefix belongs to. `mac_prefix` gives each its weight.
SCOPES = (
    "guest",  # assigned by the IEEE to a maker of hypervisors
    "convention",  # locally administered, used by a hypervisor by custom
    "default",  # the one address that a hypervisor gives when nobody chooses
    "guest-or-container",
    "cloud",
    "cloud-shared",  # a cloud's, and some hardware's too
    "container",
    "hypervisor",  # the virtualisation host itself
    "host-adapter",  # a host's own adapter on its guests' network
    "inner",  # stays inside a host: never on a wire
    "native",  # looks virtual, belongs to hardware
    "router",
    "ambiguous",
)


class MacPrefix(Struct, frozen=True):
    """A range of MACs, what it belongs to, and what its low bytes mean."""

    low: int
    high: int
    text: str  # the prefix as written
    name: str  # platform, "" none
    scope: str
    embeds: str = ""
    weight: float | None = None  # nats, in place of the scope's
    note: str = ""
    source: str = "prior"


class NatNetwork(Struct, frozen=True):
    """Addresses that guests have behind a well-known kind of NAT."""

    network: ipaddress.IPv4Network | ipaddress.IPv6Network
    name: str
    mechanism: str  # "user" or "kernel"
    gateway: IPAddress  # the host as its guests see it
    platforms: tuple[str, ...]
    guest: bool  # whether virtual machines, not containers, live there
    source: str


class NamePattern(Struct, frozen=True):
    """What a machine name may say."""

    pattern: str
    says: str
    state: State | None = None
    weight: float = 0.0  # nats toward `state`
    virtual: float = 0.0  # nats for "a guest"
    platform: str = ""
    platform_weight: float = 0.0
    source: str = "prior"

    def matches(self, text: str) -> bool:
        """Whether the pattern is found in `text`."""
        return _compiled(self.pattern).search(text[:LONGEST_TEXT]) is not None


class FilePattern(Struct, frozen=True):
    """A file name that a virtualisation host uses."""

    pattern: str
    says: str
    weight: float = 3.0
    platform: str = ""
    source: str = "prior"

    def matches(self, text: str) -> bool:
        """Whether the pattern is found in `text`, whatever its case."""
        return _compiled(self.pattern, any_case=True).search(text[:LONGEST_TEXT]) is not None


class Rules(Struct, frozen=True, eq=False):
    """All tables. User entries stand before built-in ones and win where both fit equally well.

    What was looked up is remembered: clients of one site have their MACs' prefixes and file names in common.
    """

    macs: tuple[MacPrefix, ...]
    nats: tuple[NatNetwork, ...]
    names: tuple[NamePattern, ...]
    files: tuple[FilePattern, ...]
    profile: Profile | None = None  # how fast clients of known kinds read at this site
    link: str = ""  # which of the profile's links it is

    @staticmethod
    def builtin() -> Rules:
        """The tables that come with nfsleuth; parsed once per process."""
        return _builtin()

    def with_profile(self, profile: Profile, link: str | None = None) -> Rules:
        """These rules, and a profile to compare read speeds with. link: one of its links; None: the only one it has.

        Raises NfsleuthError if the profile cannot serve: it is empty, or the link is not in it or not named.
        """
        if not profile.rows:
            raise NfsleuthError("the profile is empty; make one with: nfsleuth profile learn")
        links = profile.links
        if link is None and len(links) > 1:
            raise NfsleuthError(f"the profile has several links; name one with --link: {', '.join(map(repr, links))}")
        if link is not None and link not in links:
            raise NfsleuthError(f"the profile has no link {link!r}; it has {', '.join(map(repr, links))}")
        return replace(self, profile=profile, link=links[0] if link is None else link)

    def with_user(self, text: str, name: str) -> Rules:
        """These rules and those of the TOML in `text`, which came from the file `name`.

        Raises NfsleuthError that names file, entry and cure.
        """
        more = _parse_toml(text, name)
        return replace(self, macs=more.macs + self.macs, names=more.names + self.names, files=more.files + self.files)

    def mac(self, mac: str) -> MacPrefix | None:
        """The narrowest range that holds `mac`; of equal ones the first."""
        return _mac(self, mac)

    def nat(self, address: IPAddress) -> NatNetwork | None:
        """The narrowest NAT network that holds `address`; of equal ones the first."""
        number = int(address)
        return next((n for low, high, n in _nats(self, address.version) if low <= number <= high), None)

    def file(self, name: str) -> FilePattern | None:
        """The first pattern that file name `name` matches."""
        return _file(self, name)

    def gateway(self, address: IPAddress) -> NatNetwork | None:
        """The NAT network in which `address` is the host."""
        return _gateways(self).get(address)


@lru_cache(maxsize=REMEMBERED)
def _mac(rules: Rules, mac: str) -> MacPrefix | None:
    number = mac_number(mac)
    if number is None:
        return None
    return next((p for low, high, p in _macs(rules, number >> 24) if low <= number <= high), None)


# Tables as ranges of numbers, the narrowest first: a look-up ends at the first that fits.


@lru_cache(maxsize=REMEMBERED)
def _macs(rules: Rules, maker: int) -> tuple[tuple[int, int, MacPrefix], ...]:
    """Those with MACs of one maker, by the first 24 bits: a site's cards have few makers, the table has many."""
    near = [p for p in rules.macs if p.low >> 24 <= maker <= p.high >> 24]
    return tuple((p.low, p.high, p) for p in sorted(near, key=lambda p: p.high - p.low))


@lru_cache(maxsize=TABLES)
def _nats(rules: Rules, version: int) -> tuple[tuple[int, int, NatNetwork], ...]:
    nats = sorted(rules.nats, key=lambda n: -n.network.prefixlen)
    return tuple(
        (int(n.network.network_address), int(n.network.broadcast_address), n)
        for n in nats
        if n.network.version == version
    )


@lru_cache(maxsize=TABLES)
def _gateways(rules: Rules) -> dict[IPAddress, NatNetwork]:
    found: dict[IPAddress, NatNetwork] = {}
    for network in rules.nats:
        found.setdefault(network.gateway, network)
    return found


@lru_cache(maxsize=REMEMBERED)
def _file(rules: Rules, name: str) -> FilePattern | None:
    return next((p for p in rules.files if p.matches(name)), None)


@cache
def _compiled(pattern: str, *, any_case: bool = False) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE if any_case else 0)


@cache
def _builtin() -> Rules:
    return Rules(
        macs=tuple(map(_csv_mac, _rows("mac_prefixes.csv"))),
        nats=tuple(map(_csv_nat, _rows("nat_addresses.csv"))),
        names=tuple(map(_csv_name, _rows("names.csv"))),
        files=tuple(map(_csv_file, _rows("files.csv"))),
    )


def _rows(name: str) -> Iterator[dict[str, str]]:
    return iter(csv.DictReader(data.text(name).splitlines()))


def _csv_mac(row: dict[str, str]) -> MacPrefix:
    low, high = mac_range(row["prefix"])
    return MacPrefix(
        low,
        high,
        row["prefix"].lower(),
        row["name"],
        row["role"],
        row["embeds"],
        note=row["note"],
        source=row["source"],
    )


def _csv_nat(row: dict[str, str]) -> NatNetwork:
    return NatNetwork(
        network=ipaddress.ip_network(row["network"]),
        name=row["name"],
        mechanism=row["mechanism"],
        gateway=ipaddress.ip_address(row["gateway"]),
        platforms=tuple(p for p in row["platforms"].split("|") if p),
        guest=row["guest"] == "yes",
        source=row["source"],
    )


def _csv_name(row: dict[str, str]) -> NamePattern:
    return NamePattern(
        row["pattern"],
        row["says"],
        State(row["state"]) if row["state"] else None,
        float(row["weight"] or 0),
        float(row["virtual"] or 0),
        row["platform"],
        float(row["platform_weight"] or PLATFORM_WEIGHT),
        row["source"],
    )


def _csv_file(row: dict[str, str]) -> FilePattern:
    return FilePattern(row["pattern"], row["says"], float(row["weight"]), row["platform"], row["source"])


def mac_range(text: str) -> tuple[int, int]:
    """First and last MAC of "52:54:00", "52:54:00:12:34:56/40" or "00:50:56:00:00:00-00:50:56:3F:FF:FF".

    Raises ValueError.
    """
    first, dash, last = text.strip().partition("-")
    if dash:
        low, high = mac_number(first.strip()), mac_number(last.strip())
        if low is None or high is None or low > high:
            raise ValueError(f"{text!r} is not a range FIRST-LAST of MAC addresses")
        return low, high
    prefix, slash, bits_text = first.partition("/")
    octets = prefix.split(":")
    number = mac_number(":".join(octets + ["0"] * (6 - len(octets))))
    bits = 8 * len(octets)
    if slash:
        bits = int(bits_text) if bits_text.isdecimal() else -1
    if number is None or not 1 <= bits <= 48:
        raise ValueError(f"{text!r} is not a MAC prefix such as 52:54:00 or 00:00:0c:9f:f0:00/36")
    mask = (1 << 48 - bits) - 1
    return number & ~mask, number | mask


class _Entry:
    """One table of a rule file; reads fields and reports mistakes with file, entry and cure."""

    def __init__(self, file: str, kind: str, index: int, table: object) -> None:
        self.place = f"{file}: [[{kind}]] number {index}"
        if not isinstance(table, dict):
            raise NfsleuthError(f"{self.place} is not a table; write [[{kind}]] above its fields")
        self.table: dict[str, Any] = dict(table)

    def fail(self, what: str) -> NfsleuthError:
        return NfsleuthError(f"{self.place}: {what}")

    def text(self, field: str, default: str | None = None) -> str:
        value = self.table.pop(field, default)
        if value is None:
            raise self.fail(f'{field} is missing; add {field} = "..."')
        if not isinstance(value, str):
            raise self.fail(f"{field} must be text in quotes, not {value!r}")
        return value

    def nats(self, field: str, default: float, low: float = 0.0) -> float:
        value = self.table.pop(field, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= STRONGEST:
            raise self.fail(f"{field} must be a number of nats from {low:g} to {STRONGEST}, not {value!r}")
        return float(value)

    def pattern(self, *, any_case: bool = False) -> str:
        pattern = self.text("pattern")
        try:
            _compiled(pattern, any_case=any_case)
        except (re.error, RecursionError, OverflowError) as error:
            raise self.fail(f"pattern {pattern!r} is not a regular expression ({error}); mend it") from error
        return pattern

    def finish(self, known: str) -> None:
        if self.table:
            raise self.fail(f"field {sorted(self.table)[0]!r} is not known; known are {known}")


def _parse_toml(text: str, name: str) -> Rules:
    import tomllib

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NfsleuthError(f"{name}: not valid TOML ({error}); mend it there") from error
    unknown = sorted(document.keys() - {"mac", "name", "file"})
    if unknown:
        raise NfsleuthError(f"{name}: table [[{unknown[0]}]] is not known; known are [[mac]], [[name]] and [[file]]")
    return Rules(
        macs=tuple(_toml_mac(e, name) for e in _entries(document, "mac", name)),
        nats=(),
        names=tuple(_toml_name(e) for e in _entries(document, "name", name)),
        files=tuple(_toml_file(e) for e in _entries(document, "file", name)),
    )


def _entries(document: dict[str, Any], kind: str, name: str) -> list[_Entry]:
    tables = document.get(kind, [])
    if not isinstance(tables, list):
        raise NfsleuthError(f"{name}: [{kind}] stands in single brackets; write [[{kind}]]")
    return [_Entry(name, kind, index, table) for index, table in enumerate(tables, 1)]


def _toml_mac(entry: _Entry, file: str) -> MacPrefix:
    prefix = entry.text("prefix")
    try:
        low, high = mac_range(prefix)
    except ValueError as error:
        raise entry.fail(f"prefix {error}") from error
    scope = entry.text("scope", "guest")
    if scope not in SCOPES:
        raise entry.fail(f"scope {scope!r} is not known; choose one of {', '.join(SCOPES)}")
    weight = entry.nats("weight", 0.0) if "weight" in entry.table else None
    result = MacPrefix(
        low,
        high,
        prefix.lower(),
        entry.text("platform", ""),
        scope,
        "",
        weight,
        entry.text("note", ""),
        f"user: {file}",
    )
    entry.finish("prefix, scope, platform, weight and note")
    return result


def _toml_name(entry: _Entry) -> NamePattern:
    state_text = entry.text("state", "")
    if state_text and state_text not in list(HYPOTHESES):
        raise entry.fail(f"state {state_text!r} is not known; choose one of {', '.join(HYPOTHESES)}")
    result = NamePattern(
        pattern=entry.pattern(),
        says=entry.text("says"),
        state=State(state_text) if state_text else None,
        weight=entry.nats("weight", 1.0 if state_text else 0.0),
        virtual=entry.nats("virtual", 0.0, -STRONGEST),
        platform=entry.text("platform", ""),
        platform_weight=entry.nats("platform_weight", PLATFORM_WEIGHT),
        source=entry.text("source", f"user: {entry.place.partition(':')[0]}"),
    )
    entry.finish("pattern, says, state, weight, virtual, platform, platform_weight and source")
    return result


def _toml_file(entry: _Entry) -> FilePattern:
    result = FilePattern(
        pattern=entry.pattern(any_case=True),
        says=entry.text("says", "disk image of a guest"),
        weight=entry.nats("weight", 3.0),
        platform=entry.text("platform", ""),
        source=entry.text("source", f"user: {entry.place.partition(':')[0]}"),
    )
    entry.finish("pattern, says, weight, platform and source")
    return result

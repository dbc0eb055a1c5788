"""What was imported: which MACs lie behind which port of which switch, who is at the port, which guest is on which
host.

Values add up (``a + b``), as files do. Entries that were passed over are told in `notes`, in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.evidence.addresses import mac_number, mac_text

MOST_ENTRIES = 1 << 20  # of a file
LONGEST = 256  # characters kept of a name


class Switch(Struct, frozen=True):
    """The forwarding table of one switch. ports: name of a port -> MACs that were learnt there, "52:54:00:12:34:56"."""

    name: str
    ports: Mapping[str, frozenset[str]]


class AtPort(Struct, frozen=True):
    """Who says by LLDP (IEEE 802.1AB) that it is at the other end of a port.

    bridge, router, station: capabilities that it has enabled (section 8.5.8).
    """

    name: str
    description: str
    bridge: bool = False
    router: bool = False
    station: bool = False


class Guest(Struct, frozen=True):
    """A line of an inventory: a guest of `host`, or the host itself (`name` "")."""

    host: str
    name: str
    macs: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()


class Known(Struct, frozen=True):
    """Everything that was imported. at_ports: (file's name of the switch, port) -> its neighbour."""

    switches: tuple[Switch, ...] = ()
    at_ports: Mapping[tuple[str, str], AtPort] = field(default_factory=dict)
    guests: tuple[Guest, ...] = ()
    notes: tuple[str, ...] = ()

    def __add__(self, other: Known) -> Known:
        return Known(
            self.switches + other.switches,
            {**self.at_ports, **other.at_ports},
            self.guests + other.guests,
            self.notes + other.notes,
        )

    def neighbour(self, switch: str, port: str) -> AtPort | None:
        """Who is at a port: of the LLDP file of the same switch, or of the only one where there is one switch."""
        found = self.at_ports.get((switch, port))
        if found is None and len(self.switches) == 1:
            found = next((at for (_, name), at in self.at_ports.items() if name == port), None)
        return found


def stem(path: str) -> str:
    """What a file's name calls the thing that it describes: "tables/sw1.fdb.json" is of "sw1"."""
    name = path.replace("\\", "/").rpartition("/")[2]
    return (name.partition(".")[0] or name)[:LONGEST]


def json_of(text: str, path: str, command: str) -> Any:  # noqa: ANN401 - whatever the file holds
    """The JSON in `text`, of the file `path` that `command` writes. Raises NfsleuthError if it is none."""
    import json  # 1.8 ms, and most runs import no table

    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NfsleuthError(f"{path}: is no JSON ({error}); write it with '{command}'", Exit.UNREADABLE) from error


def mac_of(text: object) -> str | None:
    """A MAC as the other tables write it, from "52-54-00-12-34-56", "5254.0012.3456" or "52:54:0:12:34:56"; None for
    anything else, groups (IEEE 802-2014 section 8.2.2) and zero."""
    if not isinstance(text, str) or len(text) > 32:
        return None
    plain = text.strip().replace("-", ":").lower()
    if ":" not in plain:
        digits = plain.replace(".", "")
        plain = ":".join(digits[i : i + 2] for i in range(0, 12, 2)) if len(digits) == 12 else ""
    number = mac_number(plain)
    if number is None or number == 0 or number >> 40 & 1:
        return None
    return mac_text(number)


def short(text: object) -> str:
    """A name, cut to what is kept."""
    return str(text).strip()[:LONGEST]

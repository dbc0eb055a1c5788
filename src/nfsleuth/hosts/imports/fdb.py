"""Forwarding tables: JSON of ``bridge -j fdb show``, or the text of ``snmpwalk`` over BRIDGE-MIB or Q-BRIDGE-MIB.

A bridge says of each MAC that it has learnt at which port. Its own MACs, groups and ports that it does not know are
passed over.

Sources: bridge(8) of iproute2; RFC 4188 (BRIDGE-MIB: dot1dTpFdbPort, dot1dTpFdbStatus, dot1dBasePortIfIndex), RFC 4363
(Q-BRIDGE-MIB: dot1qTpFdbPort), RFC 2863 (IF-MIB: ifName).
"""

from __future__ import annotations

import re
from collections import defaultdict

from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.hosts.imports.known import MOST_ENTRIES, Known, Switch, json_of, mac_of, short, stem

COMMAND = "bridge -j fdb show"
# Names of the columns, and their numbers below mib-2 (1.3.6.1.2.1).
COLUMNS = {
    "dot1dTpFdbPort": "17.4.3.1.2",
    "dot1dTpFdbStatus": "17.4.3.1.3",
    "dot1dBasePortIfIndex": "17.1.4.1.2",
    "dot1qTpFdbPort": "17.7.1.2.2.1.2",
    "dot1qTpFdbStatus": "17.7.1.2.2.1.3",
    "ifName": "31.1.1.1.1",
}
SELF = 4  # dot1dTpFdbStatus: one of the bridge's own addresses
BY_NAME = re.compile(rf"(?:[\w-]+::)?({'|'.join(COLUMNS)})([.\[].*)\Z", re.ASCII)
BY_NUMBER = re.compile(r"(?:\.?(?:1|iso)\.3\.6\.1\.2\.1|(?:SNMPv2-SMI::)?mib-2)\.([\d.]+)\Z", re.ASCII)
INDEX = re.compile(r"[0-9a-fA-F]{1,2}(?::[0-9a-fA-F]{1,2}){5}|\d+", re.ASCII)
VALUE = re.compile(r"(?:[A-Za-z][\w -]*: )?(?:\w+\()?(.*?)\)?\Z", re.ASCII)
LONGEST_LINE = 512


def parse(text: str, path: str) -> Known:
    """The table in `text`, of the switch that the file's name calls it. Raises NfsleuthError if there is none."""
    found = _bridge(text, path) if text.lstrip()[:1] in ("[", "{") else _walk(text, path)
    ports, passed = found
    if not ports:
        raise NfsleuthError(
            f"{path}: holds no forwarding table; give the output of '{COMMAND}' or of 'snmpwalk -On' over "
            "1.3.6.1.2.1.17",
            Exit.UNREADABLE,
        )
    notes = (f"{path}: {passed} entries passed over: not a MAC with a port",) if passed else ()
    return Known((Switch(stem(path), {port: frozenset(macs) for port, macs in ports.items()}),), notes=notes)


def _bridge(text: str, path: str) -> tuple[dict[str, set[str]], int]:
    rows = json_of(text, path, COMMAND)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows[:MOST_ENTRIES]):
        raise NfsleuthError(f"{path}: is no list of entries; write it with '{COMMAND}'", Exit.UNREADABLE)
    ports: defaultdict[str, set[str]] = defaultdict(set)
    passed = max(len(rows) - MOST_ENTRIES, 0)
    for row in rows[:MOST_ENTRIES]:
        flags = row.get("flags")
        if row.get("state") == "permanent" or (isinstance(flags, list) and "self" in flags and "master" not in row):
            continue  # the bridge's own, or a filter of its network card
        mac, port = mac_of(row.get("mac")), row.get("ifname")
        if mac is None or not isinstance(port, str) or not port:
            passed += not _is_group(row.get("mac"))
            continue
        ports[short(port)].add(mac)
    return ports, passed


def _is_group(mac: object) -> bool:
    return isinstance(mac, str) and re.match(r"[0-9a-fA-F][13579bdfBDF]:", mac) is not None


def _walk(text: str, path: str) -> tuple[dict[str, set[str]], int]:
    """Per MAC a base port, per base port an ifIndex, per ifIndex a name; what is missing stays a number."""
    where: dict[str, str] = {}
    own: set[str] = set()
    indices: dict[str, str] = {}
    names: dict[str, str] = {}
    passed = 0
    for number, line in enumerate(text.splitlines()):
        if number >= MOST_ENTRIES:
            raise NfsleuthError(
                f"{path}: has more than {MOST_ENTRIES:,} lines; walk only 1.3.6.1.2.1.17", Exit.UNREADABLE
            )
        entry = _entry(line[:LONGEST_LINE])
        if entry is None:
            continue
        column, index, value = entry
        if column == "ifName":
            names[index[-1]] = short(value.strip('"'))
        elif column == "dot1dBasePortIfIndex":
            indices[index[-1]] = value
        else:
            mac = _mac(index)
            if mac is None or not value.isdecimal():
                passed += 1
            elif column.endswith("Status"):
                own |= {mac} if int(value) == SELF else set()
            elif int(value):  # port 0: learnt, and not known where
                where[mac] = value
    ports: defaultdict[str, set[str]] = defaultdict(set)
    for mac, port in where.items():
        if mac not in own:
            interface = indices.get(port, "")
            ports[names.get(interface) or (f"ifIndex {interface}" if interface else f"port {port}")].add(mac)
    return ports, passed


def _entry(line: str) -> tuple[str, list[str], str] | None:
    """Column, index and value of a line of snmpwalk; None if it is none of the columns."""
    name, equals, value = line.partition(" = ")
    if not equals:
        return None
    named = BY_NAME.match(name.strip())
    if named:
        column, index = named[1], INDEX.findall(named[2])
    else:
        numbered = BY_NUMBER.match(name.strip())
        of = next((c for c, n in COLUMNS.items() if numbered and numbered[1].startswith(f"{n}.")), None)
        if numbered is None or of is None:
            return None
        column, index = of, numbered[1][len(COLUMNS[of]) + 1 :].split(".")
    plain = VALUE.match(value.strip())
    return (column, index, plain[1].strip()) if index and plain else None


def _mac(index: list[str]) -> str | None:
    """The MAC at the end of an index: as one word, or as six numbers."""
    if ":" in index[-1]:
        return mac_of(index[-1])
    octets = index[-6:]
    if len(octets) < 6 or not all(o.isdecimal() and int(o) < 256 for o in octets):
        return None
    return mac_of(":".join(f"{int(o):02x}" for o in octets))

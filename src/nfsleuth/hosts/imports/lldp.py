"""LLDP neighbours of a switch: JSON of ``lldpcli show neighbors -f json`` (or json0), run on the switch.

Each neighbour says its name, what it runs, and whether it bridges or routes (IEEE 802.1AB). Source: lldpcli(8).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.hosts.imports.known import MOST_ENTRIES, AtPort, Known, json_of, short, stem

COMMAND = "lldpcli show neighbors -f json"


def parse(text: str, path: str) -> Known:
    """The neighbours in `text`, at ports of the switch that the file's name calls it."""
    document = json_of(text, path, COMMAND)
    found = {}
    for lldp in _each(document.get("lldp") if isinstance(document, dict) else None):
        for interface in _each(lldp.get("interface")):
            for port, about in _interfaces(interface):
                found[stem(path), short(port)] = _neighbour(about)
    if not found:
        raise NfsleuthError(f"{path}: holds no LLDP neighbours; write it with '{COMMAND}'", Exit.UNREADABLE)
    return Known(at_ports=found)


def _each(value: object) -> Iterator[dict[str, Any]]:
    """One object, or a list of them: lldpcli writes either."""
    some = value if isinstance(value, list) else [value]
    yield from (one for one in some[:MOST_ENTRIES] if isinstance(one, dict))


def _interfaces(interface: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """``{"eth0": {...}}`` (json) or ``{"name": "eth0", ...}`` (json0)."""
    name = interface.get("name")
    if isinstance(name, str):
        yield name, interface
    else:
        yield from ((port, about) for port, about in interface.items() if isinstance(about, dict))


def _neighbour(about: dict[str, Any]) -> AtPort:
    """json has ``"chassis": {NAME: {...}}``, json0 ``"chassis": [{"name": [{"value": NAME}], ...}]``."""
    name = description = ""
    enabled: set[str] = set()
    for chassis in _each(about.get("chassis")):
        inner = [(key, value) for key, value in chassis.items() if isinstance(value, dict) and "capability" in value]
        called, body = inner[0] if inner else ("", chassis)
        name = name or short(called or _text(body.get("name")))
        description = description or short(_text(body.get("descr")))
        enabled |= {
            str(capability.get("type")).lower()
            for capability in _each(body.get("capability"))
            if capability.get("enabled") is True
        }
    return AtPort(name, description, "bridge" in enabled, "router" in enabled, "station" in enabled)


def _text(value: object) -> str:
    if isinstance(value, list):
        value = value[0] if value else ""
    if isinstance(value, dict):
        value = value.get("value", "")
    return value if isinstance(value, str) else ""

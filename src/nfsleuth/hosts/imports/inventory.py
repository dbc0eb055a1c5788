"""Inventories of hypervisors: which guest is on which host, with which MAC. Four shapes, told apart by how they begin:

- ``virsh dumpxml`` of one or more guests, one after the other (libvirt's domain XML);
- ``virsh domiflist`` of one or more guests, each below a line "# HOST GUEST";
- JSON: a list of objects (or {"guests": [...]}) with "host" and any of "guest", "mac", "address"; the last two may be
  lists;
- CSV with a heading that has host and any of guest, mac, address, in any order.

A line without a guest is about the host itself. Where a shape does not name the host, the file's name does:
hv1.xml is of hv1. Sources: virsh(1), libvirt's formatdomain.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from xml.etree import ElementTree

from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.evidence.addresses import parse as address_of
from nfsleuth.hosts.imports.known import MOST_ENTRIES, Guest, Known, mac_of, short, stem

HEADING = re.compile(r"#\s*(\S+)\s+(\S+)\s*\Z")
MACS = re.compile(r"\b(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b", re.ASCII)
DECLARATION = re.compile(r"<\?xml[^>]*\?>")
FEW = 64  # MACs or addresses of one guest


def parse(text: str, path: str) -> Known:
    """The inventory in `text`. Raises NfsleuthError if it is none of the shapes."""
    begin = text.lstrip("\ufeff \t\r\n")
    try:
        if begin.startswith("<"):
            rows = list(_xml(begin, path))
        elif begin[:1] in ("[", "{"):
            rows = list(_json(begin, path))
        elif begin.startswith("#") or begin.startswith("Interface"):
            rows = list(_listed(begin, path))
        else:
            rows = list(_csv(begin, path))
    except (ValueError, RecursionError, ElementTree.ParseError, csv.Error) as error:
        raise NfsleuthError(
            f"{path}: cannot be read as an inventory ({error}); see docs/hosts.md", Exit.UNREADABLE
        ) from error
    good = tuple(guest for guest in rows if guest.host and (guest.macs or guest.addresses or guest.name))
    if not good:
        raise NfsleuthError(
            f"{path}: names no guest; give virsh dumpxml, virsh domiflist, or CSV or JSON with host, guest, mac",
            Exit.UNREADABLE,
        )
    lost = len(rows) - len(good)
    return Known(
        guests=good, notes=(f"{path}: {lost} entries passed over: no host, or nothing of a guest",) if lost else ()
    )


def _guest(host: object, name: object, macs: Iterable[object], addresses: Iterable[object] = ()) -> Guest:
    known = (mac_of(mac) for mac in list(macs)[:FEW])
    parsed = (address_of(text.strip()) for text in list(addresses)[:FEW] if isinstance(text, str))
    return Guest(
        short(host) if isinstance(host, str) else "",
        short(name) if isinstance(name, str) else "",
        frozenset(mac for mac in known if mac),
        frozenset(str(address) for address in parsed if address is not None),
    )


def _xml(text: str, path: str) -> Iterator[Guest]:
    """Domains, several in one text; entities are refused, so that nothing can be made to grow."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("document types and entities are not read")
    root = ElementTree.fromstring(f"<all>{DECLARATION.sub('', text)}</all>")  # noqa: S314 - no entities, see above
    for domain in list(root.iter("domain"))[:MOST_ENTRIES]:
        macs = [mac.get("address") for mac in domain.iterfind("./devices/interface/mac")]
        yield _guest(stem(path), domain.findtext("name", ""), macs)


def _json(text: str, path: str) -> Iterator[Guest]:
    document: Any = json.loads(text)
    rows = document.get("guests") if isinstance(document, dict) else document
    if not isinstance(rows, list):
        raise ValueError("a list of guests is expected")
    for row in rows[:MOST_ENTRIES]:
        if isinstance(row, dict):
            yield _guest(
                row.get("host") or stem(path), row.get("guest"), _list(row.get("mac")), _list(row.get("address"))
            )
        else:
            yield Guest("", "")


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _listed(text: str, path: str) -> Iterator[Guest]:
    """Tables of ``virsh domiflist``; the last column is the MAC."""
    host, name, macs = stem(path), "", list[object]()
    for line in text.splitlines()[:MOST_ENTRIES]:
        heading = HEADING.match(line.strip())
        if heading:
            if name or macs:
                yield _guest(host, name, macs)
            host, name, macs = heading[1], heading[2], []
        else:
            macs += MACS.findall(line)
    if name or macs:
        yield _guest(host, name, macs)


def _csv(text: str, path: str) -> Iterator[Guest]:
    rows = csv.DictReader(text.splitlines())
    names = {(name or "").strip().lower(): name for name in rows.fieldnames or ()}
    if not names.keys() & {"guest", "mac", "address"}:
        raise ValueError("a heading with host, guest, mac or address is expected")

    def cell(row: dict[str, Any], name: str) -> str:
        value = row.get(names[name]) if name in names else ""
        return value.strip() if isinstance(value, str) else ""

    for number, row in enumerate(rows):
        if number >= MOST_ENTRIES:
            raise ValueError(f"more than {MOST_ENTRIES:,} lines")
        host = cell(row, "host") if "host" in names else stem(path)
        yield _guest(host, cell(row, "guest"), cell(row, "mac").split(), cell(row, "address").split())

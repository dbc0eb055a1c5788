"""A site's profile: how fast clients of known kinds read. Rates and labels come in, TOML goes out, and back again.

A profile is a list of what was learnt, one `Learnt` per client and kind of transfer; everything else is worked out of
it when it is needed. So profiles are merged by putting their lists together, and people can read, cut and add lines.

    schema = "nfsleuth.profile/1"

    [[client]]
    label = "virtio bridged"     # any words
    state = "bridged-vm"         # what nfsleuth calls it
    link = ""                    # name of the wire, where there are several
    operation = "read"
    size = "128K"                # of a READ
    intervals = 31               # that were measured, and of them client-limited
    limited = 28
    own_MBps = 61.2              # median of its own speed
    spread = 0.31                # of its natural logarithm: median absolute deviation, scaled to a normal one's
    source = "lab-3.pcapng 10.0.0.7"

Speeds are compared as natural logarithms relative to the native ones of the same link, operation and size (`Cell`): a
speed by itself says more of the wire and the server than of the client.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from msgspec import Struct, field

from nfsleuth.bandwidth.numbers import NORMAL, median, spread
from nfsleuth.bandwidth.plan import human, parse_size
from nfsleuth.clients.rates import OPERATIONS, Histogram, Kind, Rates
from nfsleuth.errors import Exit, NfsleuthError

SCHEMA = "nfsleuth.profile/1"
FAMILY = "nfsleuth.profile/"
LEAST_INTERVALS = 10  # of one client: from fewer nothing is learnt and nothing is recognised (survey, section 5)
LEAST_CLIENTS = 3  # of one label: from fewer there is no telling how clients of a kind differ
MOST = 20_000  # rows
LONGEST = 200  # characters of a text
NATIVE = "native"
STATES = (
    "native",
    "bridged-vm",
    "user-nat-vm",
    "kernel-nat",
    "container",
    "hypervisor",
)  # as `evidence.model` has them
# Words in a label that say what it is; the first that fits.
HINTS = {
    "native": "native",
    "masq": "kernel-nat",
    "container": "container",
    "docker": "container",
    "nat": "user-nat-vm",
    "slirp": "user-nat-vm",
    "passt": "user-nat-vm",
    "user": "user-nat-vm",
    "bridge": "bridged-vm",
    "tap": "bridged-vm",
    "hypervisor": "hypervisor",
}


class Label(Struct, frozen=True):
    """What a client is called in a profile, and what it is."""

    name: str
    state: str


class Learnt(Struct, frozen=True):
    """What was seen of one client in one kind of transfer."""

    label: str
    state: str
    link: str
    operation: str
    size: int
    intervals: int
    limited: int
    own: float  # MB/s
    spread: float
    source: str

    @property
    def kind(self) -> Kind:
        """The kind of transfer."""
        return Kind(self.operation, self.size)

    @property
    def weight(self) -> tuple[float, ...]:
        """Of two rows about one client, the one with the larger weight stays."""
        return (self.intervals, self.limited, self.own, self.spread)


class Group(NamedTuple):
    """Clients of one label, in one `Cell`. ratios: ln(own speed / baseline), a number per client, ascending."""

    label: Label
    ratios: tuple[float, ...]

    @property
    def centre(self) -> float:
        """Median of the ratios."""
        return median(self.ratios)

    @property
    def scale(self) -> float:
        """Their spread."""
        return spread(self.ratios)


class Cell(Struct, frozen=True):
    """All that a profile knows of one kind of transfer on one link.

    baseline: median ln(MB/s) of the native clients. groups: labels with at least `LEAST_CLIENTS` clients, by name.
    """

    link: str
    kind: Kind
    baseline: float
    groups: tuple[Group, ...]


class Profile(Struct):
    """What was learnt, in order of label, link, operation, size and source; every source once."""

    rows: list[Learnt] = field(default_factory=list)

    def __add__(self, other: Profile) -> Profile:
        """Both together. Of rows about the same client of the same source, the one with more intervals stays."""
        best: dict[tuple[object, ...], Learnt] = {}
        for row in (*self.rows, *other.rows):
            key = (row.label, row.state, row.link, row.kind, row.source)
            if key not in best or row.weight > best[key].weight:
                best[key] = row
        return Profile([best[key] for key in sorted(best)])

    @property
    def links(self) -> list[str]:
        """Names of the wires."""
        return sorted({row.link for row in self.rows})

    def cells(self, link: str) -> dict[Kind, Cell]:
        """What is known of a link, for each kind of transfer that has a native baseline."""
        found = {}
        for kind in sorted({row.kind for row in self.rows if row.link == link}):
            rows = [row for row in self.rows if row.link == link and row.kind == kind]
            native = [math.log(row.own) for row in rows if row.state == NATIVE]
            if len(native) >= LEAST_CLIENTS:
                found[kind] = Cell(link, kind, median(native), _groups(rows, median(native)))
        return found

    def missing(self) -> list[str]:
        """What a profile lacks before it can be of use, in words, one per line."""
        if not self.rows:
            return ["there is nothing in it: learn from captures of native clients and of guests"]
        found = []
        for link in self.links:
            for kind in sorted({row.kind for row in self.rows if row.link == link}):
                counts: dict[Label, int] = {}
                for row in self.rows:
                    if row.link == link and row.kind == kind:
                        label = Label(row.label, row.state)
                        counts[label] = counts.get(label, 0) + 1
                where = f"{kind.operation}s of {human(kind.size)}" + (f" on {link}" if link else "")
                native = sum(count for label, count in counts.items() if label.state == NATIVE)
                if native < LEAST_CLIENTS:
                    found.append(f"{where}: {native} native clients, a baseline takes {LEAST_CLIENTS}")
                found += [
                    f"{where}: {count} of {label.name!r}, a label takes {LEAST_CLIENTS}"
                    for label, count in sorted(counts.items(), key=lambda item: item[0].name)
                    if count < LEAST_CLIENTS and label.state != NATIVE
                ]
        return found


def _groups(rows: Iterable[Learnt], baseline: float) -> tuple[Group, ...]:
    found: dict[Label, list[float]] = {}
    for row in rows:
        found.setdefault(Label(row.label, row.state), []).append(math.log(row.own) - baseline)
    return tuple(
        Group(label, tuple(sorted(ratios)))
        for label, ratios in sorted(found.items(), key=lambda item: item[0].name)
        if len(ratios) >= LEAST_CLIENTS
    )


def parse_label(text: str) -> Label:
    """A label such as "native" or "rtl8139 NAT", whose state its words tell, or "old laptop=native", which says it.

    Raises NfsleuthError if nothing tells.
    """
    name, equals, state = text.partition("=")
    name = name.strip()[:LONGEST]
    if not name:
        raise NfsleuthError(f"label {text!r}: give it a name")
    if equals:
        if state.strip() not in STATES:
            raise NfsleuthError(f"label {text!r}: state {state.strip()!r} is not known; choose of {', '.join(STATES)}")
        return Label(name, state.strip())
    if name in STATES:
        return Label(name, name)
    for word, meaning in HINTS.items():
        if word in name.lower():
            return Label(name, meaning)
    raise NfsleuthError(f"label {text!r}: say what it is, such as {name}=bridged-vm; states: {', '.join(STATES)}")


def learn(rates: Rates, label: Label, link: str, source: str) -> tuple[list[Learnt], list[str]]:
    """What one client teaches, and what it has too little of for that, in words."""
    rows, lacks = [], []
    for kind in sorted(rates.cells):
        cell = rates.cells[kind]
        if cell.own.total < LEAST_INTERVALS:
            what = f"{kind.operation}s of {human(kind.size)}"
            lacks.append(f"{source}: {cell.own.total} intervals of {what}, it takes {LEAST_INTERVALS}: read for longer")
            continue
        own = cell.own.quantile(0.5)
        assert own is not None, "there are values"
        values = (kind.operation, kind.size, cell.own.total, cell.client_limited)
        spread_ = round(log_spread(cell.own), 4)
        rows.append(Learnt(label.name, label.state, link, *values, round(own, 4), spread_, source[:LONGEST]))
    if not rates.cells:
        lacks.append(f"{source}: no file data of 64 kB and more in one go: read large files")
    return rows, lacks


def log_spread(speeds: Histogram) -> float:
    """Median absolute deviation of the natural logarithms, scaled to a normal distribution's standard deviation."""
    middle = speeds.quantile(0.5)
    if middle is None:
        return 0.0
    away = sorted((abs(math.log(value / middle)), count) for value, count in speeds.values())
    below = 0
    for distance, count in away:
        below += count
        if 2 * below >= speeds.total:
            return NORMAL * distance
    raise AssertionError(speeds)


# TOML


def to_toml(profile: Profile) -> str:
    """The profile as TOML, as `from_toml` reads it."""
    parts = [
        "# A profile of nfsleuth: how fast clients of known kinds move data. Tables may be removed by hand.",
        f'schema = "{SCHEMA}"',
    ]
    for row in profile.rows:
        parts += [
            "",
            "[[client]]",
            f"label = {_text(row.label)}",
            f"state = {_text(row.state)}",
            f"link = {_text(row.link)}",
            f"operation = {_text(row.operation)}",
            f"size = {_text(human(row.size))}",
            f"intervals = {row.intervals}",
            f"limited = {row.limited}",
            f"own_MBps = {row.own!r}",
            f"spread = {row.spread!r}",
            f"source = {_text(row.source)}",
        ]
    return "\n".join(parts) + "\n"


def from_toml(text: str, name: str) -> Profile:
    """The profile in `text`, from the file `name`.

    Raises NfsleuthError that names the file and the place if it is no TOML, of another version, or senseless.
    """
    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise NfsleuthError(f"{name}: is no TOML ({error})", Exit.WRONG_USE) from error
    schema = found.get("schema")
    if schema != SCHEMA:
        if isinstance(schema, str) and schema.startswith(FAMILY):
            raise NfsleuthError(f"{name}: is {schema[:40]!r}, this version reads {SCHEMA!r}; learn it anew")
        raise NfsleuthError(f"{name}: is no profile; make one with: nfsleuth profile learn")
    rows = found.get("client", [])
    if not isinstance(rows, list) or len(rows) > MOST:
        raise NfsleuthError(f"{name}: [[client]] must be a list of at most {MOST} tables")
    return Profile() + Profile([_learnt(row, f"{name}: [[client]] number {n}") for n, row in enumerate(rows, 1)])


def _learnt(row: object, where: str) -> Learnt:
    if not isinstance(row, dict):
        raise NfsleuthError(f"{where}: is no table")
    state, operation = _word(row, "state", where), _word(row, "operation", where)
    if state not in STATES:
        raise NfsleuthError(f"{where}: state {state!r} is not known; choose of {', '.join(STATES)}")
    if operation not in OPERATIONS:
        raise NfsleuthError(f"{where}: operation {operation!r} is not known; choose of {', '.join(OPERATIONS)}")
    own, scale = _number(row, "own_MBps", where), _number(row, "spread", where)
    intervals, limited = _number(row, "intervals", where), _number(row, "limited", where)
    if not own > 0 or scale < 0 or intervals < 1 or limited < 0:
        raise NfsleuthError(f"{where}: a value is impossible; own_MBps and intervals must be above 0")
    try:
        size = parse_size(_word(row, "size", where))
    except NfsleuthError as error:
        raise NfsleuthError(f"{where}: {error.message}") from error
    return Learnt(
        _word(row, "label", where), state, _word(row, "link", where), operation, size, int(intervals), int(limited),
        own, scale, _word(row, "source", where),
    )  # fmt: skip


def _word(row: Mapping[str, Any], key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or len(value) > LONGEST:
        raise NfsleuthError(f"{where}: {key} must be a text of at most {LONGEST} characters")
    return value


def _number(row: Mapping[str, Any], key: str, where: str) -> float:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise NfsleuthError(f"{where}: {key} must be a number")
    return float(value)


def _text(value: str) -> str:
    """A TOML basic string. JSON escapes what TOML wants escaped, but for DEL; what UTF-8 cannot hold becomes "?"."""
    plain = value.encode("utf-8", "replace").decode("utf-8")
    return json.dumps(plain, ensure_ascii=False).replace("\x7f", "\\u007f")

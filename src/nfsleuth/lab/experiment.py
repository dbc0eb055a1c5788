"""Experiment files: a path comes in, an `Experiment` with nothing left open goes out.

The file is TOML; docs/lab.md lists its tables and keys. Whatever is wrong raises `NfsleuthError` (exit code 2) whose
message names the file, the table, the key and the cure. The same file gives the same experiment: what it leaves open
follows from its `seed` and from names, so that adding a client changes no other.
"""

from __future__ import annotations

import difflib
import itertools
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from nfsleuth.errors import NfsleuthError
from nfsleuth.lab import addresses, checks, values
from nfsleuth.lab.model import (
    UML_NIC,
    Capture,
    Client,
    Derived,
    Experiment,
    Guest,
    Host,
    Native,
    Network,
    PathRecording,
    Router,
    Server,
    Workload,
    keys_of,
)
from nfsleuth.report.escape import visible

__all__ = [
    "Capture",
    "Client",
    "Derived",
    "Experiment",
    "Guest",
    "Host",
    "Native",
    "Network",
    "Router",
    "Server",
    "Workload",
    "from_document",
    "load",
    "read",
    "shipped",
    "text_of",
]

T = TypeVar("T")
C = TypeVar("C", bound=Client)

LARGEST = 1 << 20  # bytes of an experiment file
COMBINATIONS = 500  # of the lists of one matrix
MOST = 200  # tables of one kind, and guests that a matrix may make
# Tables of the file that may be there once, and those that may be repeated ([[hosts]]) -> what they make.
ONCE: Mapping[str, type[Any]] = {"network": Network, "server": Server, "path": PathRecording}
REPEATED: Mapping[str, type[Any]] = {
    "routers": Router,
    "hosts": Host,
    "natives": Native,
    "guests": Guest,
    "captures": Capture,
    "derived": Derived,
}
# Keys of [[matrix]] that take a list, each of which doubles the guests; `host` takes one too, dealt out in turn.
VARIED = ("kernel", "nic", "backend", "version", "ip")


class Place(NamedTuple):
    """Where in a file we are."""

    file: str
    table: str = ""

    def within(self, table: str) -> Place:
        """The place of one of its tables."""
        return self._replace(table=table)

    def wrong(self, message: str) -> NfsleuthError:
        """An error about this place."""
        return NfsleuthError(": ".join(part for part in (visible(self.file), self.table, message) if part))


def shipped() -> dict[str, str]:
    """Names of the experiments that come with nfsleuth -> the text of their files."""
    folder = resources.files("nfsleuth.lab") / "experiments"
    found = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return {f.name.removesuffix(".toml"): f.read_text(encoding="utf-8") for f in found}


def load(path: Path | str, seed: int | None = None, boots: int | None = None) -> Experiment:
    """Read an experiment: a file, or the name of a shipped one. NfsleuthError if it cannot be read or is wrong.

    seed, boots: take the place of those in the file.
    """
    name = str(path)
    if name.endswith(".toml"):
        return read(text_of(path), Path(path).stem, file=name, seed=seed, boots=boots)
    return read(text_of(path), name, seed=seed, boots=boots)


def text_of(path: Path | str) -> str:
    """The text of an experiment file, or of a shipped one. NfsleuthError if it cannot be read."""
    name = str(path)
    ours = shipped()
    if not name.endswith(".toml"):
        if name in ours:
            return ours[name]
        raise NfsleuthError(f"{visible(name)}: no such experiment; name a .toml file or one of: {', '.join(ours)}")
    try:
        with Path(path).open("rb") as file:
            octets = file.read(LARGEST + 1)
    except OSError as error:
        raise NfsleuthError(
            f"{visible(name)}: cannot be read ({error.strerror}); name an experiment file, or one of: {', '.join(ours)}"
        ) from None
    if len(octets) > LARGEST:
        raise NfsleuthError(f"{visible(name)}: larger than {LARGEST >> 20} MiB, so no experiment file")
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NfsleuthError(f"{visible(name)}: byte {error.start} is not UTF-8; save it as UTF-8") from None


def read(text: str, name: str, *, file: str = "", seed: int | None = None, boots: int | None = None) -> Experiment:
    """The experiment that the TOML `text` describes. `name` names the run, `file` the place in messages."""
    place = Place(file or f"{name}.toml")
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a number with too many digits
        raise place.wrong(f"not TOML: {_reason(error)}; https://toml.io says how it is") from None
    document |= {name: value for name, value in (("seed", seed), ("boots", boots)) if value is not None}
    return from_document(document, name, place.file)


def _reason(error: Exception) -> str:
    """What the parser of TOML says, or that it gave up."""
    return "nested too deeply" if isinstance(error, RecursionError) else visible(str(error))[:200]


def from_document(document: Mapping[str, Any], name: str, file: str) -> Experiment:
    """The experiment of a TOML document that is parsed. NfsleuthError names `file`."""
    place = Place(file)
    found = _filled(_tables(dict(document), name, place))
    try:
        checks.references(found)
        settled = addresses.settle(found)
        checks.combinations(settled)
    except ValueError as error:
        raise place.wrong(str(error)) from None
    return settled


def _tables(document: dict[str, Any], name: str, place: Place) -> Experiment:
    """The tables as they stand in the file, matrices expanded."""
    tables = {table: document.pop(table, None) for table in (*ONCE, *REPEATED, "workloads", "matrix")}
    top = _read_keys(Experiment, document, place, also=tuple(tables))
    for table, kind in ONCE.items():
        if tables[table] is not None:
            where = place.within(f"[{table}]")
            top[table] = kind(**_read_keys(kind, _table(tables[table], where), where))
    for table, kind in REPEATED.items():
        top[table] = tuple(_read_repeated(kind, table, tables[table], place))
    if tables["captures"] is None:  # an empty list asks for none
        top["captures"] = (Capture(),)
    top["workloads"] = tuple(_workloads(tables["workloads"], place))
    made, left_out = _matrices(tables["matrix"], place)
    top["guests"] += made
    return Experiment(name=values.slug(name) or "experiment", left_out=left_out, **top)


def _read_repeated(kind: type[T], table: str, found: object, place: Place) -> list[T]:
    return [kind(**_read_keys(kind, entry, where)) for where, entry in _entries(table, found, place)]


def _entries(table: str, found: object, place: Place) -> list[tuple[Place, dict[str, Any]]]:
    """The tables called [[table]], each with its place."""
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise place.within(f"[{table}]").wrong(f"is a list of tables; write [[{table}]] above each")
    if len(found) > MOST:
        raise place.within(f"[[{table}]]").wrong(f"{len(found)} of them; at most {MOST} fit into a lab")
    return [(place.within(_called(table, number, entry)), entry) for number, entry in enumerate(found, start=1)]


def _called(table: str, number: int, entry: Mapping[str, object]) -> str:
    name = entry.get("name")
    return f"[[{table}]] {number}" + (f" ({values.shown(name)})" if isinstance(name, str) else "")


def _table(found: object, place: Place) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise place.wrong(f"is a table; write {place.table} on a line of its own and its keys below")
    return found


def _read_keys(kind: type[Any], table: Mapping[str, object], place: Place, also: Sequence[str] = ()) -> dict[str, Any]:
    """The values of `table` by key, as the fields of `kind` take them. `also`: names that a mistyped key may mean."""
    known = keys_of(kind)
    for name in table:
        if name not in known:
            raise place.wrong(_unknown(name, [*known, *also]))
    for name, wanted in known.items():
        if wanted.needed and name not in table:
            raise place.wrong(f"{name} is missing: {wanted.doc}")
    return {name: _value(name, value, known[name].reader, place) for name, value in table.items()}


def _unknown(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    cure = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"{visible(name)} is no key; {cure}"


def _value(name: str, value: object, reader: values.Reader[Any], place: Place) -> Any:  # noqa: ANN401
    try:
        return reader(value)
    except ValueError as error:
        raise place.wrong(f"{name} = {values.shown(value)}: {error}") from None


def _workloads(found: object, place: Place) -> list[Workload]:
    """The workloads, and the one called `default` if the file has none of that name."""
    tables = _table(found, place.within("[workloads]")) if found is not None else {}
    if len(tables) > MOST:
        raise place.within("[workloads]").wrong(f"{len(tables)} of them; at most {MOST} fit into a lab")
    made = []
    for name, entry in tables.items():
        where = place.within(f"[workloads.{visible(name)}]")
        _value("its name", name, values.name, where)
        made.append(Workload(name=name, **_read_keys(Workload, _table(entry, where), where)))
    return made if any(w.name == "default" for w in made) else [Workload(), *made]


def _matrices(found: object, place: Place) -> tuple[tuple[Guest, ...], tuple[str, ...]]:
    """Guests for all combinations of each [[matrix]], and the combinations that cannot be, with the reason."""
    guests: list[Guest] = []
    left_out: list[str] = []
    for where, entry in _entries("matrix", found, place):
        table = dict(entry)
        hosts = _some(table.pop("host", None), values.name, "host", where)
        readers = {name: keys_of(Guest)[name].reader for name in VARIED}
        varied = {name: _some(table.pop(name), readers[name], name, where) for name in VARIED if name in table}
        prefix = [_value("name", table.pop("name"), values.name, where)] if "name" in table else []
        fixed = _read_keys(Guest, {**table, "name": "matrix"}, where, also=("host", *VARIED))
        if (count := math.prod(map(len, varied.values()))) > COMBINATIONS:
            raise where.wrong(f"has {count} combinations; at most {COMBINATIONS} are tried, so shorten its lists")
        tell = [name for name, choices in varied.items() if len(choices) > 1] or list(varied)
        for choice in itertools.product(*varied.values()):
            one = dict(zip(varied, choice, strict=True))
            name = "-".join([*prefix, *(values.slug(_short(key, one[key])) for key in tell)]) or "guest"
            host = {"host": hosts[len(guests) % len(hosts)]} if hosts else {}
            guest = Guest(**{**fixed, **one, **host, "name": name})
            if why := checks.impossible(guest):
                left_out.append(f"{name}: {why}")
            else:
                guests.append(guest)
            if len(guests) > MOST:
                raise where.wrong(f"makes more than {MOST} guests; shorten its lists")
    return tuple(guests), tuple(left_out)


def _some(value: object, reader: values.Reader[T], name: str, place: Place) -> tuple[T, ...]:
    """One value or a list of them, without repetition."""
    given = [] if value is None else value if isinstance(value, list) else [value]
    return tuple(dict.fromkeys(_value(name, given, values.list_of(reader), place)))


def _short(name: str, value: object) -> str:
    """A value as part of a guest's name: "virtio", "v4.1", "ip6"."""
    prefix = {"version": "v", "ip": "ip"}.get(name, "")
    return prefix + re.sub(r"-net-pci$", "", str(value))


def _filled(experiment: Experiment) -> Experiment:
    """Whatever follows from the tables alone: hosts of clients that name none, host names."""
    natives = tuple(_complete(client) for client in experiment.natives)
    guests = tuple(_complete(client) for client in experiment.guests)
    known = {host.name for host in experiment.hosts}
    own = {_own_host(client) for client in experiment.clients if not client.host} - known
    return replace(
        experiment,
        natives=natives,
        guests=guests,
        hosts=(*experiment.hosts, *(Host(name=name) for name in sorted(own))),
    )


def _complete(client: C) -> C:
    """`client` with a host and a host name; User-Mode Linux with its only kind of NIC."""
    client = replace(client, host=client.host or _own_host(client), hostname=client.hostname or client.name)
    if isinstance(client, Guest) and client.kernel == "uml" and client.nic == Guest(name="any").nic:
        return replace(client, nic=UML_NIC)  # another NIC is refused by `checks`
    return client


def _own_host(client: Client) -> str:
    """The name of the host of a client that names none."""
    return f"on-{client.name}"[:40].rstrip("-")

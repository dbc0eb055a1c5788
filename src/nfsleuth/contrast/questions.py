"""Clients come in, out go the questions that can be asked about each field: how it divides them, labels not looked at.

A question gives each client a code. "Which values?" divides by the set of values; values of a single client are one
code, so that what is everybody's own divides nobody. "Is this value there?" and "is the number at most this?" divide in
two. Masked fields are asked for their form only. Where a client's capture does not show whether it would have sent a
field, the question leaves it out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nfsleuth.contrast.leaves import Scalar
from nfsleuth.contrast.sketch import Profile, Sketch

MOST_ANSWERS = 16  # values of a field, or places to cut its numbers, that are asked for
ABSENT = "(absent)"
MANY = "(many values)"
OWN = "(its own)"


@dataclass(frozen=True, slots=True)
class Question:
    """One way to divide the clients of a field. kind: "values", "has", "at most", "form". codes: one a client."""

    kind: str
    about: Scalar | float | None
    codes: np.ndarray


@dataclass(frozen=True, slots=True)
class FieldQuestions:
    """The questions about one field. who: indices of the clients that it divides, in order. masked: only its form."""

    path: str
    who: np.ndarray
    questions: tuple[Question, ...]
    masked: bool = False


def about(clients: Sequence[Profile], masked: set[str]) -> Iterator[FieldQuestions]:
    """All fields on which at least two clients differ, by path."""
    paths = sorted({path for client in clients for path in client.fields})
    for path in paths:
        yield from _field(path, clients, path in masked or by_form(path))
    for name in sorted({name for client in clients for name in client.measures}):
        yield from _measure(name, clients)
    yield from _used(clients)


def _field(path: str, clients: Sequence[Profile], masked: bool) -> Iterator[FieldQuestions]:
    if path == "eth.src":
        return  # its prefix and scope are fields of their own
    who = [i for i, client in enumerate(clients) if could_show(client, path)]
    if path.startswith("eth.src."):
        who = _one_per_mac(who, clients)
    sketches = [clients[i].fields.get(path) for i in who]
    if masked and any(path in client.derived for client in clients):
        return  # a relation that changes from run to run says nothing, and has no form
    if masked:
        questions = [_symbols("form", [s.shape() if s else ABSENT for s in sketches])]
    else:
        sets = [frozenset(s.values) if s else frozenset({ABSENT}) for s in sketches]
        many = [bool(s and s.more) for s in sketches]
        symbols = [MANY if m else _text(v) for m, v in zip(many, sets, strict=True)]
        questions = [_symbols("values", symbols), *_presences(sets), *_cuts(sketches)]
        alone = sum(count for count in Counter(symbols).values() if count == 1)
        if alone * 2 >= len(symbols):
            questions.append(_symbols("form", [s.shape() if s else ABSENT for s in sketches]))
    yield from _asked(path, who, questions, masked=masked)


def _one_per_mac(who: Sequence[int], clients: Sequence[Profile]) -> list[int]:
    """Of clients behind one MAC, as guests behind a NAT are, the first of each label: they show it once."""
    first: dict[tuple[str, frozenset[Scalar]], int] = {}
    for i in who:
        seen = clients[i].fields.get("eth.src")  # may be beyond the fields that are kept
        first.setdefault((clients[i].label, frozenset(seen.values if seen else ())), i)
    return sorted(first.values())


# Fields whose values may be anything: RFC 5531 section 9, RFC 6864 section 4.1, RFC 6437 section 3, RFC 7323 section
# 5.4.
ARBITRARY = (".xid", "ip.id", "ip.flow_label", ".timestamp.value", ".timestamp.echo")


def by_form(path: str) -> bool:
    """Whether a field is asked for its form only, even if no client was recorded twice.

    What names a client would only find it again, and numbers that a client may choose freely are equal by chance.
    """
    return path == "eth.src" or path.endswith((".machinename", ".caller_name", *ARBITRARY))


def _text(values: frozenset[Scalar]) -> str:
    return " ".join(sorted(map(repr, values)))


def could_show(client: Profile, path: str) -> bool:
    """Whether the field is there, or would have been seen if it were."""
    if path in client.fields:
        return True
    if path in client.derived:
        return False
    context = context_of(path)
    return context in client.contexts and context not in client.cut


def context_of(path: str) -> str:
    """The message or operation that a decoded field belongs to."""
    parts = path.replace("?", "").split(".")
    if parts[0] in ("eth", "ip"):
        return parts[0]
    if parts[0] == "tcp":
        return ".".join(parts[:2]) if parts[1:2] in (["syn"], ["flow"]) else "tcp"
    return ".".join(parts[:3] if parts[2:3] == ["reply"] else parts[:2])


def _asked(
    path: str, who: Sequence[int], questions: Iterable[Question], *, masked: bool = False
) -> Iterator[FieldQuestions]:
    """Keep questions that divide; of several that divide alike, the first."""
    kept: dict[bytes, Question] = {}
    for question in questions:
        if question.codes.size and question.codes.max() > 0:
            kept.setdefault(canonical(question.codes).tobytes(), question)
    if kept:
        yield FieldQuestions(path, np.array(who, np.int64), tuple(kept.values()), masked)


def canonical(codes: np.ndarray) -> np.ndarray:
    """Codes numbered in the order of their first appearance: equal for equal divisions."""
    _, first, back = np.unique(codes, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    numbered: np.ndarray = rank[back]
    return numbered


def _symbols(kind: str, symbols: Sequence[str]) -> Question:
    """Divide by symbol; those of a single client are one code."""
    counts = Counter(symbols)
    pooled = [s if counts[s] > 1 else OWN for s in symbols]
    numbers = {symbol: i for i, symbol in enumerate(dict.fromkeys(pooled))}
    return Question(kind, None, np.array([numbers[s] for s in pooled], np.int64))


def _presences(sets: Sequence[frozenset[Scalar]]) -> list[Question]:
    """Is this value there? Of values that several clients have and not all; the most evenly spread ones."""
    if all(len(s) == 1 for s in sets):
        distinct = {next(iter(s)) for s in sets}
        if len(distinct) <= 2:
            return []  # "which values" asks the same
    counts = Counter(value for values in sets for value in values)
    shared = [v for v, n in counts.items() if 1 < n < len(sets)]
    shared.sort(key=lambda v: (abs(2 * counts[v] - len(sets)), repr(v)))
    return [Question("has", v, np.array([v in s for s in sets], np.int64)) for v in shared[:MOST_ANSWERS]]


def _cuts(sketches: Sequence[Sketch | None]) -> list[Question]:
    """Is the smallest number at most this? Only of numbers."""
    lows = [min(s.values) if s and s.is_number and s.values else None for s in sketches]
    if any(low is None for low in lows):
        return []
    return _cut(np.array(lows, np.float64))


def _cut(numbers: np.ndarray) -> list[Question]:
    distinct = np.unique(numbers)
    if len(distinct) < 3:
        return []
    places = np.unique(np.linspace(0, len(distinct) - 2, min(MOST_ANSWERS - 1, len(distinct) - 1)).astype(np.int64))
    return [Question("at most", float(distinct[i]), (numbers <= distinct[i]).astype(np.int64)) for i in places]


def _measure(name: str, clients: Sequence[Profile]) -> Iterator[FieldQuestions]:
    """A number per client. An operation that was not used has a share of 0 where its protocol was."""
    protocol = name.partition(".")[0]
    who, numbers = [], []
    for i, client in enumerate(clients):
        value = client.measures.get(name)
        if value is None and name.endswith(".share of operations") and f"rpc.{protocol}" in client.contexts:
            value = 0.0
        if value is not None:
            who.append(i)
            numbers.append(value)
    values = np.array(numbers, np.float64)
    questions = (
        _cut(values) if len(set(numbers)) > 2 else [Question("at most", min(numbers), (values <= values.min()) * 1)]
    )
    yield from _asked(name, who, questions)


def _used(clients: Sequence[Profile]) -> Iterator[FieldQuestions]:
    """Which operations were used at all, among clients that speak the protocol."""
    for name in sorted({o for client in clients for o in client.operations}):
        who = [i for i, c in enumerate(clients) if f"rpc.{name.partition('.')[0]}" in c.contexts]
        codes = np.array([name in clients[i].operations for i in who], np.int64)
        yield from _asked(f"{name} used", who, [Question("has", "used", codes)])


def shown(client: Profile, path: str, masked: bool) -> Mapping[str, int]:
    """What a client shows in a field, as text with a frame each: for people."""
    if path.endswith(" used"):
        return {"yes" if path.removesuffix(" used") in client.operations else "no": 0}
    if path in client.measures and path not in client.fields:
        return {f"{client.measures[path]:.4g}": 0}
    sketch = client.fields.get(path)
    if sketch is None:
        return {ABSENT: 0}
    if masked:
        return {sketch.shape(): sketch.first}
    return {as_text(value): frame for value, (_, frame) in sketch.values.items()} | ({MANY: 0} if sketch.more else {})


def as_text(value: Scalar) -> str:
    """A value for people; bytes as text if they are that, else in hexadecimal. Not yet safe for a terminal."""
    if isinstance(value, bytes):
        if value and all(0x20 <= byte < 0x7F for byte in value):
            return value.decode("ascii")
        return f"0x{value.hex()}" if value else "(empty)"
    return str(value) if value != "" else "(empty)"

"""Recordings as files: a `Recording` comes in, a file goes out, and back.

A file is compressed by Zstandard and holds a line of JSON, its header, and then the events as they lie in memory
(`model.EVENT`, little endian). What is read is not believed: sizes are bounded before anything is allocated, every
number is checked against the table that it points into, and text is only ever shown escaped.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.path.model import EVENT, NO_CALLER, Cost, Function, Guest, Kind, Method, Overhead, Recording, Role, Thread

SCHEMA = "nfsleuth.path/1"
LONGEST_HEADER = 16 << 20  # bytes
MOST_EVENTS = 8_000_000  # 128 MB, and some 600 MB while calls are matched
MOST_FUNCTIONS, MOST_CALLERS, MOST_THREADS, MOST_NOTES = 1 << 14, 1 << 18, 255, 1000
LONGEST_TEXT = 500
LARGEST = 1e15  # of any number in the header: 11 days in ns


def save(recording: Recording, path: Path) -> None:
    """Write `recording` to `path`, whole or not at all. Raises NfsleuthError if it cannot be written."""
    import zstandard

    header = {"schema": SCHEMA, **asdict(replace(recording, events=np.zeros(0, EVENT)))}
    header["events"] = len(recording.events)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file, zstandard.ZstdCompressor(level=3).stream_writer(file) as writer:
            writer.write(json.dumps(header).encode() + b"\n")
            writer.write(recording.events.tobytes())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise NfsleuthError(f"{path}: cannot be written ({error.strerror}); choose another place") from None


def load(path: Path) -> Recording:
    """Read the recording in `path`. Raises NfsleuthError that says what is wrong with it."""
    import zstandard

    try:
        with path.open("rb") as file:
            return _read(zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(file))
    except OSError as error:
        raise NfsleuthError(f"{path}: cannot be read ({error.strerror})", Exit.UNREADABLE) from None
    except zstandard.ZstdError as error:
        message = f"{path}: is no recording, or cut short ({error}); make one with `nfsleuth path record`"
        raise NfsleuthError(message, Exit.UNREADABLE) from None
    except _OddError as error:
        raise NfsleuthError(f"{path}: is no recording that can be read: {error}", Exit.UNREADABLE) from None


class _OddError(Exception):
    """The file is not what it should be."""


def _read(stream: BinaryIO) -> Recording:
    content = bytearray()
    while b"\n" not in content[-(1 << 16) :]:
        piece = stream.read(1 << 16)
        content += piece
        if not piece or len(content) > LONGEST_HEADER:
            raise _OddError("its header has no end")
    line, _, rest = bytes(content).partition(b"\n")
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        raise _OddError("its header is no JSON") from None
    if not isinstance(header, dict) or header.get("schema") != SCHEMA:
        raise _OddError(f"its schema is not {SCHEMA}; another version of nfsleuth may have made it")
    count = _whole(header.get("events"), MOST_EVENTS, "events")
    recording = _recording(header)
    wanted = count * EVENT.itemsize
    pieces, length = [rest], len(rest)
    while length < wanted:
        piece = stream.read(min(1 << 20, wanted - length))
        if not piece:
            raise _OddError(f"it is cut short: {length // EVENT.itemsize:,} of {count:,} events")
        pieces.append(piece)
        length += len(piece)
    if length > wanted or stream.read(1):
        raise _OddError("there is more behind its events")
    events = np.frombuffer(b"".join(pieces), EVENT)
    _check_events(events, recording)
    return replace(recording, events=events)


def _check_events(events: np.ndarray[Any, Any], recording: Recording) -> None:
    """Every number points into its table; times are those of one recording."""
    if not len(events):
        return
    for name, size in (("function", recording.functions), ("thread", recording.threads)):
        if int(events[name].max()) >= len(size):
            raise _OddError(f"an event has a {name} that it does not name")
    if int(events["kind"].max()) > max(Kind):
        raise _OddError("an event is neither the beginning nor the end of a call")
    callers = events["caller"]
    if bool(((callers >= len(recording.callers)) & (callers != NO_CALLER)).any()):
        raise _OddError("an event has a caller that it does not name")
    if int(events["time"].min()) < 0 or int(events["time"].max()) > LARGEST * 1000:
        raise _OddError("an event has a time that no machine has")


def _recording(header: dict[str, Any]) -> Recording:
    functions = tuple(_function(f) for f in _list(header.get("functions"), MOST_FUNCTIONS, "functions"))
    overhead = header.get("overhead")
    return Recording(
        method=_one_of(Method, header.get("method"), "method"),
        created=_text(header.get("created"), "created"),
        seconds=_number(header.get("seconds"), "seconds"),
        kernel=_text(header.get("kernel"), "kernel"),
        guest=_guest(_table(header.get("guest"), "guest")),
        threads=tuple(_thread(t) for t in _list(header.get("threads"), MOST_THREADS, "threads")),
        functions=functions,
        callers=_texts(header.get("callers"), MOST_CALLERS, "callers"),
        costs={_text(n, "costs"): _cost(c) for n, c in _table(header.get("costs"), "costs").items()},
        counts=_counts(header.get("counts"), len(functions), "counts"),
        lost=_whole(header.get("lost"), int(LARGEST), "lost"),
        notes=_texts(header.get("notes"), MOST_NOTES, "notes"),
        left_out=_texts(header.get("left_out"), MOST_FUNCTIONS, "left_out"),
        samples=_counts(header.get("samples"), len(functions), "samples"),
        overhead=None if overhead is None else _overhead(_table(overhead, "overhead")),
    )


def _guest(table: dict[str, Any]) -> Guest:
    return Guest(
        _whole(table.get("pid"), 1 << 31, "pid"),
        _text(table.get("qemu"), "qemu"),
        _text(table.get("libslirp"), "libslirp"),
        _texts(table.get("nics"), 100, "nics"),
        _texts(table.get("backends"), 100, "backends"),
    )


def _thread(value: object) -> Thread:
    table = _table(value, "threads")
    return Thread(_whole(table.get("tid"), 1 << 31, "tid"), _text(table.get("name"), "name"))


def _function(value: object) -> Function:
    table = _table(value, "functions")
    return Function(
        _text(table.get("name"), "name"),
        _text(table.get("object"), "object"),
        _whole(table.get("address"), 1 << 63, "address"),
        _one_of(Role, table.get("role"), "role"),
        table.get("stepped") is True,
        _text(table.get("source"), "source"),
    )


def _cost(value: object) -> Cost:
    table = _table(value, "costs")
    return Cost(_number(table.get("pair"), "pair"), _number(table.get("inside"), "inside"))


def _overhead(table: dict[str, Any]) -> Overhead:
    before, during, after = (_number(table.get(name), name) for name in ("before", "during", "after"))
    return Overhead(before, during, after, _text(table.get("source"), "source"))


def _table(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _OddError(f"{name} is no table")
    return value


def _list(value: object, most: int, name: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise _OddError(f"{name} is no list of at most {most:,}")
    return value


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise _OddError(f"{name} is no text of at most {LONGEST_TEXT} characters")
    return value


def _texts(value: object, most: int, name: str) -> tuple[str, ...]:
    return tuple(_text(item, name) for item in _list(value, most, name))


def _whole(value: object, most: int, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise _OddError(f"{name} is no number from 0 to {most:,}")
    return value


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LARGEST:
        raise _OddError(f"{name} is no number that can be")
    return float(value)


def _counts(value: object, length: int, name: str) -> tuple[int, ...]:
    found = tuple(_whole(item, int(LARGEST), name) for item in _list(value, MOST_FUNCTIONS, name))
    if len(found) not in (0, length):
        raise _OddError(f"{name} does not fit its functions")
    return found


def _one_of(kind: Any, value: object, name: str) -> Any:  # noqa: ANN401 (an enumeration and its member)
    try:
        return kind(value)
    except ValueError:
        raise _OddError(f"{name} is none of {', '.join(kind)}") from None

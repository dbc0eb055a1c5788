"""The tables and keys of an experiment file as Markdown, from the dataclasses that the parser uses.

Nothing comes in; the middle of docs/lab.md goes out.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from nfsleuth.lab import damage
from nfsleuth.lab.experiment import ONCE, REPEATED, VARIED, shipped
from nfsleuth.lab.model import BACKENDS, DAMAGES, KERNELS, NIC_DRIVERS, Derived, Experiment, Workload, keys_of

# Tables as they stand in a file -> what they make, in the order in which people write them.
TABLES: Mapping[str, type[Any]] = {
    **{f"[{name}]": kind for name, kind in ONCE.items()},
    **{f"[[{name}]]": kind for name, kind in REPEATED.items()},
    "[workloads.NAME]": Workload,
}
GIVEN = {"mac", "address", "address6"}  # open values that the seed fills in


def markdown() -> str:
    """A chapter per kind of table, then what the words in it mean. A semicolon parts a key's meaning from its lack."""
    parts = [_chapter("At the top of the file", Experiment)]
    parts += [_chapter(f"`{name}`", kind) for name, kind in TABLES.items()]
    parts += [
        _matrix(),
        _words("Backends", BACKENDS),
        _words("Kernels", KERNELS),
        _nics(),
        _words("Damages", _damages()),
    ]
    parts.append(
        _words("Experiments that come with nfsleuth", {name: _title(text) for name, text in shipped().items()})
    )
    return "\n\n".join(parts) + "\n"


def _chapter(name: str, kind: type[Any]) -> str:
    said = inspect.cleandoc(kind.__doc__ or "").splitlines()[0]
    lines = [f"### {name}", "", said, "", "| key | default | meaning |", "| --- | --- | --- |"]
    defaults = {f.name: f.default for f in fields(kind)}
    for key, wanted in keys_of(kind).items():
        default = "must be given" if wanted.needed else _default(key, defaults[key])
        lines.append(f"| `{key}` | {default} | {_cell(wanted.doc)} |")
    return "\n".join(lines)


def _default(key: str, value: object) -> str:
    """A default as it would be written; nothing where the documentation says what an absent key means."""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value in ("", 0, None, ()) or key in GIVEN:
        return ""
    if isinstance(value, tuple):
        return f"`[{', '.join(map(_written, value))}]`"
    return f"`{_written(value)}`"


def _written(value: object) -> str:
    """A number, sizes in the largest unit that fits, or text in quotes."""
    if isinstance(value, int) and value >= 1 << 10:
        for unit, factor in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
            if value % factor == 0:
                return f'"{value // factor}{unit}"'
    return str(value) if isinstance(value, int | float) else f'"{value}"'


def _matrix() -> str:
    varied = ", ".join(f"`{name}`" for name in VARIED)
    text = (
        f"Guests for all combinations of lists. It takes the keys of `[[guests]]`; {varied} may be lists, each "
        "combination of which is one guest. `host` may be a list as well: hosts are dealt out in turn. Guests are "
        "named after what differs, with `name`, if given, in front. Combinations that cannot be are left out and named."
    )
    return "### `[[matrix]]`\n\n" + textwrap.fill(text, 120, break_on_hyphens=False)


def _words(title: str, told: Mapping[str, str]) -> str:
    lines = [f"| `{word}` | {_cell(meaning)} |" for word, meaning in told.items()]
    return "\n".join([f"### {title}", "", "| | |", "| --- | --- |", *lines])


def _nics() -> str:
    drivers: dict[str, list[str]] = {}
    for model, driver in NIC_DRIVERS.items():
        drivers.setdefault(driver, []).append(f"`{model}`")
    lines = [f"| {', '.join(models)} | {driver} |" for driver, models in drivers.items()]
    return "\n".join(["### NIC models", "", "| model | driver |", "| --- | --- |", *lines])


def _damages() -> dict[str, str]:
    """What each damage does with the defaults."""
    return {kind: damage.words(Derived(name="x", damage=kind)) for kind in DAMAGES}


def _title(text: str) -> str:
    line = next(line for line in text.splitlines() if line.startswith("title"))
    return line.partition('"')[2].rstrip('"')


def _cell(text: str) -> str:
    return text.replace("|", "\\|")

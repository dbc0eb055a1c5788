"""One file per heuristic: a `Scene` comes in, `Sign`s and `Tie`s go out.

Being in the folder is the registration, as in `nfsleuth.evidence`; the docstring is the manual page.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from types import ModuleType

from nfsleuth.hosts.model import Scene, Sign, Tie


@cache
def heuristics() -> dict[str, ModuleType]:
    """Every sign's module by name, in alphabetical order."""
    modules = {info.name: importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)}
    return {name: module for name, module in sorted(modules.items()) if hasattr(module, "find")}


def found(scene: Scene) -> Iterator[Sign | Tie]:
    """What all of them say."""
    for module in heuristics().values():
        yield from module.find(scene)

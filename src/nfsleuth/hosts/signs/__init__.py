"""One file per heuristic: a `Scene` comes in, `Sign`s and `Tie`s go out.

Being in the folder is the registration, as in `nfsleuth.evidence`; the docstring is the manual page.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

from nfsleuth.evidence.registry import modules_with
from nfsleuth.hosts.model import Scene, Sign, Tie


def heuristics() -> dict[str, ModuleType]:
    """Every sign's module by name, in alphabetical order."""
    return modules_with("find", __name__)


def found(scene: Scene) -> Iterator[Sign | Tie]:
    """What all of them say."""
    for module in heuristics().values():
        yield from module.find(scene)

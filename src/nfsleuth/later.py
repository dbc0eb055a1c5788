"""Where a package's names are defined comes in, a `__getattr__` for it goes out: each is imported when it is asked for.

So a command that uses one function of a package does not wait for the modules of the others (PEP 562).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence


def names(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], object]:
    """`__getattr__` of the package called `package`. homes: module -> names that it defines for it."""
    home = {name: module for module, defined in homes.items() for name in defined}

    def find(name: str) -> object:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(importlib.import_module(home[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return find

"""The name of a package comes in, its heuristics go out: being in the folder is the registration."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType


@cache
def modules_with(function: str, package: str) -> dict[str, ModuleType]:
    """The modules of `package` that have `function`, by name, in alphabetical order."""
    folder = importlib.import_module(package).__path__
    names = sorted(info.name for info in pkgutil.iter_modules(folder))
    modules = {name: importlib.import_module(f"{package}.{name}") for name in names}
    return {name: module for name, module in modules.items() if hasattr(module, function)}

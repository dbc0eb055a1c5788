"""Numba's compiler comes in, the same without what a builder has no use for: it takes half the time.

Numba is made for code that is run at once, function by function. So it optimises every part and makes machine code of
it for the process that compiles, and then does the same with each function that a part was built into. Here nothing is
called, and one entry with all its parts is optimised at the end, as a whole. Two more things are a tenth of the time
each: messages to listeners that nobody has registered, and the text of a record type, which is worked out anew whenever
types are compared by name.

These are internals of Numba, looked up in the versions below; of any other nothing is changed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

KNOWN = ("0.68",)  # versions of Numba whose internals are these
NOWHERE = 1  # address of machine code that does not exist


def strip(numba: Any) -> Callable[[Any, Any], None] | None:
    """Take out of `numba` what is not needed, for the rest of this process, which must not call anything it compiles.

    Returns what optimises a module, (code library that it is from, module), which is no longer done by itself; None:
    this Numba is left as it is.
    """
    if not numba.__version__.startswith(KNOWN):
        return None
    codegen: Any = importlib.import_module("numba.core.codegen")
    codegen.CPUCodeLibrary._optimize_final_module = lambda _library: None
    codegen.JITCPUCodegen._add_module = lambda _codegen, _module: None
    importlib.import_module("numba.core.cpu").CPUContext.get_executable = _executable
    event: Any = importlib.import_module("numba.core.event")
    event.start_event = event.end_event = lambda *_arguments, **_keywords: None
    for kind in (numba.types.Record, numba.types.NestedArray):
        kind.__repr__ = _remembered(kind.__repr__)
    return _optimise


def _optimise(library: Any, module: Any) -> None:
    """What Numba does with a module at the end: its passes, as they are set up for this processor."""
    manager, builder = library.codegen._module_pass_manager()
    manager.run(module, builder)


def _executable(_context: Any, library: Any, description: Any, environment: Any) -> Any:
    """What Numba would call, and by which it tells functions apart: machine code is not made for it."""
    make: Any = importlib.import_module("numba._dynfunc").make_function
    name = description.qualname.split(".")[-1]
    return make(description.lookup_module(), name, "", NOWHERE, environment, (library,))


def _remembered(text: Callable[[Any], str]) -> Callable[[Any], str]:
    """`text`, worked out once per object; types live as long as the process."""
    known: dict[int, tuple[str, Any]] = {}

    def remembered(thing: Any) -> str:
        if id(thing) not in known:
            known[id(thing)] = text(thing), thing
        return known[id(thing)][0]

    return remembered

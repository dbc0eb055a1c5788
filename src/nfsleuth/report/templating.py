"""One way to make pages: everything is escaped, text that came off the wire is made visible, no name goes missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nfsleuth.report.escape import visible

if TYPE_CHECKING:
    from jinja2 import Environment


def environment() -> Environment:
    """Jinja with the templates of this folder, which may be given more filters and globals."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("nfsleuth.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["visible"] = visible
    return made

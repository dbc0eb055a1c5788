"""A contrast as one HTML page that needs nothing else: no network, no script. The words and looks are in the template.

Everything from a capture goes through `escape.visible` and Jinja's escaping, as in `report.html`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from nfsleuth.contrast.align import Pair, summary
from nfsleuth.contrast.differences import Difference
from nfsleuth.contrast.rank import Contrast
from nfsleuth.contrast.sketch import Profile
from nfsleuth.report import contrast_words as words
from nfsleuth.report.contrast_text import folded
from nfsleuth.report.templating import environment

if TYPE_CHECKING:
    from jinja2 import Template


def page(
    result: Contrast,
    clients: Sequence[Profile],
    differing: Sequence[Difference],
    sequence: tuple[Profile, Profile, Sequence[Pair]] | None = None,
    version: str = "",
) -> str:
    """The whole page. sequence: two clients and their aligned operations. version: of nfsleuth."""
    return _template().render(
        result=result,
        clients=clients,
        found=words.by_cause(result.findings),
        differing=[d for d in differing if not d.masked and d.steady],
        sequence=sequence,
        counts=summary(sequence[2]) if sequence else {},
        rows=folded(sequence[2]) if sequence else [],
        version=version,
    )


@cache
def _template() -> Template:
    pages = environment()
    pages.globals |= {"words": words}
    return pages.get_template("contrast.html.j2")

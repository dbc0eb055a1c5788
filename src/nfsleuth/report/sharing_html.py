"""What hosts were sent more than once as one HTML page that needs nothing else: no network, no script.

The template (``templates/sharing.html.j2``) has the words and the looks. Everything from a capture goes through
`escape.visible` and Jinja's escaping, as in `report.html`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from nfsleuth.bandwidth.plan import human
from nfsleuth.report import plots, sharing_text, words
from nfsleuth.report.templating import environment
from nfsleuth.sharing.curve import ENOUGH
from nfsleuth.sharing.result import Sharing

if TYPE_CHECKING:
    from jinja2 import Template

MOST_FILES = 200  # rows of the table


def page(found: Sharing, caches: Sequence[int] = (), version: str = "") -> str:
    """The whole page as text. caches: sizes in bytes that were asked for. version: of nfsleuth."""
    from markupsafe import Markup

    return _template().render(
        found=found,
        summary=sharing_text.summary(found),
        notes=sharing_text.unknown(found),
        drawn=Markup(plots.savings(found)),  # noqa: S704 - Matplotlib escapes the text that it is given
        points=[found.curve.at(size) for size in sharing_text.sizes(found, caches)] if found.hosts else [],
        files=found.files[:MOST_FILES],
        version=version,
    )


@cache
def _template() -> Template:
    pages = environment()
    pages.filters |= {"size": lambda n: words.size(round(n)), "human": human, "duration": words.duration}
    pages.globals |= {
        "share": sharing_text.share,
        "span": sharing_text.span,
        "name_of": sharing_text.name_of,
        "enough": ENOUGH,
    }
    return pages.get_template("sharing.html.j2")

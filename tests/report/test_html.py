"""The page: whole in itself, harmless whatever a capture says, and with everything that the report has."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from nfsleuth.report import html, plots
from report import make


class Elements(HTMLParser):
    """Tags with their attributes, and whether each that is opened is closed."""

    VOID = frozenset({"meta", "br", "link", "img", "path", "use"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {
        "ordinary": html.page(make.ordinary(), "1.2.3"),
        "hostile": html.page(make.hostile()),
        "none": html.page(make.report()),
    }


@pytest.mark.parametrize("name", ["ordinary", "hostile", "none"])
def test_the_page_loads_nothing_and_runs_nothing(pages: dict[str, str], name: str) -> None:
    page = pages[name]
    elements = Elements(page)
    assert elements.open == []
    assert not re.search(r"https?://|url\((?!#)|@import|javascript:", page)
    for tag, attributes in elements.tags:
        assert tag not in {"script", "iframe", "object", "embed", "link", "img", "form", "base"}
        assert not [a for a in attributes if a.startswith("on") or a == "src"]
        for reference in (attributes.get("href"), attributes.get("xlink:href")):
            assert reference is None or reference.startswith("#")
    policy = [a for t, a in elements.tags if t == "meta"]
    assert {
        "http-equiv": "Content-Security-Policy",
        "content": "default-src 'none'; style-src 'unsafe-inline'",
    } in policy


def test_hostile_text_is_shown_as_text(pages: dict[str, str]) -> None:
    page = pages["hostile"]
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "\\x1b[2Jevil\\x0d\\x0a\\u202egnp.exe" in page
    assert all(c == "\n" or c.isprintable() for c in page)


def test_every_client_has_a_row_that_leads_to_its_evidence(pages: dict[str, str]) -> None:
    elements = Elements(pages["ordinary"])
    ids = [a["id"] for _, a in elements.tags if "id" in a and str(a["id"]).startswith("client-")]
    links = {a["href"] for t, a in elements.tags if t == "a"}
    assert len(ids) == len(set(ids)) == len(make.ordinary().clients)
    assert links == {f"#{i}" for i in ids}
    assert "nfsleuth 1.2.3" in pages["ordinary"]
    assert "No NFS client was found" in pages["none"]


def test_the_waterfall_ends_at_the_sum_of_the_weights() -> None:
    steps, zero = html.waterfall(make.verdict())
    assert [s.weighed.weight for s in steps] == [4.6, -0.4]
    assert zero == 0
    assert (steps[0].left, steps[0].width) == (0, 100)
    assert steps[1].left == pytest.approx(100 * 4.2 / 4.6)
    assert html.waterfall(make.verdict(weighed=())) == ([], 0)


def test_plots_take_the_colours_of_the_page_and_keep_text_as_text() -> None:
    svg = plots.read_rates(make.report(make.verdict(name="$\\frac{a}{<b>}$")))
    assert svg.startswith("<svg viewBox=")
    assert "$\\frac{a}{&lt;b&gt;}$" in svg
    assert "var(--bridged-vm)" in svg
    assert not re.search("#0[0-9a-f]{5}", svg)


def test_there_is_no_plot_of_nothing() -> None:
    assert plots.read_rates(make.report(make.verdict(reads=0))) == ""
    assert plots.activity(make.report()) == ""

"""Figures, and the study beside a run: what is printed is what was measured."""

import random
import re
from html.parser import HTMLParser

import pytest

from bandwidth.flow import Link, reads, slow_guest
from bandwidth.test_profile import STUDY, rates
from bandwidth.test_rates import rates as rates_of
from nfsleuth.bandwidth.numbers import Interval
from nfsleuth.bandwidth.profile import Profile
from nfsleuth.bandwidth.recognise import recognise
from nfsleuth.bandwidth.timings import Timings, Trial
from nfsleuth.clients.rates import Rates
from nfsleuth.errors import NfsleuthError
from nfsleuth.report import figures, profile_text, study, study_values, timing_text
from nfsleuth.report.formats import FORMATS
from nfsleuth.report.sections import Picture

SIZES = (512_000, 1 << 20, 16 << 20, 500 << 20)
HOSTILE = "<script>\x1b[31m$x_1$\u202e"


def run(label: str, rate: float, sizes=SIZES, **fields) -> Timings:
    draw = random.Random(label)
    trials = [Trial(s, n, s / 1e6 / rate * draw.uniform(0.97, 1.03), n == 0) for s in sizes for n in range(6)]
    return Timings("/mnt", "mount", 4096, label, trials=trials, client_cache="drop_caches", **fields)


def runs(**rates) -> list[Timings]:
    return [run(label.replace("_", " "), rate) for label, rate in rates.items()]


AS_STUDY = runs(native=90, virtio_bridged=50, virtio_user=22, rtl8139_bridged=19, rtl8139_user=8)
TURNED = runs(native=90, virtio_bridged=20, virtio_user=22.0)


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("native", "native"),
        ("virtio bridged", "virtio, bridged"),
        ("virtio-net-pci tap", "virtio, bridged"),
        ("RTL8139 NAT", "RTL8139, NAT"),
        ("rtl8139 user", "RTL8139, NAT"),
        ("e1000 tap", None),
        ("virtio", None),
        ("", None),
    ],
)
def test_labels_name_the_studys_configurations(label, name):
    assert study_values.configuration(label) == name


def test_table_2_stands_beside_the_run():
    rows = {row[0]: row for row in study.table_2([*AS_STUDY, run("e1000 tap", 30)]).rows}
    assert list(rows)[:5] == list(study_values.TABLE_2)
    assert rows["virtio, bridged"][1:3] == ("28.3", "0.586")
    assert float(rows["virtio, bridged"][3]) == pytest.approx(50, rel=0.04)
    assert rows["e1000 tap"][1] == "-"


def test_what_did_not_reproduce_is_said():
    assert not [line for line in study.findings(AS_STUDY) if line.startswith("Not")]
    assert "Not reproduced: virtio, NAT reads faster than virtio, bridged here." in study.findings(TURNED)
    unsure = runs(native=90, virtio_bridged=22.1, virtio_user=22.0)
    assert any(line.startswith("Undecided: virtio, bridged and virtio, NAT") for line in study.findings(unsure))
    assert "nothing to compare" in study.findings([run("native", 90)])[0]


def test_table_1_says_what_changed():
    rows = {row[0]: row for row in study.table_1().rows}
    assert len(rows) == 9
    assert rows["00:03:FF"][1] == "Hyper-V"
    assert "00:15:5D" in rows["00:03:FF"][3]
    assert rows["08:00:27"][2] == "VirtualBox"


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)


def whole(label: str = "native") -> study.Study:
    known = {label: rates_of(slow_guest(Link().shake_hands()))}
    return study.Study(
        [*AS_STUDY, run(label, 30)], known, [label], [Picture("Figure 3", "<svg></svg>", label, "figure-3")]
    )


def test_the_page_has_every_table_and_figure():
    page = study.page(whole(), "1.0")
    for title in ("Table 1", "Table 2", "Figure 1", "Figure 2", "Figure 3", "What limited", "Conditions"):
        assert title in page
    tags = Tags(page).found
    assert tags.count("svg") == 5
    assert tags.count("table") == 3
    assert "http-equiv" in page


def test_markdown_has_the_same_figures():
    text = "\n\n".join(study.sections(whole()))
    for title in ("Table 1", "Table 2", "Figure 1", "Figure 2", "Figure 3", "What limited"):
        assert f"## {title}" in text
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("| 52:54")}
    assert widths == {5}
    shown = {line.partition("](")[2].rstrip(")") for line in text.splitlines() if line.startswith("![")}
    files = study.images(whole())
    assert shown == {name for name in files if name.endswith(".svg")}
    assert files["figure-3.svg"] == b"<svg></svg>"
    assert files["figure-1.png"].startswith(b"\x89PNG")


def test_figures_that_nobody_recorded_are_said_to_be_missing():
    known = study.Study(AS_STUDY, missing=f"run it {HOSTILE}")
    assert "Figures 3 to 5" in study.page(known)
    assert "run it &lt;script&gt;" in study.page(known)
    assert "## Figures 3 to 5" in study.sections(known)
    assert "Figures 3 to 5" not in study.page(whole())


@pytest.mark.parametrize(("size", "missing"), [(1 << 20, "Figure 2"), (1 << 30, "Figure 1")])
def test_figures_for_which_nothing_was_read_are_said_to_be_missing(size, missing):
    known = study.Study([run("native", 30, sizes=(size,))])
    ((title, why),) = study.gaps(known)
    assert title.startswith(missing)
    assert "32M" in why
    assert f"<h2>{title}</h2>" in study.page(known)


def test_a_single_size_is_drawn_as_bars_and_clients_left_out_are_counted():
    many = [run(f"client {n}", 10 + n, sizes=(1 << 20,)) for n in range(15)]
    (one, bars) = study.drawings(many)
    for drawing in (one, bars):
        assert drawing.caption.endswith("The first 12 of 15 clients.")
    text = figures.render(one.draw(), "svg").decode()
    assert "client 11" in text
    assert "client 12" not in text


def test_text_from_outside_is_harmless():
    page = study.page(whole(HOSTILE))
    assert "script" not in Tags(page).found
    assert "\x1b" not in page
    assert "\u202e" not in page
    texts = (
        timing_text.run(run(HOSTILE, 3)),
        timing_text.beside_the_study([run(HOSTILE, 3)]),
        *study.sections(whole(HOSTILE)),
    )
    assert all("\x1b" not in text and "\u202e" not in text for text in texts)
    assert b"\x1b" not in figures.render(figures.timings([run(HOSTILE, 3)]), "svg")


@pytest.mark.parametrize("kind", FORMATS)
def test_figures_are_files_that_repeat(kind):
    first, second = (figures.render(figures.timings(AS_STUDY), kind) for _ in range(2))
    assert first == second
    assert first.startswith({"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[kind])


def test_a_figure_shows_what_it_is_of():
    text = figures.render(figures.timings(AS_STUDY), "svg").decode()
    for word in ("Small files", "Large files", "rtl8139 bridged", "500K", "16M", "seconds"):
        assert word in text
    line = figures.render(figures.timeline(rates_of(reads(Link().shake_hands(), server=5)), "10.0.0.7"), "svg").decode()
    assert ">server<" in line
    assert ">client<" in line
    known = recognise(rates(125.0), STUDY, "")
    site = figures.render(figures.profile(STUDY, "", known, "10.0.0.7"), "svg").decode()
    for word in ("virtio nat (5)", "10.0.0.7: 1", "read, 128K"):
        assert word in site


def test_nothing_to_draw_is_told():
    with pytest.raises(NfsleuthError, match="nothing to draw"):
        figures.timings([Timings("/mnt", "local", 4096)])
    with pytest.raises(NfsleuthError, match="nothing to draw"):
        figures.profile(Profile(), "")
    assert figures.render(figures.timeline(Rates(), "x"), "svg")


def test_tables_fit_a_terminal():
    text = timing_text.run(
        run("virtio bridged", 22, notes=["a note " * 30], problem="it hung")
    ) + timing_text.beside_the_study(AS_STUDY)
    assert max(map(len, text.splitlines())) <= 80
    assert "ended early: it hung" in text
    assert max(map(len, profile_text.profile(STUDY).splitlines())) <= 80
    assert "nothing in it" in profile_text.profile(Profile())


def test_error_bars_reach_to_zero_and_are_none_without_an_interval():
    assert figures._ends(Interval(5.0, 0.0, 8.0), Interval(4.0, None, None)) == ([5.0, 0.0], [3.0, 0.0])

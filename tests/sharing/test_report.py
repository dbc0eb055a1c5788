"""What is printed, drawn and written of a hand-made result: it fits, it is escaped, and nothing is missing."""

from __future__ import annotations

import dataclasses
import io
import json
import re

import numpy as np
import polars as pl
import pytest

from conftest import REPOSITORY
from nfsleuth.errors import NfsleuthError
from nfsleuth.report import figures, sharing_data, sharing_html, sharing_text
from nfsleuth.sharing.calls import COUNTS
from nfsleuth.sharing.result import Named, Sharing, files_of, hosts_of
from nfsleuth.sharing.tables import EVENT
from nfsleuth.sharing.tally import Budget, Tally
from nfsleuth.verdict.model import Capture

MiB = 1 << 20
NASTY = "evil\x1b[2J\u202ename<script>"


def made(*, rate=1.0, newest=0, named=("host-1", "10.0.0.9"), counts=None, size=8 * MiB) -> Sharing:
    """Guests 0 and 1 of host 0, guest 2 of host 1: each reads one file, the two of a host one second apart."""
    tally = Tally(rate=rate, hosts=2, budget=Budget(newest=newest))
    rows = np.zeros(3 * (size // 4096), EVENT)
    rows["guest"] = np.repeat([0, 1, 2], size // 4096)
    rows["host"] = rows["guest"] // 2
    rows["offset"] = np.tile(np.arange(size // 4096) * 4096, 3)
    rows["bytes"], rows["time"] = 4096, 10**9 * rows["guest"]
    tally.feed(rows)
    hosts = [Named(named[0], ("10.0.0.7/a", "10.0.0.7/b"), True, 0.9), Named(named[1], (named[1],))]
    return Sharing(
        captures=(Capture("office.pcap", "pcap", 10, 1000, None, None),),
        block=4096,
        rate=tally.rate,
        hosts=hosts_of(tally, hosts),
        files=files_of(tally, hosts, ["10.0.0.1"], [(0, 0xABCDEF)], {0: 7}, {0: NASTY}),
        counts=dict.fromkeys(COUNTS, 0) | {"reads": len(rows)} | (counts or {}),
        clients=3,
        left_out=tally.left_out,
    )


def test_the_figures_of_a_host():
    found = made()
    first, second = found.hosts
    assert (first.sent, first.distinct, first.saved, first.others, first.own) == (
        16 * MiB,
        8 * MiB,
        8 * MiB,
        8 * MiB,
        0,
    )
    assert (first.sharers, first.shared, second.sharers) == ((0, 8 * MiB), 8 * MiB, (8 * MiB,))
    assert first.waits is not None
    assert first.waits[1] == pytest.approx(10**9, rel=0.02)
    assert second.waits is None
    assert first.curve.enough == 8 * MiB
    assert second.curve.enough == 0


@pytest.mark.parametrize("rate", [1.0, 0.05])
@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("named", [("host-1", "10.0.0.9"), ("[fd00:1234:5678:9abc:def0:1234:5678:9abc]/web", "h" * 90)])
def test_the_text_fits_and_is_visible(rate, width, named):
    everything = dict.fromkeys(COUNTS, 12_345_678_901)
    text = sharing_text.text(made(rate=rate, named=named, counts=everything), (), width)
    assert max(map(len, text.splitlines())) <= 80 if width == 80 else width
    assert text.replace("\n", "").isprintable()
    assert "\\x1b" in text


def test_the_text_says_what_matters():
    text = sharing_text.text(made(), [4 * MiB, 1 << 30])
    assert text.startswith("2 hosts read 25 MB, 17 MB of it distinct.\nOne transfer per host would save 33.3 %.\n")
    assert "the figures are exact" in text
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}
    assert lines["host-1"][:8] == ["2", "4,096", "17", "MB", "8.4", "MB", "8.4", "MB"]
    assert lines["4M"] == ["0", "B", "0.0", "%"]
    assert lines["1G"] == ["8.4", "MB", "33.3", "%"]
    assert re.search(r"host-1: second guest after (9\d\d ms|1\.\d+ s) ", text)
    assert "8M are enough for 95 % of what any cache saves." in text
    assert "Whether two file handles mean one file is unknown" in text


def test_a_sample_says_so():
    text = sharing_text.text(made(rate=0.05))
    assert "Estimated from 5 % of the blocks of 4K; sent and reads are exact.\n" in text
    assert " to " in text


def test_a_sample_says_up_to_where_it_is_exact():
    found = made(rate=0.05, newest=2048)
    assert "and reads are exact, and so are caches up to 4M." in " ".join(sharing_text.text(found).split())
    document = sharing_data.document(found, [4 * MiB])
    assert document["exact_to"] == 4 * MiB
    [point] = document["caches"]
    assert point["low"] == point["saved"] == point["high"] == 0
    assert sharing_data.document(made())["exact_to"] is None


def test_what_is_not_known_is_told():
    found = dataclasses.replace(made(counts={"hidden": 5}), encrypted=2, hidden_changes=1, unaligned=3)
    text = sharing_text.text(found)
    for part in ("5 calls are encrypted", "2 connections encrypted by TLS", "1 change of files", "3 READs not aligned"):
        assert part in text


def test_json_is_whole_and_plain():
    document = json.loads(json.dumps(sharing_data.document(made(), [MiB]), allow_nan=False))
    assert document["schema"] == "nfsleuth.sharing/1"
    assert document["caches"] == [{"size": MiB, "saved": 0, "low": 0, "high": 0}]
    host = document["hosts"][0]
    assert host["sharers"] == [{"guests": 1, "bytes": 0}, {"guests": 2, "bytes": 8 * MiB}]
    assert host["saved"] == host["sent"] - host["distinct"] == host["saved_own"] + host["saved_others"]
    assert set(host["wait"]) == {"p10", "p50", "p90"}
    assert document["files"][0]["name"] == NASTY
    assert document["files"][0]["handle"] == "0000000000abcdef"


def test_frames_have_a_row_per_host_and_file():
    frame = sharing_data.frame(made())
    assert frame.height == 2
    assert frame["saved"].to_list() == [8 * MiB, 0]
    out = io.BytesIO()
    frame.write_parquet(out)
    out.seek(0)
    assert pl.read_parquet(out).equals(frame)
    nothing = dataclasses.replace(made(), files=())
    assert sharing_data.frame(nothing).schema == frame.schema


def test_curves_have_a_row_per_host_and_size():
    found = made()
    frame = sharing_data.curves(found)
    assert frame["host"].unique().sort().to_list() == [None, "10.0.0.9", "host-1"]
    document = sharing_data.document(found)
    for host, curve, sent in [(None, document["curve"], found.sent)] + [
        (h["id"], h["curve"], h["sent"]) for h in document["hosts"]
    ]:
        rows = frame.filter(pl.col("host").eq_missing(host))
        assert rows.drop("host", "sent").to_dicts() == curve
        assert rows["sent"].unique().to_list() == [sent]
    nothing = dataclasses.replace(found, hosts=())
    assert sharing_data.curves(nothing).schema == frame.schema


def test_the_page_needs_nothing_else_and_escapes():
    page = sharing_html.page(made(rate=0.05), [MiB], "1.0")
    assert "<script" not in page.replace("&lt;script", "")
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "<svg" in page
    assert "host-1" in page


def test_nothing_to_draw():
    apart = dataclasses.replace(made(), hosts=made().hosts[1:])
    assert "<svg" not in sharing_html.page(apart)
    with pytest.raises(NfsleuthError, match="nothing to draw"):
        figures.savings(apart)


@pytest.mark.parametrize("rate", [1.0, 0.05])
@pytest.mark.parametrize("kind", ["svg", "png", "pdf"])
def test_the_plot(rate, kind):
    assert len(figures.render(figures.savings(made(rate=rate)), kind)) > 1000


def test_every_field_of_the_json_is_documented():
    text = (REPOSITORY / "docs" / "sharing.md").read_text(encoding="utf-8").partition("\n## Output")[2]
    documented = set(re.findall(r"`(\w+)(?:\[\])?`", text))

    def keys(value):
        if isinstance(value, list):
            return {key for item in value for key in keys(item)}
        if isinstance(value, dict):
            return set(value) | {key for name, inner in value.items() if name != "captures" for key in keys(inner)}
        return set()

    assert keys(sharing_data.document(made(), [MiB])) <= documented

"""``nfsleuth sharing`` from the command line to the files that it writes."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import polars as pl
import pytest

import packets as p
from conftest import CAPTURES

OFFICE = str(CAPTURES / "office.pcapng")


@pytest.fixture
def sharing(run):
    return partial(run, "sharing", "-q")


def test_office(sharing, tmp_path: Path):
    """Two guests behind one SLiRP read the same 64 KiB."""
    page, rows, curves, plot = (str(tmp_path / n) for n in ("page.html", "rows.parquet", "curves.parquet", "plot.svg"))
    files = ["--html", page, "--parquet", rows, "--curves", curves, "--plot", plot]
    code, out, _ = sharing(OFFICE, "--cache", "64K", "--cache", "1G", *files)
    assert code == 0
    assert out.startswith("7 hosts read 549 kB, ")
    assert max(map(len, out.splitlines())) <= 80
    assert "host-1" in out
    assert "dataset.txt" in out
    assert pl.read_parquet(rows).filter(host="host-1", name="dataset.txt")["shared"].item() == 65536
    saved = pl.read_parquet(curves).filter(host="host-1").sort("size")
    assert saved["saved"].is_sorted()
    assert saved["saved"][-1] >= 65536
    assert "<svg" in Path(page).read_text()
    assert Path(plot).read_text().startswith("<?xml")


def test_json(sharing):
    code, out, _ = sharing(OFFICE, "--json", "--block", "512", "--sample", "exact")
    found = json.loads(out)
    assert (code, found["exact"], found["block"]) == (0, True, 512)
    host = next(h for h in found["hosts"] if h["grouped"])
    assert host["saved"] == sum(f["saved"] for f in found["files"] if f["host"] == host["id"])
    assert found["sent"] == sum(h["sent"] for h in found["hosts"])


def test_a_sample_of_little_is_exact(sharing):
    """All that each host read fits into what is followed beside a sample, in equal parts for the 7 hosts."""
    (_, all_, _), (_, some, _) = (
        sharing(OFFICE, "--json", "--cache", "16K"),
        sharing(OFFICE, "--json", "--cache", "16K", "--sample", "0.05"),
    )
    exact, sampled = json.loads(all_), json.loads(some)
    assert (exact["exact_to"], sampled["exact_to"]) == (None, 4096 * ((1 << 19) // 7))
    for name in ("sent", "distinct", "saved", "caches"):
        assert sampled[name] == exact[name]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--sample", "none"], "a share such as 0.01, or exact"),
        (["--sample", "2"], "above 0 and at most 1"),
        (["--block", "1000"], "power of 2"),
        (["--cache", "lots"], "lots"),
        (["--plot", "x.gif"], "x.gif"),
        (["--html", "-", "--json"], "both want standard output"),
        (["--parquet", "/nowhere/x"], "no folder"),
        (["--curves", "-", "--parquet", "-"], "both want standard output"),
    ],
)
def test_wrong_use_is_2(sharing, wrong, said):
    code, out, err = sharing(OFFICE, *wrong)
    assert (code, out) == (2, "")
    assert said in err


def test_a_pipe_cannot_be_read_twice(sharing):
    code, _, err = sharing("-")
    assert code == 2
    assert "read twice" in err


def capture(tmp_path, *exchanges):
    talk = p.Conversation().handshake()
    for call, reply in exchanges:
        talk.send(0, p.record(call)).send(1, p.record(reply))
    (tmp_path / "made.pcap").write_bytes(p.pcap(talk.frames))
    return str(tmp_path / "made.pcap")


def test_no_nfs_and_no_reads_are_4(tmp_path, run):
    code, out, err = run("sharing", capture(tmp_path))
    assert (code, out) == (4, "")
    assert "no NFS found" in err
    code, out, err = run("sharing", capture(tmp_path, (p.call(1, p.NFS, 3, 1, p.opaque(b"f")), p.reply(1, p.u32(70)))))
    assert (code, out) == (4, "")
    assert "no READs found" in err
    secret = p.call(1, p.NFS, 4, 1, b"\xff" * 64, credential=p.auth_gss(3), verifier=p.auth(6, bytes(28)))
    code, _, err = run("sharing", capture(tmp_path, (secret, p.reply(1, b"\xff" * 64, verifier=p.auth(6, bytes(28))))))
    assert code == 4
    assert "encrypted (krb5p): nothing can be known" in err

"""The command line: exit codes, what goes where, and messages that carry the cure. Captures are not read here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from cli.conftest import Run
from nfsleuth import api, cli, kernel_cache
from nfsleuth.cli import calls as calls_command
from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.report import frames, tables
from nfsleuth.verdict.model import Report
from report import make


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[[Report | BaseException], list[dict[str, object]]]:
    """Let `identify` find a report, or raise; returns what it was asked for."""

    def found(report: Report | BaseException) -> list[dict[str, object]]:
        asked: list[dict[str, object]] = []

        def identify(*paths: str, **options: object) -> Report:
            asked.append({"paths": paths, **options})
            if isinstance(report, BaseException):
                raise report
            return report

        monkeypatch.setattr(api, "identify", identify)
        return asked

    return found


def some_calls(monkeypatch: pytest.MonkeyPatch, frames: list[pl.DataFrame]) -> None:
    def calls(*paths: str, progress: object = None) -> Iterator[pl.DataFrame]:
        return iter(frames)

    monkeypatch.setattr(api, "calls", calls)


def call_frame(count: int = 3, name: str | None = None, client: str = "10.0.0.7") -> pl.DataFrame:
    rows = [
        {
            "client": client,
            "operation": "LOOKUP",
            "operations": ["LOOKUP"],
            "name": name,
            "status_name": "NFS3_OK",
            "bytes": 0,
        }
        for _ in range(count)
    ]
    return pl.DataFrame([{**dict.fromkeys(tables.CALLS), **row} for row in rows], schema=tables.CALLS, orient="row")


@pytest.mark.parametrize("command", [(), ("identify",), ("explain",), ("calls",)])
def test_every_help_ends_with_three_examples(run: Run, command: tuple[str, ...]) -> None:
    code, out, err = run(*command, "--help")
    assert (code, err) == (0, "")
    lines = [line.strip() for line in out.rstrip().splitlines()]
    assert lines[-4] == "Examples:"
    for line in lines[-3:]:
        assert "nfsleuth " in line
    assert max(map(len, out.splitlines())) <= 80


def test_version(run: Run) -> None:
    code, out, _ = run("--version")
    assert code == 0
    assert out.startswith("nfsleuth ")
    assert out.split()[1][0].isdigit()


@pytest.mark.parametrize(
    "wrong", [("identfy",), ("identify",), ("identify", "--bogus", "x"), ("identify", "x", "--method", "tea")]
)
def test_wrong_use_is_2(run: Run, wrong: tuple[str, ...]) -> None:
    code, out, err = run(*wrong)
    assert (code, out) == (2, "")
    assert "Usage" in err


def test_a_misspelt_command_is_guessed(run: Run) -> None:
    assert "Did you mean 'identify'?" in run("identfy")[2]


TOY = """
import click
from nfsleuth.errors import NfsleuthError

@click.group()
def toy():
    "Play."

@toy.command()
@click.argument("code", type=int)
def throw(code):
    "Throw it."
    if code == 2:
        raise NfsleuthError("not that one")
    return code
"""


def test_a_group_of_commands_is_one_module(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "toy_commands.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(cli.COMMANDS, "toy", "toy_commands")
    code, out, err = run("-h")
    assert (code, err) == (0, "")
    assert "  toy       Play.\n" in out
    assert "  throw  Throw it.\n" in run("toy", "-h")[1]
    assert run("toy", "throw", "3") == (3, "", "")
    assert run("toy", "throw", "2") == (2, "", "nfsleuth: not that one\n")


def test_identify_prints_the_table(run: Run, found) -> None:
    asked = found(make.ordinary())
    code, out, err = run(
        "identify", "a.pcap", "b.pcap", "--prior", "native=0.8", "--prior", "container=0.1", "--rules", "mine"
    )
    assert (code, err) == (0, "")
    assert out.startswith("office.pcap: 41,203 frames")
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out
    assert asked[0] == {
        "paths": ("a.pcap", "b.pcap"),
        "rules": "mine",
        "priors": "native=0.8,container=0.1",
        "method": "evidence",
        "profile": None,
        "link": None,
        "imported": None,
        "link_speed": 0,
        "progress": None,
    }


def test_identify_prints_json(run: Run, found) -> None:
    asked = found(make.hostile())
    code, out, _ = run("identify", "a.pcap", "--json", "--method", "paper")
    assert code == 0
    assert json.loads(out)["schema"] == "nfsleuth.identify/1"
    assert out.isascii()
    assert asked[0]["method"] == "paper"


def test_identify_writes_files(run: Run, found, tmp_path: Path) -> None:
    found(make.ordinary())
    targets = [str(tmp_path / name) for name in ("x.csv", "x.parquet", "x.html")]
    code, out, _ = run("identify", "a.pcap", "--csv", targets[0], "--parquet", targets[1], "--html", targets[2])
    assert code == 0
    assert out.startswith("office.pcap")
    assert Path(targets[0]).read_text().startswith("id,address")
    assert pl.read_parquet(targets[1]).columns == list(frames.CLIENTS)
    assert Path(targets[2]).read_text().startswith("<!DOCTYPE html>")


def test_a_format_can_go_to_standard_output_alone(run: Run, found) -> None:
    found(make.ordinary())
    code, out, _ = run("identify", "a.pcap", "--csv", "-")
    assert code == 0
    assert out.startswith("id,address")
    assert "41,203 frames" not in out
    code, out, err = run("identify", "a.pcap", "--csv", "-", "--json")
    assert (code, out) == (Exit.WRONG_USE, "")
    assert "--csv and --json both want standard output" in err


def test_a_target_that_cannot_be_written_is_known_before_reading(run: Run, found, tmp_path: Path) -> None:
    asked = found(make.ordinary())
    code, _, err = run("identify", "a.pcap", "--html", str(tmp_path / "none" / "x.html"))
    assert code == Exit.WRONG_USE
    assert "there is no folder" in err
    code, _, err = run("calls", "a.pcap", "--parquet", str(tmp_path))
    assert code == Exit.WRONG_USE
    assert "name a file in it" in err
    assert asked == []


def test_no_nfs_is_4_with_a_hint_and_json_all_the_same(run: Run, found) -> None:
    found(make.report(captures=(make.capture("web.pcap", not_rpc=31),)))
    code, out, err = run("identify", "web.pcap")
    assert (code, out) == (Exit.NO_NFS, "")
    assert err.startswith("nfsleuth: no NFS in web.pcap: 41,203 frames, connections without RPC 31; capture on")
    code, out, err = run("identify", "web.pcap", "--json", "--quiet")
    assert (code, err) == (Exit.NO_NFS, "")
    assert json.loads(out)["clients"] == []


def test_an_error_is_one_escaped_line_and_its_code(run: Run, found) -> None:
    found(NfsleuthError("evil\x1b[2J.pcap: byte 0: not a capture; convert it", Exit.UNREADABLE))
    code, out, err = run("identify", "x")
    assert (code, out) == (Exit.UNREADABLE, "")
    assert err == "nfsleuth: evil\\x1b[2J.pcap: byte 0: not a capture; convert it\n"


def test_ctrl_c_is_130_without_a_traceback(run: Run, found) -> None:
    found(KeyboardInterrupt())
    code, out, err = run("identify", "x")
    assert (code, out, err) == (130, "", "")


def test_a_bug_is_a_traceback(found) -> None:
    found(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        cli.main(["identify", "x"])


def test_the_first_compilation_is_announced_unless_quiet(run: Run, found, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_cache, "is_compiled", lambda: False)
    found(make.ordinary())
    assert run("identify", "x")[2].startswith("nfsleuth: compiling the kernels for this machine, once")
    assert run("identify", "x", "--quiet")[2] == ""


@pytest.mark.parametrize("client", ["10.0.0.9#2", "guest-2"])
def test_explain_finds_a_client_by_id_and_by_name(run: Run, found, client: str) -> None:
    found(make.ordinary())
    code, out, _ = run("explain", "a.pcap", client)
    assert code == 0
    assert out.startswith("10.0.0.9#2 (guest-2): user-nat-vm\n")
    assert out.count("Probability") == 1


def test_explain_finds_all_clients_of_an_address(run: Run, found) -> None:
    shared = [make.verdict(f"10.0.0.9#{n}", address="10.0.0.9") for n in (1, 2)]
    found(make.report(make.verdict(), *shared))
    assert run("explain", "a.pcap", "10.0.0.9")[1].count("Probability") == 2


def test_explain_of_a_capture_alone_explains_everybody(run: Run, found, tmp_path: Path) -> None:
    capture = tmp_path / "a.pcap"
    capture.touch()
    asked = found(make.ordinary())
    assert run("explain", str(capture))[1].count("Probability") == 6
    assert run("explain", str(capture), str(capture))[0] == 0
    assert [a["paths"] for a in asked] == [(str(capture),), (str(capture), str(capture))]


def test_explain_json(run: Run, found) -> None:
    found(make.ordinary())
    found_json = json.loads(run("explain", "a.pcap", "guest-1", "--json")[1])
    assert found_json["schema"] == "nfsleuth.explain/1"
    assert [c["id"] for c in found_json["clients"]] == ["10.0.0.9#1"]


def test_explain_of_nobody_lists_who_is_there(run: Run, found) -> None:
    found(make.report(make.verdict(name="a\x1bb"), make.verdict("10.0.0.8", name="")))
    code, out, err = run("explain", "a.pcap", "10.9.9.9")
    assert (code, out) == (Exit.WRONG_USE, "")
    assert err == "nfsleuth: no client 10.9.9.9; there are 10.0.0.7 (a\\x1bb), 10.0.0.8\n"


def test_explain_lists_and_shows_rules(run: Run) -> None:
    code, out, _ = run("explain", "--list")
    assert code == 0
    names = [line.split()[0] for line in out.splitlines()]
    assert "mac_prefix" in names
    assert names == sorted(names)
    assert max(map(len, out.splitlines())) <= 80
    code, out, _ = run("explain", "mac_prefix")
    assert code == 0
    assert out.startswith("mac_prefix: ")
    assert [r["rule"] for r in json.loads(run("explain", "mac_prefix", "--json")[1])["rules"]] == ["mac_prefix"]
    assert len(json.loads(run("explain", "--list", "--json")[1])["rules"]) == len(names)


def test_explain_of_something_unknown_says_what_there_is(run: Run) -> None:
    code, _, err = run("explain", "mac_prefx")
    assert code == Exit.WRONG_USE
    assert "neither a capture nor a rule; did you mean mac_prefix?" in err
    assert run("explain")[0] == Exit.WRONG_USE


def test_calls_as_text(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    some_calls(monkeypatch, [call_frame(2, "a\x1b"), call_frame(1)])
    code, out, err = run("calls", "a.pcap")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 4
    assert "a\\x1b" in out


def test_calls_as_json_lines_in_ascii(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ü\x7f\x9b\u202e宽\U0001f600\x1b"
    some_calls(monkeypatch, [call_frame(2, name), call_frame(1)])
    code, out, _ = run("calls", "a.pcap", "--json")
    assert code == 0
    assert out.isascii()
    assert out.replace("\n", "").isprintable()
    assert [json.loads(line)["name"] for line in out.splitlines()] == [name, name, None]


def test_calls_of_one_client_in_any_spelling_of_its_address(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    some_calls(monkeypatch, [call_frame(2), call_frame(1, client="2001:db8::1")])
    assert len(run("calls", "a.pcap", "--client", "2001:DB8:0::1")[1].splitlines()) == 2
    code, _, err = run("calls", "a.pcap", "--client", "me")
    assert code == Exit.WRONG_USE
    assert "not an address" in err
    code, out, err = run("calls", "a.pcap", "--client", "10.9.9.9")
    assert (code, out) == (Exit.NO_NFS, "")
    assert "no calls of 10.9.9.9 found" in err


def test_calls_to_parquet_frame_by_frame(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    some_calls(monkeypatch, [call_frame(2, "a"), call_frame(3)])
    target = tmp_path / "calls.parquet"
    code, out, _ = run("calls", "a.pcap", "--parquet", str(target))
    assert (code, out) == (0, "")
    back = pl.read_parquet(target)
    assert back.schema == pl.Schema(tables.CALLS)
    assert back["name"].to_list() == ["a", "a", None, None, None]
    assert run("calls", "a.pcap", "--parquet", str(target), "--json")[0] == Exit.WRONG_USE


def test_json_lines_escape_beyond_the_basic_plane_as_a_pair() -> None:
    assert "\\ud83d\\ude00" in calls_command.json_lines(call_frame(1, "\U0001f600"))


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from nfsleuth import api, cli, kernel_cache
from report import make
kernel_cache.is_compiled = lambda: True
clients = [make.verdict(f"10.0.{{n // 250}}.{{n % 250}}") for n in range({count})]
api.identify = lambda *paths, **options: make.report(*clients)
cli.main(sys.argv[1:])
"""


def script(count: int) -> list[str]:
    return [sys.executable, "-c", SCRIPT.format(tests=str(Path(__file__).parents[1]), count=count)]


def test_a_reader_that_leaves_early_leaves_no_traceback() -> None:
    process = subprocess.Popen(
        [*script(5000), "identify", "x", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "{\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) == 141


def test_a_terminal_without_the_characters_is_no_reason_to_stop() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*script(1), "explain", "x", "10.0.0.0"], capture_output=True, env=environment, check=False)
    assert done.returncode == 0
    assert b"\\u2588" in done.stdout

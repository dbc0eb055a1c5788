"""docs/lab.md: its tables are those of the parser, its example is an experiment, its message is what is said."""

import importlib
import re
import sys

import pytest

from conftest import REPOSITORY
from nfsleuth.errors import NfsleuthError
from nfsleuth.lab import document
from nfsleuth.lab.experiment import load, read, shipped
from nfsleuth.lab.model import keys_of

PAGE = (REPOSITORY / "docs" / "lab.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def make_lab_docs(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "tools"))
    yield importlib.import_module("make_lab_docs")
    sys.modules.pop("make_lab_docs")


def test_the_tables_are_those_of_the_parser(make_lab_docs):
    assert make_lab_docs.with_keys(PAGE) == PAGE, "make docs writes them"


def test_a_page_without_markers_is_refused(make_lab_docs):
    with pytest.raises(ValueError, match="lacks the markers"):
        make_lab_docs.with_keys("# The lab\n")


@pytest.mark.parametrize("kind", document.TABLES.values())
def test_every_key_has_a_line_that_says_what_it_is(kind):
    for key, wanted in keys_of(kind).items():
        assert len(wanted.doc) > 5, key
        assert f"| `{key}` |" in PAGE


def test_every_shipped_experiment_is_named():
    for name in shipped():
        assert f"| `{name}` | {load(name).title} |" in PAGE


def test_the_example_is_an_experiment():
    found = read(EXAMPLE, "mine")
    assert [client.name for client in found.clients] == ["machine", "bridged", "hidden"]
    assert found.hosts[0].rate == 10**8
    assert found.guests[1].mount_options == "vers=4.0,clientaddr=192.0.2.55"


def test_the_message_is_what_is_said():
    (said,) = re.findall(r"^    (mine\.toml: .*)$", PAGE, re.MULTILINE)
    with pytest.raises(NfsleuthError) as error:
        read(EXAMPLE.replace('hostname = "build-agent"', 'nick = "build-agent"'), "mine")
    assert error.value.message == said

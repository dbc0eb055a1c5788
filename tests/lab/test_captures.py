"""The labelled captures in the repository: labels are whole, and no ordinary client is mistaken with certainty."""

import json

import pytest

import nfsleuth
from conftest import CAPTURES
from nfsleuth.evidence.model import State
from nfsleuth.lab.experiment import load, shipped
from nfsleuth.lab.model import DAMAGES, Derived

LAB = CAPTURES / "lab"
FILES = sorted(LAB.rglob("*.labels.json"))


def named(path):
    return f"{path.parent.name}/{path.name.partition('.')[0]}"


def test_every_way_of_damage_and_several_experiments_are_there():
    from nfsleuth.lab import damage

    labels = [json.loads(path.read_text()) for path in FILES]
    said = {document["transform"] or "" for document in labels}
    assert all(any(_alike(damage.words(Derived(name="x", damage=kind)), one) for one in said) for kind in DAMAGES)
    assert len({document["experiment"] for document in labels}) >= 5


def _alike(words, transform):
    """Whether two descriptions of a damage differ in numbers alone."""
    letters = [[c for c in text if not c.isdigit()] for text in (words, transform)]
    return letters[0] == letters[1]


@pytest.mark.parametrize("path", FILES, ids=named)
def test_labels_are_those_of_the_experiment(path):
    labels = json.loads(path.read_text())
    experiment = load(labels["experiment"])
    clients = {client.name for client in experiment.clients}
    assert labels["experiment"] in shipped()
    assert {client["name"] for client in labels["clients"]} | set(labels["absent"]) == clients
    for client in labels["clients"]:
        assert State(client["state"]) in client["acceptable"]
        assert client["ports"]
        assert not client["failed"]


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_client_is_found_and_no_ordinary_one_is_surely_mistaken(path):
    labels = json.loads(path.read_text())
    report = nfsleuth.identify(path.parent / labels["capture"])
    for client in labels["clients"]:
        found = [v for v in report.clients if set(client["ports"]) & set(v.facts.ports)]
        assert found, client["name"]
        if not client["trap"] and not client["standin_for_native"]:
            best = max(found, key=lambda v: (client["address"] == v.facts.address, client["names"][0] in v.facts.names))
            assert best.state in {*client["acceptable"], "unknown", "conflict"} or best.sure <= 0.9, client["name"]


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=lambda folder: folder.name)
def test_the_run_that_made_them_is_told(folder):
    run = json.loads((folder / "run.json").read_text())
    assert run["experiment"] == folder.name
    assert run["accelerator"] in ("kvm", "tcg")
    assert {"kernel", "nfsleuth"} <= set(run["versions"])
    assert not run["failed"]
    assert not any(run["dropped"].values())

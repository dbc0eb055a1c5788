"""From captures to findings: what was planted is found first, and nothing is found where nothing is."""

import random

import pytest

from contrast import plant
from nfsleuth import api
from nfsleuth.contrast import rank, runs
from nfsleuth.report.contrast_words import looked_at

CLIENTS = 9


def profiles(folder, label, seed, *, planted="", run=0, count=CLIENTS, name=None):
    file = folder / f"{label}-{seed}-{run}.pcap"
    file.write_bytes(plant.clients(label, seed, count, planted, run))
    found = [p for _, p in api.profiles(file)]
    for profile in found:
        profile.label = name or label
    return found


def findings(folder, seed, planted=""):
    """Two kinds of client, the first of them recorded twice."""
    found = profiles(folder, "a", seed, planted=planted) + profiles(folder, "a", seed, planted=planted, run=1)
    found += profiles(folder, "b", seed, planted=planted)
    clients, masked = runs.clients(found)
    return rank.contrast(clients, masked), masked


def tries(count):
    chosen = random.Random(6).sample(plant.fields(), count)
    return [pytest.param(n, path, id=path) for n, path in enumerate(chosen)]


def test_there_are_200_fields_to_hide_in():
    assert len(plant.fields()) >= 200


@pytest.mark.parametrize(("seed", "planted"), tries(2))
def test_a_planted_difference_is_found_first(tmp_path, seed, planted):
    result, _ = findings(tmp_path, seed, planted)
    assert planted in [f.path for f in result.findings[0].fields]
    assert len(result.findings) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "planted"), tries(20))
def test_each_of_20_planted_differences_is_found_first(tmp_path, seed, planted):
    result, _ = findings(tmp_path, seed, planted)
    assert result.findings, "nothing found"
    assert planted in [f.path for f in result.findings[0].fields]


@pytest.mark.slow
def test_two_runs_of_one_configuration_give_no_finding(tmp_path):
    """At a false discovery rate of 5 %, one of 20 pairs may have a finding."""
    with_findings = 0
    for seed in range(100, 120):
        clients, masked = runs.clients(
            profiles(tmp_path, "a", seed, name="one") + profiles(tmp_path, "a", seed, run=1, name="other")
        )
        result = rank.contrast(clients, masked)
        assert result.can_conclude
        with_findings += bool(result.findings)
    assert with_findings <= 1


def test_fields_beyond_the_limit_are_counted_and_told(tmp_path, monkeypatch):
    whole, _ = findings(tmp_path, 1)
    monkeypatch.setattr(rank, "MOST_TESTS", 3)
    cut, _ = findings(tmp_path, 1)
    assert (whole.untested, cut.untested) == (0, whole.fields - 3)
    assert cut.fields == whole.fields
    assert f"; {cut.untested:,} more than can be looked at were left out." in looked_at(cut)


def test_what_changes_from_run_to_run_is_masked(tmp_path):
    _, masked = findings(tmp_path, 1)
    assert masked
    for path in plant.fields():
        habit = random.Random(plant.zlib.crc32(path.encode())).choice(plant.HABITS)
        if habit in ("constant", "choice", "own"):
            assert path not in masked
        else:
            assert path in masked, path


def test_runs_of_one_client_count_once(tmp_path):
    found = profiles(tmp_path, "a", 1) + profiles(tmp_path, "a", 1, run=1)
    clients, _ = runs.clients(found)
    assert len(clients) == CLIENTS
    assert {c.runs for c in clients} == {2}


def test_few_clients_conclude_nothing(tmp_path):
    planted = plant.fields()[10]
    found = profiles(tmp_path, "a", 1, planted=planted, count=2) + profiles(tmp_path, "b", 1, planted=planted, count=2)
    clients, masked = runs.clients(found)
    result = rank.contrast(clients, masked)
    assert not result.can_conclude
    assert not result.findings


def test_the_same_seed_gives_the_same_findings(tmp_path):
    planted = plant.fields()[20]
    assert [f.p for f in findings(tmp_path, 3, planted)[0].findings] == [
        f.p for f in findings(tmp_path, 3, planted)[0].findings
    ]

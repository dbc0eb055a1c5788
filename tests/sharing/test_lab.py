"""What the lab's clients read, by the lab's own account, is what `sharing` says that their hosts were sent.

The truth: a client's workload says which files it reads and how often (`lab.play.steps`; a run in which a step fails is
not kept), and where the run's timings are kept, they say how many bytes each reading brought. The guests' caches are
empty at a boot and before each `read`, so each file is sent once per boot and round, the small ones once per boot.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict

import pytest

import nfsleuth
from conftest import CAPTURES
from nfsleuth import api
from nfsleuth.lab import servers
from nfsleuth.lab.experiment import load

LAB = CAPTURES / "lab"
RUNS = [name for name in ("neighbours", "boot-storm") if (LAB / name).is_dir()]


def read_by(experiment, client, timed) -> list[tuple[str, int]]:
    """(path, bytes) of each file that was sent to a client, in order of the workload's steps."""
    workload = experiment.workload(client)
    found = []
    for _ in range(workload.reboots + 1):
        found += list(servers.tree(experiment).items())[: workload.small]
        found += list(servers.files_of(experiment, client).items()) * workload.rounds
    if client.name in timed:
        large = [octets for path, octets in found if path.startswith("files/")]
        assert sorted(timed[client.name]) == sorted(large), "the guest's own log"
    return found


def timings(folder) -> dict[str, list[int]]:
    """Bytes of each reading that a client timed."""
    if not (folder / "timings.json").exists():
        return {}
    found = defaultdict(list)
    for row in json.loads((folder / "timings.json").read_text()):
        found[row["client"]].append(row["octets"])
    return found


@pytest.mark.parametrize("name", RUNS)
def test_the_report_equals_the_truth(name):
    folder, experiment = LAB / name, load(name)
    labels = json.loads((folder / "server.labels.json").read_text())
    capture = folder / labels["capture"]
    report, found = nfsleuth.identify(capture), api.sharing(capture)
    ports = {v.id: set(v.facts.ports) for v in report.clients}
    clients, timed = {c.name: c for c in experiment.clients}, timings(folder)
    told, shared = 0, 0
    for host in found.hosts:
        sent, guests = Counter(), defaultdict(set)
        for label in labels["clients"]:
            if any(set(label["ports"]) & ports[i] and label["address"] == address(i) for i in host.host.clients):
                client = clients[label["name"]]
                for path, octets in read_by(experiment, client, timed):
                    # The server gives a file one handle in NFSv3 and another in NFSv4: not known to be the same
                    key = path, client.version == "3", octets
                    sent[key] += 1
                    guests[key].add(client.name)
        assert host.sent == sum(octets * count for (_, _, octets), count in sent.items()), host.host.id
        assert host.distinct == sum(octets for _, _, octets in sent)
        assert host.saved == host.sent - host.distinct
        assert host.own == sum(o * (sent[key] - len(guests[key])) for key in sent for o in [key[2]])
        exactly = Counter()
        for key, names in guests.items():
            exactly[len(names)] += key[2]
        assert list(host.sharers) == [exactly[n + 1] for n in range(len(host.sharers))]
        told += sum(sent.values())
        shared += host.shared > 0
    everybody = [clients[c["name"]] for c in labels["clients"]]
    assert told == sum(len(read_by(experiment, c, timed)) for c in everybody), "every client was found"
    assert shared >= 1
    assert found.exact
    assert found.hidden_changes == 0


def address(client_id: str) -> str:
    """The address that a client's id begins with."""
    return client_id.partition("/")[0].partition("#")[0]

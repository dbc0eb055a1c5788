"""The table of NIC models and backends: only what was measured, and advice that follows from it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from nfsleuth.lab import record
from nfsleuth.lab.experiment import load
from nfsleuth.lab.outcome import Recorded, Timing
from nfsleuth.lab.results import counted, matrix

OCTETS = 4 << 20
SOME = record.only(load("path"), ["virtio", "rtl8139", "user", "passt", "tap"])


def measured(rates, boots=5, failed=None, experiment=SOME):
    """A matrix whose cells read at about `rates` MB/s, by name of the guest."""
    draw = random.Random(1)
    timings, recorded, says = [], [], {}
    for name, rate in rates.items():
        for boot in range(1, boots + 1):
            wobble = draw.uniform(0.95, 1.05)
            for number in range(1, 5):
                slow = 0.1 if number == 1 else 1  # the first read must not count
                seconds = OCTETS / 1e6 / (rate * wobble * slow)
                cost = 0.4 / rate if "tap" in name else 0.9 / rate
                timings.append(Timing(client=name, octets=OCTETS, seconds=seconds, round=number, boot=boot, cpu=cost))
            file = f"{name}-{boot}.uprobes.path"
            says[file] = {
                "frames_in": 6000.0,
                "syscalls_in": 1.0 if "tap" in name else 0.1,
                "until_syscall_corrected": 9.0,
                "until_syscall": 12.0,
                "to_guest": 7.0,
            }
            recorded.append(
                Recorded(
                    client=name, boot=boot, method="uprobes", file=file, reads=2, octets=2 * OCTETS, seconds=4.0,
                    taken=4500 if name == "rtl8139-tap" else 5999 if name == "virtio-user" else 0,
                )
            )  # fmt: skip
    run = {"failed": failed or {}, "left_out": {}}
    return matrix.gather(experiment, counted(experiment, timings), recorded, says, run)


CLEAR = {"virtio-user": 80, "virtio-passt": 40, "rtl8139-user": 60, "virtio-tap": 20, "rtl8139-tap": 10}


def test_the_first_read_of_a_boot_does_not_count():
    cell = measured({"virtio-user": 50}).measured()[0]
    assert cell.rate.median == pytest.approx(50, rel=0.06)
    assert len(cell.rates) == 5


def test_the_table_has_a_row_for_each_cell_that_was_measured():
    table = matrix.table(measured(CLEAR))
    rows = {(row[0], row[1]): dict(zip(table.titles, row, strict=True)) for row in table.rows}
    assert len(rows) == len(CLEAR)
    row = rows["virtio-net-pci", "user"]
    assert row["boots"] == "5"
    assert row["CPU, ms/MB"] == "3 (3 to 3)"
    assert row["frames in"] == "3,000", "two reads were recorded"
    assert row["out, us"] == "9.0"
    assert row["in, us"] == "< 7.0", "no longer than its probes"
    assert row["its call, us"] == "-"
    low, high = (float(n) for n in row["MB/s"].partition("(")[2].rstrip(")").split(" to "))
    assert low < 80 < high


def test_frames_that_the_model_was_handed_and_the_driver_never_saw_are_lost():
    table = matrix.table(measured(CLEAR))
    lost = {(row[0], row[1]): dict(zip(table.titles, row, strict=True))["lost, %"] for row in table.rows}
    assert lost["rtl8139", "tap"] == "25.0"
    assert lost["virtio-net-pci", "user"] == "0", "one of 6,000 is on its way when counting ends"
    assert lost["rtl8139", "user"] == "-", "nobody asked the driver"


def test_recording_costs_what_the_reads_say():
    table = matrix.overhead(measured({"virtio-user": 80}))
    ((*_, without, during, left),) = table.rows
    assert without.startswith(("7", "8"))
    assert during == "2.1 (2.1 to 2.1)"
    assert left.startswith("0.03")


def test_advice_is_for_those_without_root():
    take, cheap, backends, choice, root = matrix.advice(measured(CLEAR))
    assert "Take virtio-net-pci on user" in take
    assert "surely faster than all others" in take
    assert "Least CPU time for an MB: virtio-net-pci on user" in cheap
    assert "virtio-net-pci on passt, the dearest, takes 2.00 (2.00 to 2.00) times" in cheap
    assert "user is surely faster with 1, passt with 0; the median ratio is 2.0" in backends
    assert "virtio-net-pci on passt, the slowest" in choice
    assert "root buys nothing here" in root


def test_advice_turns_with_the_numbers():
    take, _, backends, _, root = matrix.advice(measured(CLEAR | {"virtio-passt": 200, "virtio-tap": 900}))
    assert "Take virtio-net-pci on passt" in take
    assert "passt with 1" in backends
    assert "root pays" in root


def test_what_cannot_be_told_apart_is_said():
    take, *_ = matrix.advice(measured(CLEAR | {"rtl8139-user": 80.1}))
    assert "Not told apart from it, so that it may be first by chance: rtl8139 on user (79.7)." in take
    alike = {"virtio-user": 80, "virtio-passt": 80.1}
    assert any("The choice hardly matters" in line for line in matrix.advice(measured(alike)))
    assert take.endswith("Of these take rtl8139 on user: it costs the least CPU time for an MB, 3 (3 to 3) ms.")


def test_of_two_boots_nothing_is_said():
    (only,) = matrix.advice(measured(CLEAR, boots=2))
    assert only.startswith("Fewer than 3 boots, so nothing is said of: virtio-net-pci on user (")
    assert "(" not in dict(zip(*_first(measured(CLEAR, boots=2)), strict=True))["MB/s"], "no interval"


def _first(found):
    table = matrix.table(found)
    return table.titles, table.rows[0]


def test_without_a_backend_for_everybody_there_is_no_advice():
    assert matrix.advice(measured({"virtio-tap": 50})) == [
        "No advice: nothing was measured on user or passt, which need no root."
    ]


def test_who_loses_frames_is_named():
    found = measured(CLEAR | {"rtl8139-passt": 0.2})
    assert not any("loses" in line for line in matrix.advice(found)), "only a TAP's does here, and that needs root"
    cells = [replace(c, measures={**c.measures, "lost": (31.0, 33.0, 35.0)}) if c.backend == "passt" else c
             for c in found.cells]  # fmt: skip
    (line,) = (line for line in matrix.advice(replace(found, cells=tuple(cells))) if "loses" in line)
    assert line.endswith("handed: virtio-net-pci on passt (33.0 %, 39.8 MB/s), rtl8139 on passt (33.0 %, 0.2 MB/s).")


def test_what_fails_is_named_with_its_reason():
    found = measured(
        CLEAR, failed={"rtl8139-passt": "boot 1: no 'worked' within 45 s", "virtio-passt": "boot 2: mount"}
    )
    first, *_ = matrix.sections(found)
    assert "rtl8139 on passt: boot 1: no 'worked' within 45 s" in first.lines
    assert "virtio-net-pci on passt (other boots went well): boot 2: mount" in first.lines
    assert any("Do not count on virtio-net-pci on passt, rtl8139 on passt" in line for line in matrix.advice(found))


def test_the_recording_of_reads_that_failed_is_the_reason_and_no_measure():
    row = Recorded(client="rtl8139-passt", boot=1, method="uprobes", file="x", reads=0, octets=0, seconds=0)
    says = {"x": {"frames_in": 16400.0, "burst": 90.0, "waiting": 93.4, "until_syscall": 7.0}}
    run = {"failed": {"rtl8139-passt": "no 'enough' within 113 s"}}
    (cell,) = (c for c in matrix.gather(SOME, [], [row], says, run).cells if c.name == "rtl8139 on passt")
    assert cell.why == (
        "no 'enough' within 113 s; 16,400 frames were handed to it, half of them 90 or more at once; "
        "93 % of the time none came for 0.2 s or longer"
    )
    assert cell.measures == {}
    assert cell.recorded == ()


def test_combinations_that_cannot_be_are_in_the_table_of_failures():
    found = measured({"virtio-user": 50}, experiment=load("path"))
    first, *_ = matrix.sections(found)
    (line,) = [line for line in first.lines if "vhost" in line]
    assert "rtl8139" in line
    assert "i82557b" in line
    assert "moves frames of virtio only, not of these" in line


def test_a_heat_map_needs_two_of_both():
    assert matrix.heat_maps(measured({"virtio-user": 50}, experiment=record.only(SOME, ["user"]))) is None
    drawn = matrix.heat_maps(measured(CLEAR))
    assert drawn.count(b"<svg") == 1
    assert b"read rate, MB/s" in drawn
    assert drawn == matrix.heat_maps(measured(CLEAR)), "the same bytes for the same numbers"

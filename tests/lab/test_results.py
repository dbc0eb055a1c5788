"""Results: runs of clients, the study beside a run, figures, and that nothing is bent."""

import pytest

from nfsleuth.lab.experiment import load, read
from nfsleuth.lab.outcome import Timing, timings_from_json
from nfsleuth.lab.results import is_study, pages
from nfsleuth.lab.results.rates import by_client
from nfsleuth.report.study_values import TABLE_2

RUN = {"accelerator": "tcg", "versions": {"qemu-system-x86": "7.2"}, "kernels": {"native": "libnfs"}, "failed": {}}


def timings(client, *rates, octets=10_000_000):
    return [
        Timing(client=client, octets=octets, seconds=octets / rate / 1e6, round=n) for n, rate in enumerate(rates, 1)
    ]


def paper(**rates):
    """A run of the paper's experiment with these rates, MB/s, after a round that does not count."""
    return [
        reading
        for name, rate in rates.items()
        for reading in timings(name.replace("_", "-"), 1, rate, rate * 1.1, rate * 0.9)
    ]


AS_STUDIED = paper(native=48, virtio_tap=28, virtio_user=12, rtl8139_tap=10, rtl8139_user=5)
OTHERWISE = paper(native=48, virtio_tap=10, virtio_user=12, rtl8139_tap=14, rtl8139_user=5)


def report(experiment, timings, run=RUN) -> str:
    return pages(experiment, timings, run)["report.md"].decode()


def test_a_rate_is_the_median_of_rounds_with_its_interval():
    rate, _ = by_client(load("paper"), timings("native", 10, 30, 20))["native"].bandwidth()
    assert (rate.median, rate.low, rate.high) == (pytest.approx(20), pytest.approx(10), pytest.approx(30))


def test_no_time_is_no_rate():
    assert by_client(load("paper"), [Timing(client="native", octets=10, seconds=0)]) == {}
    assert Timing(client="native", octets=10, seconds=0).rate == 0


def test_clients_go_by_the_studys_configurations_in_its_order():
    runs = by_client(load("paper"), [*AS_STUDIED, *timings("nobody", 1)])
    assert [run.label for run in runs.values()] == list(TABLE_2)
    assert list(runs) == ["native", "virtio-tap", "virtio-user", "rtl8139-tap", "rtl8139-user"]


def test_a_second_client_of_a_configuration_goes_by_its_name():
    experiment = read(
        'title = "x"\n[[natives]]\nname = "old"\n[[natives]]\nname = "new"\n[workloads.default]\nblock = "4K"\n', "x"
    )
    runs = by_client(experiment, [*timings("new", 5), *timings("old", 5)])
    assert {name: (run.label, run.block) for name, run in runs.items()} == {
        "old": ("native", 4096), "new": ("new", 4096)
    }  # fmt: skip


def test_the_table_has_the_studys_values_and_the_measured_ones():
    text = report(load("paper"), OTHERWISE)
    assert "| virtio, bridged | 28.3 | 0.586 | 10.0 | 9.0 to 11.0 | 0.208 |" in text
    assert "Accelerator: tcg" in text
    assert "qemu-system-x86 7.2" in text


def test_an_order_that_differs_is_said():
    assert "Not reproduced: virtio, NAT reads faster than virtio, bridged here." in report(
        load("paper"), paper(native=48, virtio_tap=5, virtio_user=12)
    )
    assert "Not reproduced" not in report(load("paper"), AS_STUDIED)


def test_rates_of_clients_that_ran_at_one_time_are_not_put_beside_the_studys():
    experiment = read('title = "x"\nstart = "together"\n[[natives]]\nname = "native"\n[[guests]]\nname = "a"\n', "x")
    found = pages(experiment, [*timings("native", 5), *timings("a", 5)], RUN)
    assert "Table 2" not in found["report.md"].decode()
    assert not {"table-2.svg", "study.html"} & set(found)
    assert not is_study(experiment)
    assert is_study(load("paper"))


def test_what_failed_and_what_was_left_out_is_named():
    run = {**RUN, "failed": {"virtio-tap": "mount: timed\x1b[2Jout"}, "left_out": {"any": "no such interface"}}
    text = report(load("paper"), [], run)
    assert "| virtio-tap | hypervisor | virtio-net-pci, tap | 3 |  | - | mount: timed\\x1b[2Jout |" in text
    assert "- Left out: any: no such interface" in text


def test_a_matrix_is_a_grid():
    experiment = load("matrix")
    some = [t for guest in experiment.guests[:8] for t in timings(guest.name, 7)]
    assert "| virtio-net-pci | 7.0 | 7.0 | 7.0 | 7.0 |" in report(experiment, some)


def test_pages_are_the_same_for_the_same_numbers():
    first, second = (
        pages(load("paper"), [*AS_STUDIED, *timings("native", 50, 50, octets=64 << 20)], RUN) for _ in range(2)
    )
    assert first == second
    names = ("figure-1", "figure-2", "all-files", "table-2")
    assert set(first) == {"report.md", "study.html", *(f"{name}.{kind}" for name in names for kind in ("svg", "png"))}
    assert b"![Figure 1: small files](figure-1.svg)" in first["report.md"]


def test_a_run_without_timings_has_a_report_and_no_figures():
    assert set(pages(load("paper"), [], RUN)) == {"report.md"}


def test_timings_go_into_json_and_back():
    assert timings_from_json([t.as_json() for t in AS_STUDIED]) == tuple(AS_STUDIED)


def test_the_studys_page_stands_beside_a_run_of_its_configurations():
    found = pages(load("paper"), OTHERWISE, RUN, version="1.2.3")
    text = found["study.html"].decode()
    assert "52:54:00" in text
    assert "28.3" in text
    assert "Reproduced: native before virtio, bridged." in text
    assert "Accelerator: tcg" in text
    assert "1.2.3" in text
    assert text.count("<svg") == sum(name.endswith(".svg") for name in found)
    assert "nothing was recorded inside QEMU" in text
    for one in (text, found["report.md"].decode()):
        assert one.count("native: blocks of 4K") == 1
    assert "study.html" not in pages(load("paper"), paper(native=48), RUN)
    assert "study.html" not in pages(load("neighbours"), OTHERWISE, RUN)

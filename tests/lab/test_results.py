"""Results: medians and their spread, the study's table beside a run, figures, and that nothing is bent."""

import pytest

from nfsleuth.lab.experiment import load, read
from nfsleuth.lab.outcome import Timing, timings_from_json
from nfsleuth.lab.results import conditions, markdown, pages, study
from nfsleuth.lab.results.rates import STUDY, Spread, by_client, by_configuration, seconds_by_size, turned_round

RUN = {"accelerator": "tcg", "versions": {"qemu-system-x86": "7.2"}, "kernels": {"native": "libnfs"}, "failed": {}}


def timings(client, *rates, octets=10_000_000):
    return [
        Timing(client=client, octets=octets, seconds=octets / rate / 1e6, round=n) for n, rate in enumerate(rates, 1)
    ]


def paper(**rates):
    """A run of the paper's experiment with these rates, MB/s."""
    return [t for name, rate in rates.items() for t in timings(name.replace("_", "-"), rate, rate * 1.1, rate * 0.9)]


AS_STUDIED = paper(native=48, virtio_tap=28, virtio_user=12, rtl8139_tap=10, rtl8139_user=5)
OTHERWISE = paper(native=48, virtio_tap=10, virtio_user=12, rtl8139_tap=14, rtl8139_user=5)


def test_a_rate_is_the_median_of_rounds_with_its_spread():
    assert by_client(timings("a", 10, 30, 20))["a"] == Spread(
        pytest.approx(20), pytest.approx(10), pytest.approx(30), 3
    )


def test_a_round_counts_all_its_files_by_their_size():
    both = [Timing(client="a", octets=10**6, seconds=1), Timing(client="a", octets=9 * 10**6, seconds=1)]
    assert by_client(both)["a"].median == pytest.approx(5)


def test_no_time_is_no_rate():
    assert by_client([Timing(client="a", octets=10, seconds=0)]) == {}
    assert Timing(client="a", octets=10, seconds=0).rate == 0


def test_seconds_are_grouped_by_size():
    found = seconds_by_size([*timings("a", 10, 20), *timings("a", 10, octets=5_000_000), *timings("b", 1)], "a")
    assert list(found) == [5_000_000, 10_000_000]
    assert found[10_000_000].rounds == 2


def test_clients_are_found_by_the_studys_configurations():
    assert list(by_configuration(load("paper"), AS_STUDIED)) == list(STUDY)


def test_the_table_has_the_studys_values_and_the_measured_ones():
    text = markdown(load("paper"), OTHERWISE, RUN)
    assert "| virtio, bridged | 28.3 | 0.59 | 10.0 | 9.0 to 11.0 | 0.21 | 3 |" in text
    assert "Accelerator: tcg" in text
    assert "qemu-system-x86 7.2" in text


def test_an_order_that_differs_is_said():
    measured = by_configuration(load("paper"), OTHERWISE)
    assert turned_round(measured) == [
        ("virtio, bridged", "virtio, NAT"), ("virtio, bridged", "RTL8139, bridged"), ("virtio, NAT", "RTL8139, bridged"),
    ]  # fmt: skip
    assert "The other way round here: virtio, NAT before virtio, bridged;" in markdown(load("paper"), OTHERWISE, RUN)
    assert "The order is the same." in markdown(load("paper"), AS_STUDIED, RUN)


def test_rates_of_clients_that_ran_at_one_time_are_not_put_beside_the_studys():
    experiment = read('title = "x"\nstart = "together"\n[[natives]]\nname = "native"\n[[guests]]\nname = "a"\n', "x")
    assert "Table 2" not in markdown(experiment, [*timings("native", 5), *timings("a", 5)], RUN)


def test_what_failed_and_what_was_left_out_is_named():
    run = {**RUN, "failed": {"virtio-tap": "mount: timed\x1b[2Jout"}, "left_out": {"any": "no such interface"}}
    text = markdown(load("paper"), [], run)
    assert "| virtio-tap | hypervisor | virtio-net-pci, tap | 3 |  | - | mount: timed\\x1b[2Jout |" in text
    assert "- Left out: any: no such interface" in text


def test_a_matrix_is_a_grid():
    experiment = load("matrix")
    some = [t for guest in experiment.guests[:8] for t in timings(guest.name, 7)]
    assert "| virtio-net-pci | 7.0 | 7.0 | 7.0 | 7.0 |" in markdown(experiment, some, RUN)


def test_pages_are_the_same_for_the_same_numbers():
    first, second = (
        pages(load("paper"), [*AS_STUDIED, *timings("native", 50, octets=64 << 20)], RUN) for _ in range(2)
    )
    assert first == second
    assert {"report.md", "figure-1.svg", "figure-1.png", "figure-2.svg", "table-2.svg", "table-2.png"} <= set(first)
    assert b"![Figure 1: time to read a small file](figure-1.svg)" in first["report.md"]


def test_a_run_without_timings_has_a_report_and_no_figures():
    assert set(pages(load("paper"), [], RUN)) == {"report.md"}


def test_timings_go_into_json_and_back():
    assert timings_from_json([t.as_json() for t in AS_STUDIED]) == tuple(AS_STUDIED)


def test_the_studys_page_stands_beside_a_run_of_its_configurations():
    experiment = load("paper")
    text = study.page(experiment, OTHERWISE, (), conditions(experiment, RUN), "1.2.3")
    assert "52:54:00" in text
    assert "28.3" in text
    assert "Reproduced: native before virtio, bridged." in text
    assert "Accelerator: tcg" in text
    assert text.count("<svg") >= 2
    assert study.page(experiment, paper(native=48), (), (), "1.2.3") is None
    assert study.page(load("neighbours"), OTHERWISE, (), (), "1.2.3") is None

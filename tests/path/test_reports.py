"""Reports say what was recorded, only what the method can tell, and nothing that a terminal or page would obey."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from tests.path.make import DELIVER, REPLY, recording, send

from nfsleuth.path import exports, figures, shares, text
from nfsleuth.path.model import Cost, Function, Method, Role, Thread
from nfsleuth.path.tree import grow

CALLS = [send(REPLY, REPLY), send("sendto"), send(), ("slirp_pollfds_poll", "recvfrom", DELIVER)]
EVIL = "\x1b[31mred</text>\u202e;\n"


@pytest.fixture
def both():
    rec = recording(CALLS, method=Method.INSTRUMENTED)
    return rec, grow(rec)


def hostile(rec):
    functions = tuple(replace(f, name=f.name + EVIL, object=EVIL) for f in rec.functions)
    threads = tuple(replace(t, name=EVIL) for t in rec.threads)
    return replace(rec, functions=functions, threads=threads, notes=(EVIL,), callers=(EVIL,), left_out=(EVIL,), kernel=EVIL,
                   guest=replace(rec.guest, qemu=EVIL, libslirp=EVIL, nics=(EVIL,)))  # fmt: skip


def sampled(slirp, memory, rest=100):
    functions = (
        Function("m_get", "l", 1, Role.SLIRP),
        Function("tcp_input", "l", 2, Role.SLIRP),
        Function("kernel", "kernel", 0, Role.OTHER),
    )
    rec = recording([], method=Method.SAMPLING)
    return replace(rec, functions=functions, samples=(memory, slirp - memory, rest), counts=(), events=rec.events[:0])


def test_text_has_both_directions_apart(both):
    lines = text.shown(*both, "user.path").splitlines()
    assert "guest to network: 3 frames" in lines
    assert "network to guest: 3 frames" in lines
    (nested,) = (line for line in lines if "<- tcp_output" in line)
    assert nested.split()[2:4] == ["2", "0.67"]
    assert any("3: 1 left by a system call" in line for line in lines)
    assert any("3: 2 (66.7%) set off inside a frame from the guest" in line for line in lines)
    assert any("1 others set off frames to the guest, 1 did neither" in line for line in lines)


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("width", [80, 120])
def test_text_fits(both, width, everything):
    rec, tree = both
    for one in (rec, hostile(rec)):
        assert max(map(len, text.shown(one, tree, "x" * 50, width, everything=everything).splitlines())) <= width


def test_what_costs_hide_is_not_printed():
    rec = recording(CALLS, costs={"emulated": Cost(1000, 1000), "syscall": Cost(1000, 1000)})
    shown = text.shown(rec, grow(rec), "x")
    (line,) = (line for line in shown.splitlines() if line.startswith("slirp_pollfds_poll"))
    assert line.split()[-3:] == ["0.070", "-", "-"], "as measured, and nothing less its probes"
    assert "not given: uprobes cost more" in shown
    assert json.loads(exports.as_json(rec, grow(rec)))["nodes"][0]["median"] is None


def test_times_are_shown_with_and_without_probes():
    rec = recording(CALLS, costs={"emulated": Cost(2, 1), "syscall": Cost(2, 1)})
    (line,) = (line for line in text.shown(rec, grow(rec), "x").splitlines() if line.startswith("slirp_pollfds_poll"))
    assert line.split()[-3:-1] == ["0.070", "0.063"], "three calls in it cost 2 each, and it 1 within its own time"


def test_the_thread_of_what_is_called_first_is_named():
    rec = recording([send()], [DELIVER])
    threads = (Thread(7, "qemu-system-x86"), Thread(8, "CPU 0/TCG"))
    shown = text.shown(replace(rec, threads=threads), grow(rec), "x")
    assert "(in the main loop)" in shown, "its thread is the process's first"
    assert "(in thread 8 (CPU 0/TCG))" in shown
    assert json.loads(exports.as_json(rec, grow(rec)))["nodes"][0]["threads"] == {"100": 1}


def test_nothing_escapes(both):
    rec, tree = hostile(both[0]), both[1]
    outputs = [
        text.shown(rec, tree, EVIL), exports.as_json(rec, tree), exports.chrome(rec, tree), exports.folded(rec, tree),
        figures.flow(rec, tree), figures.flame(rec, tree), figures.bars(rec, tree, EVIL),
    ]  # fmt: skip
    for output in outputs:
        assert "\x1b" not in output
        assert "\u202e" not in output

    for picture in outputs[-3:]:
        assert "red</text>" not in picture
        ElementTree.fromstring(picture)


def test_json_names_method_and_denominators(both):
    value = json.loads(exports.as_json(*both))
    assert value["method"] == "instrumented"
    assert value["frames"]["nested"] == 2
    assert {share["of"] for share in value["shares"]} == {
        "libslirp's own time, without system calls",
        "libslirp's own time and its system calls",
    }


def test_chrome_has_every_call(both):
    rec, tree = both
    trace = json.loads(exports.chrome(rec, tree))
    assert trace["otherData"]["method"] == "instrumented"
    calls = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert len(calls) == len(rec.events) // 2
    assert all(event["dur"] >= 0 and event["pid"] == 7 and event["tid"] == 100 for event in calls)


def test_folded_stacks_add_up(both):
    rec, tree = both
    lines = [line.rsplit(" ", 1) for line in exports.folded(rec, tree).splitlines()]
    assert sum(int(value) for _, value in lines) == round(sum(node.own for node in tree.nodes))
    turned = [path for path, _ in lines if path.endswith("tcp_output")]
    assert turned == [
        "instrumented;guest-to-network;qemu_net_queue_send;user:receive;slirp_input;tcp_input;network-to-guest;tcp_output"
    ]


def test_figures_show_what_there_is(both):
    flow = figures.flow(*both)
    assert "guest to network: 3 frames" in flow
    assert "stroke-dasharray" in flow, "where the direction turns"
    assert "tcp_output: 2 calls" in figures.flame(*both)
    assert "memory management" in figures.bars(*both, "x")


def test_figures_of_nothing():
    rec = recording([])
    assert "no frames were recorded" in figures.flow(rec, grow(rec))
    ElementTree.fromstring(figures.flame(rec, grow(rec)))


def test_a_share_needs_samples():
    few, enough = sampled(999, 500), sampled(1000, 250)
    assert shares.shares(few, None) == []
    assert "needs 1,000" in shares.unsupported(few, None)
    share = shares.shares(enough, None)[0]
    assert share.value == 0.25
    assert share.low < 0.25 < share.high
    assert share.low == pytest.approx(0.224, abs=0.001)  # Wilson, by hand
    assert "(22.4% to 27.8%)" in text.shown(enough, None, "x")


def test_a_share_needs_names():
    rec = sampled(2000, 100)
    nameless = replace(rec, functions=(replace(rec.functions[0], name="libslirp.so.0+0x10"), *rec.functions[1:]))
    assert "no names" in shares.unsupported(nameless, None)


def test_the_callback_is_not_libslirps_time():
    """slirp_send_packet_all calls QEMU: its own time is that of the NIC model."""
    rec = recording([("slirp_input", ("m_get",), "slirp_send_packet_all")], method=Method.INSTRUMENTED)
    own = {o.name: o.value for o in shares.own_times(rec, grow(rec))}
    share = shares.shares(rec, grow(rec))[0]
    assert share.value == pytest.approx((own["slirp_input"] + own["m_get"]) / (own["slirp_input"] + own["m_get"]))

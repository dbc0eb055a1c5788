"""Trees tell the directions apart, count frames, and take the probes' part off."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.path.make import DELIVER, REPLY, STEP, recording, send

from nfsleuth.path.model import Cost, Direction, Method
from nfsleuth.path.text import shown
from nfsleuth.path.tree import PAUSE, WAIT, grow


def found(tree, rec, *path, direction=None):
    """The node at the end of a path of names."""
    number = -1
    for name in path:
        numbers = [n for n in tree.children(number) if rec.functions[tree.nodes[n].function].name == name]
        last = name is path[-1] and direction is not None
        numbers = [n for n in numbers if not last or tree.nodes[n].direction == direction]
        assert len(numbers) == 1, (name, numbers)
        number = numbers[0]
    return tree.nodes[number]


INPUT = ("qemu_net_queue_send", "user:receive", "slirp_input", "tcp_input")


def grown(*threads, **options):
    rec = recording(*threads, **options)
    return grow(rec), rec


def test_data_leaves_by_a_system_call():
    tree, rec = grown([send(("sendto",)), send()])
    assert (tree.frames.to_network, tree.frames.sent, tree.frames.quiet) == (2, 1, 1)
    assert found(tree, rec, *INPUT, "sendto").direction == Direction.TO_NETWORK
    assert tree.frames.syscalls[Direction.TO_NETWORK] == {"sendto": 1}


def test_tcp_output_inside_slirp_input_carries_frames_to_the_guest():
    """The study counts them as transmission."""
    tree, rec = grown([send(REPLY, REPLY)])
    node = found(tree, rec, *INPUT, "tcp_output")
    assert node.direction == Direction.TO_GUEST
    assert node.turned
    assert not found(tree, rec, *INPUT, "tcp_output", "slirp_send_packet_all").turned
    assert found(tree, rec, *INPUT).direction == Direction.TO_NETWORK
    assert (tree.frames.to_guest, tree.frames.nested, tree.frames.answered) == (2, 2, 1)
    assert tree.frames.set_off.tolist() == [2]


def test_without_names_inside_libslirp_the_network_layer_is_where_it_turns():
    tree, rec = grown([("qemu_net_queue_send", ("user:receive", ("slirp_input", DELIVER)))])
    assert found(tree, rec, *INPUT[:3], "qemu_net_queue_send").turned


def test_one_function_has_a_node_for_each_direction():
    tree, rec = grown([send()], [("slirp_pollfds_poll", "recvfrom", DELIVER), DELIVER])
    roots = {(rec.functions[tree.nodes[n].function].name, tree.nodes[n].direction) for n in tree.children(-1)}
    assert roots == {
        ("qemu_net_queue_send", Direction.TO_NETWORK),
        ("qemu_net_queue_send", Direction.TO_GUEST),
        ("slirp_pollfds_poll", Direction.TO_GUEST),
    }
    assert tree.frames.nested == 0
    assert tree.frames.to_guest == 2


def test_a_read_that_finds_nothing_belongs_to_what_it_is_for():
    tree, _rec = grown([("tap_read_packet",), ("slirp_pollfds_poll",)])
    assert {tree.nodes[n].direction for n in tree.children(-1)} == {Direction.TO_GUEST}


def test_only_a_backend_sends_by_write():
    """libslirp's own writes wake the main loop."""
    tap = ("qemu_net_queue_send", ("tap:receive_iov", "writev"))
    tree, _ = grown([tap, send("write")])
    assert (tree.frames.to_network, tree.frames.sent) == (2, 1)
    assert tree.frames.syscall.tolist() == [STEP]
    assert tree.frames.until_syscall.tolist() == [2 * STEP]
    assert tree.frames.whole.tolist() == [5 * STEP]


def test_system_calls_of_the_main_loop_are_left_out():
    tree, _ = grown(["writev", "recvfrom"])
    assert tree.nodes == ()


def test_where_no_handler_is_watched_libslirp_tells_frames():
    """As in an instrumented library."""
    tree, _ = grown([("slirp_input", ("tcp_input", ("tcp_output", "slirp_send_packet_all")))])
    assert (tree.frames.to_network, tree.frames.to_guest) == (0, 0), "handlers are among the functions"
    rec = recording([("slirp_input", ("tcp_input", ("tcp_output", "slirp_send_packet_all")))])
    handlers = {"user:receive", "rtl8139:receive", "tap:receive_iov"}
    renamed = tuple(
        type(f)(f.name, f.object, f.address, f.role if f.name not in handlers else rec.functions[0].role)
        for f in rec.functions
    )
    tree = grow(type(rec)(**{**vars(rec), "functions": renamed}))
    assert (tree.frames.to_network, tree.frames.to_guest, tree.frames.nested) == (1, 1, 1)


def test_calls_stand_in_the_order_in_which_they_are_made():
    tree, rec = grown([send("sendto", REPLY), send("sendto")])
    (root,) = tree.children(-1)
    (handler,) = tree.children(root)
    names = [rec.functions[tree.nodes[n].function].name for n in tree.children(tree.children(handler)[0])]
    assert names == ["m_get", "tcp_input"]
    assert tree.nodes[root].after == 0
    assert tree.nodes[handler].after == STEP


def test_times_add_up():
    tree, _rec = grown([send(REPLY, ("sendto",)), send()])
    for number, node in enumerate(tree.nodes):
        inner = sum(tree.nodes[child].total for child in tree.children(number))
        assert node.own == pytest.approx(node.total - inner)
    assert sum(node.own for node in tree.nodes) == pytest.approx(sum(tree.nodes[n].total for n in tree.children(-1)))


def test_corrections_take_off_what_probes_cost():
    """A call that takes 0 but for its probes: 2 within, and 3 of each inner call in the outer one."""
    tree, rec = grown([("slirp_input", "m_get")], costs={"emulated": Cost(5, 2)})
    outer, inner = found(tree, rec, "slirp_input"), found(tree, rec, "slirp_input", "m_get")
    assert inner.typical.own_corrected == STEP - 2
    assert outer.typical.own_corrected == 2 * STEP - 2 - 3
    assert outer.typical.total_corrected == 3 * STEP - 2 - 5
    assert outer.typical.total == 3 * STEP
    assert outer.typical.own_trusted


def test_times_that_are_mostly_probes_are_not_trusted():
    tree, rec = grown([("slirp_input", "m_get")], costs={"emulated": Cost(15, 9)})
    assert not found(tree, rec, "slirp_input", "m_get").typical.own_trusted
    assert not found(tree, rec, "slirp_input").typical.total_trusted


def test_costs_are_those_of_the_method():
    tree, rec = grown([("slirp_input",)], method=Method.INSTRUMENTED, costs={"emulated": Cost(9, 9)})
    assert found(tree, rec, "slirp_input").typical.own_corrected == STEP


def test_probes_on_the_way_to_the_system_call_are_taken_off_once():
    """By hand: whole calls before it, half of those around it, and the part of its own that lies before its time."""
    costs = {"emulated": Cost(6.0, 4.0), "syscall": Cost(2.0, 2.0)}
    tree, _ = grown(
        [("qemu_net_queue_send", ("user:receive", ("slirp_input", "m_get", ("tcp_input", "sendto"))))], costs=costs
    )
    # Events before sendto: 4 calls begin, and m_get ends as well; STEP between each two.
    assert tree.frames.until_syscall.tolist() == [6 * STEP]
    before, around, outermost, own = 6.0, 3 * 3.0, 4.0 / 2, 0.0
    assert tree.frames.until_syscall_corrected.tolist() == [6 * STEP - before - around - outermost - own]


def test_handing_a_frame_to_the_nic_is_less_its_probes():
    tree, _ = grown([DELIVER], costs={"emulated": Cost(3.0, 2.0)})
    (corrected,), (measured,) = tree.frames.to_guest_corrected, tree.frames.to_guest_whole
    assert measured - corrected == pytest.approx(2.0 + 3.0)


def test_frames_without_a_pause_between_are_a_burst():
    rec = recording([DELIVER] * 7)
    events = rec.events.copy()
    events["time"][4:] += PAUSE  # behind the first frame
    events["time"][12:] += PAUSE + 1  # behind two more
    tree = grow(replace(rec, events=events))
    assert tree.frames.bursts.tolist() == [1, 2, 4]
    assert tree.frames.burst == 4, "the fourth of seven frames came with three others"
    assert grow(recording([send()])).frames.burst is None


def test_long_times_without_a_frame_to_the_guest_are_kept():
    rec = recording([DELIVER] * 3)
    events = rec.events.copy()
    events["time"][4:] += WAIT
    events["time"][8:] += WAIT // 2
    tree = grow(replace(rec, events=events))
    assert tree.frames.waits.tolist() == [WAIT + 3 * STEP]
    assert "no frame for 0.2 s or longer: 1 times, 0.2 s in all" in shown(rec, tree, "x")


def test_a_backend_that_reads_in_a_function_without_a_name():
    """A stream's recvmsg is in no function that is watched, and reads frames; with another backend it is nobody's."""
    rec = recording(["recvmsg", DELIVER, DELIVER])
    stream = replace(rec, guest=replace(rec.guest, backends=("stream",)))
    assert grow(stream).frames.syscalls[Direction.TO_GUEST] == {"recvmsg": 1}
    assert grow(rec).frames.syscalls[Direction.TO_GUEST] == {}


def test_children_are_those_of_a_node_in_the_order_of_calls():
    tree, _ = grown([send(("sendto",)), send(REPLY), DELIVER, ("slirp_pollfds_poll", "recvfrom", REPLY)])
    for number in range(-1, len(tree.nodes)):
        mine = [n for n, node in enumerate(tree.nodes) if node.parent == number]
        assert tree.children(number) == sorted(mine, key=lambda n: (tree.nodes[n].after, -tree.nodes[n].total))

"""The study's Figures 3 to 5 come from recordings that can tell them, and of several from one of its own NIC."""

from __future__ import annotations

from dataclasses import replace

from tests.path.make import DELIVER, recording, send

from nfsleuth.path.model import Cost, Method
from nfsleuth.path.study import pictures
from nfsleuth.path.tree import grow

TAP = ("qemu_net_queue_send", ("tap:receive_iov", "writev"))


def of(backend, nic="rtl8139", method=Method.UPROBES, created="2026-11-22T12:00:00+00:00"):
    found = recording([TAP] if backend == "tap" else [send("sendto"), DELIVER], method=method)
    if method is Method.INSTRUMENTED:
        found = replace(found, costs={"instrumented": Cost(0.02, 0.01)})
    found = replace(found, guest=replace(found.guest, nics=(nic,), backends=(backend,)), created=created)
    return found, grow(found)


def test_all_three_are_drawn():
    found = pictures([of("tap"), of("user", method=Method.INSTRUMENTED), of("user")])
    assert [picture.name for picture in found] == ["path-user", "path-tap", "path-memory"]
    assert "in user mode" in found[0].title
    assert "user:receive" in found[0].svg
    assert "tap:receive_iov" in found[1].svg
    assert "memory management" in found[2].svg
    assert "22.9 %" in found[2].caption


def test_uprobes_give_no_shares():
    assert [picture.name for picture in pictures([of("user")])] == ["path-user"]
    assert pictures([]) == []


def test_the_studys_own_nic_goes_first():
    others = [of("user", "e1000", created="2026-11-22T10:00:00+00:00"), of("user")]
    assert "rtl8139 on user" in pictures(others)[0].svg
    assert "e1000 on user" in pictures(others[:1])[0].svg

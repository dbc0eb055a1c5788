"""Which software mounts."""

from __future__ import annotations

import pytest

from evidence.make import BOOT, LINUX_SYN, facts, linux
from nfsleuth.clients.facts import ClientId
from nfsleuth.evidence.client_os import client_os, host_name, owner_os


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (b"Linux NFSv4.2 web01", "linux"),
        (b"Linux NFSv4.0 10.0.2.15/10.77.0.1 tcp", "linux"),
        (b"Libnfs pid:2501 1795382560", "libnfs"),
        (b"0.0.0.0(8619, 7) - GANESHA NFSv4 Proxy", "ganesha"),
        (bytes(8) + b"01234567-89ab-cdef-0123-456789abcdef", "freebsd"),
        (bytes(10) + bytes([16, 2]) + bytes(14) + b"s:/x\0/m\0", "macos"),
        (b"", ""),
        (b"\xff" * 4000, ""),
    ],
)
def test_owner_strings(owner, name):
    assert owner_os(owner) == name


def test_v3_kernel_by_its_habits():
    found = client_os(facts(stamps=[("n", 0)], programs=["nfs", "nfsacl"], versions=["3"]))
    assert (found.name, found.sure) == ("linux", True)


def test_v3_program_with_stamp_zero():
    found = client_os(facts(stamps=[("n", 0)], versions=["3"], mount_ports=[1023], syns=[LINUX_SYN]))
    assert found.name == "user-space"


def test_v3_in_the_middle_is_a_guess():
    found = client_os(facts(stamps=[("n", 0)], versions=["3"]))
    assert (found.name, found.sure) == ("linux", False)


def test_old_linux_counts_seconds():
    client = facts()
    for second in (0, 10, 60):
        client.stamps.see(("n", 5000 + second), 1, BOOT + second * 10**9)
    assert client_os(client).name == "linux"


def test_stamp_that_stands_still_is_a_program():
    assert client_os(facts(stamps=[("n", 3840)])).name == "user-space"


def test_nothing_known():
    found = client_os(facts())
    assert found.name == ""
    assert str(found) == "not known"


def test_own_words_before_habits():
    client = linux(stamps=[("n", 77)])
    client.client_ids = (ClientId(b"Linux NFSv4.1 n", BOOT, 1, BOOT, 1),)
    assert client_os(client).sure


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (b"Linux NFSv4.1 web01", "web01"),
        (b"Linux NFSv4.2 4f1a/web01.example.net", "web01.example.net"),
        (b"Linux NFSv4.0 web01/10.0.0.1", "web01"),
        (b"Linux NFSv4.0 web01/4f1a/fd00::1", "web01"),
        (b"Linux NFSv4.0 web01", "web01"),
        (b"Linux NFSv4.0 4f1a/web01", "web01"),
        (b"GNU/Linux NFSv4.1 web01", "web01"),
        (b"Linux NFSv4.0 10.0.2.15/10.0.0.1 tcp", ""),
        (b"Linux NFSv4.0 fe80::2/fe80::1 tcp6", ""),
        (b"Linux NFSv4.1 ", ""),
        (b"Libnfs pid:7 9", ""),
        (b"Linux NFSv4.1 \xff\x1b", "\xff\x1b"),
        (b"", ""),
    ],
)
def test_a_linux_owner_string_holds_its_hosts_name(owner: bytes, name: str) -> None:
    assert host_name(owner) == name

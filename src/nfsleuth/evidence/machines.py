"""Facts of two clients in, whether they are two machines out: names and boot instances, not programs.

Several processes of one machine each have their own owner string (libnfs), so owners alone do not count.
"""

from __future__ import annotations

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.client_os import software
from nfsleuth.evidence.once import once_per_client

# Linux verifiers are wall-clock ns of the network namespace's start (fs/nfs/client.c): from 2001 to 2100.
LINUX_VERIFIERS = range(10**18, 4_102_444_800 * 10**9)
PROGRAM_NAMES = {"libnfs", ""}  # names that programs give, whatever machine they run on


@once_per_client
def names(client: Facts, around: Household) -> set[str]:
    """Machine names that are a machine's own."""
    return {n for n in (*client.names, *client.nlm_callers) if n not in PROGRAM_NAMES}


@once_per_client
def boots(client: Facts, around: Household) -> set[int]:
    """Verifiers that are a Linux client's boot instance."""
    if software(client, around).name != "linux":
        return set()
    return {record.verifier for record in client.client_ids if record.verifier in LINUX_VERIFIERS}


def overlap(a: Facts, b: Facts) -> bool:
    """Whether both were seen alive at some time."""
    return a.first <= b.last and b.first <= a.last


def two_machines(a: Facts, b: Facts, around: Household) -> str:
    """Why `a` and `b` are different machines, or "" if they may be one."""
    names_a, names_b = names(a, around), names(b, around)
    if names_a and names_b and not names_a & names_b:
        return f"names {min(names_a)[:32]} and {min(names_b)[:32]}"
    boots_a, boots_b = boots(a, around), boots(b, around)
    if boots_a and boots_b and not boots_a & boots_b and overlap(a, b):
        return "two boot instances alive at once"
    return ""

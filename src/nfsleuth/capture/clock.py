"""Ticks of any resolution come in, ns since 1970 come out: exact (rounded down), and saturated where int64 ends.

pcapng counts time in 64-bit units of 10^-n or 2^-n seconds, n up to 127 (if_tsresol), from an epoch that may be moved
by a 64-bit number of seconds (if_tsoffset): draft-ietf-opsawg-pcapng, section 4.2.
"""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import part

MOST = 2**63 - 1  # of int64
LEAST = -(2**63)
SECOND = 1_000_000_000  # ns
SECONDS_MOST = MOST // SECOND - 1  # a whole second is left for the fraction
SECONDS_LEAST = LEAST // SECOND + 1
POWER_MOST = 19  # largest power of ten in 64 bits


def scale_of(power: int, binary: bool, offset: int) -> tuple[int, int]:
    """(ns per tick, the most ticks) where a multiplication alone turns ticks into ns, (0, -1) where it takes more.

    power, binary, offset: as in `nanoseconds`.
    """
    if offset or (binary and power) or power > 9:
        return 0, -1
    scale = SECOND if binary else 10 ** (9 - power)
    return scale, SECONDS_MOST * SECOND // scale


@part
def split_decimal(ticks, power):
    """(seconds, ns) of ticks (uint64) of 10^-power seconds, both uint64."""
    if power > POWER_MOST:  # even 2^64 ticks are less than two seconds, and below 10^-28 less than one ns
        whole = np.uint64(0)
        rest = ticks
    else:
        unit = np.uint64(1)
        for _ in range(power):
            unit = unit * np.uint64(10)
        whole = ticks // unit
        rest = ticks - whole * unit
    if power <= 9:
        for _ in range(9 - power):
            rest = rest * np.uint64(10)
        return whole, rest
    for _ in range(min(power - 9, 20)):  # 20 divisions by ten leave nothing of 64 bits
        rest = rest // np.uint64(10)
    return whole, rest


@part
def split_binary(ticks, power):
    """(seconds, ns) of ticks (uint64) of 2^-power seconds, both uint64."""
    if power >= 64:
        whole = np.uint64(0)
        rest = ticks
    else:
        whole = ticks >> np.uint64(power)
        rest = ticks - (whole << np.uint64(power))
    # rest * 10^9 takes up to 94 bits: in two halves, high * 2^32 + low. Two shifts round down as one does.
    high = (rest >> np.uint64(32)) * np.uint64(SECOND)
    low = (rest & np.uint64(0xFFFF_FFFF)) * np.uint64(SECOND)
    if power <= 32:  # rest is below 2^power: high is 0
        return whole, low >> np.uint64(power)
    shift = power - 32
    if shift >= 64:
        return whole, np.uint64(0)
    return whole, (high + (low >> np.uint64(32))) >> np.uint64(shift)


@part
def nanoseconds(ticks, power, binary, offset):
    """(ns since 1970 as int64, whether it saturated).

    ticks: uint64 units of 10^-power seconds, or of 2^-power if `binary`. offset: int64 seconds to add.
    """
    if binary:
        whole, rest = split_binary(ticks, power)
    else:
        whole, rest = split_decimal(ticks, power)
    if whole > np.uint64(MOST):
        if offset >= 0:
            return np.int64(MOST), True
        whole = whole - np.uint64(MOST) - np.uint64(1)
        offset = offset + MOST + 1
    seconds = np.int64(whole)
    if offset > MOST - seconds:
        return np.int64(MOST), True
    seconds = seconds + offset
    if seconds > SECONDS_MOST:
        return np.int64(MOST), True
    if seconds < SECONDS_LEAST:
        return np.int64(LEAST), True
    return np.int64(seconds * SECOND + np.int64(rest)), False

"""The tables that a tally is made of: what goes in, and what is remembered of each host, file and block."""

from __future__ import annotations

from enum import IntEnum
from functools import cache

import numpy as np


class Kind(IntEnum):
    """What an EVENT tells."""

    READ = 0  # data of a file was sent to a guest
    WRITE = 1  # a byte range of a file became another
    CHANGED = 2  # a file became another, and where is not known
    SIGHTED = 3  # nothing but the attributes


EVENT = np.dtype(
    [
        ("kind", np.uint8),  # Kind
        ("known", np.uint8),  # 1, 2: `change` is known, and of which sort: only changes of one sort are compared
        ("host", np.int32),  # number from 0; of READs only
        ("guest", np.int32),  # number from 0, unique among all hosts
        ("file", np.int32),  # number from 0; equal on all hosts
        ("use", np.int32),  # number of the pair of host and file, READs only; `Tally` fills it in
        ("offset", np.int64),
        ("bytes", np.int64),
        ("change", np.uint64),  # change attribute that the reply brought, of `file`
        ("called", np.int64),  # time of the call, ns
        ("time", np.int64),  # time of the reply, ns; of the call where there was none
    ],
    align=True,
)

SORTS = 2  # of change attributes: NFSv4's, and the time that stands in for it in NFSv3
UNITS = 64  # parts of a block that are told apart: bits of a mask
LEAST_BLOCK = 512  # bytes: a sector; a unit is 8 bytes then
MOST_BLOCK = 1 << 24
MOST_END = 1 << 62  # bytes: no file is longer, and what ends behind it is not believed
RATE_BITS = 32  # a block is in the sample if this many bits of its hash are below the threshold
WHOLE = 1 << RATE_BITS  # threshold that takes every block
RUN_BITS = 10  # a run is 1,024 blocks of a file, of which a sample holds its share as exactly as can be
MOST_SHARERS = 64  # guests of a host that are told apart for one block
GROUPS = 8  # random parts of a sample, whose scatter tells its error
FINE, COARSE = 5, 4  # bits: 32 classes per doubling for times, 16 for distances
MOST_DISTANCE = (1 << 40) - 1  # blocks; longer distances are in the last class
TIMES, DISTANCES = (64 - FINE) << FINE, (40 - COARSE + 1) << COARSE  # classes

BLOCK = np.dtype(
    [
        ("use", np.int32),
        ("version", np.int32),  # of the use, when the masks were true
        ("head", np.int32),  # first NODE
        ("after", np.int32),  # next block in the same bucket, or -1
        ("next", np.int32),  # next block of the same host, or -1
        ("block", np.int64),
        ("hash", np.uint64),
        ("ever", np.uint64),  # units that the host was ever sent
        ("first", np.int64),  # time when the host began to read it as it is now
        ("place", np.int64),  # in the order of use of its host, from 1
    ],
    align=True,
)

# A place in the order of use of the newest blocks of a host, which are all followed where the sample leaves most out.
# Places are numbered from 1; a block that is used again leaves its place and takes the next one.
NEWEST = np.dtype(
    [
        ("use", np.int32),  # -1: its block left it
        ("version", np.int32),  # of the use, when the mask was true
        ("after", np.int32),  # next place in the same bucket, or 0
        ("head", np.int32),  # first place in the bucket that has the number of this row, or 0
        ("block", np.int64),
        ("has", np.uint64),  # units that the host was sent since the block is among the newest
    ],
    align=True,
)

NODE = np.dtype(
    [
        ("guest", np.int32),
        ("after", np.int32),  # next node of the block, or -1
        ("seen", np.uint64),  # units that this guest was sent
        ("level", np.uint64),  # units that at least n guests were sent, in the n-th node
    ],
    align=True,
)

USE = np.dtype(
    [
        ("host", np.int32),
        ("file", np.int32),
        ("after", np.int32),  # next use of the same file, or -1
        ("version", np.int32),  # how often the file changed as a whole
        ("reads", np.int64),
        ("sent", np.int64),  # bytes
        ("sampled", np.int64),  # blocks that are, or were, in the sample
        ("distinct", np.float64),  # bytes; these and the following are estimates if there is a sample
        ("shared", np.float64),  # bytes that a second guest was sent
        ("changed", np.float64),  # bytes that were sent again as others
    ],
    align=True,
)

FILE = np.dtype(
    [
        ("first", np.int32),  # first use, or -1
        ("read", np.uint8),  # 1: it was read
        ("known", np.uint8, SORTS),  # 1: `change` is known
        ("change", np.uint64, SORTS),
        ("sighted", np.int64, SORTS),  # time of the call whose reply told `change`
        ("modified", np.int64),  # time of the last reply to a call that changed it
        ("hidden", np.int64),  # times that it changed without a call in the capture, after it was read
    ],
    align=True,
)

HOST = np.dtype(
    [
        ("start", np.int64),  # where its places and distances begin in the arrays of all hosts
        ("size", np.int64),  # how many there are
        ("last", np.int64),  # place given last
        ("live", np.int64),  # blocks,
        ("first", np.int64),  # and the row of one of them, or -1
        ("reads", np.int64),
        ("sent", np.int64),  # bytes
        ("taken", np.float64),  # of these, those that the sample stands for, without what the newest blocks held
        ("own", np.float64),  # bytes that the guest itself had been sent before
        ("others", np.float64),  # bytes that only other guests had been sent before
        ("changed", np.float64),
        ("depth", np.int64),  # how many of its newest blocks are all followed; 0 while every block is in the sample,
        ("base", np.int64),  # where their places begin in the NEWEST of all hosts,
        ("places", np.int64),  # and how many there are,
        ("buckets", np.int64),  # and of their buckets, a power of 2
        ("oldest", np.int64),  # no place before it is taken
        ("newest", np.int64),  # place given last
        ("kept", np.int64),  # places that are taken
    ],
    align=True,
)


class Control(IntEnum):
    """Cells of the array that a kernel and its shell talk through."""

    EVENT = 0  # the event to go on with,
    BLOCK = 1  # and its block; -1: from its first one on
    BLOCKS = 2  # rows used
    NODES = 3
    THRESHOLD = 4  # hashes below it are in the sample
    SIZE = 5  # of a block
    SALT = 6  # of the buckets: random, so that no capture can make them collide
    SEED = 7  # of the sample: given, so that it can be had again
    HOST = 8  # whose places are used up
    UNALIGNED = 9  # reads that begin inside a unit


class Need(IntEnum):
    """Why a kernel returned before the last event."""

    NOTHING = 0
    BLOCKS = 1  # rows of blocks or nodes
    PLACES = 2  # of the host in the control array


@cache
def class_bounds(bits: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """int64[classes] each: the smallest number in each class of `kernel.class_of`, and how many numbers it has."""
    number = np.arange(classes)
    shift = np.maximum((number >> bits) - 1, 0)
    begins, widths = (number - (shift << bits)) << shift, np.left_shift(1, shift)
    begins.flags.writeable = widths.flags.writeable = False  # they are everybody's
    return begins, widths

"""EVENT rows come in, one after the other; the tables of a tally change. Compiled, as all that is done per call.

A block is known by its use (a file on a host) and its number. Its masks have a bit per unit, a 64th of the block. Its
nodes, one per guest that read of it, hold two masks each: what that guest was sent, and, in the n-th node, what at
least n guests were sent. So the n-th mask minus the next is what exactly n guests were sent, and the first of them is
what the host has.

The place of a block in its host's order of use is the number of the read that used it last. A Fenwick tree (Fenwick,
Software: Practice and Experience 24(3), 1994) over the places counts the blocks that were used since: the stack
distance (Mattson et al., IBM Systems Journal 9(2), 1970). Places are given anew when they are used up.

Where the sample leaves blocks out, the newest blocks of each host are followed beside it, all of them, in less room: an
LRU list of `depth` blocks with the same two things, places and a tree. It says exactly what caches up to that size hit;
the sample is asked only about reads that such a cache misses.
"""

from __future__ import annotations

import numpy as np

from nfsleuth.compiled import entry, part
from nfsleuth.sharing.tables import (
    COARSE,
    FINE,
    GROUPS,
    MOST_DISTANCE,
    MOST_SHARERS,
    RATE_BITS,
    RUN_BITS,
    UNITS,
    WHOLE,
    Control,
    Kind,
    Need,
)
from nfsleuth.trace.hashing import mix

ALL, NONE, ONE = np.uint64(0xFFFF_FFFF_FFFF_FFFF), np.uint64(0), np.uint64(1)
READ, WRITE, CHANGED = np.int64(Kind.READ), np.int64(Kind.WRITE), np.int64(Kind.CHANGED)
GOLDEN = np.uint64(0x9E37_79B9_7F4A_7C15)  # 2**64 / golden ratio, odd
LAST_OF_RUN = np.uint64((1 << RUN_BITS) - 1)
NOTHING, BLOCKS, PLACES = np.int64(Need.NOTHING), np.int64(Need.BLOCKS), np.int64(Need.PLACES)


@entry
def take(
    control, events, blocks, nodes, buckets, uses, files, hosts, order, distances, groups, reach, waits,
    newest, newest_order, newest_hits,
):  # fmt: skip
    """Take in events from number control[EVENT] on; returns a Need: 0 all are taken, else what there is too little of.

    blocks, nodes, uses, files, hosts: tables of those names. buckets: int32, a power of 2 of them: first block or -1.
    order: int32, the Fenwick trees of all hosts; distances: float64, as long: bytes hit at each stack distance.
    groups: float64[hosts, GROUPS, DISTANCES + 1]: the same in classes, per group; the last one is all bytes.
    reach: float64[hosts, MOST_SHARERS]: bytes that at least n + 1 guests read. waits: float64[hosts, TIMES]: bytes by
    the time from the first guest to the second. newest: NEWEST of all hosts; newest_order: int32, newest_hits: float64,
    as long: their Fenwick trees, and the bytes that were hit at each stack distance below the depth of the host.
    """
    while control[Control.EVENT] < len(events):
        event = events[control[Control.EVENT]]
        kind = np.int64(event["kind"])
        resumed = control[Control.BLOCK] >= 0
        if not resumed:
            if kind == WRITE or kind == CHANGED:
                _modify(control, event, blocks, nodes, buckets, uses, files, hosts, newest)
            if event["known"] > 0:
                _sight(event, uses, files)
            if kind == READ:
                _count(control, event, uses, files, hosts)
                control[Control.BLOCK] = event["offset"] // control[Control.SIZE]
        if kind == READ:
            end = event["offset"] + event["bytes"]
            while control[Control.BLOCK] * control[Control.SIZE] < end:
                need = _read(
                    control, event, blocks, nodes, buckets, uses, hosts, order, distances, groups, reach, waits,
                    newest, newest_order, newest_hits,
                )  # fmt: skip
                if need != 0:
                    return need
                control[Control.BLOCK] += 1
            control[Control.BLOCK] = -1
        control[Control.EVENT] += 1
    return NOTHING


@part
def _count(control, event, uses, files, hosts):
    """What is counted of every read, whether in the sample or not."""
    use, host = uses[event["use"]], hosts[event["host"]]
    use["reads"] += 1
    use["sent"] += event["bytes"]
    host["reads"] += 1
    files[event["file"]]["read"] = 1
    host["sent"] += event["bytes"]
    if event["offset"] % (control[Control.SIZE] // UNITS) != 0:
        control[Control.UNALIGNED] += 1


@part
def _sight(event, uses, files):
    """A change attribute was seen: if it is another, and no call in the capture is to blame, the file changed."""
    file = files[event["file"]]
    sort = np.int64(event["known"]) - 1
    # A call that was answered after the attribute was asked for the last time explains that it is another now.
    if (
        file["known"][sort] == 1
        and file["change"][sort] != event["change"]
        and file["modified"] < file["sighted"][sort]
    ):
        file["hidden"] += file["read"]
        _replace(event["file"], uses, files)
    file["known"][sort] = 1
    file["change"][sort] = event["change"]
    file["sighted"][sort] = event["called"]


@part
def _replace(number, uses, files):
    """The file with this number is another as a whole: what is remembered of its blocks holds no more."""
    use = np.int64(files[number]["first"])
    while use >= 0:
        uses[use]["version"] += 1
        use = np.int64(uses[use]["after"])


@part
def _modify(control, event, blocks, nodes, buckets, uses, files, hosts, newest):
    """A file was changed by a call."""
    files[event["file"]]["modified"] = max(files[event["file"]]["modified"], event["time"])
    if event["kind"] == CHANGED:
        _replace(event["file"], uses, files)
        return
    size = control[Control.SIZE]
    end = event["offset"] + event["bytes"]
    use = np.int64(files[event["file"]]["first"])
    while use >= 0:
        number = event["offset"] // size
        while number * size < end:
            kept = ~_mask(max(event["offset"] - number * size, 0), min(end - number * size, size), size // UNITS)
            host = np.int64(uses[use]["host"])
            place = _place(control, hosts, host, newest, use, number)
            if place > 0:
                newest[hosts[host]["base"] + place - 1]["has"] &= kept
            row = _find(control, blocks, buckets, use, number, _hash(control, event["file"], number))
            if row >= 0:
                _freshen(blocks, nodes, uses, row)
                node = np.int64(blocks[row]["head"])
                while node >= 0:
                    nodes[node]["seen"] &= kept
                    nodes[node]["level"] &= kept
                    node = np.int64(nodes[node]["after"])
            number += 1
        use = np.int64(uses[use]["after"])


@part
def _freshen(blocks, nodes, uses, row):
    """Forget what a block held before its file became another."""
    use = blocks[row]["use"]
    if blocks[row]["version"] != uses[use]["version"]:
        blocks[row]["version"] = uses[use]["version"]
        node = np.int64(blocks[row]["head"])
        while node >= 0:
            nodes[node]["seen"] = 0
            nodes[node]["level"] = 0
            node = np.int64(nodes[node]["after"])


@part
def _stirred(z):
    """The finaliser of SplitMix64 (Steele et al., OOPSLA 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return z ^ (z >> np.uint64(31))


@part
def _hash(control, file, number):
    """Hash of a block of a file, equal on all hosts; its highest bits say whether the block is in the sample.

    The first RUN_BITS of them are a random permutation of the blocks of a run: so of each whole run the same number is
    in a sample, and a sample of a file that is read from its beginning to its end is as large as it should be. (With
    bits that are independent of each other, a hundredth of 300,000 blocks is 3,000 +- 54: a loop would seem to need 2 %
    more or less room than it does.)
    """
    seed = mix(np.uint64(control[Control.SEED]), np.uint64(file))
    block = _stirred(seed + np.uint64(number) * GOLDEN)
    run = _stirred(~seed + np.uint64(number >> RUN_BITS) * GOLDEN)
    place = (np.uint64(number) ^ run) & LAST_OF_RUN
    for turn in range(
        1, 4
    ):  # odd factors and shifts that add themselves can be undone: none gives two blocks one place
        factor = (run >> np.uint64(RUN_BITS * turn)) | ONE
        place = (place * factor) & LAST_OF_RUN
        place ^= place >> np.uint64(RUN_BITS // 2)
    low = block & np.uint64((1 << (64 - RUN_BITS)) - 1)
    return (place << np.uint64(64 - RUN_BITS)) | low


@part
def _bucket(control, buckets, use, key):
    """Bucket of a block with the hash `key` in a use."""
    stirred = mix(mix(np.uint64(control[Control.SALT]), key), np.uint64(use))
    return np.int64((stirred >> np.uint64(20)) & np.uint64(len(buckets) - 1))


@part
def _find(control, blocks, buckets, use, number, key):
    """Row of a block, or -1."""
    if np.int64(key >> np.uint64(64 - RATE_BITS)) >= control[Control.THRESHOLD]:
        return np.int64(-1)
    row = np.int64(buckets[_bucket(control, buckets, use, key)])
    while row >= 0 and (blocks[row]["use"] != use or blocks[row]["block"] != number):
        row = np.int64(blocks[row]["after"])
    return row


@part
def _mask(begin, end, unit):
    """Bits of the units that the bytes from `begin` to before `end` of a block touch; begin < end."""
    first, last = np.uint64(begin // unit), np.uint64((end - 1) // unit)
    return (ALL << first) & (ALL >> (np.uint64(UNITS - 1) - last))


@part
def _weigh(mask, begin, end, unit):
    """Bytes, of those from `begin` to before `end`, in the units of `mask`, which are among those that they touch."""
    x = mask
    x = x - ((x >> ONE) & np.uint64(0x5555_5555_5555_5555))
    x = (x & np.uint64(0x3333_3333_3333_3333)) + ((x >> np.uint64(2)) & np.uint64(0x3333_3333_3333_3333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F_0F0F_0F0F_0F0F)
    total = np.int64((x * np.uint64(0x0101_0101_0101_0101)) >> np.uint64(56)) * unit
    first, last = begin // unit, (end - 1) // unit
    if (mask >> np.uint64(first)) & ONE:
        total -= begin - first * unit
    if (mask >> np.uint64(last)) & ONE:
        total -= (last + 1) * unit - end
    return total


@part
def class_of(value, bits):
    """Class of a number from 0 on: itself below 2 << bits, above that 1 << bits classes per doubling."""
    shift = 0
    while value >> (shift + bits + 1) > 0:
        shift += 1
    return (shift << bits) + (value >> shift)


@part
def _room(control, blocks, nodes, host):
    """Whether one more read of a block surely finds room."""
    if control[Control.BLOCKS] >= len(blocks) or control[Control.NODES] >= len(nodes):
        return BLOCKS
    return PLACES if host["last"] >= host["size"] else NOTHING


@part
def _read(
    control, event, blocks, nodes, buckets, uses, hosts, order, distances, groups, reach, waits,
    newest, newest_order, newest_hits,
):  # fmt: skip
    """The part of a READ that lies in the block control[BLOCK]. Returns a Need; nothing was done if it is not 0."""
    number, size = control[Control.BLOCK], control[Control.SIZE]
    key = _hash(control, event["file"], number)
    sampled = np.int64(key >> np.uint64(64 - RATE_BITS)) < control[Control.THRESHOLD]
    h = np.int64(event["host"])
    if sampled:
        need = _room(control, blocks, nodes, hosts[h])
        if need != 0:
            if need == PLACES:
                control[Control.HOST] = h
            return need
    begin = max(event["offset"] - number * size, 0)
    end = min(event["offset"] + event["bytes"] - number * size, size)
    unit = size // UNITS
    held = np.int64(0)
    if hosts[h]["depth"] > 0:
        held = _renew(control, event, number, begin, end, uses, hosts, newest, newest_order, newest_hits)
    if not sampled:
        return NOTHING
    weight = WHOLE / control[Control.THRESHOLD]
    wanted = _mask(begin, end, unit)
    use = np.int64(event["use"])
    row = _find(control, blocks, buckets, use, number, key)
    distance = np.int64(-1)
    if row < 0:
        row = _insert(control, blocks, nodes, buckets, uses, use, number, key, np.int64(event["guest"]))
        blocks[row]["next"] = hosts[h]["first"]
        hosts[h]["first"] = row
        hosts[h]["live"] += 1
    else:
        _freshen(blocks, nodes, uses, row)
        distance = hosts[h]["live"] - _before(order, hosts[h]["start"], blocks[row]["place"])
        _add(order, hosts[h]["start"], hosts[h]["size"], blocks[row]["place"], -1)
    hosts[h]["last"] += 1
    blocks[row]["place"] = hosts[h]["last"]
    _add(order, hosts[h]["start"], hosts[h]["size"], hosts[h]["last"], 1)

    head = np.int64(blocks[row]["head"])
    had = nodes[head]["level"]
    if had == 0:
        blocks[row]["first"] = event["time"]
    new = wanted & ~had
    fresh = weight * _weigh(new, begin, end, unit)
    again = weight * _weigh(wanted & had, begin, end, unit)
    changed = weight * _weigh(new & blocks[row]["ever"], begin, end, unit)
    blocks[row]["ever"] |= wanted
    uses[use]["distinct"] += fresh
    uses[use]["changed"] += changed
    hosts[h]["changed"] += changed
    far = again - weight * held  # a cache as large as the newest blocks are many does not hit it
    hosts[h]["taken"] += fresh + far
    group = np.int64((key >> np.uint64(8)) % np.uint64(GROUPS))
    groups[h, group, groups.shape[2] - 1] += fresh + far
    if far > 0:
        depth = hosts[h]["depth"]
        nearest = (depth * control[Control.THRESHOLD]) >> RATE_BITS
        distances[hosts[h]["start"] + min(max(distance, nearest), hosts[h]["size"] - 1)] += far
        groups[h, group, class_of(np.int64(min(max(distance * weight, depth), MOST_DISTANCE)), COARSE)] += far

    node = _node(control, nodes, head, np.int64(event["guest"]))
    rising = new  # a guest too many to be told apart
    if node >= 0:
        own = weight * _weigh(wanted & had & nodes[node]["seen"], begin, end, unit)
        hosts[h]["own"] += own
        hosts[h]["others"] += again - own
        rising = wanted & ~nodes[node]["seen"]
        nodes[node]["seen"] |= wanted
    else:
        hosts[h]["others"] += again
    level = np.int64(0)
    node = head
    while node >= 0 and rising != 0:
        risen = rising & ~nodes[node]["level"]
        rising &= nodes[node]["level"]
        nodes[node]["level"] |= risen
        if risen != 0:
            amount = weight * _weigh(risen, begin, end, unit)
            reach[h, level] += amount
            if level == 1:
                uses[use]["shared"] += amount
                waits[h, class_of(max(event["time"] - blocks[row]["first"], 0), FINE)] += amount
        level += 1
        node = np.int64(nodes[node]["after"])
    return NOTHING


@part
def _insert(control, blocks, nodes, buckets, uses, use, number, key, guest):
    """A row for a block that is not known yet, with a node for its first guest."""
    row, node = control[Control.BLOCKS], control[Control.NODES]
    control[Control.BLOCKS] += 1
    control[Control.NODES] += 1
    place = _bucket(control, buckets, use, key)
    block = blocks[row]
    block["use"] = use
    block["version"] = uses[use]["version"]
    block["head"] = node
    block["after"] = buckets[place]
    block["block"] = number
    block["hash"] = key
    block["ever"] = 0
    buckets[place] = row
    _begin(nodes, node, guest)
    uses[use]["sampled"] += 1
    return row


@part
def _begin(nodes, node, guest):
    nodes[node]["guest"] = guest
    nodes[node]["after"] = -1
    nodes[node]["seen"] = 0
    nodes[node]["level"] = 0


@part
def _node(control, nodes, head, guest):
    """The node of a guest in the chain from `head` on, a new one if there is none; -1 if there are too many."""
    node, last = head, head
    length = np.int64(0)
    while node >= 0:
        if nodes[node]["guest"] == guest:
            return node
        last = node
        node = np.int64(nodes[node]["after"])
        length += 1
    if length >= MOST_SHARERS:
        return np.int64(-1)
    node = control[Control.NODES]
    control[Control.NODES] += 1
    nodes[last]["after"] = node
    _begin(nodes, node, guest)
    return node


@part
def _add(order, start, size, place, amount):
    """Count `amount` more blocks at a place of the tree that begins at `start`."""
    i = place
    while i <= size:
        order[start + i - 1] += amount
        i += i & -i


@part
def _before(order, start, place):
    """Blocks up to and with a place."""
    total = np.int64(0)
    i = place
    while i > 0:
        total += order[start + i - 1]
        i -= i & -i
    return total


@part
def _renew(control, event, number, begin, end, uses, hosts, newest, newest_order, newest_hits):
    """Make a block the newest of its host. Returns the bytes of the read that it held, if it was among the newest."""
    h, use = np.int64(event["host"]), np.int64(event["use"])
    base, unit = hosts[h]["base"], control[Control.SIZE] // UNITS
    version, wanted = uses[use]["version"], _mask(begin, end, unit)
    has, held = NONE, np.int64(0)
    place = _place(control, hosts, h, newest, use, number)
    if place > 0:
        if newest[base + place - 1]["version"] == version:
            has = newest[base + place - 1]["has"]
        held = _weigh(wanted & has, begin, end, unit)
        newest_hits[base + hosts[h]["kept"] - _before(newest_order, base, place)] += held
        _leave(control, hosts, h, newest, newest_order, place)
    elif hosts[h]["kept"] >= hosts[h]["depth"]:
        while newest[base + hosts[h]["oldest"] - 1]["use"] < 0:
            hosts[h]["oldest"] += 1
        _leave(control, hosts, h, newest, newest_order, hosts[h]["oldest"])
    if hosts[h]["newest"] >= hosts[h]["places"]:
        _close_ranks(control, hosts, h, newest, newest_order)
    hosts[h]["newest"] += 1
    hosts[h]["kept"] += 1
    row = newest[base + hosts[h]["newest"] - 1]
    row["use"] = use
    row["version"] = version
    row["block"] = number
    row["has"] = has | wanted
    _enter(control, hosts, h, newest, hosts[h]["newest"])
    _add(newest_order, base, hosts[h]["places"], hosts[h]["newest"], 1)
    return held


@part
def _newest_bucket(control, hosts, h, use, number):
    """Row of the bucket of a block of the host `h`, among all NEWEST."""
    stirred = mix(mix(np.uint64(control[Control.SALT]), np.uint64(number)), np.uint64(use))
    return hosts[h]["base"] + np.int64((stirred >> np.uint64(20)) & np.uint64(hosts[h]["buckets"] - 1))


@part
def _place(control, hosts, h, newest, use, number):
    """Place of a block among the newest of the host `h`, or 0."""
    if hosts[h]["kept"] == 0:
        return np.int64(0)
    base = hosts[h]["base"]
    place = np.int64(newest[_newest_bucket(control, hosts, h, use, number)]["head"])
    while place > 0 and (newest[base + place - 1]["use"] != use or newest[base + place - 1]["block"] != number):
        place = np.int64(newest[base + place - 1]["after"])
    return place


@part
def _enter(control, hosts, h, newest, place):
    """Chain a place into the bucket of its block."""
    row = newest[hosts[h]["base"] + place - 1]
    bucket = _newest_bucket(control, hosts, h, np.int64(row["use"]), row["block"])
    row["after"] = newest[bucket]["head"]
    newest[bucket]["head"] = place


@part
def _leave(control, hosts, h, newest, newest_order, place):
    """Empty a place."""
    base = hosts[h]["base"]
    row = newest[base + place - 1]
    bucket = _newest_bucket(control, hosts, h, np.int64(row["use"]), row["block"])
    before = np.int64(newest[bucket]["head"])
    if before == place:
        newest[bucket]["head"] = row["after"]
    else:
        while newest[base + before - 1]["after"] != place:
            before = np.int64(newest[base + before - 1]["after"])
        newest[base + before - 1]["after"] = row["after"]
    row["use"] = -1
    _add(newest_order, base, hosts[h]["places"], place, -1)
    hosts[h]["kept"] -= 1


@part
def _close_ranks(control, hosts, h, newest, newest_order):
    """Give the newest blocks of a host the places 1, 2, ... in their order."""
    base, places, kept = hosts[h]["base"], hosts[h]["places"], np.int64(0)
    for place in range(hosts[h]["oldest"], hosts[h]["newest"] + 1):
        if newest[base + place - 1]["use"] >= 0:
            newest[base + kept] = newest[base + place - 1]
            kept += 1
    for row in range(base, base + hosts[h]["buckets"]):
        newest[row]["head"] = 0
    for place in range(1, places + 1):
        # A cell of a Fenwick tree is the sum over the last i & -i places up to i; the first `kept` of them are taken.
        newest_order[base + place - 1] = min(place, kept) - min(place - (place & -place), kept)
    for place in range(1, kept + 1):
        _enter(control, hosts, h, newest, place)
    hosts[h]["oldest"], hosts[h]["newest"], hosts[h]["kept"] = 1, kept, kept


@entry
def settle(control, hosts, h, newest, newest_order):
    """Make the newest blocks of a host ready for use: `newest` of them have been written to its first rows."""
    _close_ranks(control, hosts, h, newest, newest_order)


@entry
def chain(control, blocks, buckets, uses, hosts):
    """Chain the blocks in empty buckets, and in their hosts, whose `first` is -1."""
    for row in range(control[Control.BLOCKS]):
        block = blocks[row]
        place = _bucket(control, buckets, np.int64(block["use"]), block["hash"])
        block["after"] = buckets[place]
        buckets[place] = row
        host = hosts[uses[block["use"]]["host"]]
        block["next"] = host["first"]
        host["first"] = row


@entry
def list_blocks(blocks, first, rows):
    """Write the rows of a host's blocks, beginning with the row `first`, to `rows` (int64); returns their number."""
    n = np.int64(0)
    row = np.int64(first)
    while row >= 0:
        rows[n] = row
        n += 1
        row = np.int64(blocks[row]["next"])
    return n


@entry
def move_nodes(control, blocks, nodes, fresh):
    """Copy the nodes of the blocks that there are to `fresh`; returns their number."""
    to = np.int64(0)
    for row in range(control[Control.BLOCKS]):
        node = np.int64(blocks[row]["head"])
        blocks[row]["head"] = to
        while node >= 0:
            fresh[to] = nodes[node]
            node = np.int64(nodes[node]["after"])
            if node >= 0:
                fresh[to]["after"] = to + 1
            to += 1
    return to

"""The twin of `sharing.tally`: byte by byte in plain Python, with an LRU cache that is simulated for every size.

It knows the definitions of docs/sharing.md and nothing of how the kernel does it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict

from nfsleuth.sharing.tables import UNITS, Kind


class Naive:
    """block: bytes. caches: sizes in blocks."""

    def __init__(self, block, caches):
        self.block, self.unit, self.caches = block, block // UNITS, caches
        self.has = defaultdict(dict)  # host -> (file, byte) -> guests that were sent it as it is now
        self.ever = defaultdict(set)
        self.began = {}  # (host, file, block) -> time
        self.lru = {}  # (host, size) -> blocks, the one used last at the end
        self.sent, self.own, self.others, self.changed = Counter(), Counter(), Counter(), Counter()
        self.reach = defaultdict(Counter)  # host -> how many guests at least -> bytes
        self.waits = defaultdict(Counter)
        self.hits = Counter()  # (host, cache) -> bytes
        self.by_use = defaultdict(Counter)
        self.attribute, self.modified = {}, {}
        self.hidden = 0

    def feed(self, e):
        if e["kind"] in (Kind.WRITE, Kind.CHANGED):
            self.modified[e["file"]] = max(self.modified.get(e["file"], 0), e["time"])
            everything = e["kind"] == Kind.CHANGED
            begin = e["offset"] // self.unit * self.unit
            end = -(-(e["offset"] + e["bytes"]) // self.unit) * self.unit
            self.forget(e["file"], None if everything else range(begin, end))
        if e["known"]:
            before = self.attribute.get((e["file"], e["known"]))
            if before and before[0] != e["change"] and self.modified.get(e["file"], 0) < before[1]:
                self.hidden += any(file == e["file"] for _, file in self.by_use)
                self.forget(e["file"], None)
            self.attribute[e["file"], e["known"]] = e["change"], e["called"]
        if e["kind"] == Kind.READ:
            self.read(e)

    def forget(self, file, places):
        for has in self.has.values():
            for f, byte in list(has):
                if f == file and (places is None or byte in places):
                    del has[f, byte]

    def read(self, e):
        host, file, guest = e["host"], e["file"], e["guest"]
        has, use = self.has[host], self.by_use[host, file]
        self.sent[host] += e["bytes"]
        use["sent"] += e["bytes"]
        use["reads"] += 1
        end = e["offset"] + e["bytes"]
        for block in range(e["offset"] // self.block, (end - 1) // self.block + 1):
            places = range(max(e["offset"], block * self.block), min(end, (block + 1) * self.block))
            whole = range(block * self.block, (block + 1) * self.block)
            if not any((file, b) in has for b in whole):
                self.began[host, file, block] = e["time"]
            wait = max(e["time"] - self.began[host, file, block], 0)
            again = 0
            for byte in places:
                guests = has.setdefault((file, byte), set())
                if guests:
                    again += 1
                    (self.own if guest in guests else self.others)[host] += 1
                else:
                    use["distinct"] += 1
                    if (file, byte) in self.ever[host]:
                        self.changed[host] += 1
                        use["changed"] += 1
                if guest not in guests:
                    guests.add(guest)
                    self.reach[host][len(guests)] += 1
                    if len(guests) == 2:
                        self.waits[host][wait] += 1
                        use["shared"] += 1
                self.ever[host].add((file, byte))
            for size in self.caches:
                lru = self.lru.setdefault((host, size), OrderedDict())
                if (file, block) in lru:
                    self.hits[host, size] += again
                lru[file, block] = True
                lru.move_to_end((file, block))
                if len(lru) > size:
                    lru.popitem(last=False)

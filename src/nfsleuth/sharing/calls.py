"""CALL rows come in, with whose each connection is; EVENT rows for a tally go out, and counts of what cannot be told.

A file is what a server calls by one handle: (server, hash of the handle). Whether two handles mean one file is not
known, and is not guessed. Lengths are those of the reply; where a snaplen cut it off before the length of the data, it
is what was asked for, or, if the whole reply is shorter than that, what is left of the reply without its headers. A
READ without a reply brought what it asked for where the connection has gaps in which replies can begin, else nothing.

READ_PLUS (RFC 7862 section 15.10) is answered with segments of data and of holes, of which only the data are sent. A
CALL row has the length of the first data segment. Where that is all that was asked for, or all that the reply has room
for, it lies where the call asked; where there is none, nothing was sent. Else it is not known which bytes were sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nfsleuth.clients.text import decode
from nfsleuth.sharing.tables import EVENT, Kind
from nfsleuth.trace.tables import (
    CALL_CHANGE,
    CALL_CUT,
    CALL_FROM_SERVER,
    CALL_FSID,
    CALL_HIDDEN,
    CALL_REPLY_CUT,
    CALL_SETS_SIZE,
)
from nfsleuth.wire import programs

V2_READ, V2_WRITE, V3_READ, V3_WRITE, V4_READ, V4_WRITE = 6, 8, 6, 7, 25, 38  # RFC 1094, RFC 1813, RFC 7531
READ_PLUS, SEQUENCE, PUTFH = 68, 53, 22  # RFC 7862, RFC 8881
# Bytes of a reply to SEQUENCE, PUTFH, READ_PLUS with one data segment beside the data, where nothing is optional: RPC
# header; status, tag, count; two results; operation, status, eof, count; sort of the segment, offset, length. A hole
# beside it takes 20 more.
ONE_SEGMENT = 24 + 12 + 44 + 8 + 16 + 16
# Operations after which it is not known which bytes of the current file are as before: ALLOCATE, COPY, DEALLOCATE,
# WRITE_SAME, CLONE (RFC 7862)
REPLACE = (59, 60, 62, 70, 71)
# Bytes of the smallest reply to a READ beside the data: RPC header (RFC 5531 section 9), status, attributes, lengths
REPLY_HEADERS = {2: 24 + 4 + 68 + 4, 3: 24 + 4 + 4 + 4 + 4 + 4, 4: 24 + 12 + 8 + 8 + 4 + 4}
ONE_RECORD = 1 << 20  # bytes that are believed although the record mark says less: a record may have more fragments
MOST_FILES = 1 << 17  # handles with a number; half of them are kept for files that are read
UNKNOWN = -1

# What is counted beside the events, in the order in which it is shown
COUNTS = (
    "reads",  # READs with data, in the events
    "hidden",  # calls whose bodies are encrypted (krb5p): nothing is known of them
    "unanswered",  # READs without a reply in the capture
    "failed",  # READs that the server refused
    "empty",  # READs that brought no bytes: behind the end of a file, or a hole (READ_PLUS)
    "cut",  # calls of which too much was cut off to know what they read
    "without_handle",  # READs whose file handle was cut off, or never named in the capture
    "without_client",  # READs of connections of which no client is known
    "estimated",  # of `reads`, those whose length is not in what was captured
    "impossible",  # READs and WRITEs that would have moved more than their messages hold
    "read_plus",  # READ_PLUS operations that brought parts of what was asked for, and it is not known which
    "further",  # READ operations behind the first one of a COMPOUND, which are not followed
    "writes",  # WRITEs, and other calls that changed a file
)


@dataclass(frozen=True, slots=True)
class End:
    """Whose a connection is: numbers from 0, UNKNOWN without a client.

    gaps: what the server sent has places where the capture lacks what may be the beginning of a reply.
    """

    server: int
    host: int = UNKNOWN
    guest: int = UNKNOWN
    gaps: bool = False


class Reader:
    """Turns the CALL rows of one trace into events."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(COUNTS, 0)
        self._numbers: dict[tuple[int, int], int] = {}  # (server, handle) -> file
        self.systems: dict[int, int] = {}  # file -> fsid, where it is known
        self.names: dict[int, str] = {}  # file -> the name under which it was found last

    @property
    def files(self) -> list[tuple[int, int]]:
        """(server, hash of the handle) of each file, by number."""
        return list(self._numbers)

    def events(self, rows: np.ndarray, text: bytes, ends: Mapping[int, End]) -> np.ndarray:
        """EVENT[n] of CALL rows. text: what their names lie in. ends: of every connection in the rows."""
        rows = rows[(rows["program"] == programs.NFS) & (rows["flags"] & CALL_FROM_SERVER == 0)]
        uids, index = np.unique(rows["uid"], return_inverse=True)
        unknown = End(UNKNOWN)
        whose = [ends.get(uid, unknown) for uid in uids.tolist()]
        server, host, guest, gaps = (
            np.array([getattr(end, name) for end in whose], np.int32)[index]
            for name in ("server", "host", "guest", "gaps")
        )
        reading, writing, changing = self._sorted_out(rows, host, gaps != 0)
        lengths = self._lengths(rows, reading, writing)
        sighting = ((rows["flags"] & CALL_CHANGE) != 0) & (server >= 0)
        about = np.where(rows["object"] != 0, rows["object"], rows["handle"])

        events = np.zeros(len(rows), EVENT)
        events["kind"] = np.select([reading, writing, changing], [Kind.READ, Kind.WRITE, Kind.CHANGED], Kind.SIGHTED)
        events["host"], events["guest"] = host, guest
        # Attributes behind a READ or WRITE are of what was read or written, unless another object came between.
        events["known"] = np.where(sighting, np.where(rows["version"] == 4, 1, 2), 0)
        other = (reading | writing | changing) & (rows["object"] != 0)
        events["known"][other] = 0
        moved = reading | writing | changing
        handle = np.where(moved, rows["handle"], about)
        events["offset"] = np.minimum(rows["offset"], np.uint64(2**63 - 1)).astype(np.int64)
        events["bytes"] = lengths
        events["change"] = rows["change"]
        events["called"] = rows["call_time"]
        events["time"] = np.where(rows["reply_frame"] > 0, rows["reply_time"], rows["call_time"])
        wanted = (handle != 0) & (server >= 0) & (moved | sighting) & ((lengths > 0) | ~(reading | writing))
        events["file"] = self._files(server, handle, wanted, reading)
        self._learn(rows, text, server, about)
        told: np.ndarray = events[wanted & (events["file"] >= 0)]
        self.counts["reads"] += int((told["kind"] == Kind.READ).sum())
        self.counts["writes"] += int(np.isin(told["kind"], (Kind.WRITE, Kind.CHANGED)).sum())
        return told

    def _sorted_out(
        self, rows: np.ndarray, host: np.ndarray, gaps: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """bool[n] each: which rows read, write, or change otherwise; counts those of which nothing can be known."""
        version, main, procedure, status = (rows[n] for n in ("version", "main", "procedure", "status"))
        four = version == 4
        reading = np.where(four, main == V4_READ, ((version == 3) & (procedure == V3_READ)) | _v2(rows, V2_READ))
        pieces = four & (main == READ_PLUS)
        writing = np.where(four, main == V4_WRITE, ((version == 3) & (procedure == V3_WRITE)) | _v2(rows, V2_WRITE))
        changing = ((rows["flags"] & CALL_SETS_SIZE) != 0) | (four & np.isin(main, REPLACE))
        changing &= ~reading & ~writing & (status <= 0)
        hidden = (rows["flags"] & CALL_HIDDEN) != 0
        cut = ~hidden & ((rows["flags"] & CALL_CUT) != 0) & (rows["count"] == 0) & ~changing
        reading &= ~cut
        answered = rows["reply_frame"] > 0
        vague = pieces & ~cut & np.where(answered, (status == 0) & ~_whole(rows), gaps)
        reading |= pieces & ~cut & ~vague
        lost = reading & ~answered & gaps  # of a reply that was there, its header: what it brought was asked for
        done = lost | (reading & answered & (status == 0))
        count = self.counts
        count["hidden"] += int(hidden.sum())
        count["cut"] += int(cut.sum())
        count["unanswered"] += int((reading & ~answered & ~lost).sum())
        count["failed"] += int((reading & answered & (status != 0)).sum())
        count["without_handle"] += int((done & (rows["handle"] == 0)).sum())
        count["without_client"] += int((done & (rows["handle"] != 0) & (host < 0)).sum())
        count["read_plus"] += int(vague.sum())
        kept = np.arange(rows["ops"].shape[1]) < rows["ops_count"][:, None]
        more = (np.isin(rows["ops"], (V4_READ, READ_PLUS)) & kept).sum(axis=1) - 1
        count["further"] += int(more[done & four & (more > 0)].sum())
        counted: np.ndarray = done & (rows["handle"] != 0) & (host >= 0)
        # A WRITE without a reply may have been done; one that failed has not.
        return counted, writing & (status <= 0), changing

    def _lengths(self, rows: np.ndarray, reading: np.ndarray, writing: np.ndarray) -> np.ndarray:
        """int64[n]: bytes read or written. Clears those in `reading` and `writing` that cannot be."""
        asked, told = rows["count"].astype(np.int64), rows["bytes"].astype(np.int64)
        reply, call = rows["reply_bytes"].astype(np.int64), rows["call_bytes"].astype(np.int64)
        headers = np.zeros(len(rows), np.int64)
        for version, size in REPLY_HEADERS.items():
            headers[rows["version"] == version] = size
        unseen = rows["reply_frame"] == 0
        untold = reading & (told == 0) & (((rows["flags"] & CALL_REPLY_CUT) != 0) | unseen)
        rest = np.maximum(reply - headers, 0)
        lengths = np.where(untold, np.where(unseen | (reply > asked), asked, rest), told)
        lengths = np.where(writing & (told == 0), asked, lengths)
        impossible = (reading & (lengths > np.maximum(reply, ONE_RECORD))) | (
            writing & (lengths > np.maximum(call, ONE_RECORD))
        )
        self.counts["estimated"] += int(untold.sum())
        self.counts["impossible"] += int(impossible.sum())
        self.counts["empty"] += int((reading & (lengths == 0)).sum())
        lengths[impossible] = 0
        return lengths

    def _files(self, server: np.ndarray, handle: np.ndarray, wanted: np.ndarray, reading: np.ndarray) -> np.ndarray:
        """int32[n]: number of the file of each wanted row, UNKNOWN for others, and for what finds no room."""
        numbers = np.full(len(handle), UNKNOWN, np.int32)
        # Those that are read first: so that others cannot take their room
        for some, most in ((wanted & reading, MOST_FILES), (wanted & ~reading, MOST_FILES // 2)):
            for key, rows in _alike(server, handle, some):
                number = self._numbers.get(key, UNKNOWN)
                if number < 0 and len(self._numbers) < most:
                    number = self._numbers[key] = len(self._numbers)
                numbers[rows] = number
        return numbers

    def _learn(self, rows: np.ndarray, text: bytes, server: np.ndarray, about: np.ndarray) -> None:
        """Remember file systems and names of files that have a number; of several in the rows, the last."""
        told = (rows["flags"] & CALL_FSID) != 0
        named = (rows["object"] != 0) & (rows["name_length"] > 0)
        for some in (told, named):
            for key, places in _alike(server, about, some):
                number, row = self._numbers.get(key), int(places[-1])
                if number is not None and some is told:
                    self.systems[number] = int(rows["fsid"][row])
                elif number is not None:
                    at = int(rows["name_at"][row])
                    self.names[number] = decode(text[at : at + int(rows["name_length"][row])])


def _alike(server: np.ndarray, handle: np.ndarray, some: np.ndarray) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    """(server, handle) of some rows, and the numbers of the rows that have it, ascending."""
    rows = np.flatnonzero(some)
    order = rows[np.lexsort((handle[rows], server[rows]))]
    servers, handles = server[order], handle[order]
    begins = np.flatnonzero((servers[1:] != servers[:-1]) | (handles[1:] != handles[:-1])) + 1
    if len(rows):
        for begin, end in pairwise([0, *begins.tolist(), len(order)]):
            yield (int(servers[begin]), int(handles[begin])), order[begin:end]


def _whole(rows: np.ndarray) -> np.ndarray:
    """bool[n]: replies to READ_PLUS with one data segment from the offset on that was asked for, or with none."""
    told, reply = rows["bytes"].astype(np.int64), rows["reply_bytes"].astype(np.int64)
    plain = (rows["ops_count"] == 3) & (rows["ops"][:, :3] == (SEQUENCE, PUTFH, READ_PLUS)).all(axis=1)
    alone = plain & (reply == ONE_SEGMENT + (told + 3 & -4))
    nothing = (told == 0) & (rows["flags"] & CALL_REPLY_CUT == 0)
    whole: np.ndarray = nothing | ((told > 0) & ((told == rows["count"]) | alone))
    return whole


def _v2(rows: np.ndarray, procedure: int) -> np.ndarray:
    """bool[n]: calls of a procedure of NFSv2."""
    found: np.ndarray = (rows["version"] == 2) & (rows["procedure"] == procedure)
    return found

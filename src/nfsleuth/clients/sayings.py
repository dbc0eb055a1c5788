"""IDENTITY rows come in, what they say goes out as numbers: one for each kind, text and figures that are looked at."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from nfsleuth.clients.columns import Column, together
from nfsleuth.trace.rows import joined
from nfsleuth.trace.tables import IDENTITY, Identity

MOST_TEXT = 1024  # bytes kept of one text: the longest that the protocols allow (NFS4_OPAQUE_LIMIT, MNTPATHLEN)

BOOTS = (Identity.CLIENT_ID, Identity.CLIENT_OWNER)
# Identity rows of which more than the text is looked at: `a` of these, `b` of SESSION.
NUMBERED = (
    Identity.MACHINE_NAME,
    *BOOTS,
    Identity.SESSION_MACHINE,
    Identity.SESSION,
    Identity.CLIENTID,
    Identity.EXCLUSIVE_VERIFIER,
)
_WITH_A = np.isin(np.arange(len(Identity) + 1), NUMBERED)

WORDS = 3  # of 8 bytes, by which texts are compared; longer ones are looked up one by one
_WORD = np.dtype("V8")  # of a text, wherever it lies
_OF_WORD = np.array([(1 << 8 * n) - 1 for n in range(9)], "<u8").view(np.uint64)  # the first n bytes of a word


class Said(NamedTuple):
    """What an IDENTITY row says. `a` and `b` are 0 where they are not looked at."""

    kind: int  # Identity
    text: bytes
    a: int
    b: int


class Held(NamedTuple):
    """Columns of IDENTITY rows whose connections have not been counted yet: fields of their own are fast to copy."""

    uid: Column  # int64[n], as all that follow
    said: Column  # number of what it says
    frame: Column
    time: Column

    def rows(self, which: Column) -> Held:
        """Those of bool[n] `which`, or in the order of int64[m] `which`."""
        return self if which.dtype == np.bool_ and which.all() else Held(*(column[which] for column in self))


K = TypeVar("K", bound=Hashable)


class Numbers(dict[K, int]):
    """Numbers for keys, from 0 in the order in which they are first asked for."""

    def __missing__(self, key: K) -> int:
        self[key] = number = len(self)
        return number


class Sayings(Numbers[tuple[int, bytes, int, int]]):
    """Numbers for what is said: the fields of `Said`."""

    def read(self, tables: Sequence[np.ndarray], arenas: Sequence[bytes], wanted: Column) -> Held:
        """What is wanted of IDENTITY rows.

        tables: IDENTITY[n] each. arenas: the text that each refers to. wanted: bool[from_client, kind].
        """
        sizes = np.array([len(text) for text in arenas], np.int64)
        ends = np.cumsum(sizes)
        identities, text = joined(tables, IDENTITY), b"".join([*arenas, bytes(8 * WORDS)])
        rows = np.flatnonzero(wanted[identities["from_client"], identities["kind"]])
        arena = np.repeat(np.arange(len(tables)), np.array([len(table) for table in tables], np.int64))[rows]
        end = ends[arena]
        at = end - sizes[arena] + np.clip(identities["at"][rows], 0, sizes[arena])
        length = np.minimum(np.clip(identities["length"][rows], 0, MOST_TEXT), end - at)
        uid, kind, a, b, frame, time = (identities[name][rows] for name in ("uid", "kind", "a", "b", "frame", "time"))
        said = self._numbers(kind, text, at, length, a * _WITH_A[kind], b * (kind == Identity.SESSION))
        return Held(uid, said, frame, time)

    def _numbers(self, kind: Column, text: bytes, at: Column, length: Column, a: Column, b: Column) -> Column:
        """int64[n] number of each row. text: begins at `at`, and WORDS words follow upon the last one.

        Few of many rows say something new: of those that stand together in `together` only the first is looked up.
        """
        every = np.ndarray((len(text) - 7,), _WORD, text, strides=(1,))
        words = [every[at + 8 * i].view(np.uint64) & _OF_WORD[np.clip(length - 8 * i, 0, 8)] for i in range(WORDS)]
        order, new = together(length << 8 | kind, *words, a, b)
        new |= length[order] > 8 * WORDS
        first = order[new]
        first_said = np.empty(len(first), np.int64)
        appearing = first.argsort()  # numbers are to be in the order of the trace
        kinds, begin, until, a, b = (c[first[appearing]].tolist() for c in (kind, at, at + length, a, b))
        # Nothing but calls of C, for texts may be many.
        said = zip(kinds, map(text.__getitem__, map(slice, begin, until)), a, b, strict=True)
        first_said[appearing] = np.fromiter(map(self.__getitem__, said), np.int64, len(first))
        numbers = np.empty(len(order), np.int64)
        numbers[order] = first_said[np.cumsum(new) - 1]
        return numbers

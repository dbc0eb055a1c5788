"""What a client showed in one field, in bounded memory: values with counts and a frame each, their steps, their form.

A `Profile` holds the sketches of a client, with what else is known of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from math import log2

from nfsleuth.contrast.leaves import Leaf, Scalar

MOST_VALUES = 24  # distinct values kept per field of a client; sightings of others are counted
MOST_FORMS = 40  # values beyond MOST_VALUES whose form is still looked at
LONGEST = 160  # bytes of a value that are kept; a longer one is its beginning and a hash of all of it
MOST_FIELDS = 6000  # paths of one client
MOST_STEPS = 320  # operations of a client whose order is kept
_TEXT = frozenset(range(0x20, 0x7F))


class Sketch:
    """Sightings of one field of one client."""

    __slots__ = (
        "alphabet",
        "down",
        "entropy",
        "first",
        "last",
        "lengths",
        "more",
        "same",
        "seen",
        "up",
        "up_by_one",
        "values",
    )

    def __init__(self) -> None:
        self.seen = 0
        self.values: dict[Scalar, list[int]] = {}  # value -> [sightings, first frame]
        self.more = 0  # sightings of values beyond MOST_VALUES
        self.first = 0  # first frame
        self.last: int | None = None
        self.same = self.up = self.up_by_one = self.down = 0  # steps from one sighting to the next, numbers only
        self.lengths: set[int] = set()  # of bytes and text; bits of numbers
        self.alphabet = 0  # 1 printable ASCII seen, 2 other bytes, 4 empty
        self.entropy = 0.0  # bits per byte, the most seen

    def see(self, value: Scalar, frame: int = 0) -> None:
        """Take in one sighting in `frame`."""
        self.seen += 1
        if isinstance(value, int):
            kept: Scalar = value
            last = self.last
            if last is None:
                pass
            elif value == last:
                self.same += 1
            elif value > last:
                self.up += 1
                self.up_by_one += value == last + 1
            else:
                self.down += 1
            self.last = value
        else:
            kept = value if len(value) <= LONGEST else shortened(value)
        known = self.values.get(kept)
        if known is not None:
            known[0] += 1
            return
        if not self.values:
            self.first = frame
        if len(self.values) < MOST_VALUES:
            self.values[kept] = [1, frame]
        else:
            self.more += 1
        if self.more < MOST_FORMS:
            self._form(value)

    def _form(self, value: Scalar) -> None:
        if isinstance(value, int):
            length = value.bit_length()
        else:
            length = len(value)
            raw = value if isinstance(value, bytes) else value.encode("utf-8", "replace")
            self.alphabet |= 4 if not raw else 1 if _TEXT.issuperset(raw) else 2
            self.entropy = max(self.entropy, entropy(raw))
        if len(self.lengths) < MOST_VALUES:
            self.lengths.add(length)

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers."""
        return all(isinstance(value, int) for value in self.values)

    def shape(self) -> str:
        """The form of its values where the values themselves say nothing: length, alphabet, entropy, steps."""
        if self.is_number:
            return f"{_lengths(self.lengths)} bits, {self._steps()}"
        alphabet = {0: "empty", 1: "text", 2: "binary", 3: "text or binary", 4: "empty"}.get(self.alphabet, "mixed")
        return f"{_lengths(self.lengths)} bytes, {alphabet}, {round(self.entropy)} bits per byte"

    def _steps(self) -> str:
        moves = self.same + self.up + self.down
        if not moves:
            return "seen once"
        if self.same == moves:
            return "constant"
        if self.up_by_one >= 0.9 * (moves - self.same):
            return "counts by 1"
        if not self.down:
            return "rises"
        return "falls" if not self.up else "up and down"

    def example(self, value: Scalar | None = None) -> int:
        """A frame in which `value`, or any value, was seen; 0 if that is not known."""
        return self.values[value][1] if value in self.values else self.first


def _lengths(lengths: set[int]) -> str:
    """One length, or the power of two that bounds them: lengths that vary anyway should not tell clients apart."""
    if len(lengths) == 1:
        return str(next(iter(lengths)))
    return f"up to {1 << max(max(lengths, default=0) - 1, 0).bit_length()}"


def entropy(data: bytes) -> float:
    """Shannon entropy of the bytes of `data`, in bits per byte."""
    if not data:
        return 0.0
    return sum(count / len(data) * log2(len(data) / count) for count in Counter(data).values())


def shortened(value: Scalar) -> Scalar:
    """`value` as it is kept."""
    if isinstance(value, int) or len(value) <= LONGEST:
        return value
    if isinstance(value, bytes):
        return value[:LONGEST] + b"..." + _digest(value).encode()
    return f"{value[:LONGEST]}...{_digest(value.encode('utf-8', 'replace'))}"


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=6).hexdigest()


@dataclass(slots=True)
class Step:
    """One operation of a client: of a COMPOUND all that it names, else the procedure."""

    time: int  # ns since the client's first frame
    text: str  # "nfs4.PUTFH LOOKUP GETFH"
    status: str  # "" none or well
    frame: int


@dataclass(slots=True)
class Profile:
    """Everything that is known of one client in one capture.

    client: its id there. names: machine names and source MACs by which it is found again in another capture. version:
    the newest NFS version that it speaks. software: its client software as far as it says, "" unknown. contexts: in
    what its fields could have been seen; `cut` holds those of which the capture lacks a part. measures: numbers that
    are estimates, such as times: compared by size only. derived: paths of relations and orders, whose absence says
    nothing. operations: all that it used, also those of which no message was decoded. dropped: sightings of paths
    beyond MOST_FIELDS, and of operations beyond `observe.MOST_OPERATIONS`.
    """

    client: str
    capture: str
    label: str = ""
    names: frozenset[str] = frozenset()
    version: str = ""
    software: str = ""
    fields: dict[str, Sketch] = field(default_factory=dict)
    measures: dict[str, float] = field(default_factory=dict)
    contexts: set[str] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)
    derived: set[str] = field(default_factory=set)
    operations: set[str] = field(default_factory=set)
    steps: list[Step] = field(default_factory=list)
    runs: int = 1
    messages: int = 0  # decoded field by field
    dropped: int = 0

    def see(self, found: Iterable[Leaf], frame: int = 0) -> None:
        """Take in fields that were seen in `frame`."""
        fields = self.fields
        for path, value in found:
            sketch = fields.get(path)
            if sketch is None:
                if len(fields) >= MOST_FIELDS:
                    self.dropped += 1
                    continue
                sketch = fields[path] = Sketch()
            sketch.see(value, frame)

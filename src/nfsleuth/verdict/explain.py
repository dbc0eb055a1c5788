"""Beliefs and their evidence in, words out: why, and what would change the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nfsleuth.evidence.model import Evidence, State
from nfsleuth.verdict.fuse import Belief
from nfsleuth.verdict.model import Weighed

BECAUSE = 40  # characters that the table has for `because`
LEAST_SAID = 0.2  # nats below which a row is no reason


def weighed(rows: Iterable[Evidence], moved: Iterable[float]) -> tuple[Weighed, ...]:
    """Each row with the nats by which it alone moves the odds of the leading state; the heaviest first."""
    return tuple(
        sorted(
            map(Weighed, rows, moved),
            key=lambda w: (not w.evidence.counted, -abs(w.weight), w.evidence.rule, w.evidence.seen),
        )
    )


def because(rows: Iterable[Weighed], answer: State) -> str:
    """At most `BECAUSE` characters: the strongest reasons for the leading state, or what is missing."""
    counted = [w for w in rows if w.evidence.counted and abs(w.weight) >= LEAST_SAID]
    if answer is State.CONFLICT:
        pro = next((w.evidence.rule for w in counted if w.weight > 0), "")
        con = next((w.evidence.rule for w in counted if w.weight < 0), "")
        return f"{pro} against {con}"[:BECAUSE] if pro and con else "signs contradict each other"
    reasons = list(dict.fromkeys(w.evidence.says for w in counted if w.weight > 0))
    if not reasons:
        return "nothing tells"
    text = reasons[0]
    if len(text) > BECAUSE:
        return text[: BECAUSE - 1] + "…"
    for more in reasons[1:]:
        if len(text) + 2 + len(more) <= BECAUSE:
            text = f"{text}; {more}"
    return text


def flips(rows: Sequence[Evidence], belief: Belief) -> tuple[str, ...]:
    """Groups of evidence without which the answer would be another, and what it would be."""
    found = []
    for group, others in belief.without:
        if others.answer is not belief.answer:
            rules = dict.fromkeys(row.rule for row in rows if row.group is group and row.counted and row.toward)
            found.append(f"without {', '.join(rules)}: {others.answer} ({others.sure:.2f})")
    return tuple(found)

"""A contrast as values that JSON can hold: schema ``nfsleuth.contrast/1``. Fields are added, never renamed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nfsleuth.contrast.align import Pair
from nfsleuth.contrast.differences import Difference
from nfsleuth.contrast.rank import Cause, Contrast, Finding
from nfsleuth.contrast.sketch import Profile, Step
from nfsleuth.report import contrast_words as words

SCHEMA = "nfsleuth.contrast/1"


def contrasted(
    result: Contrast,
    clients: Sequence[Profile],
    differing: Sequence[Difference],
    notes: Sequence[str] = (),
    sequence: tuple[Profile, Profile, Sequence[Pair]] | None = None,
) -> dict[str, Any]:
    """The whole answer. notes: what was left out."""
    return {
        "schema": SCHEMA,
        "labels": result.counts,
        "strata": result.strata,
        "fields": result.fields,
        "untested": result.untested,
        "tests": result.tests,
        "least_p": result.least,
        "can_conclude": result.can_conclude,
        "findings": [_finding(f, clients) for f in result.findings],
        "not_significant": [_finding(f, clients) for f in result.differing],
        "differences": [
            {"field": d.path, "steady": d.steady, "masked": d.masked, "sides": _sides(d.path, False, clients)}
            for d in differing
        ],
        "masked": list(result.masked),
        "notes": list(notes),
        "sequence": None if sequence is None else _sequence(*sequence),
    }


def _finding(finding: Finding, clients: Sequence[Profile]) -> dict[str, Any]:
    return {
        "field": finding.path,
        "same": [f.path for f in finding.fields[1:]],
        "question": words.question(finding),
        "share": finding.share,
        "bits": finding.gain,
        "p": finding.p,
        "q": finding.q,
        "clients": len(finding.who),
        "software_differs": finding.software,
        "explained_by_software": finding.cause is Cause.SOFTWARE,
        "explained_by_captures": finding.cause is Cause.CAPTURES,
        "explained_by_conditions": finding.cause is Cause.CONDITIONS,
        "sides": _sides(finding.path, finding.fields[0].masked, words.compared(finding, clients)),
    }


def _sides(path: str, masked: bool, clients: Sequence[Profile]) -> list[dict[str, Any]]:
    return [
        {
            "label": side.label,
            "clients": side.clients,
            "values": [{"value": value, "clients": count} for value, count in side.values],
            "more_values": side.others,
            "frame": side.frame or None,
            "capture": side.capture,
        }
        for side in words.sides(path, masked, clients)
    ]


def _sequence(left: Profile, right: Profile, pairs: Sequence[Pair]) -> dict[str, Any]:
    return {
        "left": {"label": left.label, "client": left.client, "capture": left.capture},
        "right": {"label": right.label, "client": right.client, "capture": right.capture},
        "pairs": [{"change": p.change.value, "left": _step(p.left), "right": _step(p.right)} for p in pairs],
    }


def _step(step: Step | None) -> dict[str, Any] | None:
    if step is None:
        return None
    return {"seconds": step.time / 1e9, "operations": step.text, "status": step.status, "frame": step.frame}

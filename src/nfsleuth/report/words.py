"""What every report calls things: probabilities, sizes, times, oddities. All plain functions from values to text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from nfsleuth.clients.facts import Facts
from nfsleuth.evidence.client_os import host_name
from nfsleuth.evidence.model import HYPOTHESES, State
from nfsleuth.verdict.model import Capture, Report, Verdict

STATES = (*HYPOTHESES, State.UNKNOWN, State.CONFLICT)
SECONDS = len("2026-03-01T12:03:44")
DOUBT = (State.UNKNOWN, State.CONFLICT)  # answers that say that there is none

# What trace.tables.Oddity and capture.source.Odd count, in words. A name that is not here is shown as it is.
ODDITIES = {
    "frame_cut": "frames cut short (snaplen)",
    "link_unknown": "frames of a link type not read",
    "not_ip": "frames without IP",
    "ip_malformed": "malformed IP packets",
    "ip_fragment_later": "later IP fragments alone",
    "transport_other": "packets of other protocols",
    "tcp_malformed": "malformed TCP headers",
    "tcp_options_malformed": "malformed TCP options",
    "segment_repeated": "segments repeated",
    "segment_held": "segments out of order",
    "gap": "gaps in the capture",
    "resynchronised": "joined in mid-stream",
    "record_mark_insane": "impossible record marks",
    "record_cut": "messages cut short",
    "not_rpc": "connections without RPC",
    "rpc_malformed": "malformed RPC messages",
    "rpc_program_other": "calls of other RPC programs",
    "operation_unknown": "unknown NFS operations",
    "xdr_malformed": "malformed XDR",
    "body_hidden": "calls encrypted by Kerberos",
    "tls": "connections encrypted by TLS",
    "reply_unmatched": "replies without a call",
    "reply_early": "replies before their call",
    "call_unanswered": "calls without a reply",
    "call_retransmitted": "calls repeated",
    "connections_dropped": "connections dropped (budget)",
    "calls_dropped": "pending calls dropped (budget)",
    "held_dropped": "held segments dropped (budget)",
    "identities_dropped": "texts dropped (budget)",
    "neighbours_dropped": "neighbours dropped (budget)",
    "time_backwards": "frames older than the one before",
    "tunnel": "tunnelled packets not followed",
    "file_cut": "files cut short",
    "record_insane": "impossible records in a file",
    "block_unknown": "pcapng blocks of unknown types",
    "link_unknown_interface": "frames of an undescribed interface",
    "options_malformed": "malformed pcapng options",
    "section_version": "pcapng sections of an unknown version",
    "time_saturated": "times beyond the year 2262",
    "link_reserved": "reserved bits in a file header",
    "interfaces_dropped": "interfaces dropped (budget)",
    "compression_cut": "compressed files cut short",
    "compression_damaged": "compressed files damaged",
    "compression_rest": "files with bytes behind their end",
}
ORDINARY = frozenset({"not_ip", "transport_other", "segment_repeated", "segment_held", "not_rpc", "call_retransmitted"})


def oddity(name: str) -> str:
    """What an oddity counts."""
    return ODDITIES.get(name) or name.replace("_", " ")


def oddities(report: Report) -> list[tuple[str, int, int]]:
    """Oddities of all captures as (name, count, first frame or 0): the surprising ones first, then by count."""
    counts: dict[str, int] = {}
    frames: dict[str, int] = {}
    for capture in report.captures:
        for name, count in capture.oddities.items():
            counts[name] = counts.get(name, 0) + count
        for name, frame in capture.oddity_frames.items():
            frames[name] = min(frame, frames.get(name, frame))
    ranked = sorted(counts, key=lambda name: (name in ORDINARY, -counts[name], name))
    return [(name, counts[name], frames.get(name, 0)) for name in ranked if counts[name]]


def percent(probability: float) -> str:
    """A probability as whole per cent; never 0 % or 100 %, because nothing here is certain."""
    if probability >= 0.995:
        return ">99%"
    return "<1%" if probability < 0.005 else f"{100 * probability:.0f}%"


def sure(verdict: Verdict) -> str:
    """How sure the verdict is; a dash where it is an answer of doubt."""
    return "-" if verdict.state in DOUBT else percent(verdict.sure)


def names(verdict: Verdict) -> list[str]:
    """Names that the client gave itself, most often seen first: AUTH_SYS, else NLM, else its owner strings."""
    facts = verdict.facts
    return list(facts.names) or list(facts.nlm_callers) or list(dict.fromkeys(_owner_names(facts)))


def _owner_names(facts: Facts) -> Iterator[str]:
    return (name for record in facts.client_ids if (name := host_name(record.owner)))


def hidden(verdict: Verdict) -> list[str]:
    """Why less is known of a client than could be: what of its traffic cannot be read, and what its kind leaves out."""
    flavors = verdict.facts.flavors
    reasons = []
    if "gss-hidden" in flavors:
        reasons.append("Kerberos encrypts arguments and results (krb5p)")
    if "gss" in flavors and "sys" not in flavors:
        reasons.append("Kerberos in the place of AUTH_SYS names no machine")
    if "tls" in flavors:
        reasons.append("TLS encrypts all that is above TCP")
    return reasons


def versions(verdict: Verdict) -> list[str]:
    """NFS versions, lowest first."""
    return sorted(verdict.facts.versions)


def implementation(verdict: Verdict) -> str | None:
    """The implementation id (RFC 8881 section 18.35) that the client gave most often: its name, else its domain."""
    for domain, name in verdict.facts.implementations:
        return name or domain
    return None


def ranked(verdict: Verdict) -> list[tuple[State, float]]:
    """Hypotheses by probability, the most likely first."""
    return sorted(verdict.states.items(), key=lambda item: (-item[1], item[0]))


def read_rate(verdict: Verdict) -> float | None:
    """MB/s (10⁶ bytes) that the client read while at least one READ was outstanding; None without such a time."""
    reads = verdict.facts.reads
    return reads.bytes * 1e3 / reads.busy if reads.busy > 0 and reads.bytes else None


def count(number: int, noun: str, plural: str = "") -> str:
    """``1 client``, ``12,034 frames``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(number: int) -> str:
    """Bytes with a decimal unit: ``634 kB``, ``1.2 GB``."""
    value = float(number)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            return f"{value:.0f} {unit}" if value >= 9.95 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError(number)


def duration(ns: int) -> str:
    """A time span: ``340 µs``, ``12.3 s``, ``2 h 5 min``."""
    if ns < 1_000_000:
        return f"{ns / 1e3:.0f} µs"
    if ns < 1_000_000_000:
        return f"{ns / 1e6:.3g} ms"
    seconds = ns / 1e9
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} days {hours % 24} h"


def instant(ns: int | None) -> str | None:
    """A time as RFC 3339 text in UTC with all nine digits that the capture may have; None where there is none."""
    if not ns:
        return None
    whole, rest = divmod(ns, 1_000_000_000)
    try:
        return f"{datetime.fromtimestamp(whole, UTC).isoformat()[:SECONDS]}.{rest:09d}Z"
    except (OverflowError, ValueError, OSError):  # a capture may say the year 292277026596
        return None


def clock(ns: int | None) -> str:
    """A time for people: ``2026-03-01 12:03:44 UTC``."""
    text = instant(ns)
    return f"{text[:10]} {text[11:19]} UTC" if text else "time unknown"


def span(captures: Iterable[Capture]) -> int:
    """ns from the first to the last frame of all captures; 0 where they have no times."""
    have = [(c.first, c.last) for c in captures if c.first and c.last]
    return max(last for _, last in have) - min(first for first, _ in have) if have else 0


def frames(numbers: Iterable[int]) -> str:
    """``frame 3`` or ``frames 3, 8, 12``; empty without any."""
    listed = [str(n) for n in numbers]
    return f"frame{'s' if len(listed) > 1 else ''} {', '.join(listed)}" if listed else ""


def summary(report: Report) -> tuple[str, str]:
    """What was read, and what came out of it: ``office.pcap`` and ``41,203 frames, 12.3 s, 9,312 calls, 6 clients``."""
    captures = report.captures
    what = captures[0].path if len(captures) == 1 else count(len(captures), "capture")
    parts = [count(sum(c.frames for c in captures), "frame")]
    if length := span(captures):
        parts.append(duration(length))
    parts += [count(report.calls, "call"), count(len(report.clients), "client")]
    shared = [h for h in report.hosts if len(h.clients) > 1]
    if shared:
        parts.append(count(len(shared), "shared host"))
    return what, ", ".join(parts)

"""One line per client for a spreadsheet, as CSV (RFC 4180 with LF line ends, UTF-8).

Text from the capture is escaped (`report.escape.cell`): no control characters, and no cell that starts a formula.
"""

from __future__ import annotations

import csv
import io

from nfsleuth.report import words
from nfsleuth.report.escape import cell
from nfsleuth.verdict.model import Report, Verdict

HEADER = (
    "id",
    "address",
    "names",
    "state",
    "sure",
    "virtual",
    "platform",
    "platform_probability",
    "host",
    "because",
    "macs",
    "nfs_versions",
    "implementation",
    "connections",
    "calls",
    "read_calls",
    "read_bytes",
    "read_MBps",
    "write_calls",
    "write_bytes",
    "first",
    "last",
)


HOSTS_HEADER = ("host", "probability", "id", "address", "names", "because")


def hosts(report: Report) -> str:
    """The clients of a report by host, those that share none last."""
    by_id = {h.id: h for h in report.hosts}
    order = {h.id: n for n, h in enumerate(report.hosts)}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HOSTS_HEADER)
    for v in sorted(report.clients, key=lambda v: order.get(v.host or "", len(order))):
        shared = by_id.get(v.host or "")
        sure, because = (f"{shared.probability:.6f}", "; ".join(shared.because)) if shared else ("", "")
        names = cell(" ".join(words.names(v)))
        writer.writerow([cell(v.host or ""), sure, cell(v.id), cell(v.facts.address), names, cell(because)])
    return out.getvalue()


def clients(report: Report) -> str:
    """The clients of a report; several values in one cell are separated by a space."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(_row(v) for v in report.clients)
    return out.getvalue()


def _row(verdict: Verdict) -> list[str | int]:
    facts, platform = verdict.facts, verdict.platform
    rate = words.read_rate(verdict)
    return [
        cell(verdict.id),
        cell(facts.address),
        cell(" ".join(words.names(verdict))),
        verdict.state.value,
        f"{verdict.sure:.6f}",
        f"{verdict.virtual:.6f}",
        cell(platform.name) if platform else "",
        f"{platform.probability:.6f}" if platform else "",
        cell(verdict.host or ""),
        cell(verdict.because),
        cell(" ".join(facts.macs)),
        " ".join(words.versions(verdict)),
        cell(words.implementation(verdict) or ""),
        facts.connections,
        facts.calls,
        facts.reads.calls,
        facts.reads.bytes,
        "" if rate is None else f"{rate:.3f}",
        facts.writes.calls,
        facts.writes.bytes,
        words.instant(facts.first) or "",
        words.instant(facts.last) or "",
    ]

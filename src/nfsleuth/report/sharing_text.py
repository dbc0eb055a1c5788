"""What hosts were sent more than once, for a terminal: tables per host, per cache size and per file."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from nfsleuth.bandwidth.plan import human
from nfsleuth.report import words
from nfsleuth.report.escape import padded, shortened, visible
from nfsleuth.sharing.curve import ENOUGH, Point
from nfsleuth.sharing.result import FileSharing, HostSharing, Sharing

MOST_HOSTS, MOST_FILES = 12, 10  # rows without -v
MOST_SIZES = 10  # rows of cache sizes
LEAST_SIZE = 1 << 20  # bytes: the smallest cache in the table, where nothing smaller is enough
GAP = "  "
UNKNOWN_COUNTS = {  # what is not known, in words; the order is that of `sharing.calls.COUNTS`
    "hidden": "calls are encrypted (krb5p): nothing can be known of what they read",
    "unanswered": "READs have no reply in the capture",
    "cut": "calls were cut too short to know what they read (snaplen)",
    "without_handle": "READs do not name their file in the capture",
    "without_client": "READs are of no client that is known",
    "estimated": "READs were counted with an estimated length: that of the reply was cut off",
    "impossible": "READs and WRITEs claim more data than their messages hold",
    "read_plus": "READ_PLUS operations brought parts of what they asked for, unknown which",
    "further": "READs behind the first one of a COMPOUND are not followed",
}


def text(found: Sharing, caches: Sequence[int] = (), width: int = 80, *, verbose: bool = False) -> str:
    """The whole report. caches: sizes in bytes of the table of savings; none: sizes that show the curve."""
    lines = [*_wrapped(summary(found), width), "", *_hosts(found, width, verbose), "", *_caches(found, caches), ""]
    lines += _files(found, width, verbose)
    notes = unknown(found)
    if notes:
        lines += ["", *_wrapped(notes, width)]
    return "\n".join(lines) + "\n"


def _wrapped(sentences: Sequence[str], width: int) -> list[str]:
    """A sentence per line, or several lines."""
    return [line for sentence in sentences for line in textwrap.wrap(sentence, width, subsequent_indent=GAP)]


def summary(found: Sharing) -> list[str]:
    """What was counted, and how: three sentences."""
    distinct = sum(h.distinct for h in found.hosts)
    lines = [
        f"{words.count(len(found.hosts), 'host')} read {words.size(found.sent)}, "
        f"{words.size(round(distinct))} of it distinct.",
        f"One transfer per host would save {share(found.sent - distinct, found.sent)}.",
    ]
    if found.exact:
        lines.append(f"All blocks of {human(found.block)} were counted: the figures are exact.")
    else:
        small = f", and so are caches up to {human(found.curve.exact_to)}" if found.curve.exact_to else ""
        lines.append(
            f"Estimated from {100 * found.rate:.3g} % of the blocks of {human(found.block)}; "
            f"sent and reads are exact{small}."
        )
    return lines


def share(part: float, whole: float) -> str:
    """A share of bytes as per cent."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def span(point: Point, sent: int) -> str:
    """How far a point may be off, in percentage points; empty where it is exact."""
    if point.low == point.high:
        return ""
    return f"{100 * point.low / sent:.1f} to {100 * point.high / sent:.1f} %"


def sizes(found: Sharing, caches: Sequence[int]) -> list[int]:
    """The cache sizes to show: those asked for, else powers of 2 up to where the curve ends."""
    if caches:
        return sorted(set(caches))
    curve = found.curve
    end = math.ceil(math.log2(max(curve.largest, found.block)))
    begin = min(max(int(math.log2(LEAST_SIZE)), int(math.log2(found.block))), end)
    step = max(1, math.ceil((end - begin + 1) / MOST_SIZES))
    return [1 << n for n in range(end, begin - 1, -step)][::-1]


def unknown(found: Sharing) -> list[str]:
    """What could not be counted, and what else must be known to read the figures; a line each."""
    notes = [f"{found.counts[name]:,} {what}." for name, what in UNKNOWN_COUNTS.items() if found.counts.get(name)]
    if found.encrypted:
        notes.append(
            f"{words.count(found.encrypted, 'connection')} encrypted by TLS: nothing can be known of what they read."
        )
    if found.hidden_changes:
        notes.append(
            f"{words.count(found.hidden_changes, 'change')} of files without a call here: taken as changed whole."
        )
    if found.unaligned:
        notes.append(
            f"{words.count(found.unaligned, 'READ')} not aligned to {found.block // 64} bytes: each is off by less."
        )
    if found.left_out.get("bytes"):
        notes.append(f"{words.size(found.left_out['bytes'])} left out: impossible offsets, or too many files or hosts.")
    if found.hosts:
        notes.append("Whether two file handles mean one file is unknown: each counts as a file.")
    return notes


def name_of(file: FileSharing) -> str:
    """A file's name, or its handle's hash."""
    return visible(file.name) if file.name else f"handle {file.handle:016x}"


def quantiles(host: HostSharing) -> str:
    """Within which time the second guest read what the first had read."""
    if host.waits is None:
        return ""
    low, middle, high = (words.duration(ns) for ns in host.waits)
    return f"second guest after {middle} (median; 10 % {low}, 90 % {high})"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], left: int, width: int) -> list[str]:
    """Lines of a table whose first `left` columns are text; the first one is shortened until all fits."""
    cells = [list(titles), *map(list, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(titles))]
    widths[0] = max(8, min(widths[0], width - sum(w + len(GAP) for w in widths[1:])))
    return [
        GAP.join(padded(cell, w, right=i >= left) for i, (cell, w) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in cells
    ]


def _hosts(found: Sharing, width: int, verbose: bool) -> list[str]:
    shown = found.hosts if verbose else found.hosts[:MOST_HOSTS]
    titles = ("Host", "Guests", "Reads", "Sent", "Distinct", "Shared", "Saved", "", "Cache")
    rows = []
    for h in shown:
        saved = (words.size(round(h.saved)), share(h.saved, h.sent))
        enough = human(h.curve.enough) if h.curve.enough else "-"
        sums = (words.size(h.sent), words.size(round(h.distinct)), words.size(round(h.shared)))
        rows.append((visible(h.host.id), str(len(h.host.clients)), f"{h.reads:,}", *sums, *saved, enough))
    lines = table(titles, rows, 1, width)
    if len(shown) < len(found.hosts):
        lines.append(f"and {words.count(len(found.hosts) - len(shown), 'more host')} (-v shows all)")
    lines.append("")
    for h in shown:
        if h.waits is not None:
            lines.append(shortened(f"{visible(h.host.id)}: {quantiles(h)}", width))
    return lines if lines[-1] else lines[:-1]


def _caches(found: Sharing, caches: Sequence[int]) -> list[str]:
    curve = found.curve
    rows = []
    for point in [curve.at(size) for size in sizes(found, caches)]:
        rows.append(
            (human(point.size), words.size(round(point.saved)), share(point.saved, found.sent), span(point, found.sent))
        )
    everything = curve.all
    rows.append(
        ("any", words.size(round(everything.saved)), share(everything.saved, found.sent), span(everything, found.sent))
    )
    titles = ("Cache on each host", "Saved", "", "" if found.exact else "95 % sure")
    lines = table(titles, rows, 1, 80)
    if curve.enough:
        lines.append(f"{human(curve.enough)} are enough for {100 * ENOUGH:.0f} % of what any cache saves.")
    return lines


def _files(found: Sharing, width: int, verbose: bool) -> list[str]:
    shown = found.files if verbose else found.files[:MOST_FILES]
    titles = ("File", "Host", "Reads", "Sent", "Distinct", "Shared", "Saved")
    rows = []
    for f in shown:
        about = "~" if f.rough else ""
        estimates = (about + words.size(round(n)) for n in (f.distinct, f.shared, f.saved))
        rows.append(
            (shortened(name_of(f), 24, keep_end=True), shortened(visible(f.host), 18, keep_end=True),
             f"{f.reads:,}", words.size(f.sent), *estimates)
        )  # fmt: skip
    lines = table(titles, rows, 2, width)
    if len(shown) < len(found.files):
        lines.append(f"and {words.count(len(found.files) - len(shown), 'more file')} (-v shows all)")
    return lines

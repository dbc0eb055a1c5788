"""``nfsleuth contrast``: which fields of the protocol tell two kinds of client apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nfsleuth.cli import options
from nfsleuth.errors import Exit, NfsleuthError

if TYPE_CHECKING:
    from nfsleuth.api import Progress
    from nfsleuth.contrast.align import Pair
    from nfsleuth.contrast.rank import Contrast, Finding
    from nfsleuth.contrast.sketch import Profile

EXAMPLES = """
\b
Examples:
  nfsleuth contrast native.pcap vm.pcap --sequence
  nfsleuth contrast --label native=a.pcap --label native=b.pcap --label vm=c.pcap --label vm=d.pcap
  nfsleuth contrast --labels lab/*.labels.json --by network --only native --only user-nat
"""
NFS_VERSIONS = ["2", "3", "4.0", "4.1", "4.2"]


@click.command(epilog=EXAMPLES, short_help="Find which protocol fields tell two kinds of client apart.")
@click.argument("captures", nargs=-1, metavar="[CAPTURE CAPTURE]", help="Two captures; their names are the labels.")
@click.option("--label", multiple=True, metavar="NAME=CAPTURE", help="Clients of CAPTURE are NAME. Several times.")
@click.option("--labels", multiple=True, metavar="FILE...", help="Label files, their captures beside them. Needs --by.")
@click.option("--by", metavar="KEY", help="Key of the label files that is the label, such as network or nic.")
@click.option("--only", multiple=True, metavar="NAME", help="Compare only these labels. Several times.")
@click.option("--nfs", multiple=True, type=click.Choice(NFS_VERSIONS), help="Only this NFS version. Several times.")
@click.option("--show-masked", is_flag=True, help="List the fields that change from run to run.")
@click.option("--sequence", is_flag=True, help="Show the operations of one client of each label side by side.")
@click.option("--html", metavar="FILE", help="Write an HTML page to FILE.")
@click.option("--write-rule", metavar="NAME", help="Draft a rule of the first finding into NAME.py.")
@click.option("--field", metavar="PATH", help="Draft the rule of the finding about this field instead.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=1813, show_default=True, help="Of the permutations.")
@options.as_json
@click.option("--verbose", "-v", is_flag=True, help="Show every finding and difference.")
@options.rules
@options.quiet
def contrast(
    captures: tuple[str, ...],
    *,
    label: tuple[str, ...],
    labels: tuple[str, ...],
    by: str | None,
    only: tuple[str, ...],
    nfs: tuple[str, ...],
    show_masked: bool,
    sequence: bool,
    html: str | None,
    write_rule: str | None,
    field: str | None,
    seed: int,
    as_json: bool,
    verbose: bool,
    rules: str | None,
    quiet: bool,
) -> int:
    """Find the fields of the protocol that tell two kinds of client apart.

    Decodes every layer of labelled captures in full and ranks fields by what they know about the label, with what
    chance does as well and a false discovery rate of 5 %. Few clients give no conclusion, only a list of differences.
    Exit codes: 0 done, 2 wrong use, 3 a capture cannot be read, 4 no NFS in one.
    """
    from nfsleuth.contrast import differences, draft, rank, runs
    from nfsleuth.report import contrast_words

    options.check_target(html)
    if field and not write_rule:
        raise NfsleuthError("--field goes with --write-rule NAME: it says which finding the rule is drafted of")
    if write_rule:
        options.check_target(f"{draft.check_name(write_rule)}.py")
        if Path(f"{write_rule}.py").exists():
            raise NfsleuthError(f"{write_rule}.py: is there already; choose another name or move it away")
    with options.watching(quiet) as progress:
        profiles, notes = _read(captures, label, labels, by, only, nfs, rules, progress)
        clients, masked = runs.clients(profiles)
        _check(clients, notes)
        notes = [*notes, *contrast_words.lost(profiles)]
        result = rank.contrast(clients, masked, seed=seed)
        differing = [] if result.can_conclude else differences.differences(clients, masked)
    aligned = _aligned(clients) if sequence or html else None
    for note in notes:
        options.notice(note, quiet=quiet)
    if html:
        from nfsleuth import __version__
        from nfsleuth.report import contrast_html

        options.write(html, contrast_html.page(result, clients, differing, aligned, __version__))
    if write_rule:
        finding = _chosen(result, field)
        options.write(f"{write_rule}.py", draft.draft(write_rule, finding, result, clients))
        options.notice(f"drafted {write_rule}.py from {finding.path}; docs/contrast.md says how to go on", quiet=quiet)
    if as_json:
        from nfsleuth.report import contrast_json

        options.put_json(contrast_json.contrasted(result, clients, differing, notes, aligned if sequence else None))
    elif html != options.STDOUT:
        from nfsleuth.report import contrast_text

        width = options.terminal_width()
        options.put(contrast_text.findings(result, clients, differing, width, verbose=verbose, show_masked=show_masked))
        if sequence and aligned:
            options.put("\n" + contrast_text.sequence(*aligned, width, colour=options.colourful()))
    return Exit.DONE


def _read(
    captures: Sequence[str],
    label: Sequence[str],
    files: Sequence[str],
    by: str | None,
    only: Sequence[str],
    nfs: Sequence[str],
    rules: str | None,
    progress: Progress | None,
) -> tuple[list[Profile], list[str]]:
    """The labelled profiles, and what was left out."""
    from nfsleuth import api

    if files:
        if label or not by:
            raise NfsleuthError("--labels goes with --by KEY and without --label; KEY is any key of the label files")
        # A shell writes lab/*.labels.json out: all but the first of them arrive as arguments.
        return api.labelled_profiles(*files, *captures, by=by, only=only, nfs=nfs, rules=rules, progress=progress)
    if by:
        raise NfsleuthError("--by needs --labels FILE...: the label files that have the key")
    pairs = [_label(text) for text in label]
    if captures and pairs:
        raise NfsleuthError(f"{captures[0]}: has no label; give every capture one, or name two captures and no --label")
    if captures and len(captures) != 2:
        raise NfsleuthError("name two captures, or more with --label NAME=CAPTURE each")
    if not (pairs or captures):
        raise NfsleuthError("contrast what? name two captures, or captures with --label NAME=CAPTURE")
    pairs = pairs or list(zip(_names(captures), captures, strict=True))
    return api.named_profiles(pairs, only=only, nfs=nfs, rules=rules, progress=progress), []


def _label(text: str) -> tuple[str, str]:
    from nfsleuth.contrast.labels import LONGEST

    name, equals, capture = text.partition("=")
    if not equals or not name.strip() or not capture:
        raise NfsleuthError(f"--label {text}: NAME=CAPTURE is expected, such as native=office.pcap")
    if len(name.strip()) > LONGEST:
        raise NfsleuthError(f"--label {name[:LONGEST]}...: a name has at most {LONGEST} characters; shorten it")
    return name.strip(), capture


def _names(captures: Sequence[str]) -> list[str]:
    """Labels of two captures: their file names, or where these are equal, their paths."""
    names = [Path(c).name for c in captures]
    return names if len(set(names)) == len(names) else list(captures)


def _check(clients: Sequence[Profile], notes: Sequence[str]) -> None:
    labels = sorted({c.label for c in clients})
    if len(labels) < 2:
        who = f"all {len(clients)} clients are" if len(clients) > 1 else "the only client is"
        why = f" ({'; '.join(notes[:3])})" if notes else ""
        raise NfsleuthError(f"{who} {labels[0]}; at least two labels are needed{why}")


def _aligned(clients: Sequence[Profile]) -> tuple[Profile, Profile, list[Pair]]:
    """Two clients of different labels, of one NFS version if there are such, and their operations side by side."""
    from nfsleuth.contrast.align import align

    labels = sorted({c.label for c in clients})
    lefts, rights = ([c for c in clients if c.label == name] for name in labels[:2])
    left, right = next(
        ((a, b) for a in lefts for b in rights if (a.version, a.software) == (b.version, b.software)),
        next(((a, b) for a in lefts for b in rights if a.version == b.version), (lefts[0], rights[0])),
    )
    return left, right, align(left.steps, right.steps)


def _chosen(result: Contrast, field: str | None) -> Finding:
    """The finding that a rule is drafted of."""
    if not result.findings:
        raise NfsleuthError("there is no finding to draft a rule of; more labelled captures may give one")
    if field is None:
        first = result.findings[0]
        if first.cause:
            raise NfsleuthError(f"{first.path} may have other causes than the label; name it with --field to go on")
        return first
    for one in result.findings:
        if field in [f.path for f in one.fields]:
            return one
    raise NfsleuthError(f"{field} is in no finding; the first is {result.findings[0].path}")

"""Rules and profiles as a caller gives them, objects or files, come in; `Rules` go out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nfsleuth.api.reading import PathLike
from nfsleuth.errors import Exit, NfsleuthError

if TYPE_CHECKING:
    from nfsleuth.bandwidth.profile import Profile
    from nfsleuth.evidence.rules import Rules


def rules_of(
    given: Rules | PathLike | None, profile: Profile | PathLike | None = None, link: str | None = None
) -> Rules:
    """The built-in rules, with those of a TOML file or of a folder of them, and with a profile."""
    rules = _tables(given)
    if profile is None:
        return rules
    from nfsleuth.bandwidth.profile import Profile

    return rules.with_profile(profile if isinstance(profile, Profile) else read_profile(profile), link)


def _tables(given: Rules | PathLike | None) -> Rules:
    from nfsleuth.evidence.rules import Rules

    if isinstance(given, Rules):
        return given
    rules = Rules.builtin()
    if given is None:
        return rules
    from pathlib import Path

    place = Path(given)
    files = sorted(place.glob("*.toml")) if place.is_dir() else [place]
    if not files:
        raise NfsleuthError(f"{place}: no rules there; put files that end in .toml into it", Exit.WRONG_USE)
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise NfsleuthError(f"{file}: cannot be read as rules ({error}); give a TOML file in UTF-8") from error
        rules = rules.with_user(text, str(file))
    return rules


def read_profile(place: PathLike) -> Profile:
    """The profile in a TOML file. Raises NfsleuthError if it cannot be read, or is of another version."""
    from pathlib import Path

    from nfsleuth.bandwidth.profile import from_toml

    try:
        text = Path(place).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NfsleuthError(f"{place}: cannot be read as a profile ({error}); give a TOML file in UTF-8") from error
    return from_toml(text, str(place))

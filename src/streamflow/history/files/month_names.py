"""Which months several folders are of, by their names; or the files of one folder, by theirs."""

from __future__ import annotations

import calendar
import os
import re
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

from streamflow.errors import InvalidSettings, MissingFiles
from streamflow.history.files.month_folder import ENDINGS

EXAMPLE = r"--as-of-pattern '(?P<year>\d{4})-(?P<month>\d{2})'"


def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern with the groups `year` and `month`, and `day` if it likes. Raises InvalidSettings
    for any other."""
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise InvalidSettings(
            f"--as-of-pattern {pattern!r} isn't a regular expression: {error}.", f"Say {EXAMPLE}."
        ) from error
    if lacking := {"year", "month"} - found.groupindex.keys():
        raise InvalidSettings(
            f"--as-of-pattern {pattern!r} has no group {' and no group '.join(sorted(lacking))}.",
            f"Say {EXAMPLE}.",
        )
    return found


def folder_name(folder: Path) -> str:
    """Its name as it was typed, also of a link; that of `.` and `..` is the folder's own."""
    return Path(os.path.abspath(folder)).name


def months_by_folder(folders: Sequence[Path], pattern: re.Pattern[str]) -> dict[date, Path]:
    """By as_of, oldest first, the folder whose name has it. Raises MissingFiles for a folder whose
    name has none, and for two of one month."""
    found: dict[date, Path] = {}
    for folder in folders:
        as_of = _as_of(folder_name(folder), pattern)
        if as_of is None:
            raise MissingFiles(
                f"The name of {folder} has no month by the pattern {pattern.pattern!r}.",
                "Leave that folder out, or say a pattern that all names have.",
            )
        if as_of in found:
            raise MissingFiles(
                f"Two folders are of {as_of}: {found[as_of]} and {folder}.",
                "Load them one after the other: `streamflow ingest DIR --as-of DATE`.",
            )
        found[as_of] = folder
    return dict(sorted(found.items()))


def split_by_file(folder: Path, pattern: re.Pattern[str], scratch: Path) -> dict[date, Path]:
    """By as_of, oldest first, a folder in `scratch` with links to the files whose names have it,
    under their names without it: `users_2024-01.csv` is `users.csv`.

    Files without a month in their names are left out; none is read. Raises MissingFiles if no name
    has one.
    """
    found: dict[date, Path] = {}
    for path, ending in _files(folder):
        stem = path.name[: -len(ending)]
        as_of, match = _as_of(stem, pattern), pattern.search(stem)
        if as_of is None or match is None:
            continue
        rest = f"{stem[: match.start()]} {stem[match.end() :]}".strip(" _-.")
        name = re.sub(r"[ _.-]*( )[ _.-]*", "_", rest)
        month = scratch / str(as_of)
        month.mkdir(exist_ok=True)
        target = month / f"{name or folder_name(folder)}{ending}"
        if target.is_symlink():
            raise MissingFiles(
                f"Two files of {folder} are {target.name!r} of {as_of}: {target.readlink().name} "
                f"and {path.name}.",
                "Take one of them away.",
            )
        target.symlink_to(path.resolve())
        found[as_of] = month
    if not found:
        raise MissingFiles(
            f"No file in {folder} has a month in its name by the pattern {pattern.pattern!r}, "
            "nor has the folder.",
            f"Say {EXAMPLE} as the names have it.",
        )
    return dict(sorted(found.items()))


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    if not folder.is_dir():
        raise MissingFiles(f"There is no folder {folder}.", "Name the folder with the files.")
    for path in sorted(folder.iterdir()):
        ending = next((one for one in ENDINGS if path.name.endswith(one)), None)
        if ending is not None and path.is_file():
            yield path, ending


def _as_of(name: str, pattern: re.Pattern[str]) -> date | None:
    found = pattern.search(name)
    if found is None:
        return None
    parts = found.groupdict()
    try:
        year, month = int(parts["year"]), int(parts["month"])
        year += 2000 if year < 100 else 0
        day = parts.get("day") or calendar.monthrange(year, month)[1]
        return date(year, month, int(day))
    except (ValueError, TypeError, calendar.IllegalMonthError):
        return None

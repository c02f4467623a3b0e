"""The step that adds a month to history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from streamflow.history import contract_findings
from streamflow.history import ingest as history
from streamflow.history.events.events_table import event_rows
from streamflow.history.files import month_names
from streamflow.history.files.month_column import months_in
from streamflow.history.files.month_folder import find_files
from streamflow.history.files.month_rows import MonthRows
from streamflow.history.violations import Violations
from streamflow.pipeline import checked_use_case
from streamflow.platform import Platform
from streamflow.progress import Progress, silent


def ingest(
    platform: Platform,
    folder: Path,
    as_of: date,
    recorded_at: datetime | None,
    now: datetime,
    who: str,
    progress: Progress = silent,
    complete: bool = False,
    really: bool = False,
    month: MonthRows | None = None,
) -> history.IngestedMonth:
    """Validate the month's files in `folder` and add new rows; see `history.ingest.ingest`.

    `recorded_at` (UTC) is `now` if it is None.
    """
    contract_findings.require_contracts(platform.use_case)
    checked_use_case.require_usable(platform)
    return history.ingest(
        platform.database,
        platform.use_case,
        folder,
        as_of,
        recorded_at or now,
        now,
        who,
        platform.settings.home / "reports",
        progress,
        complete,
        really,
        month,
    )


@dataclass(frozen=True)
class MonthFiles:
    """A month to load: its folder, and of files of several months which rows."""

    as_of: date
    folder: Path
    rows: MonthRows | None = None


def months_by_column(
    platform: Platform,
    folder: Path,
    column: str,
    now: datetime,
    scratch: Path,
    progress: Progress = silent,
) -> list[MonthFiles]:
    """The months of a folder whose files say in `column` which one a row is of, oldest first.

    Each file is read once; its rows are staged in `scratch`, which has to be there until they are
    loaded. Raises MissingFiles; ContractViolation for values that mean no month, and for rows and
    files that can't be read.
    """
    contract_findings.require_contracts(platform.use_case)
    tables = platform.use_case.tables()
    in_files = tuple(
        replace(event_rows(one), name=one.name) if one.events is not None else one for one in tables
    )
    progress(column)
    report = platform.settings.home / "reports" / f"violations-months-{now:%Y%m%dT%H%M%S%f}.csv"
    with Violations(report) as violations:
        found = months_in(find_files(folder, tables), in_files, column, scratch, violations.add)
        violations.raise_if_any(folder)
    return [MonthFiles(as_of, folder, rows) for as_of, rows in found.items()]


def months_by_name(folders: Sequence[Path], pattern: str, scratch: Path) -> list[MonthFiles]:
    """The months of folders by their names, or of one folder by its files' names, oldest first.

    Files of one folder get links in `scratch`. Raises InvalidSettings, MissingFiles.
    """
    match = month_names.compiled(pattern)
    (alone,) = folders if len(folders) == 1 else (None,)
    if alone is not None and match.search(month_names.folder_name(alone)) is None:
        found = month_names.split_by_file(alone, match, scratch)
    else:
        found = month_names.months_by_folder(folders, match)
    return [MonthFiles(as_of, folder) for as_of, folder in found.items()]


def ingest_months(
    platform: Platform,
    months: Sequence[MonthFiles],
    recorded_at: datetime | None,
    now: datetime,
    who: str,
    progress: Progress = silent,
    complete: bool = False,
    really: bool = False,
) -> Iterator[history.IngestedMonth]:
    """Load one month after the other, each by an ingestion of its own; yields each that is loaded.

    Raises as `ingest` does: the months before are loaded then, and load again without effect.
    """
    for one in months:

        def told(what: str, as_of: date = one.as_of) -> None:
            progress(f"{as_of}: {what}")

        yield ingest(
            *(platform, one.folder, one.as_of, recorded_at, now, who),
            *(told, complete, really, one.rows),
        )

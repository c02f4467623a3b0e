"""The small files of a history's months become few large ones: the same rows, in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from pyiceberg.manifest import DataFile

from streamflow.history.iceberg.data_files import data_files
from streamflow.history.iceberg.rewriting import in_one_file, month_of, replace_files, rows_of
from streamflow.history.iceberg.session import IcebergSession
from streamflow.history.iceberg.tables import require_place
from streamflow.history.iceberg.unneeded_files import unneeded_snapshots
from streamflow.progress import Progress

if TYPE_CHECKING:
    from pyiceberg.table import Table

# A file with fewer is small. Of rows, because their number stays: written anew, a file that is
# large by its bytes may be a small one.
LARGE_FILE_ROWS = 10_000_000


@dataclass(frozen=True)
class CompactedTable:
    """A history that had so many files before and has `files` now; so many rows were written."""

    history: str
    rows: int
    before: int
    files: int


def compact(
    session: IcebergSession, use_case: str, key: str, replaced_before: datetime, progress: Progress
) -> list[CompactedTable]:
    """Write the rows of small files to few large ones, month by month; the histories where there
    were some. Snapshots that were replaced before that time (UTC) are taken off the tables.

    Each history is done whole or not at all. No file of before is removed. Raises OSError,
    InvalidSettings, FeatureStoreUnavailable, DatabaseUnavailable.
    """
    require_place(session, use_case, session.location)
    done = []
    for row in session.rows("iceberg_tables", use_case=use_case):
        progress(row["table_name"])
        with session.transaction():
            session.execute("lock_ingestion", use_case=use_case)
            table = session.catalog.load_table((use_case, row["table_name"]))
            done += _compact(session, table, key, replaced_before)
    return done


def small_files(files: Sequence[DataFile]) -> list[list[DataFile]]:
    """Groups of a month's small files, each of which becomes one file: large ones, and what is
    left. A file that would be alone is in no group."""
    months: defaultdict[date, list[DataFile]] = defaultdict(list)
    for file in files:
        if file.record_count < LARGE_FILE_ROWS:
            months[month_of(file)].append(file)
    groups = []
    for month in months.values():
        group: list[DataFile] = []
        for file in sorted(month, key=lambda file: (file.record_count, file.file_path)):
            group.append(file)
            if _rows(group) >= LARGE_FILE_ROWS:
                groups.append(group)
                group = []
        if len(group) > 1:
            groups.append(group)
    return groups


def _compact(
    session: IcebergSession, table: Table, key: str, replaced_before: datetime
) -> list[CompactedTable]:
    before = data_files(table)
    groups = small_files(before)
    expired = unneeded_snapshots(table.metadata, replaced_before)
    written = (
        in_one_file(session, table, key, month_of(group[0]), rows_of(table, group), "compacted")
        for group in groups
    )
    new = [file for file in written if file is not None]
    old = [file for group in groups for file in group]
    if old or expired:
        replace_files(table, old, new, expired)
    if not old:
        return []
    files = len(before) - len(old) + len(new)
    return [CompactedTable(table.name()[-1], _rows(new), len(before), files)]


def _rows(files: Sequence[DataFile]) -> int:
    return sum(file.record_count for file in files)

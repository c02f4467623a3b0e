"""The small files of a history's months become few large ones: the same rows, in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from pyiceberg.manifest import DataFile
from pyiceberg.table.update.snapshot import ExpireSnapshots

from streamflow.columnar.session import view_query
from streamflow.errors import FeatureStoreUnavailable
from streamflow.history.iceberg.data_files import (
    data_files,
    history_view,
    remove,
    require_durable_metadata,
    write_file,
)
from streamflow.history.iceberg.session import IcebergSession
from streamflow.history.iceberg.tables import require_place
from streamflow.history.iceberg.unneeded_files import unneeded_snapshots
from streamflow.postgres.queries import quoted
from streamflow.progress import Progress

if TYPE_CHECKING:
    from pyiceberg.table import Table

# A file with fewer is small. Of rows, because their number stays: written anew, a file that is
# large by its bytes may be a small one.
LARGE_FILE_ROWS = 10_000_000
_EPOCH = date(1970, 1, 1)


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
        written: list[tuple[Table, str]] = []
        try:
            with session.transaction():
                session.execute("lock_ingestion", use_case=use_case)
                table = session.catalog.load_table((use_case, row["table_name"]))
                done += _compact(session, table, key, replaced_before, written)
                # Of a commit that fails nobody knows whether the server has made it.
                written.clear()
        except BaseException:
            for of, path in written:
                remove(of.io, path)
            raise
    return done


def small_files(files: Sequence[DataFile]) -> list[tuple[date, list[DataFile]]]:
    """Groups of a month's small files, each of which becomes one file: large ones, and what is
    left. A file that would be alone is in no group."""
    months: defaultdict[date, list[DataFile]] = defaultdict(list)
    for file in files:
        if file.record_count < LARGE_FILE_ROWS:
            months[_as_of(file)].append(file)
    groups = []
    for as_of in sorted(months):
        group: list[DataFile] = []
        for file in sorted(months[as_of], key=lambda file: (file.record_count, file.file_path)):
            group.append(file)
            if _rows(group) >= LARGE_FILE_ROWS:
                groups.append((as_of, group))
                group = []
        if len(group) > 1:
            groups.append((as_of, group))
    return groups


def _compact(
    session: IcebergSession,
    table: Table,
    key: str,
    replaced_before: datetime,
    written: list[tuple[Table, str]],
) -> list[CompactedTable]:
    before = data_files(table)
    groups = small_files(before)
    expired = unneeded_snapshots(table.metadata, replaced_before)
    if not groups and not expired:
        return []
    new = [_in_one_file(session, table, key, as_of, group, written) for as_of, group in groups]
    with table.transaction() as changed:
        if groups:
            with changed.update_snapshot().overwrite() as rewritten:
                for file in (one for _, group in groups for one in group):
                    rewritten.delete_data_file(file)
                for file in new:
                    rewritten.append_data_file(file)
        if expired:
            ExpireSnapshots(changed).by_ids(expired).commit()
    require_durable_metadata(table)
    if not groups:
        return []
    replaced = sum(len(group) for _, group in groups)
    rows, files = _rows(new), len(before) - replaced + len(new)
    return [CompactedTable(table.name()[-1], rows, len(before), files)]


def _in_one_file(
    session: IcebergSession,
    table: Table,
    key: str,
    as_of: date,
    files: list[DataFile],
    written: list[tuple[Table, str]],
) -> DataFile:
    rows = view_query(history_view(table, files))
    order = f"{quoted(key)}, recorded_at, ingestion_id"
    with session.cursor() as cursor:
        found = cursor.sql(f"SELECT * FROM ({rows}) ORDER BY {order}")
        new, _ = write_file(table, as_of, "compacted", iter(found.to_arrow_reader(100_000)))
        assert new is not None
        written.append((table, new.file_path))
        # The files of before will be removed: what is in the new one is read once more.
        contents = [
            cursor.execute(f"SELECT count(*), sum(hash(one)) FROM ({query}) AS one").fetchone()
            for query in (rows, view_query(history_view(table, [new])))
        ]
    if contents[0] != contents[1]:
        raise FeatureStoreUnavailable(
            f"The rows of {table.name()[-1]} at AS_OF {as_of} aren't those that were written.",
            "Look at the disk, and run the same command again; history is as it was.",
        )
    return new


def _rows(files: Sequence[DataFile]) -> int:
    return sum(file.record_count for file in files)


def _as_of(file: DataFile) -> date:
    """The month of a file's partition, which is a number of days where it comes from a manifest."""
    value = file.partition[0]
    return value if isinstance(value, date) else _EPOCH + timedelta(days=value)

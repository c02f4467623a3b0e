"""Files of a table are written anew, as one file with their rows, or with some of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import TYPE_CHECKING

from pyiceberg.manifest import DataFile
from pyiceberg.table.update.snapshot import ExpireSnapshots

from streamflow.columnar.session import view_query
from streamflow.errors import FeatureStoreUnavailable
from streamflow.history.iceberg.data_files import (
    history_view,
    require_durable_metadata,
    write_file,
)
from streamflow.history.iceberg.session import IcebergSession
from streamflow.postgres.queries import quoted

if TYPE_CHECKING:
    from pyiceberg.table import Table

_EPOCH = date(1970, 1, 1)


def rows_of(table: Table, files: Iterable[DataFile], condition: str = "true") -> str:
    """The query of the files' rows for which the condition holds, in DuckDB's SQL."""
    return f"SELECT * FROM ({view_query(history_view(table, files))}) WHERE {condition}"


def in_one_file(
    session: IcebergSession, table: Table, key: str, as_of: date, rows: str, name: str
) -> DataFile | None:
    """Write the rows of a query, which are of one month, to a new file, in order, and read them
    back; None if there are none. It is part of no table yet, and is removed if the transaction
    fails.

    Raises OSError, FeatureStoreUnavailable.
    """
    order = f"{quoted(key)}, recorded_at, ingestion_id"
    with session.cursor() as cursor:
        found = cursor.sql(f"{rows} ORDER BY {order}")
        new, _ = write_file(table, as_of, name, iter(found.to_arrow_reader(100_000)))
        if new is None:
            return None
        session.remove_if_undone(table.io, new.file_path)
        # The files of before will be removed: what is in the new one is read once more.
        contents = [
            cursor.execute(f"SELECT count(*), sum(hash(one)) FROM ({query}) AS one").fetchone()
            for query in (rows, rows_of(table, [new]))
        ]
    if contents[0] != contents[1]:
        raise FeatureStoreUnavailable(
            f"The rows of {table.name()[-1]} at AS_OF {as_of} aren't those that were written.",
            "Look at the disk, and run the same command again; history is as it was.",
        )
    return new


def replace_files(
    table: Table, old: Iterable[DataFile], new: Iterable[DataFile], snapshots: Iterable[int]
) -> None:
    """Put new files in the place of old ones, and take these snapshots off the table; all that is
    committed by the thread's transaction. Raises OSError."""
    old, new, snapshots = list(old), list(new), list(snapshots)
    with table.transaction() as changed:
        if old:
            with changed.update_snapshot().overwrite() as rewritten:
                for file in old:
                    rewritten.delete_data_file(file)
                for file in new:
                    rewritten.append_data_file(file)
        if snapshots:
            ExpireSnapshots(changed).by_ids(snapshots).commit()
    require_durable_metadata(table)


def month_of(file: DataFile) -> date:
    """The as_of of a file's partition, which is a number of days where it is from a manifest."""
    value = file.partition[0]
    return value if isinstance(value, date) else _EPOCH + timedelta(days=value)

"""A history that is in PostgreSQL goes to tables of Iceberg, with both time axes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from pyiceberg.manifest import DataFile

from streamflow.errors import InvalidSettings
from streamflow.history.iceberg.catalog import ICEBERG_TYPES, Catalog
from streamflow.history.iceberg.data_files import require_durable_metadata, write_file
from streamflow.history.iceberg.tables import require_location
from streamflow.history.iceberg.written_files import WrittenFiles, transaction_with_files
from streamflow.postgres.database import Database
from streamflow.postgres.queries import columns, identifier
from streamflow.postgres.record_batches import record_batch_reader
from streamflow.progress import Progress

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class MovedTable:
    """A history of so many rows, which are in so many files now."""

    history: str
    rows: int
    files: int


def move(
    database: Database, use_case: str, key: str, location: str, progress: Progress
) -> list[MovedTable]:
    """Write all rows of the use case's histories to tables of Iceberg below `location`, put views
    in place of PostgreSQL's tables, and drop those; all of them or none. Nothing if it was done.

    Tables of events stay in PostgreSQL. Raises InvalidSettings if there is no history, or it is in
    another location already; OSError, NotPermitted, DatabaseUnavailable.
    """
    catalog = Catalog(database)
    with transaction_with_files(database) as written:
        database.execute("lock_ingestion", use_case=use_case)
        require_location(database, use_case, location)
        found = database.rows("histories_here", use_case=use_case)
        if not found and not database.rows("iceberg_tables", use_case=use_case):
            raise InvalidSettings(
                f"There is no history of {use_case!r} yet.",
                f"Set STREAMFLOW_HISTORY={location}, then `streamflow ingest`.",
            )
        database.execute("add_iceberg_location", use_case=use_case, location=location)
        moved = []
        for row in found:
            history = row["table_name"]
            progress(history)
            moved.append(_move(database, catalog, use_case, history, key, location, written))
        return moved


def _move(
    database: Database,
    catalog: Catalog,
    use_case: str,
    history: str,
    key: str,
    location: str,
    written: WrittenFiles,
) -> MovedTable:
    found = database.rows("history_columns", schema=use_case, table=history)
    types = {row["column_name"]: row["data_type"] for row in found}
    first = [key, "as_of", "event_timestamp", "recorded_at", "ingestion_id"]
    types = {name: types[name] for name in [*first, *(types.keys() - {*first})]}
    assert set(types.values()) <= set(ICEBERG_TYPES)
    catalog.create_history(use_case, history, location, types)
    table = catalog.load_table((use_case, history))
    names = {
        "history": identifier(use_case, history),
        "columns": columns(list(types)),
        "key": identifier(key),
    }
    files: list[DataFile] = []
    rows = 0
    for month in database.rows("months_of_history", names):
        as_of: date = month["as_of"]
        with record_batch_reader(database) as read:
            batches = read(database.render("rows_in_order", names, as_of=as_of))
            file, count = write_file(table, as_of, "moved", _filled(batches))
        if file is None or count != month["rows"]:
            raise InvalidSettings(
                f"{history} has {month['rows']:,} rows at AS_OF {as_of}, and {count:,} were read.",
                "Something else writes to history: stop it, and run the same command again.",
            )
        written.append((table.io, file.file_path))
        files.append(file)
        rows += count
    if files:
        with table.transaction() as changed, changed.update_snapshot().fast_append() as appended:
            for file in files:
                appended.append_data_file(file)
        require_durable_metadata(table)
    database.execute("drop_history", names)
    database.execute(
        "create_history_elsewhere",
        use_case=use_case,
        history=history,
        columns=json.dumps([*types.items()]),
    )
    return MovedTable(history, rows, len(files))


def _filled(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return (batch for batch in batches if batch.num_rows)

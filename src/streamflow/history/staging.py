"""A month's file in a temporary table, where rules over the whole set are checked by SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.history.files.month_rows import MonthRows
from streamflow.history.files.read_ahead import read_ahead
from streamflow.history.forgotten.forgotten import drop_forgotten, salts
from streamflow.history.history_table import content_columns, content_definitions
from streamflow.history.iceberg.session import IcebergSession
from streamflow.history.staged.keys import check_keys
from streamflow.history.validation import read_checked
from streamflow.history.violations import Report
from streamflow.history.withdrawals.known_rows import FOR_EVER, known_rows
from streamflow.postgres.database import Database
from streamflow.postgres.queries import Composable, identifier
from streamflow.use_case import Table, UseCase

if TYPE_CHECKING:
    import pyarrow as pa


def staging_table(table: str) -> Composable:
    """The name of the temporary table with the file's rows, which is dropped at the commit."""
    return identifier(f"staging_{table}")


def stage(
    database: Database,
    use_case: UseCase,
    table: Table,
    file: Path,
    report: Report,
    month: MonthRows | None = None,
) -> int:
    """Copy the file into its staging table; report each violation of the contract.

    Of a file of several months, the rows of `month` alone. Returns how many rows are of persons who
    were forgotten: those are left out.
    Within a transaction, the entity table first: the other tables' keys must be in it.
    """
    names = {
        "staging": staging_table(table.name),
        "key": identifier(use_case.join_key),
        "known_history": known_rows(database, use_case, table.history, FOR_EVER),
        "entities": staging_table(use_case.entity_table),
    }
    database.execute(
        "create_staging", {**names, "definitions": content_definitions(use_case, table)}
    )
    order = ["line", use_case.join_key, *content_columns(use_case, table)]
    read = partial(read_checked, table, file, month=month)
    copy_rows(database, table, order, read, report)
    dropped = drop_forgotten(database, use_case, names, salts(database, use_case))
    database.execute("analyze_staging", names)
    check_keys(database, use_case, table, names, file.name, report)
    return dropped


def copy_rows(
    database: Database,
    table: Table,
    order: Sequence[str],
    read: Callable[[Report], Iterator[pa.RecordBatch]],
    report: Report,
) -> None:
    """Copy what is read into the table's staging table, with its columns in this order."""
    import pyarrow as pa
    import pyarrow.csv

    if isinstance(database, IcebergSession):
        name = staging_table(table.name).as_string(None)
        for batch in read_ahead(read, report):
            database.stage_batch(name, batch.select(list(order)))
        return
    options = pa.csv.WriteOptions(include_header=False)
    with (
        database.connection() as connection,
        connection.cursor() as cursor,
        cursor.copy(
            database.render("copy_staging", {"staging": staging_table(table.name)})
        ) as copy,
    ):
        # The file is parsed and checked while PostgreSQL takes the rows before.
        for batch in read_ahead(read, report):
            buffer = pa.BufferOutputStream()
            pa.csv.write_csv(batch.select(list(order)), buffer, options)
            copy.write(buffer.getvalue())

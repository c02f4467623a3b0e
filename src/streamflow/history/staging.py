"""A month's file in a staging table, where rules over the whole set are checked by SQL.

It is a temporary table; or, of a month that history doesn't have, a view of the table that is to be
the month's in history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.history.files.month_rows import MonthRows
from streamflow.history.files.read_ahead import read_ahead
from streamflow.history.forgotten.forgotten import drop_forgotten, salts
from streamflow.history.history_table import content_columns, content_definitions
from streamflow.history.iceberg.session import IcebergSession
from streamflow.history.staged.keys import check_keys
from streamflow.history.staged.new_month import NewMonth, begin_month, key_month
from streamflow.history.validation import read_checked
from streamflow.history.violations import Report
from streamflow.history.withdrawals.known_rows import FOR_EVER, known_rows
from streamflow.postgres.database import Database
from streamflow.postgres.queries import Composable, columns, identifier
from streamflow.use_case import Table, UseCase

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Staged:
    """A file in its staging table: how many of its rows were left out, because they are of persons
    who were forgotten, and the month's table if history has none of it."""

    forgotten: int
    month: NewMonth | None = None


def staging_table(table: str) -> Composable:
    """The name of the temporary table with the file's rows, or of the view that shows them; it is
    gone after the commit."""
    return identifier(f"staging_{table}")


def stage(
    database: Database,
    use_case: UseCase,
    table: Table,
    file: Path,
    as_of: date,
    recorded_at: datetime,
    report: Report,
    month: MonthRows | None = None,
) -> Staged:
    """Copy the file into its staging table; report each violation of the contract.

    Of a file of several months, the rows of `month` alone. Rows of persons who were forgotten are
    left out. `recorded_at` is in UTC.
    Within a transaction, the entity table first: the other tables' keys must be in it.
    """
    staging = staging_table(table.name)
    names = {
        "staging": staging,
        "key": identifier(use_case.join_key),
        "known_history": known_rows(database, use_case, table.history, FOR_EVER),
        "entities": staging_table(use_case.entity_table),
    }
    new = begin_month(database, use_case, table, as_of, staging)
    if new is None:
        definitions = content_definitions(use_case, table)
        database.execute("create_staging", {**names, "definitions": definitions})
    order = ["line", use_case.join_key, *content_columns(use_case, table)]
    read = partial(read_checked, table, file, month=month)
    copy_rows(database, table, order, read, report, new)
    dropped = drop_forgotten(database, use_case, names, salts(database, use_case))
    has_key = False
    if new is None:
        database.execute("analyze_staging", names)
    else:
        has_key = key_month(database, new, recorded_at)
    check_keys(database, use_case, table, names, file.name, report, unique=has_key)
    return Staged(dropped, new)


def copy_rows(
    database: Database,
    table: Table,
    order: Sequence[str],
    read: Callable[[Report], Iterator[pa.RecordBatch]],
    report: Report,
    month: NewMonth | None = None,
) -> None:
    """Copy what is read into the table's staging table, with its columns in this order; or into the
    month's table, which the staging table shows."""
    import pyarrow as pa
    import pyarrow.csv

    if isinstance(database, IcebergSession):
        name = staging_table(table.name).as_string(None)
        for batch in read_ahead(read, report):
            database.stage_batch(name, batch.select(list(order)))
        return
    if month is None:
        copying = database.render("copy_staging", {"staging": staging_table(table.name)})
    else:
        names = {"month": month.table, "columns": columns([*order])}
        copying = database.render("copy_month", names)
    options = pa.csv.WriteOptions(include_header=False)
    with (
        database.connection() as connection,
        connection.cursor() as cursor,
        cursor.copy(copying) as copy,
    ):
        # The file is parsed and checked while PostgreSQL takes the rows before.
        for batch in read_ahead(read, report):
            buffer = pa.BufferOutputStream()
            pa.csv.write_csv(batch.select(list(order)), buffer, options)
            copy.write(buffer.getvalue())

"""A column of whole numbers becomes one of numbers: each file of its table is written anew.

Iceberg doesn't let the type of a column change so. The column gets another number, under its name.
"""

from __future__ import annotations

from streamflow.errors import FeatureStoreUnavailable
from streamflow.history.iceberg.catalog import ICEBERG_TYPES
from streamflow.history.iceberg.data_files import data_files
from streamflow.history.iceberg.rewriting import in_one_file, month_of, replace_files, rows_of
from streamflow.history.iceberg.session import IcebergSession
from streamflow.postgres.queries import quoted


def widen(session: IcebergSession, use_case: str, history: str, column: str, type: str) -> None:
    """Give the column of a history another of PostgreSQL's types, in the thread's transaction.

    Values have to be exact in it. The files of before are in older snapshots, and stay. Raises
    FeatureStoreUnavailable.
    """
    try:
        _widen(session, use_case, history, column, type)
    except OSError as error:
        raise FeatureStoreUnavailable(
            f"History can't be written to {session.location}: {error.strerror or error}.",
            "Make room there, or let it be written, and run the same command again; nothing was "
            "changed.",
        ) from error


def _widen(session: IcebergSession, use_case: str, history: str, column: str, type: str) -> None:
    table = session.catalog.load_table((use_case, history))
    before = [(file, rows_of(table, [file])) for file in data_files(table)]
    with table.update_schema() as schema:
        schema.delete_column(column)
        schema.add_column(column, ICEBERG_TYPES[type])
    table = session.catalog.load_table((use_case, history))
    names = [field.name for field in table.schema().fields]
    columns = ", ".join(
        f"{quoted(name)}::{type} AS {quoted(name)}" if name == column else quoted(name)
        for name in names
    )
    written = (
        in_one_file(
            session, table, names[0], month_of(file), f"SELECT {columns} FROM ({rows})", "widened"
        )
        for file, rows in before
    )
    new = [file for file in written if file is not None]
    replace_files(table, [file for file, _ in before], new, ())

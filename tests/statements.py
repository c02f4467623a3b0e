"""SQL that only tests run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from streamflow.features.engines.history_database import history_database
from streamflow.history.iceberg.session import IcebergSession
from streamflow.postgres.database import Database
from streamflow.settings import load_settings

_HISTORY = re.compile(r'(?<![\w.])"?(\w+)"?\."?(\w+_history)"?(?!\w)')
_numbers = count()
_END_OF_DAY = "(as_of + 1)::timestamp AT TIME ZONE 'UTC' - interval '1 microsecond'"


@contextmanager
def history_at(url: str, home: Path) -> Iterator[Database]:
    """The database, whose rows of history are where the environment says."""
    settings = load_settings(home=home, database_url=url)
    with Database(url) as database, history_database(settings, database) as (reading, _):
        yield reading


def execute(
    database: Database, statement: Any, values: Any = None
) -> psycopg.Cursor[dict[str, Any]]:
    """Run the statement, on a connection of the database's pool; its rows can be read later.

    Where history is in Apache Iceberg, its rows there are read, and changed, by it.
    """
    if isinstance(database, IcebergSession):
        text = statement.as_string(None) if isinstance(statement, sql.Composable) else statement
        found = {one for one in _HISTORY.findall(text) if one[0] not in ("streamflow", "feast")}
        if found:
            return _over_iceberg(database, text, values, sorted(found))
    with database.connection() as connection:
        return connection.execute(statement, values)


def _over_iceberg(
    session: IcebergSession, text: str, values: Any, histories: list[tuple[str, str]]
) -> psycopg.Cursor[dict[str, Any]]:
    """Run the statement on a copy of the histories' rows, and put the rows of the copy in their
    place if it changes some."""
    from streamflow.history.iceberg.brought_rows import bring

    with session.transaction(), session.connection() as connection:
        places = {}
        for use_case, history in histories:
            query = f'SELECT * FROM "{use_case}"."{history}"'
            session.before_reading(query)
            with session.cursor() as cursor:
                batches = cursor.sql(query).to_arrow_reader(100_000)
                place = f"copy_of_{history}_{next(_numbers)}"
                bring(session, place, batches, None)
            places[use_case, history] = place
        copied = _HISTORY.sub(lambda one: places.get((one[1], one[2]), one[0]), text)
        done = connection.execute(copied, values)  # type: ignore[call-overload]
        if not re.match(r"\s*(SELECT|WITH)\b", text, re.IGNORECASE):
            for (use_case, history), place in places.items():
                _replace_rows(session, use_case, history, place)
    return done  # type: ignore[no-any-return]


def _replace_rows(session: IcebergSession, use_case: str, history: str, place: str) -> None:
    import pyarrow as pa
    from pyiceberg.io.pyarrow import schema_to_pyarrow

    from streamflow.history.iceberg.data_files import data_files, write_file
    from streamflow.history.iceberg.rewriting import replace_files

    table = session.catalog.load_table((use_case, history))
    schema = schema_to_pyarrow(table.schema(), include_field_ids=False)
    with session.connection() as connection:
        connection.execute(f"UPDATE {place} SET event_timestamp = {_END_OF_DAY}".encode())
        rows = connection.execute(f"SELECT * FROM {place}".encode()).fetchall()
    new = []
    for as_of in {row["as_of"] for row in rows}:
        month = pa.Table.from_pylist([row for row in rows if row["as_of"] == as_of], schema)
        file, _ = write_file(table, as_of, "changed", iter(month.to_batches()))
        assert file is not None
        new.append(file)
    replace_files(table, data_files(table), new, [])

"""Features that PostgreSQL has made of events, which are there, in a staging table of DuckDB."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

from streamflow.columnar.literals import rendered
from streamflow.history.iceberg.session import IcebergSession
from streamflow.postgres.database import Database
from streamflow.postgres.queries import Composable, identifier, subquery

if TYPE_CHECKING:
    import pyarrow as pa

_ARROW_TYPES = {"text": "string", "bigint": "int64", "double precision": "float64"}


def stage_features(
    session: IcebergSession,
    aggregated: str,
    types: Mapping[str, str],
    names: Mapping[str, Composable],
    as_of: date,
) -> None:
    """Run the query `aggregate` in DuckDB with the rows of the query `aggregated` in PostgreSQL,
    whose columns have these types of PostgreSQL, in the thread's transaction."""
    text = rendered("aggregate", {**names, "aggregated": identifier("joined")}, {"as_of": as_of})
    session.before_reading(text)
    with session.cursor() as cursor:
        cursor.register("joined", _copied(session.in_postgres, aggregated, types))
        cursor.execute(text)


def _copied(database: Database, query: str, types: Mapping[str, str]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv

    buffer = pa.BufferOutputStream()
    # On the transaction's connection, as the newest events aren't committed yet.
    copying = database.render("copy_query", {"query": subquery(query)})
    with (
        database.connection() as connection,
        connection.cursor() as cursor,
        cursor.copy(copying.encode()) as copy,
    ):
        for part in copy:
            buffer.write(part)
    arrow = {name: pa.type_for_alias(_ARROW_TYPES[kind]) for name, kind in types.items()}
    options = pa.csv.ConvertOptions(column_types=arrow, null_values=[""])
    return pa.csv.read_csv(pa.BufferReader(buffer.getvalue()), convert_options=options)

"""Writes of rows to a feature view's table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, LiteralString

from psycopg import Connection, RawCursor, sql

from feast_postgres.columns import Column, TableLayout, utc
from feast_postgres.tables import upsert

if TYPE_CHECKING:
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

# One row to write: entity key, values by feature, event timestamp, created timestamp.
WriteRow = tuple["EntityKey", dict[str, "Value"], datetime, datetime | None]

# Up to this many rows, arrays as parameters are faster than COPY into a new temporary table.
_FEW_ROWS = 200


def write(
    connection: Connection[object],
    table: sql.Identifier,
    layout: TableLayout,
    rows: Sequence[WriteRow],
    version: int,
) -> None:
    """Write all of the rows in one transaction, or none.

    Raises ValueError for a value that its column can't hold, or a feature not in the view.
    """
    keys = {key.feature for key in layout.keys}
    rows_by_features: dict[frozenset[str], list[WriteRow]] = {}
    for row in rows:
        rows_by_features.setdefault(frozenset(row[1]), []).append(row)
    for features in rows_by_features:
        # Feast repeats join keys among the values of on-demand and of stream feature views.
        if unknown := sorted(features - layout.features.keys() - keys):
            raise ValueError(f"Feature view {layout.view!r} has no feature {unknown[0]!r}")
    with connection.transaction():
        if len(rows_by_features) > 1:
            # Each statement locks rows in order of key, but two statements together do not: without
            # this lock, two such batches could deadlock.
            connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(table))
        for number, (features, group) in enumerate(rows_by_features.items()):
            given = [column for column in layout.feature_columns if column.feature in features]
            natives = _natives(layout, given, group, version)
            if len(group) <= _FEW_ROWS:
                _insert(connection, table, layout, given, natives)
            else:
                staging = sql.Identifier("pg_temp", f"staging_{number}")
                _copy(connection, staging, layout, given, natives)
                staged = sql.SQL("(SELECT *, ctid FROM {}) AS given").format(staging)
                connection.execute(upsert(connection, table, layout, given, staged))


def remove(
    connection: Connection[object],
    table: sql.Identifier,
    layout: TableLayout,
    gone: sql.Composable,
) -> None:
    """Remove the table's rows that are among `gone`, an item of FROM of this name with the columns
    of the keys, event_timestamp and created_timestamp."""
    names = [key.name for key in layout.keys]
    same = sql.SQL(" AND ").join(
        sql.SQL("stored.{0} IS NOT DISTINCT FROM gone.{0}").format(sql.Identifier(name))
        if name == "created_timestamp"
        else sql.SQL("stored.{0} = gone.{0}").format(sql.Identifier(name))
        for name in (*names, "event_timestamp", "created_timestamp")
    )
    some = sql.SQL("SELECT 1 FROM {} AS stored JOIN {} ON {} LIMIT 1").format(table, gone, same)
    if connection.execute(some).fetchone():
        # Other writers lock rows by key, and this statement by no order.
        connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(table))
        statement = sql.SQL("DELETE FROM {} AS stored USING {} WHERE {}").format(table, gone, same)
        connection.execute(statement)


def _insert(
    connection: Connection[object],
    table: sql.Identifier,
    layout: TableLayout,
    given: Sequence[Column],
    rows: Iterator[tuple[object, ...]],
) -> None:
    columns = _columns(layout, given)
    arrays = sql.SQL(", ").join(
        sql.SQL("${}::{}[]").format(sql.Literal(number), sql.SQL(sql_type))
        for number, (_, sql_type) in enumerate(columns, 1)
    )
    names = sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns)
    unnested = sql.SQL("unnest({}) WITH ORDINALITY AS given ({}, ctid)").format(arrays, names)
    statement = upsert(connection, table, layout, given, unnested)
    RawCursor(connection).execute(statement, [list(v) for v in zip(*rows, strict=True)])


def _copy(
    connection: Connection[object],
    staging: sql.Identifier,
    layout: TableLayout,
    given: Sequence[Column],
    rows: Iterator[tuple[object, ...]],
) -> None:
    """Copy the rows into a new table that lasts until commit."""
    columns = _columns(layout, given)
    declared = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(sql_type))
        for name, sql_type in columns
    )
    make = sql.SQL("CREATE TEMP TABLE {} ({}) ON COMMIT DROP").format(staging, declared)
    connection.execute(make)
    into = sql.SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(staging)
    with connection.cursor().copy(into) as copy:
        copy.set_types([sql_type for _, sql_type in columns])
        for row in rows:
            copy.write_row(row)


def _columns(layout: TableLayout, given: Sequence[Column]) -> list[tuple[str, LiteralString]]:
    """Names and types of the columns of `_natives`."""
    return [
        *((key.name, key.sql_type) for key in layout.keys),
        ("event_timestamp", "timestamptz"),
        ("created_timestamp", "timestamptz"),
        *((column.name, column.sql_type) for column in given),
    ]


def _natives(
    layout: TableLayout, given: Sequence[Column], rows: Sequence[WriteRow], version: int
) -> Iterator[tuple[object, ...]]:
    for entity_key, values, event_timestamp, created_timestamp in rows:
        yield (
            *layout.key_to_sql(entity_key, version),
            utc(event_timestamp),
            _created(created_timestamp),
            *(column.to_sql(values[column.feature]) for column in given),
        )


def _created(timestamp: datetime | None) -> datetime | None:
    # pandas has NaT for a missing timestamp, which does not equal itself.
    return None if timestamp is None or timestamp != timestamp else utc(timestamp)

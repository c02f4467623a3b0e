"""The SQL of a feature view's table: make it, change it, fill it, read it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, LiteralString

from feast.infra.key_encoding_utils import serialize_entity_key
from psycopg import AsyncConnection, Connection, sql

from feast_postgres.columns import OWN_COLUMNS, Column, utc

# One row to write: entity key, values by feature, event timestamp, created timestamp.
Row = tuple[Any, dict[str, Any], datetime, datetime | None]

_CREATE = """
CREATE TABLE {table} (
    entity_key bytea PRIMARY KEY,
    event_timestamp timestamptz NOT NULL,
    created_timestamp timestamptz,
    -- columns that no write has given yet, as after one was added; null: all are written
    unwritten text[]
    {columns}
)
"""

_UPSERT = """
INSERT INTO {table} AS stored
    (entity_key, event_timestamp, created_timestamp, unwritten {columns})
SELECT DISTINCT ON (entity_key) entity_key, event_timestamp, created_timestamp, (
    SELECT array_agg(attname::text ORDER BY attnum)
    FROM pg_attribute
    WHERE attrelid = {table_text}::regclass AND attnum > 0 AND NOT attisdropped
        AND attname <> ALL({own} || {given})
) {columns}
FROM pg_temp.{staging}
-- by key, so that concurrent writers meet in the same order and can't lock each other out
ORDER BY entity_key, event_timestamp DESC, created_timestamp DESC NULLS LAST, ctid DESC
ON CONFLICT (entity_key) DO UPDATE SET
    event_timestamp = excluded.event_timestamp,
    created_timestamp = excluded.created_timestamp,
    unwritten = CASE WHEN stored.unwritten IS NOT NULL THEN (
        SELECT array_agg(name) FROM unnest(stored.unwritten) AS name WHERE name <> ALL({given})
    ) END
    {updates}
WHERE (excluded.event_timestamp, coalesce(excluded.created_timestamp, '-infinity'))
   >= (stored.event_timestamp, coalesce(stored.created_timestamp, '-infinity'))
"""


_MARK_UNWRITTEN = """
UPDATE {table} SET unwritten = (
    SELECT array_agg(DISTINCT name)
    FROM unnest(coalesce(unwritten, '{{}}') || {names}::text[]) AS name
)
"""


def drop(connection: Connection[Any], table: sql.Identifier) -> None:
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))


def reconcile(connection: Connection[Any], table: sql.Identifier, columns: list[Column]) -> None:
    """Make the table, or add and drop columns so that it's the one of these features.

    A column's comment is its Feast type; a feature of another type than it had starts anew.
    """
    existing: dict[str, str | None] = dict(
        connection.execute(
            "SELECT attname, col_description(attrelid, attnum) FROM pg_attribute "
            "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
            [table.as_string(connection)],
        ).fetchall()
    )
    wanted = {column.name: column.value_type for column in columns}
    added = [column for column in columns if existing.get(column.name) != column.value_type]
    dropped = [
        known
        for known, value_type in existing.items()
        if known not in OWN_COLUMNS and wanted.get(known) != value_type
    ]
    if not existing:
        create = sql.SQL(_CREATE).format(table=table, columns=_declared(columns, ", {} {}"))
        connection.execute(create)
    elif added:
        # Readers go on while the rows are marked; ALTER TABLE stops them for an instant.
        connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(table))
        names = sql.Literal([column.name for column in added])
        connection.execute(sql.SQL(_MARK_UNWRITTEN).format(table=table, names=names))
    changes = [sql.SQL("DROP COLUMN {}").format(sql.Identifier(known)) for known in dropped]
    if existing:
        changes += [_declared([column], "ADD COLUMN {} {}") for column in added]
    if changes:
        connection.execute(sql.SQL("ALTER TABLE {} {}").format(table, sql.SQL(", ").join(changes)))
    for column in added:
        comment = sql.SQL("COMMENT ON COLUMN {}.{} IS {}")
        name, value_type = sql.Identifier(column.name), sql.Literal(column.value_type)
        connection.execute(comment.format(table, name, value_type))


def stage(
    connection: Connection[Any],
    staging: sql.Identifier,
    given: list[Column],
    rows: list[Row],
    version: int,
) -> None:
    """Copy the rows' values of the given columns into a new table that lasts until commit."""
    connection.execute(
        sql.SQL(
            "CREATE TEMP TABLE {} (entity_key bytea, event_timestamp timestamptz, "
            "created_timestamp timestamptz {}) ON COMMIT DROP"
        ).format(staging, _declared(given, ", {} {}"))
    )
    into = sql.SQL("COPY pg_temp.{} FROM STDIN (FORMAT BINARY)").format(staging)
    types = ["bytea", "timestamptz", "timestamptz", *(column.sql_type for column in given)]
    with connection.cursor().copy(into) as copy:
        copy.set_types(types)
        for entity_key, values, event_timestamp, created_timestamp in rows:
            copy.write_row(
                (
                    serialize_entity_key(entity_key, entity_key_serialization_version=version),
                    utc(event_timestamp),
                    _created(created_timestamp),
                    *(column.to_sql(values[column.feature]) for column in given),
                )
            )


def upsert(
    connection: Connection[Any],
    table: sql.Identifier,
    staging: sql.Identifier,
    given: list[Column],
) -> sql.Composed:
    """Move what was staged into the table, in one statement."""
    names = [sql.Identifier(column.name) for column in given]
    return sql.SQL(_UPSERT).format(
        table=table,
        table_text=sql.Literal(table.as_string(connection)),
        staging=staging,
        own=sql.SQL("{}::text[]").format(sql.Literal(list(OWN_COLUMNS))),
        given=sql.SQL("{}::text[]").format(sql.Literal([column.name for column in given])),
        columns=sql.SQL("").join(sql.SQL(", {}").format(name) for name in names),
        updates=sql.SQL("").join(sql.SQL(", {0} = excluded.{0}").format(name) for name in names),
    )


def select(
    connection: Connection[Any] | AsyncConnection[Any],
    table: sql.Identifier,
    columns: list[Column],
) -> bytes:
    """Rows of a list of entity keys: key, event timestamp, unwritten columns, the columns."""
    names = sql.SQL("").join(sql.SQL(", {}").format(sql.Identifier(c.name)) for c in columns)
    query = sql.SQL("SELECT entity_key, event_timestamp, unwritten {} FROM {}").format(names, table)
    # A percent sign in a name is no placeholder.
    return query.as_bytes(connection).replace(b"%", b"%%") + b" WHERE entity_key = ANY(%b)"


def _declared(columns: list[Column], template: LiteralString) -> sql.Composed:
    return sql.SQL("").join(
        sql.SQL(template).format(sql.Identifier(column.name), sql.SQL(column.sql_type))
        for column in columns
    )


def _created(moment: datetime | None) -> datetime | None:
    # Where pandas has no moment, it gives one that doesn't equal itself.
    return None if moment is None or moment != moment else utc(moment)

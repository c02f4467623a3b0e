"""The SQL that creates, changes and fills a feature view's table."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import LiteralString

from psycopg import Connection, sql
from psycopg.rows import tuple_row

from feast_postgres.columns import OWN_COLUMNS, Column, TableLayout

_CREATE = """
CREATE TABLE {table} (
    {keys},
    event_timestamp timestamptz NOT NULL,
    created_timestamp timestamptz,
    -- columns without a value yet, for example new ones; null: all columns are written
    unwritten text[]
    {columns},
    PRIMARY KEY ({key_names})
)
"""

# A row's position is named `ctid`, like a system column: no feature's column has that name.
_INSERT = """
INSERT INTO {table} AS stored
    ({key_names}, event_timestamp, created_timestamp, unwritten {columns})
SELECT DISTINCT ON ({sorted_keys}) {key_names}, event_timestamp, created_timestamp, (
    SELECT array_agg(attname::text ORDER BY attnum)
    FROM pg_attribute
    WHERE attrelid = {table_text}::regclass AND attnum > 0 AND NOT attisdropped
        AND attname <> ALL({given})
) {columns}
FROM {rows}
-- by key: concurrent writers lock rows in the same order and can't deadlock; the last columns make
-- the choice between rows with equal timestamps the same each time
ORDER BY {sorted_keys}, event_timestamp DESC, created_timestamp DESC NULLS LAST, ctid DESC {columns}
"""

_ON_CONFLICT = """
ON CONFLICT ({key_names}) DO UPDATE SET
    event_timestamp = excluded.event_timestamp,
    created_timestamp = excluded.created_timestamp,
    unwritten = CASE WHEN stored.unwritten IS NOT NULL THEN (
        SELECT array_agg(name) FROM unnest(stored.unwritten) AS name WHERE name <> ALL({given})
    ) END
    {updates}
WHERE (excluded.event_timestamp, coalesce(excluded.created_timestamp, '-infinity'))
   >= (stored.event_timestamp, coalesce(stored.created_timestamp, '-infinity'))
    -- a row with the same values, to the last bit, is not written again
    AND (stored.unwritten IS NOT NULL
        OR ROW(excluded.event_timestamp, excluded.created_timestamp {excluded})::record
           *<> ROW(stored.event_timestamp, stored.created_timestamp {stored})::record)
"""

_MARK_UNWRITTEN = """
UPDATE {table} SET unwritten = (
    SELECT array_agg(DISTINCT name)
    FROM unnest(coalesce(unwritten, '{{}}') || {names}::text[]) AS name
)
"""

_COPY = """
INSERT INTO {new} ({keys}, event_timestamp, created_timestamp, unwritten {shared})
SELECT {keys}, event_timestamp, created_timestamp, (
    SELECT array_agg(DISTINCT name)
    FROM unnest(coalesce(unwritten, '{{}}') || {lacking}::text[]) AS name
    WHERE name = ANY({columns}::text[])
) {shared}
FROM {old}
"""

_EXISTING = """
SELECT attname, col_description(attrelid, attnum), coalesce(attnum = ANY(indkey), false)
FROM pg_attribute LEFT JOIN pg_index ON indrelid = attrelid AND indisprimary
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
"""

_VERSIONS = """
SELECT relname::text
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = %(schema)s AND relkind = 'r' AND starts_with(relname, %(prefix)s)
    AND substr(relname, length(%(prefix)s) + 1) ~ '^[0-9]+$'
"""


@contextmanager
def exclusively(connection: Connection[object], schema: str) -> Iterator[None]:
    """A transaction in which no other process changes tables of the schema."""
    with connection.transaction():
        connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"feast_postgres {schema}"]
        )
        yield


def drop(connection: Connection[object], table: sql.Identifier) -> None:
    """Drop the table if it exists."""
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))


def versions(connection: Connection[object], schema: str, prefix: str) -> list[int]:
    """The numbers of the tables of the schema whose names are the prefix and a number."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        names = cursor.execute(_VERSIONS, {"schema": schema, "prefix": prefix}).fetchall()
    return [int(name.removeprefix(prefix)) for (name,) in names]


def exists(connection: Connection[object], table: sql.Identifier) -> bool:
    """Whether there is such a table."""
    return bool(existing_columns(connection, table))


def reconcile(connection: Connection[object], table: sql.Identifier, layout: TableLayout) -> None:
    """Create the table, or add and drop columns to match the layout.

    A column's comment is its Feast type. A feature whose type changed gets a new, empty column. If
    the join keys changed, the whole table is created again, empty.
    """
    rows = existing_columns(connection, table)
    keys = {name: value_type for name, value_type, is_key in rows if is_key}
    if rows and keys != {key.name: key.value_type for key in layout.keys}:
        drop(connection, table)
        rows = []
    existing = {name: value_type for name, value_type, is_key in rows if not is_key}
    columns = layout.feature_columns
    wanted = {column.name: column.value_type for column in columns}
    added = [column for column in columns if existing.get(column.name) != column.value_type]
    if not rows:
        create = sql.SQL(_CREATE).format(
            table=table,
            keys=sql.SQL(", ").join(_declared([key], "{} {}") for key in layout.keys),
            key_names=_names(layout.keys),
            columns=_declared(columns, ", {} {}"),
        )
        connection.execute(create)
        _comment(connection, table, [*layout.keys, *columns])
        return
    dropped = [
        known
        for known, value_type in existing.items()
        if known not in OWN_COLUMNS and wanted.get(known) != value_type
    ]
    if added:
        # Readers continue while the rows are marked; ALTER TABLE blocks them for an instant.
        connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(table))
        names = sql.Literal([column.name for column in added])
        connection.execute(sql.SQL(_MARK_UNWRITTEN).format(table=table, names=names))
    changes = [sql.SQL("DROP COLUMN {}").format(sql.Identifier(known)) for known in dropped]
    changes += [_declared([column], "ADD COLUMN {} {}") for column in added]
    if changes:
        connection.execute(sql.SQL("ALTER TABLE {} {}").format(table, sql.SQL(", ").join(changes)))
    _comment(connection, table, added)


def copy_rows(
    connection: Connection[object], old: sql.Identifier, new: sql.Identifier, layout: TableLayout
) -> None:
    """Copy all rows of `old` to `new`, an empty table of this layout, if it has the same keys.

    Of a column that isn't in `old`, or of another type there, there is no value yet.
    """
    found = existing_columns(connection, old)
    if {(name, kind) for name, kind, is_key in found if is_key} != {
        (key.name, key.value_type) for key in layout.keys
    }:
        return
    known = {name: value_type for name, value_type, _ in found}
    columns = layout.feature_columns
    shared = [column for column in columns if known.get(column.name) == column.value_type]
    statement = sql.SQL(_COPY).format(
        old=old,
        new=new,
        keys=_names(layout.keys),
        shared=sql.SQL("").join(sql.SQL(", {}").format(_names([one])) for one in shared),
        lacking=sql.Literal([column.name for column in columns if column not in shared]),
        columns=sql.Literal([column.name for column in columns]),
    )
    connection.execute(statement)


def existing_columns(
    connection: Connection[object], table: sql.Identifier
) -> list[tuple[str, str | None, bool]]:
    """The table's columns: name, Feast type (None for OWN_COLUMNS), whether part of the key.

    Empty if there is no such table.
    """
    with connection.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(_EXISTING, [table.as_string(connection)]).fetchall()


def upsert(
    connection: Connection[object],
    table: sql.Identifier,
    layout: TableLayout,
    given: Sequence[Column],
    rows: sql.Composable,
) -> sql.Composed:
    """One statement that writes the newest of each entity's `rows`, unless the table's is newer.

    `rows` is an item of FROM with the columns of the keys, event_timestamp, created_timestamp, ctid
    and the given columns. Of rows with equal timestamps, the one with the highest ctid wins.
    """
    names = [sql.Identifier(column.name) for column in given]
    on_conflict = sql.SQL(_ON_CONFLICT).format(
        key_names=_names(layout.keys),
        given=_written(layout, given),
        updates=sql.SQL("").join(sql.SQL(", {0} = excluded.{0}").format(name) for name in names),
        excluded=sql.SQL("").join(sql.SQL(", excluded.{}").format(name) for name in names),
        stored=sql.SQL("").join(sql.SQL(", stored.{}").format(name) for name in names),
    )
    return insert(connection, table, layout, given, rows) + on_conflict


def insert(
    connection: Connection[object],
    table: sql.Identifier,
    layout: TableLayout,
    given: Sequence[Column],
    rows: sql.Composable,
) -> sql.Composed:
    """`upsert` for an empty table without other writers; it takes half the time."""
    return sql.SQL(_INSERT).format(
        table=table,
        table_text=sql.Literal(table.as_string(connection)),
        rows=rows,
        key_names=_names(layout.keys),
        sorted_keys=sql.SQL(", ").join(_sorted(key) for key in layout.keys),
        given=_written(layout, given),
        columns=sql.SQL("").join(
            sql.SQL(", {}").format(sql.Identifier(column.name)) for column in given
        ),
    )


def has_row(
    connection: Connection[object], table: sql.Identifier, columns: Collection[str] = ()
) -> bool:
    """Whether the table has a row in which all of these columns were written."""
    written = (
        "SELECT EXISTS (SELECT FROM {} WHERE unwritten IS NULL OR NOT unwritten && {}::text[])"
    )
    query = sql.SQL(written).format(table, sql.Literal(list(columns)))
    with connection.cursor(row_factory=tuple_row) as cursor:
        return bool((cursor.execute(query).fetchone() or (False,))[0])


def lock_if_empty(connection: Connection[object], table: sql.Identifier) -> bool:
    """Whether the table has no row; if so, other writers wait for the end of the transaction."""
    some = sql.SQL("SELECT 1 FROM {} LIMIT 1").format(table)
    if connection.execute(some).fetchone():
        return False
    connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(table))
    return connection.execute(some).fetchone() is None


def _written(layout: TableLayout, given: Sequence[Column]) -> sql.Composed:
    names = [*OWN_COLUMNS, *(column.name for column in (*layout.keys, *given))]
    return sql.SQL("{}::text[]").format(sql.Literal(names))


def _sorted(key: Column) -> sql.Composed:
    # Sorted as bytes, the order is the same for all writers, in any collation.
    template: LiteralString = '{} COLLATE "C"' if key.sql_type == "text" else "{}"
    return sql.SQL(template).format(sql.Identifier(key.name))


def _comment(
    connection: Connection[object], table: sql.Identifier, columns: Sequence[Column]
) -> None:
    for column in columns:
        comment = sql.SQL("COMMENT ON COLUMN {}.{} IS {}")
        name, value_type = sql.Identifier(column.name), sql.Literal(column.value_type)
        connection.execute(comment.format(table, name, value_type))


def _names(columns: Sequence[Column]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)


def _declared(columns: Sequence[Column], template: LiteralString) -> sql.Composed:
    return sql.SQL("").join(
        sql.SQL(template).format(sql.Identifier(column.name), sql.SQL(column.sql_type))
        for column in columns
    )

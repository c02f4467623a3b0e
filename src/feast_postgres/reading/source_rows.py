"""A feature view's source in PostgreSQL, as rows of its online table."""

from __future__ import annotations

from datetime import datetime

from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import (
    PostgreSQLSource,
)
from psycopg import Connection, sql
from psycopg.rows import tuple_row

from feast_postgres.casts import TIMESTAMP_TYPES, Cast, cast
from feast_postgres.columns import Column, TableLayout


class NeedsFeast(Exception):
    """The reason why Feast's local engine must materialize a feature view."""


class Source:
    """A feature view's source, as a subquery with the columns of the online table."""

    def __init__(self, source: PostgreSQLSource) -> None:
        self._source = source
        self._names = {feature: column for column, feature in source.field_mapping.items()}
        table = source.get_table_query_string_with_alias("source")
        self._from = sql.SQL(table)

    def rows(
        self, connection: Connection[object], layout: TableLayout, start: datetime, end: datetime
    ) -> sql.Composed:
        """Rows with an event timestamp from `start` to `end`, both included.

        Raises NeedsFeast if a column is missing or of an incompatible type, ValueError for a
        timestamp that Feast can't hold.
        """
        types = self._types(connection)
        event = self._timestamp(self._source.timestamp_field, types)
        created = self._source.created_timestamp_column
        window = sql.SQL("{} BETWEEN {} AND {}").format(
            sql.Identifier(self._column(self._source.timestamp_field)),
            sql.Literal(start),
            sql.Literal(end),
        )
        casts = {
            column: self._cast(column, types) for column in [*layout.keys, *layout.feature_columns]
        }
        self._check(connection, casts, window)
        selected = sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(one.expression, sql.Identifier(column.name))
            for column, one in casts.items()
        )
        return sql.SQL(
            "(SELECT {} AS event_timestamp, {} AS created_timestamp, 0 AS ctid, {} "
            "FROM {} WHERE {}) AS given"
        ).format(
            event,
            self._timestamp(created, types) if created else sql.SQL("NULL::timestamptz"),
            selected,
            self._from,
            window,
        )

    def gone(
        self, connection: Connection[object], layout: TableLayout, condition: str
    ) -> sql.Composed:
        """Keys and timestamps of the rows, named `known` in the condition, that don't meet it."""
        types = self._types(connection)
        created = self._source.created_timestamp_column
        keys = sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(self._cast(key, types).expression, sql.Identifier(key.name))
            for key in layout.keys
        )
        return sql.SQL(
            "(SELECT {} AS event_timestamp, {} AS created_timestamp, {} "
            "FROM {} AS known WHERE NOT ({})) AS gone"
        ).format(
            self._timestamp(self._source.timestamp_field, types),
            self._timestamp(created, types) if created else sql.SQL("NULL::timestamptz"),
            keys,
            sql.SQL(self._source.get_table_query_string()),
            sql.SQL(condition),
        )

    def _types(self, connection: Connection[object]) -> dict[str, str]:
        no_rows = sql.SQL("SELECT * FROM {} LIMIT 0").format(self._from)
        described = connection.execute(no_rows).description or []
        known = connection.adapters.types
        return {
            # for an array psycopg returns the type of its elements
            column.name: kind.name if kind.oid == column.type_code else f"{kind.name}[]"
            for column in described
            if (kind := known.get(column.type_code))
        }

    def _column(self, name: str) -> str:
        return str(self._names.get(name, name))

    def _timestamp(self, name: str, types: dict[str, str]) -> sql.Composed:
        column = self._column(name)
        if types.get(column) not in TIMESTAMP_TYPES:
            raise NeedsFeast(f"column {column!r} is {types.get(column, 'missing')}")
        return sql.SQL("{}::timestamptz").format(sql.Identifier(column))

    def _cast(self, column: Column, types: dict[str, str]) -> Cast:
        if column.feature == DUMMY_ENTITY_ID:
            return Cast(sql.SQL("{}::text").format(sql.Literal(DUMMY_ENTITY_VAL)))
        name = self._column(column.feature)
        kind = types.get(name, "missing")
        found = cast(column, sql.Identifier(name), kind)
        if found is None:
            raise NeedsFeast(f"column {name!r} is {kind}, for a feature of {column.value_type}")
        return found

    def _check(
        self, connection: Connection[object], casts: dict[Column, Cast], window: sql.Composed
    ) -> None:
        conditions = [
            (column, error, condition, reason)
            for column, one in casts.items()
            for error, check in ((NeedsFeast, one.by_feast), (ValueError, one.impossible))
            if check
            for condition, reason in [check]
        ]
        if not conditions:
            return
        wanted = sql.SQL(", ").join(
            sql.SQL("bool_or({})").format(condition) for _, _, condition, _ in conditions
        )
        query = sql.SQL("SELECT {} FROM {} WHERE {}").format(wanted, self._from, window)
        with connection.cursor(row_factory=tuple_row) as cursor:
            found = cursor.execute(query).fetchone() or ()
        for (column, error, _, reason), true in zip(conditions, found, strict=True):
            if true:
                raise error(f"{column.feature!r} {reason}")

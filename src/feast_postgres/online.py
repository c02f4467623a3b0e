"""Feast's online store in PostgreSQL: a table per feature view, a row per entity, newest wins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.supported_async_methods import SupportedAsyncMethods
from feast.infra.utils.postgres.postgres_config import PostgreSQLConfig
from psycopg import AsyncConnection, Connection, sql

from feast_postgres.columns import Column, columns_of, table_name, utc
from feast_postgres.connections import Connections
from feast_postgres.tables import Row, drop, reconcile, select, stage, upsert

# One row read: event timestamp and values by feature; both None if there's no such entity.
Answer = tuple[datetime | None, dict[str, Any] | None]


class PostgresOnlineStoreConfig(PostgreSQLConfig):  # type: ignore[misc]
    """Where the tables live: `db_schema`, made if missing. A socket's folder will do for `host`."""

    type: Literal["feast_postgres.PostgresOnlineStore", "feast_postgres.online.PostgresOnlineStore"]
    connect_timeout_seconds: float = 5.0


class PostgresOnlineStore(OnlineStore):  # type: ignore[misc]
    """Keeps the row with the newest event timestamp, and of those the newest created timestamp,
    whatever the order of writing; of equals, the one that was written last.

    A write of some of a view's features leaves the others as they were. Timestamps without a time
    zone are UTC; what's read is in UTC.
    """

    def __init__(self) -> None:
        self._connections = Connections()

    @property
    def async_supported(self) -> SupportedAsyncMethods:
        return SupportedAsyncMethods(read=True, write=True)

    def update(
        self,
        config: Any,
        tables_to_delete: Sequence[Any],
        tables_to_keep: Sequence[Any],
        entities_to_delete: Sequence[Any],
        entities_to_keep: Sequence[Any],
        partial: bool,
    ) -> None:
        """Make tables and columns what the feature views say.

        A feature that was removed, or has another type now, loses its column and its values.
        """
        schema = config.online_store.db_schema

        def work(connection: Connection[Any]) -> None:
            with connection.transaction():
                connection.execute(
                    "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
                    [f"feast_postgres {schema}"],
                )
                # IF NOT EXISTS would need the right to create schemas even if it exists.
                if not connection.execute(
                    "SELECT 1 FROM pg_namespace WHERE nspname = %s", [schema]
                ).fetchone():
                    connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
                for view in tables_to_delete:
                    drop(connection, _table(config, view))
                for view in tables_to_keep:
                    reconcile(connection, _table(config, view), list(columns_of(view).values()))

        self._connections.run(config.online_store, work)

    def teardown(self, config: Any, tables: Sequence[Any], entities: Sequence[Any]) -> None:
        """Drop the tables of the feature views."""

        def work(connection: Connection[Any]) -> None:
            with connection.transaction():
                for view in tables:
                    drop(connection, _table(config, view))

        self._connections.run(config.online_store, work)

    def online_write_batch(
        self,
        config: Any,
        table: Any,
        data: list[Row],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write all of the rows in one transaction, or none.

        Raises ValueError for a value that its feature can't hold, or a feature not in the view.
        """
        columns = columns_of(table)
        version = config.entity_key_serialization_version
        rows_by_features: dict[frozenset[str], list[Row]] = {}
        for row in data:
            rows_by_features.setdefault(frozenset(row[1]), []).append(row)
        for features in rows_by_features:
            if unknown := sorted(features - columns.keys()):
                raise ValueError(f"Feature view {table.name!r} has no feature {unknown[0]!r}")

        def work(connection: Connection[Any]) -> None:
            with connection.transaction():
                for number, (features, rows) in enumerate(rows_by_features.items()):
                    given = [column for column in columns.values() if column.feature in features]
                    staging = sql.Identifier(f"staging_{number}")
                    stage(connection, staging, given, rows, version)
                    connection.execute(upsert(connection, _table(config, table), staging, given))

        self._connections.run(config.online_store, work)
        if progress:
            progress(len(data))

    async def online_write_batch_async(
        self,
        config: Any,
        table: Any,
        data: list[Row],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """`online_write_batch` in a thread: most of its time goes into encoding rows."""
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    def online_read(
        self,
        config: Any,
        table: Any,
        entity_keys: list[Any],
        requested_features: list[str] | None = None,
    ) -> list[Answer]:
        """In the order of `entity_keys`, event timestamp and values by feature; for one that was
        never written, (None, None). A null is an empty Value; a feature never written is left out.
        """
        columns = _requested(table, requested_features)
        keys = _serialized(config, entity_keys)

        def work(connection: Connection[Any]) -> list[tuple[Any, ...]]:
            query = select(connection, _table(config, table), columns)
            return connection.cursor(binary=True).execute(query, [keys]).fetchall()

        return _answers(keys, columns, self._connections.run(config.online_store, work))

    async def online_read_async(
        self,
        config: Any,
        table: Any,
        entity_keys: list[Any],
        requested_features: list[str] | None = None,
    ) -> list[Answer]:
        """`online_read` without blocking the event loop."""
        columns = _requested(table, requested_features)
        keys = _serialized(config, entity_keys)

        async def work(connection: AsyncConnection[Any]) -> list[tuple[Any, ...]]:
            query = select(connection, _table(config, table), columns)
            return await (await connection.cursor(binary=True).execute(query, [keys])).fetchall()

        return _answers(keys, columns, await self._connections.run_async(config.online_store, work))

    async def close(self) -> None:
        await self._connections.close()


def _table(config: Any, view: Any) -> sql.Identifier:
    return sql.Identifier(config.online_store.db_schema, table_name(config.project, view.name))


def _requested(view: Any, features: list[str] | None) -> list[Column]:
    columns = columns_of(view)
    return [columns[name] for name in features or columns if name in columns]


def _serialized(config: Any, entity_keys: Iterable[Any]) -> list[bytes]:
    version = config.entity_key_serialization_version
    return [
        serialize_entity_key(key, entity_key_serialization_version=version) for key in entity_keys
    ]


def _answers(keys: list[bytes], columns: list[Column], rows: list[tuple[Any, ...]]) -> list[Answer]:
    found: dict[bytes, Answer] = {}
    for key, event_timestamp, unwritten, *natives in rows:
        values = {
            column.feature: column.from_sql(native)
            for column, native in zip(columns, natives, strict=True)
            if not unwritten or column.name not in unwritten
        }
        if values:
            found[key] = (utc(event_timestamp), values)
    return [found.get(key, (None, None)) for key in keys]

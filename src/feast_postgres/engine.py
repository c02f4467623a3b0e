"""Materialization inside the database, where offline and online store are the same PostgreSQL."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any, Literal

from feast import BatchFeatureView, FeatureView, StreamFeatureView
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.common.materialization_job import (
    MaterializationJob,
    MaterializationJobStatus,
    MaterializationTask,
)
from feast.infra.compute_engines.local.compute import LocalComputeEngine
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres import (
    PostgreSQLOfflineStoreConfig,
)
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import (
    PostgreSQLSource,
)
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from psycopg import Connection, sql
from psycopg.rows import tuple_row

from feast_postgres.casts import TIMESTAMP_TYPES, Cast, cast
from feast_postgres.columns import Column, TableLayout, table_layout, utc
from feast_postgres.offline import PostgresOfflineStoreConfig, without_later_rows
from feast_postgres.online import PostgresOnlineStore
from feast_postgres.online_tables import table_to_write
from feast_postgres.online_writes import remove
from feast_postgres.tables import insert, lock_if_empty, upsert

_logger = logging.getLogger(__name__)

# The online store's sessions have settings for reads by key; materialization is one large query.
_SESSION = {
    "enable_seqscan": "on",
    "enable_hashjoin": "on",
    "enable_mergejoin": "on",
    "enable_memoize": "on",
    "join_collapse_limit": "8",
    "work_mem": "64MB",
}


class PostgresEngineConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """`backend` is that of Feast's local engine, which does what PostgreSQL alone can't do."""

    # The default is for `batch_engine: feast_postgres.PostgresEngine`, the name without settings.
    type: Literal["feast_postgres.PostgresEngine", "feast_postgres.engine.PostgresEngine"] = (
        "feast_postgres.PostgresEngine"
    )
    backend: str | None = None


class PostgresEngine(LocalComputeEngine):  # type: ignore[misc]
    """Materializes a feature view by one statement in one transaction: all of the window or
    nothing. An older row never replaces a newer one. Rows that don't meet the offline store's
    condition for the source are taken out, of whatever window.

    The rows stay in the database, cast as Feast would have converted them; NaN stays NaN, and
    integers in a column with nulls are exact. A view that PostgreSQL alone can't materialize goes
    through Feast's local engine: one with another database, a transformation, or a column of a type
    that isn't cast. The reason is logged at level INFO.
    """

    @property
    def supports_batch(self) -> bool:
        """Feast gives all feature views of a materialization in one call."""
        return True

    # Private methods of Feast used here: LocalComputeEngine._materialize_one, overridden; Feast's
    # base class calls it for each view.

    def _materialize_one(
        self, registry: BaseRegistry, task: MaterializationTask, **arguments: Any
    ) -> MaterializationJob:
        try:
            self._materialize_in_database(task)
        except _NeedsFeast as reason:
            name = task.feature_view.name
            _logger.info("Feature view %r goes through Feast's local engine: %s", name, reason)
            return super()._materialize_one(registry, task, **arguments)
        except Exception as error:
            return _job(task, MaterializationJobStatus.ERROR, error)
        return _job(task, MaterializationJobStatus.SUCCEEDED)

    def _materialize_in_database(self, task: MaterializationTask) -> None:
        """Raises _NeedsFeast if the database alone can't do it, and the errors of psycopg."""
        config, view = self.repo_config, task.feature_view
        _check_stores(config, self.online_store)
        _check_view(view)
        layout = table_layout(view)
        if layout.serialized:
            raise _NeedsFeast("its join keys have a type that PostgreSQL doesn't have")
        source, condition = view.batch_source, None
        if isinstance(config.offline_store, PostgresOfflineStoreConfig):
            condition = config.offline_store.conditions.get(source.name)
            source = without_later_rows(config, source)
        source_rows = _Source(source)
        start, end = utc(task.start_time), utc(task.end_time)

        def work(connection: Connection[object]) -> None:
            table = table_to_write(connection, config, view)
            with connection.transaction():
                _prepare_session(connection, config.offline_store)
                if condition is not None:
                    gone = _Source(view.batch_source).gone(connection, layout, condition)
                    remove(connection, table, layout, gone)
                rows = source_rows.rows(connection, layout, start, end)
                columns = layout.feature_columns
                statement = insert if lock_if_empty(connection, table) else upsert
                connection.execute(statement(connection, table, layout, columns, rows))

        self.online_store.run(config, work)


class _NeedsFeast(Exception):
    """The reason why Feast's local engine must materialize a feature view."""


def _check_stores(config: RepoConfig, online_store: object) -> None:
    offline, online = config.offline_store, config.online_store
    if not isinstance(online_store, PostgresOnlineStore):
        raise _NeedsFeast("its online store isn't PostgresOnlineStore")
    if not isinstance(offline, PostgreSQLOfflineStoreConfig):
        raise _NeedsFeast("its offline store isn't PostgreSQL")
    for name in ("host", "port", "database", "user"):
        if getattr(offline, name) != getattr(online, name):
            raise _NeedsFeast(f"offline and online store differ in {name}")


def _check_view(view: FeatureView) -> None:
    if type(view) not in (FeatureView, StreamFeatureView, BatchFeatureView):
        raise _NeedsFeast(f"it's a {type(view).__name__}")
    if view.source_views or not isinstance(view.batch_source, PostgreSQLSource):
        raise _NeedsFeast("its source isn't PostgreSQL")
    if getattr(view.batch_source, "connection_ref", None):
        raise _NeedsFeast("its source has a connection of its own")
    for name in ("feature_transformation", "aggregations", "filter", "enable_validation"):
        if getattr(view, name, None):
            raise _NeedsFeast(f"it has {name}")
    if view.offline or not view.online:
        raise _NeedsFeast("it is not materialized to the online store alone")


def _prepare_session(connection: Connection[object], offline: PostgreSQLOfflineStoreConfig) -> None:
    path = (offline.db_schema or offline.user).strip()  # unquoted, as in Feast's own sessions
    settings = {**_SESSION, "search_path": path if path == "public" else f"{path},public"}
    calls = sql.SQL(", ").join(sql.SQL("set_config(%s, %s, true)") for _ in settings)
    values = [part for setting in settings.items() for part in setting]
    connection.execute(sql.SQL("SELECT {}").format(calls), values)


class _Source:
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

        Raises _NeedsFeast if a column is missing or of an incompatible type, ValueError for a
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
            raise _NeedsFeast(f"column {column!r} is {types.get(column, 'missing')}")
        return sql.SQL("{}::timestamptz").format(sql.Identifier(column))

    def _cast(self, column: Column, types: dict[str, str]) -> Cast:
        if column.feature == DUMMY_ENTITY_ID:
            return Cast(sql.SQL("{}::text").format(sql.Literal(DUMMY_ENTITY_VAL)))
        name = self._column(column.feature)
        kind = types.get(name, "missing")
        found = cast(column, sql.Identifier(name), kind)
        if found is None:
            raise _NeedsFeast(f"column {name!r} is {kind}, for a feature of {column.value_type}")
        return found

    def _check(
        self, connection: Connection[object], casts: dict[Column, Cast], window: sql.Composed
    ) -> None:
        conditions = [
            (column, error, condition, reason)
            for column, one in casts.items()
            for error, check in ((_NeedsFeast, one.by_feast), (ValueError, one.impossible))
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


def _job(
    task: MaterializationTask, status: MaterializationJobStatus, error: Exception | None = None
) -> MaterializationJob:
    job_id = f"{task.feature_view.name}-{task.start_time}-{task.end_time}"
    return LocalMaterializationJob(job_id=job_id, status=status, error=error)

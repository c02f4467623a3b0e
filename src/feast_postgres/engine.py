"""Materialization inside the database, where offline and online store are the same PostgreSQL."""

from __future__ import annotations

import logging
from typing import Any, Literal

from feast import BatchFeatureView, FeatureView, StreamFeatureView
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

from feast_postgres.columns import TableLayout, table_layout, utc
from feast_postgres.offline import PostgresOfflineStoreConfig, without_later_rows
from feast_postgres.online import PostgresOnlineStore
from feast_postgres.online_tables import table_to_write
from feast_postgres.online_writes import remove
from feast_postgres.reading.pulled_rows import PulledRows, pulled_rows
from feast_postgres.reading.source_rows import NeedsFeast, Source
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
    integers in a column with nulls are exact. Where another offline store gives rows as Arrow, as
    feast_duckdb does, the newest of each entity are read there and come by COPY. A view that
    PostgreSQL alone can't materialize goes through Feast's local engine: one with another database,
    a transformation, or a column of a type that isn't cast. The reason is logged at level INFO.
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
        except NeedsFeast as reason:
            name = task.feature_view.name
            _logger.info("Feature view %r goes through Feast's local engine: %s", name, reason)
            return super()._materialize_one(registry, task, **arguments)
        except Exception as error:
            return _job(task, MaterializationJobStatus.ERROR, error)
        return _job(task, MaterializationJobStatus.SUCCEEDED)

    def _materialize_in_database(self, task: MaterializationTask) -> None:
        """Raises NeedsFeast if the database alone can't do it, and the errors of psycopg."""
        config, view = self.repo_config, task.feature_view
        pulled = pulled_rows(config, self.offline_store)
        _check_stores(config, self.online_store, pulled)
        _check_view(view, pulled)
        layout = table_layout(view)
        if layout.serialized:
            raise NeedsFeast("its join keys have a type that PostgreSQL doesn't have")
        start, end = utc(task.start_time), utc(task.end_time)

        def work(connection: Connection[object]) -> None:
            table = table_to_write(connection, config, view)
            with connection.transaction():
                _prepare_session(connection, config.offline_store)
                if pulled is not None:
                    source, gone = pulled.copied(connection, view, layout, start, end)
                else:
                    source, gone = _in_database(connection, config, view, layout)
                if gone is not None:
                    remove(connection, table, layout, gone)
                rows = source.rows(connection, layout, start, end)
                columns = layout.feature_columns
                statement = insert if lock_if_empty(connection, table) else upsert
                connection.execute(statement(connection, table, layout, columns, rows))

        self.online_store.run(config, work)


def _in_database(
    connection: Connection[object], config: RepoConfig, view: FeatureView, layout: TableLayout
) -> tuple[Source, sql.Composed | None]:
    """The view's source without later rows, and the rows that don't meet its condition."""
    source, condition = view.batch_source, None
    if isinstance(config.offline_store, PostgresOfflineStoreConfig):
        condition = config.offline_store.conditions.get(source.name)
        source = without_later_rows(config, source)
    if condition is None:
        return Source(source), None
    return Source(source), Source(view.batch_source).gone(connection, layout, condition)


def _check_stores(config: RepoConfig, online_store: object, pulled: PulledRows | None) -> None:
    offline, online = config.offline_store, config.online_store
    if not isinstance(online_store, PostgresOnlineStore):
        raise NeedsFeast("its online store isn't PostgresOnlineStore")
    if pulled is not None:
        return
    if not isinstance(offline, PostgreSQLOfflineStoreConfig):
        raise NeedsFeast("its offline store isn't PostgreSQL")
    for name in ("host", "port", "database", "user"):
        if getattr(offline, name) != getattr(online, name):
            raise NeedsFeast(f"offline and online store differ in {name}")


def _check_view(view: FeatureView, pulled: PulledRows | None) -> None:
    if type(view) not in (FeatureView, StreamFeatureView, BatchFeatureView):
        raise NeedsFeast(f"it's a {type(view).__name__}")
    in_database = isinstance(view.batch_source, PostgreSQLSource)
    if view.source_views or not (in_database or pulled is not None):
        raise NeedsFeast("its source isn't PostgreSQL")
    if getattr(view.batch_source, "connection_ref", None):
        raise NeedsFeast("its source has a connection of its own")
    for name in ("feature_transformation", "aggregations", "filter", "enable_validation"):
        if getattr(view, name, None):
            raise NeedsFeast(f"it has {name}")
    if view.offline or not view.online:
        raise NeedsFeast("it is not materialized to the online store alone")


def _prepare_session(connection: Connection[object], offline: object) -> None:
    path = "public"
    if isinstance(offline, PostgreSQLOfflineStoreConfig):
        path = (offline.db_schema or offline.user).strip()  # unquoted, as in Feast's own sessions
    settings = {**_SESSION, "search_path": path if path == "public" else f"{path},public"}
    calls = sql.SQL(", ").join(sql.SQL("set_config(%s, %s, true)") for _ in settings)
    values = [part for setting in settings.items() for part in setting]
    connection.execute(sql.SQL("SELECT {}").format(calls), values)


def _job(
    task: MaterializationTask, status: MaterializationJobStatus, error: Exception | None = None
) -> MaterializationJob:
    job_id = f"{task.feature_view.name}-{task.start_time}-{task.end_time}"
    return LocalMaterializationJob(job_id=job_id, status=status, error=error)

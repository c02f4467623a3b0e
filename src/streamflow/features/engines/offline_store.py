"""Feast's offline store for what history is read with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from streamflow.columnar.session import Session
from streamflow.features.engines.spark_history import SparkHistory
from streamflow.postgres.database import Database
from streamflow.use_case import UseCase

if TYPE_CHECKING:
    import pyarrow as pa
    from feast import FeatureStore, FeatureView


class RetrievalJob(Protocol):
    """The rows of a point-in-time join."""

    def to_arrow(self) -> pa.Table:
        """All rows."""
        ...

    def record_batches(self, ordered_by: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
        """The rows in batches that ascend by the columns `ordered_by`, compared by bytes."""
        ...


def offline_store(
    database: Database, use_case: UseCase, known_at: datetime | None
) -> dict[str, object] | None:
    """Feast's configuration of the store where it isn't PostgreSQL, None where it is. That of Spark
    is DuckDB's over the same copy: it materializes, and is what Spark's joins are made after."""
    if not isinstance(database, Session):
        return None
    return {
        "type": "feast_duckdb.DuckDBOfflineStore",
        "db_schema": use_case.name,
        "known_at": known_at,
        # Of an entity and an as_of, history has one row of each moment at which it was recorded.
        "unique_rows": True,
        "connection": database.engine,
    }


def historical_features(
    database: Database,
    store: FeatureStore,
    views: list[FeatureView],
    features: list[str],
    query: str,
    moment: datetime,
) -> RetrievalJob:
    """The job of the engine that reads history of `database`, for a query of entity rows that all
    have the event timestamp `moment` (UTC). `store` is a store of that engine."""
    if isinstance(database, SparkHistory):
        return database.historical_features(store, views, features, query, moment)
    from feast.infra.offline_stores.offline_utils import get_offline_store_from_config

    engine = get_offline_store_from_config(store.config.offline_store)
    job: RetrievalJob = engine.get_historical_features(
        store.config, views, features, query, store.registry, store.project, moment=moment
    )
    return job


def newest_rows(
    database: Database,
    store: FeatureStore,
    key: str,
    views: list[FeatureView],
    times: list[str],
    query: str,
    moment: datetime,
) -> Iterator[pa.RecordBatch]:
    """The entities of the query, which all have the event timestamp `moment` (UTC), with the
    features of their newest rows, of whatever age, in batches that ascend by the entity `key`.

    A view has its rows' event timestamp as a feature too, by its name in `times`. Raises errors of
    the engine.
    """
    from feast_postgres import offline

    features = [[field.name for field in view.features] for view in views]
    if isinstance(store.config.offline_store, offline.PostgresOfflineStoreConfig):
        from feast_postgres.reading.newest_rows import newest_rows as sorted_rows

        config = store.config
        return sorted_rows(
            config.offline_store,
            query,
            key,
            [[name for name in names if name not in times] for names in features],
            [offline.without_later_rows(config, view.batch_source) for view in views],
            times,
            moment,
        )
    job = historical_features(database, store, views, all_features(views), query, moment)
    return job.record_batches(ordered_by=[key])


def all_features(views: list[FeatureView]) -> list[str]:
    """Each feature of the views by its name to Feast."""
    return [f"{view.name}:{field.name}" for view in views for field in view.features]

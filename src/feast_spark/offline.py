"""Feast's own Spark offline store, with the option to leave out rows that came later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

import pandas as pd
import pyarrow as pa
from feast.errors import EntitySQLEmptyResults
from feast.infra.offline_stores import offline_utils
from feast.infra.offline_stores.contrib.spark_offline_store.spark import (
    SparkOfflineStore as FeastSparkOfflineStore,
)
from feast.infra.offline_stores.contrib.spark_offline_store.spark import (
    SparkOfflineStoreConfig as FeastSparkOfflineStoreConfig,
)
from feast.infra.offline_stores.contrib.spark_offline_store.spark import (
    SparkRetrievalJob as FeastSparkRetrievalJob,
)
from feast.infra.offline_stores.contrib.spark_offline_store.spark import (
    _get_entity_schema,
    _upload_entity_df,
)
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.infra.offline_stores.offline_store import RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from pydantic import AwareDatetime, Field

from feast_known.conditions import known_conditions, with_source
from feast_known.view_query import view_query
from feast_spark.point_in_time import point_in_time_query, timestamp
from feast_spark.record_batches import quoted, record_batches, without_time_zones
from feast_spark.session import spark_session

if TYPE_CHECKING:
    from feast import FeatureView
    from feast.data_source import DataSource
    from feast.infra.registry.base_registry import BaseRegistry
    from feast.repo_config import RepoConfig
    from pyspark.sql import SparkSession

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Private parts of Feast used in this module: the two functions of its store that are imported, and
# the attributes of its job.


class SparkOfflineStoreConfig(FeastSparkOfflineStoreConfig):  # type: ignore[misc]
    """`remote` is a Spark Connect server or a master, as `session.spark_session` takes it.

    With `known_at`, which needs a time zone, rows created later are left out. `conditions` has, by
    the name of a source, a condition in SQL for its rows, named `known`: those that don't meet it
    are left out.
    """

    type: Literal["feast_spark.SparkOfflineStore", "feast_spark.offline.SparkOfflineStore"]
    remote: str | None = None
    known_at: AwareDatetime | None = None
    conditions: dict[str, str] = Field(default_factory=dict)


class SparkRetrievalJob(FeastSparkRetrievalJob):  # type: ignore[misc]
    """Feast's job, read as Arrow."""

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        if self._should_use_staging_for_arrow():
            return super()._to_arrow_internal(timeout)
        table = self.to_spark_df().toArrow()
        return table.cast(without_time_zones(table.schema))

    def record_batches(self, ordered_by: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
        """The rows in batches, as `record_batches.record_batches` has them."""
        return record_batches(self.to_spark_df(), ordered_by)


class SparkOfflineStore(FeastSparkOfflineStore):  # type: ignore[misc]
    """Feast's own store without the rows created after `known_at`.

    `known_at` is read when a job is made, not when it runs. With it, a source must name its created
    timestamp column; otherwise ValueError is raised.
    """

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        moment: datetime | None = None,
        **arguments: Any,
    ) -> SparkRetrievalJob:
        """Features of each row of `entity_df` (a query, or a frame) as of its event timestamp.

        `moment` is that of all rows, where it is known: the join is faster then.
        """
        session = _session(config)
        views = [
            with_source(view, without_later_rows(config, view.batch_source))
            for view in feature_views
        ]
        if entity_df is None or any(_is_transformed(view) for view in views):
            job = FeastSparkOfflineStore.get_historical_features(
                config, views, feature_refs, entity_df, registry, project, full_feature_names,
                **arguments,
            )  # fmt: skip
            return _job(job)
        columns = _get_entity_schema(session, entity_df)
        time = offline_utils.infer_event_timestamp_from_entity_df(columns)
        keys = offline_utils.get_expected_join_keys(project, views, registry)
        offline_utils.assert_expected_columns_in_entity_df(columns, keys, time)
        if isinstance(entity_df, str):
            entity_rows = f"(\n{entity_df}\n)"
        else:
            name = f"entity_rows_{uuid4().hex}"
            _upload_entity_df(session, name, entity_df, time)
            entity_rows = name
        span = (moment, moment) if moment else _span(session, entity_rows, time)
        contexts = offline_utils.get_feature_view_query_context(
            feature_refs, views, registry, project, span
        )
        query = point_in_time_query(
            entity_rows,
            list(columns),
            time,
            [view_query(one, full_feature_names) for one in contexts],
            moment,
        )
        return SparkRetrievalJob(
            spark_session=session,
            query=query,
            config=config,
            full_feature_names=full_feature_names,
            on_demand_feature_views=OnDemandFeatureView.get_requested_odfvs(
                feature_refs, project, registry
            ),
            metadata=RetrievalMetadata(
                features=feature_refs,
                keys=[name for name in columns if name != time],
                min_event_timestamp=span[0],
                max_event_timestamp=span[1],
            ),
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig, data_source: DataSource, *positional: Any, **named: Any
    ) -> SparkRetrievalJob:
        """The newest row of each entity in a window of event time, for materialization."""
        _session(config)
        return _job(
            FeastSparkOfflineStore.pull_latest_from_table_or_query(
                config, without_later_rows(config, data_source), *positional, **named
            )
        )

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig, data_source: DataSource, *positional: Any, **named: Any
    ) -> SparkRetrievalJob:
        """All rows in a window of event time, for materialization."""
        _session(config)
        return _job(
            FeastSparkOfflineStore.pull_all_from_table_or_query(
                config, without_later_rows(config, data_source), *positional, **named
            )
        )


def _session(config: RepoConfig) -> SparkSession:
    return spark_session(config.offline_store.remote, config.offline_store.spark_conf)


def _span(session: SparkSession, entity_rows: str, time: str) -> tuple[datetime, datetime]:
    """The first and the last event timestamp of the entity rows."""
    name = quoted(time)
    # As numbers: pyspark gives times in the machine's own zone.
    found = session.sql(
        f"SELECT unix_micros(min(CAST({name} AS TIMESTAMP))) AS first, "
        f"unix_micros(max(CAST({name} AS TIMESTAMP))) AS last FROM {entity_rows}"
    ).collect()[0]
    if found["first"] is None:
        raise EntitySQLEmptyResults(entity_rows)
    first, last = (_EPOCH + timedelta(microseconds=found[one]) for one in ("first", "last"))
    return first, last


def _is_transformed(view: FeatureView) -> bool:
    return bool(getattr(view, "feature_transformation", None)) or not isinstance(
        view.batch_source, SparkSource
    )


def without_later_rows(config: RepoConfig, source: DataSource) -> DataSource:
    """The source without rows created after the configured `known_at`, or that don't meet the
    configured condition.

    Raises ValueError if `known_at` has no time zone, or the source no created timestamp column.
    """
    conditions = known_conditions(config, source, quoted, timestamp)
    if not conditions:
        return source
    return SparkSource(
        name=source.name,
        query=f"SELECT * FROM {source.get_table_query_string()} AS known "
        f"WHERE {' AND '.join(conditions)}",
        timestamp_field=source.timestamp_field,
        created_timestamp_column=source.created_timestamp_column,
        field_mapping=source.field_mapping,
    )


def _job(job: FeastSparkRetrievalJob) -> SparkRetrievalJob:
    return SparkRetrievalJob(
        spark_session=job.spark_session,
        query=job.query,
        full_feature_names=job.full_feature_names,
        config=job._config,
        on_demand_feature_views=job.on_demand_feature_views,
        metadata=job.metadata,
    )

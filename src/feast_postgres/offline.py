"""Feast's own PostgreSQL offline store, with the option to leave out rows that came later."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import pyarrow as pa
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres import (
    EntitySelectMode,
    PostgreSQLOfflineStore,
    PostgreSQLOfflineStoreConfig,
    PostgreSQLRetrievalJob,
)
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import (
    PostgreSQLSource,
)
from pydantic import AwareDatetime, Field

from feast_known.conditions import known_conditions, with_source
from feast_known.names import quoted
from feast_postgres.reading.point_in_time import point_in_time_join
from feast_postgres.reading.record_batches import record_batches

if TYPE_CHECKING:
    from feast import FeatureView
    from feast.data_source import DataSource
    from feast.infra.registry.base_registry import BaseRegistry
    from feast.repo_config import RepoConfig
    from feast.saved_dataset import ValidationReference

_NULLABLE_INTEGERS = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype()}


class PostgresOfflineStoreConfig(PostgreSQLOfflineStoreConfig):  # type: ignore[misc]
    """With `known_at`, which needs a time zone, rows created later are left out.

    `conditions` has, by the name of a source, a condition in SQL for its rows, named `known`. Rows
    that don't meet it are left out, and `PostgresEngine` takes them out of the online store.
    """

    type: Literal[
        "feast_postgres.PostgresOfflineStore", "feast_postgres.offline.PostgresOfflineStore"
    ]
    entity_select_mode: EntitySelectMode = EntitySelectMode.embed_query
    known_at: AwareDatetime | None = None
    conditions: dict[str, str] = Field(default_factory=dict)


class PostgresRetrievalJob(PostgreSQLRetrievalJob):  # type: ignore[misc]
    """Feast's job, read as Arrow; `to_df` keeps integers with nulls as Int32 or Int64."""

    # Private parts of Feast used in this module: PostgreSQLRetrievalJob._to_arrow_internal
    # (overridden) and ._query_generator, and RepoConfig._offline_store.

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        batches = self.record_batches()
        schema = next(batches).schema
        return pa.Table.from_batches(batches, schema)

    def record_batches(self, ordered_by: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
        """The rows in batches, as `reading.record_batches` has them: memory doesn't grow
        with their number."""
        with self._query_generator() as query:
            yield from record_batches(self.config.offline_store, query, ordered_by)

    def to_df(
        self,
        validation_reference: ValidationReference | None = None,
        timeout: int | None = None,
    ) -> pd.DataFrame:
        """The rows as a data frame; integers with nulls stay integers."""
        table = self.to_arrow(validation_reference=validation_reference, timeout=timeout)
        frame: pd.DataFrame = table.to_pandas()
        for position, column in enumerate(table.columns):
            if column.null_count and column.type in _NULLABLE_INTEGERS:
                frame.isetitem(position, column.to_pandas(types_mapper=_NULLABLE_INTEGERS.get))
        return frame


class PostgresOfflineStore(PostgreSQLOfflineStore):  # type: ignore[misc]
    """Feast's own store without the rows created after `known_at`; with no `known_at`, unchanged.

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
    ) -> PostgresRetrievalJob:
        """Features of each row of `entity_df` (a query, or a frame) as of its event timestamp.

        `moment` is that of all rows, where it is known: the join is faster then.
        """
        in_a_range = entity_df is None or (
            arguments.get("start_date") is not None and arguments.get("end_date") is not None
        )
        get_historical_features = (
            PostgreSQLOfflineStore.get_historical_features
            if in_a_range
            else point_in_time_join(moment)
        )
        job = get_historical_features(
            # Feast writes a frame to a table in both modes, but drops the table in this mode only.
            config if isinstance(entity_df, str) else _with_entity_table(config),
            [
                with_source(view, without_later_rows(config, view.batch_source))
                for view in feature_views
            ],
            feature_refs,
            entity_df,
            registry,
            project,
            full_feature_names,
            **arguments,
        )
        return _retrieval_job(job)

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig, data_source: DataSource, *positional: Any, **named: Any
    ) -> PostgresRetrievalJob:
        """The newest row of each entity in a window of event time, for materialization."""
        return _retrieval_job(
            PostgreSQLOfflineStore.pull_latest_from_table_or_query(
                config, without_later_rows(config, data_source), *positional, **named
            )
        )

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        *positional: Any,
        **named: Any,
    ) -> PostgresRetrievalJob:
        """All rows in a window of event time, for materialization."""
        source = without_later_rows(config, data_source)
        job = PostgreSQLOfflineStore.pull_all_from_table_or_query(
            config, source, join_key_columns, *positional, **named
        )
        return _retrieval_job(job if join_key_columns else _with_dummy_key(job))


def _with_dummy_key(job: PostgreSQLRetrievalJob) -> PostgreSQLRetrievalJob:
    """The job with the key that a view without entities has in Feast. Feast's own store gives it
    with the latest rows only, so that its engine can't materialize such a view."""
    query_of_job = job._query_generator

    @contextmanager
    def query_generator() -> Iterator[str]:
        with query_of_job() as query:
            key = f"'{DUMMY_ENTITY_VAL}'::text AS {DUMMY_ENTITY_ID}"
            yield f"SELECT *, {key} FROM ({query}) AS given"

    job._query_generator = query_generator
    return job


def without_later_rows(config: RepoConfig, source: DataSource) -> DataSource:
    """The source without rows created after the configured `known_at`, or that don't meet the
    configured condition.

    Raises ValueError if `known_at` has no time zone, or the source no created timestamp column.
    """
    conditions = known_conditions(config, source, quoted, _timestamp)
    if not conditions:
        return source
    return PostgreSQLSource(
        name=source.name,
        query=f"SELECT * FROM {source.get_table_query_string()} AS known "
        f"WHERE {' AND '.join(conditions)}",
        timestamp_field=source.timestamp_field,
        created_timestamp_column=source.created_timestamp_column,
        field_mapping=source.field_mapping,
    )


def _timestamp(moment: datetime) -> str:
    return f"'{moment.astimezone(UTC).isoformat()}'::timestamptz"


def _with_entity_table(config: RepoConfig) -> RepoConfig:
    changed = copy.copy(config)
    changed._offline_store = config.offline_store.model_copy(
        update={"entity_select_mode": EntitySelectMode.temp_table}
    )
    return changed


def _retrieval_job(job: PostgreSQLRetrievalJob) -> PostgresRetrievalJob:
    return PostgresRetrievalJob(
        query=job._query_generator,
        config=job.config,
        full_feature_names=job.full_feature_names,
        on_demand_feature_views=job.on_demand_feature_views,
        metadata=job.metadata,
    )

"""Feast's own PostgreSQL offline store, cut at what was known at a moment."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import pyarrow as pa
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres import (
    EntitySelectMode,
    PostgreSQLOfflineStore,
    PostgreSQLOfflineStoreConfig,
    PostgreSQLRetrievalJob,
)
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import (
    PostgreSQLSource,
)
from feast.infra.utils.postgres.connection_utils import _get_conn
from feast.type_map import pg_type_code_to_arrow
from pydantic import AwareDatetime

if TYPE_CHECKING:
    from feast import FeatureView
    from feast.data_source import DataSource
    from feast.infra.registry.base_registry import BaseRegistry
    from feast.repo_config import RepoConfig
    from feast.saved_dataset import ValidationReference

_CHUNK_ROWS = 50_000
_NULLABLE_INTEGERS = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype()}


# What psycopg makes of a type of PostgreSQL, and its array, that Arrow doesn't take for Feast's.
_CONVERTED: dict[str, Callable[[Any], Any]] = {
    "numeric": float,
    "uuid": str,
    "date": lambda day: datetime.combine(day, time()),
}


class PostgresOfflineStoreConfig(PostgreSQLOfflineStoreConfig):  # type: ignore[misc]
    """With `known_at`, which needs a time zone, rows that were created later are left out."""

    type: Literal[
        "feast_postgres.PostgresOfflineStore", "feast_postgres.offline.PostgresOfflineStore"
    ]
    entity_select_mode: EntitySelectMode = EntitySelectMode.embed_query
    known_at: AwareDatetime | None = None


class PostgresRetrievalJob(PostgreSQLRetrievalJob):  # type: ignore[misc]
    """Feast's job, read in chunks; `to_df` keeps integers with nulls as Int32 or Int64."""

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        with self._query_generator() as query, _get_conn(self.config.offline_store) as connection:
            connection.read_only = True
            # The join is a tower of CTEs, each of which the planner takes for a single row, so that
            # it chooses nested loops: 45 s for 7,043 entities and four views, which take 0.2 s
            # without them. A cursor is planned for its first rows unless told that all are wanted.
            connection.execute("SET LOCAL enable_nestloop = off")
            connection.execute("SET LOCAL cursor_tuple_fraction = 1")
            # Arrow takes a moment's wall time once anybody sets PYARROW_IGNORE_TIMEZONE: pandera
            # does. In UTC that's the same.
            connection.execute("SET LOCAL TimeZone = 'UTC'")
            with connection.cursor("feast_postgres", binary=True) as cursor:
                cursor.execute(query)
                described = cursor.description or ()
                schema = pa.schema(
                    [(c.name, pg_type_code_to_arrow(c.type_code)) for c in described]
                )
                known = connection.adapters.types
                kinds = [kind.name if (kind := known.get(c.type_code)) else "" for c in described]
                batches = []
                while rows := cursor.fetchmany(_CHUNK_ROWS):
                    columns = zip(schema, kinds, zip(*rows, strict=True), strict=True)
                    arrays = [pa.array(_fit(kind, v), field.type) for field, kind, v in columns]
                    batches.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
                return pa.Table.from_batches(batches, schema)

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
    """Gives what Feast's own store would have given at `known_at`; without it, what it gives now.

    The moment is fixed when a job is made. A source must name its created timestamp column, or
    ValueError is raised: what was known when can't be told otherwise.
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
        **arguments: Any,
    ) -> PostgresRetrievalJob:
        """Features of each row of `entity_df` (a query, or a frame) as of its event timestamp."""
        job = PostgreSQLOfflineStore.get_historical_features(
            # Feast makes a table of a frame in either mode, but drops it in this one only.
            config if isinstance(entity_df, str) else _with_entity_table(config),
            [_cut_view(config, view) for view in feature_views],
            feature_refs,
            entity_df,
            registry,
            project,
            full_feature_names,
            **arguments,
        )
        return _typed(job)

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig, data_source: DataSource, *positional: Any, **named: Any
    ) -> PostgresRetrievalJob:
        """The newest row of each entity in a window of event time, for materialization."""
        return _typed(
            PostgreSQLOfflineStore.pull_latest_from_table_or_query(
                config, cut(config, data_source), *positional, **named
            )
        )

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig, data_source: DataSource, *positional: Any, **named: Any
    ) -> PostgresRetrievalJob:
        """All rows in a window of event time, for materialization."""
        return _typed(
            PostgreSQLOfflineStore.pull_all_from_table_or_query(
                config, cut(config, data_source), *positional, **named
            )
        )


def _cut_view(config: RepoConfig, view: FeatureView) -> FeatureView:
    # Feast's registry hands out the same views again: never change one. Their own __copy__ goes
    # through the constructor, which takes a stream view's batch source from its stream.
    cut_view = object.__new__(type(view))
    cut_view.__dict__.update(view.__dict__)
    cut_view.batch_source = cut(config, view.batch_source)
    return cut_view


def cut(config: RepoConfig, source: DataSource) -> DataSource:
    """The source, without rows that were created after the configured `known_at`."""
    known_at = config.offline_store.known_at
    if known_at is None:
        return source
    if known_at.utcoffset() is None:
        raise ValueError(f"known_at {known_at} has no time zone")
    mapped = {feature: column for column, feature in source.field_mapping.items()}
    created = mapped.get(source.created_timestamp_column, source.created_timestamp_column)
    if not created:
        raise ValueError(
            f"Source {source.name!r} has no created_timestamp_column: what it held at {known_at} "
            "can't be told. Name the column, or leave known_at out."
        )
    column = '"' + created.replace('"', '""') + '"'
    moment = known_at.astimezone(UTC).isoformat()
    return PostgreSQLSource(
        name=source.name,
        query=f"SELECT * FROM {source.get_table_query_string_with_alias('known')} "
        f"WHERE {column} <= '{moment}'::timestamptz",
        timestamp_field=source.timestamp_field,
        created_timestamp_column=source.created_timestamp_column,
        field_mapping=source.field_mapping,
    )


def _fit(kind: str, values: Sequence[Any]) -> Sequence[Any]:
    convert = _CONVERTED.get(kind)
    if convert is None:
        return values

    def fit(value: Any) -> Any:
        if isinstance(value, list):
            return [fit(element) for element in value]
        return None if value is None else convert(value)

    return [fit(value) for value in values]


def _with_entity_table(config: RepoConfig) -> RepoConfig:
    changed = copy.copy(config)
    changed._offline_store = config.offline_store.model_copy(
        update={"entity_select_mode": EntitySelectMode.temp_table}
    )
    return changed


def _typed(job: PostgreSQLRetrievalJob) -> PostgresRetrievalJob:
    return PostgresRetrievalJob(
        query=job._query_generator,
        config=job.config,
        full_feature_names=job.full_feature_names,
        on_demand_feature_views=job.on_demand_feature_views,
        metadata=job.metadata,
    )

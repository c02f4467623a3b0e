"""The offline store: what Feast asks for as queries of DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import duckdb
import pandas as pd
from feast.errors import EntitySQLEmptyResults
from feast.infra.offline_stores import offline_utils
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel
from pydantic import AwareDatetime, Field

from feast_duckdb.job import Connection, DuckDBRetrievalJob
from feast_duckdb.key_ranges import KeyRange, key_ranges
from feast_duckdb.point_in_time import (
    newest_rows_query,
    point_in_time_query,
    rows_of_moment,
    timestamp,
)
from feast_known.conditions import known_conditions, with_source
from feast_known.names import literal, quoted
from feast_known.view_query import ViewQuery, view_query

if TYPE_CHECKING:
    from feast import FeatureView
    from feast.data_source import DataSource
    from feast.infra.registry.base_registry import BaseRegistry
    from feast.repo_config import RepoConfig

_ENTITIES = "given_entity_rows"


class DuckDBOfflineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """`database` is a file of DuckDB; `connection`, where a program gives it, comes before.

    With `known_at`, which needs a time zone, rows created later are left out. `conditions` has, by
    the name of a source, a condition in SQL for its rows, named `known`: those that don't meet it
    are left out. `unique_rows` says that no two rows of a source are equal in their keys, event
    time and created time, as where these are a primary key: joins for one moment are faster then.
    """

    type: Literal["feast_duckdb.DuckDBOfflineStore", "feast_duckdb.offline.DuckDBOfflineStore"]
    database: str | None = None
    db_schema: str | None = None
    known_at: AwareDatetime | None = None
    conditions: dict[str, str] = Field(default_factory=dict)
    unique_rows: bool = False
    connection: Any = Field(default=None, exclude=True)


class DuckDBOfflineStore(OfflineStore):  # type: ignore[misc]
    """Point-in-time joins in DuckDB, without the rows created after `known_at`.

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
    ) -> DuckDBRetrievalJob:
        """Features of each row of `entity_df` (a query, or a frame) as of its event timestamp.

        `moment` is that of all rows, where it is known: the join is faster then. Raises ValueError
        without entity rows.
        """
        if entity_df is None:
            raise ValueError("feast_duckdb needs entity rows: a query in SQL, or a frame")
        connection = _connection(config, None if isinstance(entity_df, str) else entity_df)
        entity_rows = f"(\n{entity_df}\n)" if isinstance(entity_df, str) else quoted(_ENTITIES)
        with connection() as opened:
            columns = _schema(opened, entity_rows)
            time = offline_utils.infer_event_timestamp_from_entity_df(columns)
            keys = offline_utils.get_expected_join_keys(project, feature_views, registry)
            offline_utils.assert_expected_columns_in_entity_df(columns, keys, time)
            span = (moment, moment) if moment else _span(opened, entity_rows, time)
        contexts = offline_utils.get_feature_view_query_context(
            feature_refs,
            [_with_known_rows(config, view) for view in feature_views],
            registry,
            project,
            span,
        )
        queries = [view_query(one, full_feature_names) for one in contexts]

        def query_of(within: KeyRange | None) -> str:
            unique = config.offline_store.unique_rows
            return point_in_time_query(
                entity_rows, list(columns), time, queries, moment, unique, within
            )

        def by_range(opened: duckdb.DuckDBPyConnection) -> dict[KeyRange, str]:
            if moment is None:
                return {}
            rows = [rows_of_moment(one, moment) for one in queries]
            return {one: query_of(one) for one in key_ranges(opened, queries, rows)}

        return DuckDBRetrievalJob(
            connection,
            query_of(None),
            full_feature_names,
            OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            RetrievalMetadata(
                features=feature_refs,
                keys=[name for name in columns if name != time],
                min_event_timestamp=span[0],
                max_event_timestamp=span[1],
            ),
            by_range,
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> DuckDBRetrievalJob:
        """The newest row of each entity in a window of event time, for materialization."""
        names = [*feature_name_columns, timestamp_field, created_timestamp_column]
        rows = f"{known_rows(config, data_source)} AS known"
        window = _window(timestamp_field, start_date, end_date)
        connection = _connection(config)
        with connection() as opened:
            newest = f"max({quoted(timestamp_field)}::timestamptz)"
            ((last,),) = opened.sql(f"SELECT {newest} FROM {rows} WHERE {window}").fetchall()
        if last is None:  # no row: any moment will do
            last = datetime.now(UTC)
        view = ViewQuery(
            source=f"(SELECT * FROM {rows} WHERE {window})",
            keys={name: name for name in join_key_columns},
            features={name: name for name in names if name},
            event_timestamp=timestamp_field,
            created_timestamp=created_timestamp_column or None,
            ttl_seconds=0,
        )
        query = newest_rows_query(view, last, config.offline_store.unique_rows)
        return DuckDBRetrievalJob(connection, query)

    @staticmethod
    def pull_left_out_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
    ) -> DuckDBRetrievalJob:
        """Keys and timestamps of the rows that don't meet the source's condition, if it has one:
        an online store takes them out."""
        created = [created_timestamp_column] if created_timestamp_column else []
        names = ", ".join(map(quoted, [*join_key_columns, timestamp_field, *created]))
        condition = config.offline_store.conditions.get(data_source.name, "true")
        query = f"SELECT {names} FROM {_all_rows(data_source)} AS known WHERE NOT ({condition})"
        return DuckDBRetrievalJob(_connection(config), query)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> DuckDBRetrievalJob:
        """All rows in a window of event time, for materialization."""
        created = [created_timestamp_column] if created_timestamp_column else []
        names = [*join_key_columns, *feature_name_columns, timestamp_field, *created]
        query = (
            f"SELECT {', '.join(map(quoted, names))} "
            f"FROM {known_rows(config, data_source)} AS given "
            f"WHERE {_window(timestamp_field, start_date, end_date)}"
        )
        return DuckDBRetrievalJob(_connection(config), query)


@dataclass(frozen=True)
class _Known:
    """What Feast reads of a view's source, with a query in place of its table."""

    query: str
    field_mapping: dict[str, str]
    timestamp_field: str
    created_timestamp_column: str | None
    date_partition_column: str | None

    def get_table_query_string(self) -> str:
        return self.query


def _with_known_rows(config: RepoConfig, view: FeatureView) -> FeatureView:
    source = view.batch_source
    known = _Known(
        known_rows(config, source),
        source.field_mapping,
        source.timestamp_field,
        source.created_timestamp_column,
        source.date_partition_column,
    )
    return with_source(view, known)


def known_rows(config: RepoConfig, source: DataSource) -> str:
    """SQL for a FROM clause of the source's rows, without those created after the configured
    `known_at`, or that don't meet the configured condition.

    Raises ValueError if `known_at` has no time zone, or the source no created timestamp column.
    """
    conditions = " AND ".join(known_conditions(config, source, quoted, timestamp)) or "true"
    return f"(SELECT * FROM {_all_rows(source)} AS known WHERE {conditions})"


def _all_rows(source: DataSource) -> str:
    if isinstance(source, FileSource):
        return f"read_parquet({literal(source.path)})"
    return str(source.get_table_query_string())


def _connection(config: RepoConfig, entities: pd.DataFrame | None = None) -> Connection:
    store = config.offline_store
    given, database, schema = store.connection, store.database, store.db_schema

    @contextmanager
    def connection() -> Iterator[duckdb.DuckDBPyConnection]:
        with given.cursor() if given is not None else duckdb.connect(database or "") as opened:
            opened.execute("SET TimeZone = 'UTC'")
            # For few entity rows DuckDB would join by arg_max, which makes 0.0 of -0.0.
            opened.execute("SET asof_loop_join_threshold = 0")
            if schema is not None:
                opened.execute(f"USE {quoted(schema)}")
            if entities is not None:
                opened.register(_ENTITIES, entities)
            yield opened

    return connection


def _schema(connection: duckdb.DuckDBPyConnection, rows: str) -> dict[str, Any]:
    """The columns of the rows with pandas' types, as Feast asks for them."""
    frame = connection.sql(f"SELECT * FROM {rows} AS given LIMIT 0").to_arrow_table().to_pandas()
    return dict(zip(frame.columns, frame.dtypes, strict=True))


def _span(connection: duckdb.DuckDBPyConnection, rows: str, time: str) -> tuple[datetime, datetime]:
    """The first and the last event timestamp of the entity rows (UTC)."""
    name = f"{quoted(time)}::timestamptz"
    table = connection.sql(f"SELECT min({name}) AS first, max({name}) AS last FROM {rows} AS given")
    (found,) = table.to_arrow_table().to_pylist()
    if found["first"] is None:
        raise EntitySQLEmptyResults(rows)
    return found["first"].astimezone(UTC), found["last"].astimezone(UTC)


def _window(timestamp_field: str, start: datetime | None, end: datetime | None) -> str:
    time = f"{quoted(timestamp_field)}::timestamptz"
    bounds = [
        f"{time} {operator} {timestamp(moment if moment.tzinfo else moment.replace(tzinfo=UTC))}"
        for operator, moment in ((">=", start), ("<=", end))
        if moment is not None
    ]
    return " AND ".join(bounds) or "true"

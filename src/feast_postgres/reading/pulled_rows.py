"""Rows that another offline store reads, as temporary tables in PostgreSQL, by COPY."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, LiteralString, Protocol, runtime_checkable

import pyarrow as pa
import pyarrow.csv as csv
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import (
    PostgreSQLSource,
)
from psycopg import Connection, sql

from feast_postgres.columns import TableLayout
from feast_postgres.reading.source_rows import NeedsFeast, Source

if TYPE_CHECKING:
    from feast import FeatureView
    from feast.repo_config import RepoConfig

_TYPES: dict[Any, LiteralString] = {
    pa.string(): "text",
    pa.int64(): "int8",
    pa.int32(): "int4",
    pa.float64(): "float8",
    pa.float32(): "float4",
    pa.bool_(): "bool",
}
# A null is nothing between two separators; all else is quoted, an empty text too.
_WRITTEN = csv.WriteOptions(include_header=False, quoting_style="all_valid")


@runtime_checkable
class PullingStore(Protocol):
    """An offline store that gives rows as Arrow, also those that are left out by a condition."""

    def pull_latest_from_table_or_query(self, *arguments: Any) -> Any:
        """A job with the newest row of each entity in a window; it has `record_batches`."""
        ...

    def pull_left_out_from_table_or_query(self, *arguments: Any) -> Any:
        """A job with keys and timestamps of the rows that don't meet the source's condition."""
        ...


@dataclass(frozen=True)
class PulledRows:
    """The rows of a store that isn't PostgreSQL."""

    config: RepoConfig
    store: PullingStore

    def copied(
        self,
        connection: Connection[object],
        view: FeatureView,
        layout: TableLayout,
        start: datetime,
        end: datetime,
    ) -> tuple[Source, sql.Composed | None]:
        """The newest row of each entity in the window, and the rows that don't meet the source's
        condition, in tables that last until commit.

        Raises NeedsFeast for a type that isn't copied, and the store's errors.
        """
        source, config = view.batch_source, self.config
        names = {feature: column for column, feature in source.field_mapping.items()}
        keys = [
            names.get(key.feature, key.feature)
            for key in layout.keys
            if key.feature != DUMMY_ENTITY_ID
        ]
        features = [names.get(one.feature, one.feature) for one in layout.feature_columns]
        event, created = (
            name and names.get(name, name)
            for name in (source.timestamp_field, source.created_timestamp_column)
        )
        gone = None
        if source.name in config.offline_store.conditions:
            left_out = self.store.pull_left_out_from_table_or_query(
                config, source, keys, event, created
            )
            found = _copy(connection, "left_out", left_out.record_batches())
            gone = _source(source, found).gone(connection, layout, "false")
        newest = self.store.pull_latest_from_table_or_query(
            config, source, keys, features, event, created, start, end
        )
        return _source(source, _copy(connection, "pulled", newest.record_batches())), gone


def pulled_rows(config: RepoConfig, store: object) -> PulledRows | None:
    """How the configured offline store's rows are read, if it is one that gives them as Arrow."""
    return PulledRows(config, store) if isinstance(store, PullingStore) else None


def _source(source: Any, table: str) -> Source:
    return Source(
        PostgreSQLSource(
            name=source.name,
            query=f"SELECT * FROM {table}",
            timestamp_field=source.timestamp_field,
            created_timestamp_column=source.created_timestamp_column,
            field_mapping=source.field_mapping,
        )
    )


def _copy(connection: Connection[object], name: str, batches: Iterator[pa.RecordBatch]) -> str:
    """Copy the batches, of which the first tells the schema, to a new table; its name in SQL."""
    schema = pa.schema([(one.name, _in_utc(one.type)) for one in next(batches).schema])
    table = sql.Identifier("pg_temp", name)
    columns = _columns({one.name: one.type for one in schema})
    connection.execute(
        sql.SQL("CREATE TEMP TABLE {} ({}) ON COMMIT DROP").format(sql.Identifier(name), columns)
    )
    into = sql.SQL("COPY {} FROM STDIN (FORMAT csv)").format(table)
    with connection.cursor().copy(into) as copy:
        for text in _texts(batches, schema):
            copy.write(text)
    return table.as_string(connection)


def _texts(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[bytes]:
    for batch in batches:
        if batch.num_rows:
            written = io.BytesIO()
            csv.write_csv(batch.cast(schema), written, _WRITTEN)
            yield written.getvalue()


def _columns(types: Mapping[str, Any]) -> sql.Composed:
    declared = []
    for name, kind in types.items():
        known: LiteralString | None = (
            "timestamptz" if pa.types.is_timestamp(kind) else _TYPES.get(kind)
        )
        if known is None:
            raise NeedsFeast(f"column {name!r} comes as {kind}")
        declared.append(sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(known)))
    return sql.SQL(", ").join(declared)


def _in_utc(kind: Any) -> Any:
    return pa.timestamp("us", "UTC") if pa.types.is_timestamp(kind) else kind

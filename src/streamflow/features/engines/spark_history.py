"""History read by Apache Spark: the point-in-time joins; what is small stays with DuckDB."""

from __future__ import annotations

import atexit
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from streamflow.columnar.literals import literal
from streamflow.columnar.session import Histories, Session
from streamflow.features.engines.spark_errors import require_spark, spark_errors
from streamflow.features.engines.spark_sql import spark_sql
from streamflow.postgres.database import Database
from streamflow.postgres.queries import quoted
from streamflow.scratch import scratch

if TYPE_CHECKING:
    import pyarrow as pa
    from feast import FeatureStore, FeatureView

# Spark's type by PostgreSQL's.
_TYPES = {
    "text": "string",
    "bigint": "bigint",
    "double precision": "double",
    "boolean": "boolean",
    "date": "date",
    "timestamp with time zone": "timestamp",
}
_JOINING = "The point-in-time join"


@dataclass(frozen=True)
class SparkJob:
    """A point-in-time join that Spark makes when its rows are read.

    Reading raises FeatureStoreUnavailable.
    """

    remote: str | None
    job: Any

    def to_arrow(self) -> pa.Table:
        """All rows."""
        with spark_errors(self.remote, _JOINING):
            return self.job.to_arrow()

    def frame(self) -> Any:
        """The rows as a data frame of Spark."""
        with spark_errors(self.remote, _JOINING):
            return self.job.to_spark_df()

    def record_batches(self, ordered_by: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
        """The rows in batches that ascend by the columns `ordered_by`, compared by bytes."""
        with spark_errors(self.remote, _JOINING):
            yield from self.job.record_batches(ordered_by)


class SparkHistory(Session):
    """The database with history's Parquet files read by DuckDB, and joined by Spark.

    Spark reads the same files: the copy's, or those of tables of Apache Iceberg. It is started at
    the first join, and ended by `close` unless another one had started it. `folder` is the parent
    of the files that are handed to it, which the executors read.
    """

    def __init__(
        self,
        database: Database,
        histories: Histories,
        memory: str,
        spill: Path,
        folder: Path,
        remote: str | None,
    ) -> None:
        super().__init__(database, histories, memory, spill)
        self.remote = remote
        self._handed_over, self._resources = folder, ExitStack()
        self._starting = threading.RLock()
        self._spark: Any = None
        self._files: Path | None = None
        self._shipped: Path | None = None
        self._views: dict[str, str] = {}

    def close(self) -> None:
        """End Spark where it was started here; remove the files that were handed to it."""
        with self._starting:
            # Of a driver that is lost nothing can be removed.
            with suppress(Exception):
                self._resources.close()
            self._spark = self._files = None
            self._views.clear()
        super().close()

    def refresh(self, use_case: str) -> None:
        """As the session does; later joins see the same."""
        super().refresh(use_case)
        with self._starting:
            self._views.clear()

    @property
    def spark(self) -> Any:
        """Spark's session. Raises InvalidSettings, FeatureStoreUnavailable."""
        with self._starting:
            if self._spark is None:
                require_spark(self.remote)
                with spark_errors(self.remote, "Starting"):
                    from feast_spark.session import running_session

                    running = running_session(self.remote)
                    self._spark = self._resources.enter_context(running)
            return self._spark

    def historical_features(
        self,
        store: FeatureStore,
        views: Sequence[FeatureView],
        features: list[str],
        query: str,
        moment: datetime,
    ) -> SparkJob:
        """The job for a query of entity rows, in DuckDB's SQL, that all have the event timestamp
        `moment` (UTC). `store` is one of `feast_duckdb` over this session.

        The entity rows are read here, and handed over in a file. Raises FeatureStoreUnavailable.
        """
        spark = self.spark
        with spark_errors(self.remote, _JOINING):
            from feast_spark import SparkOfflineStore

            job = SparkOfflineStore.get_historical_features(
                self._config(store),
                [self._on_spark(store, view) for view in views],
                features,
                f"SELECT * FROM {self._view_of(spark, [str(self._hand_over(query))], None)}",
                store.registry,
                store.project,
                moment=moment,
            )
            return SparkJob(self.remote, job)

    def without(self, query: str, key: str, entities: pa.Table) -> tuple[str, int]:
        """The query of entity rows without those whose `key` is in the table's first column, in
        DuckDB's SQL, and how many rows it has."""
        with self.cursor() as cursor:
            cursor.register("given_entities", entities)
            cursor.execute("CREATE OR REPLACE TABLE left_out AS SELECT * FROM given_entities")
        column = quoted(entities.column_names[0])
        left = (
            f"SELECT * FROM ({query}) AS given WHERE NOT EXISTS "
            f"(SELECT 1 FROM main.left_out AS one WHERE one.{column} = given.{quoted(key)})"
        )
        with self.cursor() as cursor:
            counted = cursor.sql(f"SELECT count(*) AS rows FROM ({left}) AS counted")
            (rows,) = counted.to_arrow_table()["rows"].to_pylist()
        return left, rows

    def ship(self, files: Sequence[Path], *, code: bool = False) -> None:
        """Give these files, which stay as long as Spark does, to all executors."""
        spark = self.spark
        with spark_errors(self.remote, "Sending files"):
            from feast_spark.shipping import ship

            for file in files:
                ship(spark, file, code=code)

    @property
    def shipped(self) -> Path:
        """A folder for files that are shipped, until this process ends."""
        with self._starting:
            if self._shipped is None:
                # Spark may go on after this history, and asks for the files again.
                until_the_end = ExitStack()
                self._shipped = until_the_end.enter_context(scratch(self._handed_over))
                atexit.register(until_the_end.close)
            return self._shipped

    def _config(self, store: FeatureStore) -> Any:
        """Feast's configuration of the store, with Spark in place of DuckDB."""
        from feast import RepoConfig

        given, schema = store.config.offline_store, store.config.offline_store.db_schema
        return RepoConfig(
            project=store.project,
            provider="local",
            registry=store.config.registry,
            offline_store={
                "type": "feast_spark.SparkOfflineStore",
                "remote": self.remote,
                "known_at": given.known_at,
                "conditions": {
                    name: self._translated(condition, schema)
                    for name, condition in given.conditions.items()
                },
            },
            online_store=None,
            entity_key_serialization_version=3,
        )

    def _on_spark(self, store: FeatureStore, view: FeatureView) -> FeatureView:
        from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource

        from feast_known.conditions import with_source

        source, schema = view.batch_source, store.config.offline_store.db_schema
        rows = f"SELECT * FROM {source.get_table_query_string()} AS given"
        with warnings.catch_warnings():
            # Feast warns that its sources of Spark may change; they are pinned.
            warnings.simplefilter("ignore", RuntimeWarning)
            on_spark = SparkSource(
                name=source.name,
                query=self._translated(rows, schema),
                timestamp_field=source.timestamp_field,
                created_timestamp_column=source.created_timestamp_column,
                field_mapping=source.field_mapping,
            )
        return with_source(view, on_spark)

    def _translated(self, text: str, schema: str) -> str:
        """The text of DuckDB's SQL in Spark's, over views of the same rows."""
        return spark_sql(text, lambda table, of: self._table(of or schema, table))

    def _table(self, schema: str, table: str) -> str:
        """The temporary view in Spark of a table of the session."""
        name = f"{schema}.{table}"
        with self._starting:
            if name not in self._views:
                view = self.views.get(schema, {}).get(table)
                if view is not None:
                    types = {one: _TYPES[kind] for one, kind in view.columns.items()}
                    made = self._view_of(self.spark, view.files, types, view.field_ids)
                    self._views[name] = made
                else:
                    file = self._hand_over(f"SELECT * FROM {quoted(schema)}.{quoted(table)}")
                    self._views[name] = self._view_of(self.spark, [str(file)], None)
            return self._views[name]

    def _view_of(
        self,
        spark: Any,
        files: Sequence[str],
        columns: Mapping[str, str] | None,
        field_ids: Mapping[str, int] | None = None,
    ) -> str:
        from feast_spark.parquet_files import parquet_view

        name = f"streamflow_{uuid4().hex}"
        parquet_view(spark, name, files, columns, field_ids)
        self._resources.callback(spark.catalog.dropTempView, name)
        return name

    def _hand_over(self, query: str) -> Path:
        """A new Parquet file with the rows of a query in DuckDB's SQL."""
        with self._starting:
            if self._files is None:
                self._files = self._resources.enter_context(scratch(self._handed_over))
        file = self._files / f"{uuid4().hex}.parquet"
        with self.cursor() as cursor:
            cursor.execute(f"COPY ({query}) TO {literal(str(file))} (FORMAT parquet)")
        return file

"""A query whose rows Feast asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata

from feast_duckdb.key_ranges import KeyRange
from feast_known.names import quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from feast import OnDemandFeatureView
    from feast.saved_dataset import SavedDatasetStorage

_ROWS_PER_BATCH = 100_000
_NULLABLE_INTEGERS = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype()}

# By ranges of keys, in their order, the query of the rows within each.
ByRange = Callable[["DuckDBPyConnection"], Mapping[KeyRange, str]]
# `connection` opens one for the block; entity rows of a frame are registered in it.
Connection = Callable[[], AbstractContextManager["DuckDBPyConnection"]]


class DuckDBRetrievalJob(RetrievalJob):  # type: ignore[misc]
    """A query, run at each reading. `to_df` keeps integers with nulls as Int32 or Int64.

    With `by_range`, the queries of these ranges of keys are run in place of it, if there are any.
    """

    def __init__(
        self,
        connection: Connection,
        query: str,
        full_feature_names: bool = False,
        on_demand_feature_views: list[OnDemandFeatureView] | None = None,
        metadata: RetrievalMetadata | None = None,
        by_range: ByRange | None = None,
    ) -> None:
        self._connection, self._query = connection, query
        self._by_range = by_range
        self._full_feature_names = full_feature_names
        self._on_demand_feature_views = on_demand_feature_views or []
        self._metadata = metadata

    @property
    def full_feature_names(self) -> bool:
        """Whether features have the name of their view before their own."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """The views that are computed of the rows."""
        return self._on_demand_feature_views

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """What was asked for; None for materialization."""
        return self._metadata

    def to_sql(self) -> str:
        """The query in DuckDB's SQL."""
        return self._query

    def record_batches(self, ordered_by: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
        """The rows in Feast's types; the first batch has none, and tells the schema.

        With `ordered_by`, names of columns, rows ascend by these as texts, compared by their bytes.
        Memory doesn't grow with their number. Times are in UTC, without a zone. Raises
        duckdb.Error.
        """
        order = ", ".join(f"{quoted(name)}::varchar" for name in ordered_by)
        with self._connection() as connection:
            schema = None
            for query in self._queries(connection, ordered_by):
                if order:
                    query = f"SELECT * FROM ({query}) AS given ORDER BY {order}"
                reader = connection.sql(query).to_arrow_reader(_ROWS_PER_BATCH)
                if schema is None:
                    schema = _of_feast(reader.schema)
                    yield pa.RecordBatch.from_pylist([], schema)
                for batch in reader:
                    yield batch.cast(schema)

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        with self._connection() as connection:
            queries = self._queries(connection)
            table = pa.concat_tables(connection.sql(one).to_arrow_table() for one in queries)
        return table.cast(_of_feast(table.schema))

    def _queries(self, connection: DuckDBPyConnection, ordered_by: Sequence[str] = ()) -> list[str]:
        """The queries whose rows, one after the other, are those of the query."""
        parts = self._by_range(connection) if self._by_range is not None else {}
        # Ranges ascend by their key alone.
        if ordered_by and any(one.key != ordered_by[0] for one in parts):
            parts = {}
        return [*parts.values()] or [self._query]

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        table = self._to_arrow_internal(timeout)
        frame: pd.DataFrame = table.to_pandas()
        for position, column in enumerate(table.columns):
            if column.null_count and column.type in _NULLABLE_INTEGERS:
                frame.isetitem(position, column.to_pandas(types_mapper=_NULLABLE_INTEGERS.get))
        return frame

    def persist(
        self,
        storage: SavedDatasetStorage,
        allow_overwrite: bool = False,
        timeout: int | None = None,
    ) -> None:
        """Not done: write what `to_arrow` returns. Raises NotImplementedError."""
        raise NotImplementedError("feast_duckdb doesn't persist: write what to_arrow() returns")


def _of_feast(schema: pa.Schema) -> pa.Schema:
    return pa.schema([(one.name, _type(one.type)) for one in schema])


def _type(kind: Any) -> Any:
    if pa.types.is_timestamp(kind):
        return pa.timestamp(kind.unit)
    if pa.types.is_date(kind):
        return pa.timestamp("us")
    return pa.string() if kind == pa.string_view() else kind

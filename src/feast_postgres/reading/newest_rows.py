"""Each entity's newest feature rows at a moment, of several sources, by sorted streams.

The point-in-time join of many columns sorts and keeps all of them. Here each source is sorted
by itself, and what comes first is there while the rest is still read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from feast_known.names import quoted
from feast_postgres.reading.record_batches import record_batches

if TYPE_CHECKING:
    from feast.data_source import DataSource
    from feast.infra.utils.postgres.postgres_config import PostgreSQLConfig

# Entities at a time. Those without a row at the moment are looked up together.
_ENTITIES = 65_536
_BATCH_BYTES = 2_000_000
_CREATED = "created timestamp"


def newest_rows(
    config: PostgreSQLConfig,
    entities: str,
    key: str,
    features: Sequence[Sequence[str]],
    sources: Sequence[DataSource],
    times: Sequence[str],
    moment: datetime,
) -> Iterator[pa.RecordBatch]:
    """The distinct entities of the query `entities`, with the features of each source in its newest
    row at `moment` (with a time zone) or before, of whatever age; of rows of one time, in the one
    created last.

    Columns are the text `key`, and per source its `features` and its row's event timestamp (UTC,
    without a zone) by its name in `times`; they are null where there is no row. A source must name
    a created timestamp. Batches ascend by the key's
    bytes; memory doesn't grow with their number. Raises as `record_batches`.
    """
    queries = [
        _at([key, *names], source, moment) for names, source in zip(features, sources, strict=True)
    ]
    at = pa.scalar(moment.astimezone(UTC).replace(tzinfo=None), pa.timestamp("us"))
    with ExitStack() as stack:
        start = partial(_Sorted, config, batch_bytes=_BATCH_BYTES)
        with ThreadPoolExecutor(1 + len(queries)) as threads:  # each sorts before it answers
            starting = [
                threads.submit(start, f"SELECT {quoted(key)} FROM ({entities}) AS given", key),
                *(threads.submit(start, query, key, _CREATED) for query in queries),
            ]
        for one in starting:
            if one.exception() is None:
                stack.callback(one.result().close)
        keys, *streams = [one.result() for one in starting]
        for part in keys.parts(_ENTITIES):
            last = part[-1].as_py()
            columns, names = [part], [key]
            for wanted, source, time, stream in zip(features, sources, times, streams, strict=True):
                rows = stream.up_to(last)
                moments = pa.repeat(at, rows.num_rows)
                older = partial(_older, config, [key, *wanted], source, time, moment)
                aligned = _aligned(part, rows.append_column(time, moments), older)
                columns += aligned.columns[1:]
                names += aligned.column_names[1:]
            yield from pa.table(columns, names).combine_chunks().to_batches()


class _Sorted:
    """The rows of a query, which ascend by a key; of equal keys the last one by `tie`, which isn't
    among the columns. Raises as `record_batches`."""

    def __init__(
        self, config: PostgreSQLConfig, query: str, key: str, *tie: str, batch_bytes: int
    ) -> None:
        self._batches = record_batches(config, query, [key], tie, batch_bytes)
        self._schema = next(self._batches).schema
        self._next = next(self._batches, None)

    def close(self) -> None:
        """Close the connection."""
        self._batches.close()

    def parts(self, rows: int) -> Iterator[pa.Array]:
        """The keys alone, so many at a time."""
        waiting: list[pa.Array] = []
        while self._next is not None:
            waiting.append(self._next.column(0))
            self._next = next(self._batches, None)
            while sum(map(len, waiting)) >= rows or (waiting and self._next is None):
                every = pa.concat_arrays(waiting)
                part, rest = every.slice(0, rows), every.slice(rows)
                waiting = [rest] if len(rest) else []
                if len(part):
                    yield pa.concat_arrays([part])

    def up_to(self, last: str) -> pa.Table:
        """The rows from where the call before ended to the key `last`."""
        taken: list[pa.RecordBatch] = []
        while self._next is not None:
            keys = self._next.column(0)
            count = _up_to(keys, last)
            taken.append(self._next.slice(0, count))
            if count < len(keys):
                self._next = self._next.slice(count)
                break
            self._next = next(self._batches, None)
        rows = pa.Table.from_batches(taken, self._schema)
        if rows.num_rows < 2:
            return rows
        keys = rows.column(0)
        repeated = pc.equal(keys.slice(0, rows.num_rows - 1), keys.slice(1))
        if not pc.any(repeated).as_py():
            return rows
        newest = pa.chunked_array([*pc.invert(repeated).chunks, pa.array([True])])
        return rows.filter(newest)


def _up_to(keys: pa.Array, last: str) -> int:
    """How many of the ascending keys aren't after `last`. Texts in UTF-8 ascend by their bytes as
    they do by their characters."""
    return bisect_right(range(len(keys)), last, key=lambda place: keys[place].as_py())


def _aligned(keys: pa.Array, rows: pa.Table, older: Callable[[pa.Array], pa.Table]) -> pa.Table:
    """A row per key, of `rows` or else of what `older` finds for them."""
    if rows.num_rows == len(keys) and rows.column(0).equals(pa.chunked_array([keys])):
        return rows
    places = pc.index_in(keys, value_set=rows.column(0).combine_chunks())
    without = keys.filter(pc.is_null(places))
    if len(without):
        rows = pa.concat_tables([rows, older(without)])
        places = pc.index_in(keys, value_set=rows.column(0).combine_chunks())
    return rows.take(places)


def _at(names: Sequence[str], source: DataSource, moment: datetime) -> str:
    created = f"{quoted(source.created_timestamp_column)} AS {quoted(_CREATED)}"
    return _rows(names, source, created, f"{_time(source)} = {_literal(moment)}")


def _older(
    config: PostgreSQLConfig,
    names: Sequence[str],
    source: DataSource,
    time: str,
    moment: datetime,
    keys: pa.Array,
) -> pa.Table:
    key = names[0]
    wanted = sql.Literal(keys.to_pylist()).as_string(None)
    condition = f"{_time(source)} < {_literal(moment)} AND {quoted(key)} = ANY({wanted}::text[])"
    created = quoted(source.created_timestamp_column)
    rows = _rows(names, source, f"{_time(source)} AS {quoted(time)}", condition)
    newest = f"{rows} ORDER BY {quoted(key)}, {_time(source)} DESC, {created} DESC"
    query = newest.replace("SELECT", f"SELECT DISTINCT ON ({quoted(key)})", 1)
    schema, *batches = record_batches(config, query)
    return pa.Table.from_batches(batches, schema.schema)


def _rows(names: Sequence[str], source: DataSource, more: str, condition: str) -> str:
    return (
        f"SELECT {', '.join(map(quoted, names))}, {more} "
        f"FROM {source.get_table_query_string()} AS source "
        f"WHERE {condition} AND {quoted(source.created_timestamp_column)} IS NOT NULL"
    )


def _time(source: DataSource) -> str:
    return quoted(source.timestamp_field)


def _literal(moment: datetime) -> str:
    return f"'{moment.astimezone(UTC).isoformat()}'::timestamptz"

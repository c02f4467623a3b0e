"""A Spark data frame's rows as Arrow record batches, in which no value becomes an object."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_Batches = Iterator[pa.RecordBatch]


def record_batches(frame: DataFrame, ordered_by: Sequence[str] = ()) -> _Batches:
    """The rows; the first batch has none, and tells the schema. Times are in UTC, without a zone.

    With `ordered_by`, names of columns, rows ascend by these as texts, compared by their bytes.
    Partitions come one after the other, so memory doesn't grow with their number.
    Raises errors of pyspark.
    """
    schema = without_time_zones(frame.limit(0).toArrow().schema)
    yield pa.RecordBatch.from_pylist([], schema)
    if ordered_by:
        frame = frame.orderBy(*[frame[quoted(name)].cast("string") for name in ordered_by])
    for batch in packed_batches(frame):
        yield batch.cast(schema)


def packed_batches(frame: DataFrame) -> _Batches:
    """The rows of each partition, in the order of partitions, as executors have them.

    Spark has no iterator of Arrow batches over its partitions: each batch comes as the bytes of one
    value.
    """
    packed = frame.mapInArrow(_packing(), "batch binary")
    for row in packed.toLocalIterator(prefetchPartitions=True):
        with pa.ipc.open_stream(row["batch"]) as reader:
            yield from reader


def _packing() -> Callable[[_Batches], _Batches]:
    # A function inside of a function goes to the executors with its code: they needn't have ours.
    def pack(batches):  # type: ignore[no-untyped-def]
        import pyarrow

        for batch in batches:
            sink = pyarrow.BufferOutputStream()
            with pyarrow.ipc.new_stream(sink, batch.schema) as writer:
                writer.write_batch(batch)
            content = pyarrow.array([sink.getvalue().to_pybytes()], pyarrow.binary())
            yield pyarrow.RecordBatch.from_arrays([content], ["batch"])

    return pack


def without_time_zones(schema: pa.Schema) -> pa.Schema:
    """The schema with its times, which are in UTC, as Feast has them."""
    return pa.schema(
        [
            (one.name, pa.timestamp(one.type.unit) if pa.types.is_timestamp(one.type) else one.type)
            for one in schema
        ]
    )


def quoted(name: str) -> str:
    """The name as an identifier in Spark's SQL."""
    return "`" + name.replace("`", "``") + "`"

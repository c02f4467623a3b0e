"""Parquet files as temporary views of Spark."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from feast_spark.record_batches import quoted

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def parquet_view(
    session: SparkSession, name: str, files: Sequence[str], columns: Mapping[str, str] | None = None
) -> None:
    """Make a temporary view of the rows of these files, which the driver and the executors have
    under the same absolute paths.

    `columns` has by name the type in Spark's SQL; without it, it is what the files say. A view of
    no files has no rows. Raises errors of pyspark.
    """
    reader, schema = session.read, None
    if columns is not None:
        schema = ", ".join(f"{quoted(one)} {kind}" for one, kind in columns.items())
        reader = reader.schema(schema)
    rows = reader.parquet(*map(_address, files)) if files else session.createDataFrame([], schema)
    rows.createOrReplaceTempView(name)


def _address(file: str) -> str:
    # Spark takes paths for patterns, and one without a scheme for one in the cluster's file system.
    return "file://" + re.sub(r"([\[\]{}*?\\])", r"\\\1", file)

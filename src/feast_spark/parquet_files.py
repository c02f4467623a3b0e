"""Parquet files as temporary views of Spark."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import StructType


def parquet_view(
    session: SparkSession,
    name: str,
    files: Sequence[str],
    columns: Mapping[str, str] | None = None,
    field_ids: Mapping[str, int] | None = None,
) -> None:
    """Make a temporary view of the rows of these files, which the driver and the executors have
    under the same absolute paths.

    `columns` has by name the type in Spark's SQL; without it, it is what the files say. With
    `field_ids`, the columns' numbers in the files, files may lack columns or have other names. A
    view of no files has no rows. Raises errors of pyspark.
    """
    reader, schema = session.read, None
    if columns is not None:
        schema = _schema(columns, field_ids or {})
        reader = reader.schema(schema)
    rows = reader.parquet(*map(_address, files)) if files else session.createDataFrame([], schema)
    rows.createOrReplaceTempView(name)


def _schema(columns: Mapping[str, str], field_ids: Mapping[str, int]) -> StructType:
    from pyspark.sql.types import DataType, StructType

    schema = StructType()
    for name, kind in columns.items():
        numbers = {"parquet.field.id": field_ids[name]} if name in field_ids else None
        schema.add(name, DataType.fromDDL(kind), nullable=True, metadata=numbers)
    return schema


def _address(file: str) -> str:
    # Spark takes paths for patterns, and one without a scheme for one in the cluster's file system.
    return "file://" + re.sub(r"([\[\]{}*?\\])", r"\\\1", file)

"""The data files of a table of Iceberg: written by us, batch after batch, read by DuckDB."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator
from datetime import date
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from pyiceberg.io.pyarrow import parquet_file_to_data_file, schema_to_pyarrow

from streamflow.columnar.session import HistoryView
from streamflow.history.iceberg.catalog import POSTGRES_TYPES
from streamflow.history.iceberg.written_files import remove

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table


def write_file(
    table: Table, as_of: date, name: str, batches: Iterator[pa.RecordBatch]
) -> tuple[DataFile | None, int]:
    """Write batches with the table's columns in order to a file of the partition `as_of`; returns
    it, None if there is no row, and the number of rows.

    The file is part of no table yet. A file that fails is removed. Raises OSError.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = schema_to_pyarrow(table.schema(), include_field_ids=True)
    schema = pa.schema([_small(field) for field in schema])
    path = f"{table.location()}/data/as_of={as_of.isoformat()}/{name}-{uuid.uuid4()}.parquet"
    rows = 0
    first = next((batch for batch in batches if batch.num_rows), None)
    if first is None:
        return None, 0
    try:
        with (
            table.io.new_output(path).create() as stream,
            pq.ParquetWriter(stream, schema, compression="zstd") as writer,
        ):
            batch: pa.RecordBatch | None = first
            while batch is not None:
                if batch.num_rows:
                    arrays = [
                        column.cast(field.type)
                        for column, field in zip(batch.columns, schema, strict=True)
                    ]
                    writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
                    rows += batch.num_rows
                batch = next(batches, None)
        durable(path)
        return parquet_file_to_data_file(table.io, table.metadata, path), rows
    except BaseException:
        remove(table.io, path)
        raise


def durable(path: str) -> None:
    """Wait until a local file is on the disk, with its name; an object store does so by itself."""
    parsed = urlparse(path)
    if parsed.scheme != "file":
        return
    for name in (parsed.path, os.path.dirname(parsed.path)):
        descriptor = os.open(name, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def require_durable_metadata(table: Table) -> None:
    """Wait until the newest snapshot of the table, which was just committed, is on the disk."""
    durable(table.metadata_location)
    snapshot = table.current_snapshot()
    if snapshot is not None:
        durable(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            if manifest.added_snapshot_id == snapshot.snapshot_id:
                durable(manifest.manifest_path)


def data_files(table: Table) -> list[DataFile]:
    """The table's files as they are in its metadata, by their path. Raises OSError."""
    found = [task.file for task in table.scan().plan_files()]
    return sorted(found, key=lambda file: file.file_path)


def history_view(table: Table, files: Iterable[DataFile]) -> HistoryView:
    """The table's columns, and these of its files."""
    schema = table.schema()
    return HistoryView(
        columns={field.name: POSTGRES_TYPES[str(field.field_type)] for field in schema.fields},
        files=tuple(local_path(file.file_path) for file in files),
        field_ids={field.name: field.field_id for field in schema.fields},
    )


def local_path(path: str) -> str:
    """A file's path as DuckDB has it: without a scheme where it's local."""
    return path.removeprefix("file://")


def _small(field: pa.Field) -> pa.Field:
    import pyarrow as pa

    types: dict[Any, Any] = {pa.large_string(): pa.string()}
    return field.with_type(types.get(field.type, field.type))

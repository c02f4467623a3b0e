"""The rows of each month of a file of several, staged on disk in one pass over the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.hashes import Sha256, sha256_of
from streamflow.history.files.month_file import read_batches
from streamflow.history.files.plain_columns import plain
from streamflow.history.violations import Report
from streamflow.use_case import Table

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class StagedFile:
    """The rows of a file by what their column of the month says: by text an Arrow file, and the
    line on which the text is first. `sha256` is the whole file's."""

    sha256: Sha256
    parts: Mapping[str, Path]
    lines: Mapping[str, int]


@dataclass(frozen=True)
class MonthRows:
    """The rows of `as_of`: those whose `column` has one of the `texts` that mean it, by table.

    Of a table without an entry in `texts`, whose file has no such column, all rows are meant.
    """

    as_of: date
    column: str
    texts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    files: Mapping[str, StagedFile] = field(default_factory=dict)

    def batches(self, path: Path, table: Table, report: Report) -> Iterator[pa.RecordBatch]:
        """As `read_batches`, of the month's rows alone, with their lines in the whole file."""
        import pyarrow as pa

        if table.name not in self.texts:
            yield from read_batches(path, table, report)
            return
        parts = self.files[table.name].parts
        for text in sorted(self.texts[table.name]):
            with pa.OSFile(str(parts[text])) as file, pa.ipc.open_stream(file) as reader:
                for batch in reader:
                    yield batch.select([*table.contract.columns, "line"])


def stage_file(path: Path, table: Table, column: str, scratch: Path, report: Report) -> StagedFile:
    """Read the file once, and write the rows of each text of `column` to a file in `scratch`.

    `table` has the column. What can't be read is reported.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    parts: dict[str, Path] = {}
    lines: dict[str, int] = {}
    with ExitStack() as open_files:
        writers: dict[str, pa.ipc.RecordBatchStreamWriter] = {}
        for batch in read_batches(path, table, report):
            values = pc.fill_null(month_texts(batch.column(column)), "")
            for text in pc.unique(values).to_pylist():
                rows = batch.filter(pc.equal(values, text))
                if text not in writers:
                    parts[text] = scratch / f"{table.name}-{len(parts)}.arrow"
                    lines[text] = rows.column("line")[0].as_py()
                    file = open_files.enter_context(pa.OSFile(str(parts[text]), "wb"))
                    writers[text] = open_files.enter_context(pa.ipc.new_stream(file, rows.schema))
                writers[text].write_batch(rows)
    return StagedFile(sha256_of(path), parts, lines)


def month_texts(column: pa.Array) -> pa.Array:
    """The column's values as text, whatever type a Parquet file has them in."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values, _ = plain(column)
    if pa.types.is_string(values.type):
        return values
    if pa.types.is_floating(values.type):  # whole numbers that were floats for their nulls
        values = pc.cast(values, pa.int64(), safe=False)
    if pa.types.is_timestamp(values.type):
        values = pc.cast(values, pa.date32(), safe=False)
    return pc.cast(values, pa.string())

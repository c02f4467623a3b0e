"""Reads a Parquet file in chunks, each row with the line that it would have in CSV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.history.files.header import columns_fit
from streamflow.history.violations import Report, Violation
from streamflow.use_case import Table

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_ROWS = 100_000
_FIRST_LINE = 2  # as after a header, so that a row has the same line in both formats
_LONGEST_ERROR = 200


def batches(path: Path, table: Table, report: Report) -> Iterator[pa.RecordBatch]:
    """The contract's columns in the types of the file, and `line`."""
    import pyarrow as pa

    expected = list(table.contract.columns)
    try:
        names, rows = _names_and_rows(path)
    except _unreadable() as error:
        report(Violation(path.name, None, None, None, f"a file is Parquet ({_short(error)})"))
        return
    if not columns_fit(names, table, path.name, report):
        return
    line = _FIRST_LINE
    try:
        for batch in _chunks(path, expected):
            lines = pa.array(range(line, line + batch.num_rows), pa.int64())
            line += batch.num_rows
            yield batch.append_column("line", lines)
    except _unreadable() as error:
        column, line = _first_unreadable(path, expected, line)
        rule = f"a column can be read from this line on ({_short(error)})"
        report(Violation(path.name, line, column, None, rule))
        return
    if line - _FIRST_LINE != rows:
        report(Violation(path.name, line, None, None, f"a file has its {rows} rows"))


def column_names(path: Path) -> list[str]:
    """The names of the file's columns. Raises ValueError or OSError if it isn't Parquet."""
    return _names_and_rows(path)[0]


def _names_and_rows(path: Path) -> tuple[list[str], int]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        return file.schema_arrow.names, file.metadata.num_rows


def _chunks(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path, page_checksum_verification=True) as file:
        yield from file.iter_batches(CHUNK_ROWS, columns=columns)


def _first_unreadable(path: Path, columns: list[str], line: int) -> tuple[str | None, int]:
    """The first column that can't be read alone, and the line from which on it can't."""
    for column in columns:
        read = _FIRST_LINE
        try:
            for batch in _chunks(path, [column]):
                read += batch.num_rows
        except _unreadable():
            return column, read
    return None, line


def _unreadable() -> tuple[type[Exception], ...]:
    """What Arrow raises for damaged bytes."""
    import pyarrow as pa

    return pa.ArrowException, OSError, ValueError, MemoryError


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:_LONGEST_ERROR]

"""Reads a month's file, CSV, Parquet or Excel, in chunks and without conversion of CSV values.

Memory is constant: a file is never in memory as a whole. What can't be read is reported with its
line, and reading goes on as far as possible, so that one run reports all.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.history.files import csv_file, excel_file, parquet_file
from streamflow.history.files.header import read_header
from streamflow.history.files.text_file import UNREADABLE
from streamflow.history.violations import Report
from streamflow.use_case import Table

if TYPE_CHECKING:
    import pyarrow as pa


def as_in_file(table: Table, path: Path) -> Table:
    """The table as the file has it: without the columns that it needn't have and hasn't.

    What is wrong with the file's header or its columns otherwise is for `read_batches` to report.
    """
    optional = [name for name, column in table.contract.columns.items() if not column.required]
    if not optional:
        return table
    try:
        names = column_names(path, table)
    except (OSError, ValueError, csv.Error, *UNREADABLE):
        return table
    lacking = [name for name in optional if table.in_file.get(name, name) not in names]
    return replace(table, contract=table.contract.remove_columns(lacking)) if lacking else table


def column_names(path: Path, table: Table) -> list[str]:
    """The names of the file's columns. Raises OSError, ValueError, csv.Error or what a damaged file
    raises."""
    if path.suffix == ".parquet":
        return parquet_file.column_names(path)
    if path.suffix == ".xlsx":
        return excel_file.column_names(path, table.sheet, table.read)
    return read_header(path, table.read)[0]


def read_batches(path: Path, table: Table, report: Report) -> Iterator[pa.RecordBatch]:
    """Arrow record batches with the contract's columns (text, but of Parquet) and each row's
    `line`.

    A byte-order mark, CRLF line ends, quoted fields and columns in another order are allowed. An
    empty CSV value is an empty text.
    """
    read = _READERS.get(path.suffix, csv_file.batches)
    if not table.in_file:
        return read(path, table, report)
    names = {name: table.in_file.get(name, name) for name in table.contract.columns}
    as_there = replace(
        table,
        contract=table.contract.rename_columns(names),
        read_columns={names.get(name, name): one for name, one in table.read_columns.items()},
    )
    ours = {there: name for name, there in names.items()}
    return (
        batch.rename_columns([ours.get(name, name) for name in batch.schema.names])
        for batch in read(path, as_there, report)
    )


_READERS = {".parquet": parquet_file.batches, ".xlsx": excel_file.batches}

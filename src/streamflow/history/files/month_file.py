"""Reads a month's file, CSV or Parquet, in chunks and without conversion of CSV values.

Memory is constant: a file is never in memory as a whole. What can't be read is reported with its
line, and reading goes on as far as possible, so that one run reports all.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.history.files import csv_file, parquet_file
from streamflow.history.violations import Report
from streamflow.use_case import Table

if TYPE_CHECKING:
    import pyarrow as pa


def read_batches(path: Path, table: Table, report: Report) -> Iterator[pa.RecordBatch]:
    """Arrow record batches with the contract's columns (text, if CSV) and each row's `line`.

    A byte-order mark, CRLF line ends, quoted fields and columns in another order are allowed. An
    empty CSV value is an empty text.
    """
    read = parquet_file.batches if path.suffix == ".parquet" else csv_file.batches
    return read(path, table, report)

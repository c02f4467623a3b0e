"""Reads a month's file, CSV or Parquet, in chunks and without conversion of CSV values.

Memory is constant: a file is never in memory as a whole. What can't be read is reported with its
line, and reading goes on as far as possible, so that one run reports all.
"""

from __future__ import annotations

import codecs
import csv
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.history.violations import SHOWN_CHARACTERS, Report, Violation

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.csv import InvalidRow

# A row must fit into a chunk of the file; a longer one is reported.
CHUNK_BYTES = 8 * 1024 * 1024
CHUNK_ROWS = 100_000


def read_batches(path: Path, expected: list[str], report: Report) -> Iterator[pa.RecordBatch]:
    """Arrow record batches with the `expected` columns (text, if CSV) and each row's `line`.

    A byte-order mark, CRLF line ends, quoted fields and columns in another order are allowed. An
    empty CSV value is an empty text.
    """
    return (_parquet if path.suffix == ".parquet" else _csv)(path, expected, report)


def _columns_fit(found: list[str], expected: list[str], file: str, report: Report) -> bool:
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    repeated = sorted({name for name in found if found.count(name) > 1} - set(extra))
    for names, rule in (
        (missing, "the column is there"),
        (extra, "only the contract's columns are there"),
        (repeated, "a column is there once"),
    ):
        for name in names:
            report(Violation(file, 1, name, None, rule))
    return not (missing or extra or repeated)


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return next(csv.reader([file.readline(CHUNK_BYTES)]), [])


def _not_utf8(path: Path) -> Violation | None:
    """The first line that isn't UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                line += chunk.count(b"\n", 0, error.start)
                found = repr(error.object[error.start : error.end])[2:-1]
                return Violation(path.name, line, None, found, "a file is UTF-8")
            line += chunk.count(b"\n")
    return None


def _csv(path: Path, expected: list[str], report: Report) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.csv

    if unreadable := _not_utf8(path):
        report(unreadable)
        return
    lines = _Lines(path.name, report)
    try:
        header = _header(path)
        if not header or not _columns_fit(header, expected, path.name, report):
            return
        reader = pa.csv.open_csv(
            path,
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=CHUNK_BYTES),
            parse_options=pa.csv.ParseOptions(
                newlines_in_values=True,
                ignore_empty_lines=False,
                invalid_row_handler=lines.skip,
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(expected, pa.string()),
                include_columns=expected,
                strings_can_be_null=False,
            ),
        )
        for batch in reader:
            yield batch.append_column("line", pa.array(lines.numbers(batch), pa.int64()))
    except (pa.ArrowInvalid, csv.Error) as error:
        if "Empty CSV" in str(error):  # a header without a row, which the caller reports
            return
        rule = f"a file is CSV ({error})"
        if "straddling" in str(error) or isinstance(error, csv.Error):
            rule = f"a row is shorter than {CHUNK_BYTES // 2**20} MB"
        report(Violation(path.name, None, None, None, rule))
    finally:
        lines.report_skipped()


class _Lines:
    """Counts the lines on which rows begin, with skipped rows and quoted line breaks."""

    def __init__(self, file: str, report: Report) -> None:
        self._file = file
        self._report = report
        self._row = 2  # as Arrow counts rows: the header is row 1
        self._breaks = 0
        # Arrow reads ahead: a skipped row is here until the rows before it have been counted.
        self._skipped: deque[InvalidRow] = deque()

    def skip(self, row: InvalidRow) -> str:
        """Arrow's handler of a row with too few or too many values."""
        self._skipped.append(row)
        return "skip"

    def numbers(self, batch: pa.RecordBatch) -> list[int]:
        """The line on which each row of the batch begins; the header is line 1."""
        import pyarrow.compute as pc

        breaks = [0] * batch.num_rows
        for column in batch.columns:
            if pc.any(pc.match_substring(column, "\n")).as_py():
                counts = pc.count_substring(column, "\n").to_pylist()
                breaks = [total + count for total, count in zip(breaks, counts, strict=True)]
        if not self._skipped and not any(breaks):
            first = self._row + self._breaks
            self._row += batch.num_rows
            return list(range(first, first + batch.num_rows))
        lines = []
        for count in breaks:
            self.report_skipped(until_counted=True)
            lines.append(self._row + self._breaks)
            self._row += 1
            self._breaks += count
        return lines

    def report_skipped(self, until_counted: bool = False) -> None:
        """Report all skipped rows, or only those before the next row that isn't counted yet."""
        while self._skipped and not (until_counted and self._skipped[0].number != self._row):
            row = self._skipped.popleft()
            self._row = row.number + 1
            shown = row.text[:SHOWN_CHARACTERS]
            rule = f"a row has {row.expected_columns} values, not {row.actual_columns}"
            self._report(Violation(self._file, row.number + self._breaks, None, shown, rule))
            self._breaks += row.text.count("\n")


def _parquet(path: Path, expected: list[str], report: Report) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        with pa.parquet.ParquetFile(path) as file:
            if not _columns_fit(file.schema_arrow.names, expected, path.name, report):
                return
            first = 2  # as after a header, so that a row has the same line in both formats
            for batch in file.iter_batches(CHUNK_ROWS, columns=expected):
                lines = pa.array(range(first, first + batch.num_rows), pa.int64())
                first += batch.num_rows
                yield batch.append_column("line", lines)
    except pa.ArrowInvalid as error:
        report(Violation(path.name, None, None, None, f"a file is Parquet ({error})"))

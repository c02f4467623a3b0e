"""Reads a CSV file in chunks of text, each row with the line on which it begins."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.history.files.header import header_fits, read_header
from streamflow.history.files.text_file import CHUNK_BYTES, open_utf8, undecodable
from streamflow.history.violations import SHOWN_CHARACTERS, Report, Violation
from streamflow.use_case import Csv, Table

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.csv import InvalidRow


def batches(path: Path, table: Table, report: Report) -> Iterator[pa.RecordBatch]:
    """The contract's columns as text, and `line`: the line on which each row begins."""
    import pyarrow as pa
    import pyarrow.csv

    if unreadable := undecodable(path, table.read):
        report(unreadable)
        return
    expected = list(table.contract.columns)
    totals = table.read.total_rows
    lines = _Lines(path.name, report, table.read)
    try:
        header, header_lines = read_header(path, table.read)
        if not header_fits(path, header, table, report):
            return
        lines.start_after(header_lines)
        first = header[0]
        read = [*expected, *([first] if totals and first not in expected else [])]
        reader = pa.csv.open_csv(
            open_utf8(path, table.read),
            # A row must fit into a chunk of the file; a longer one is reported.
            read_options=pa.csv.ReadOptions(
                use_threads=False, block_size=CHUNK_BYTES, skip_rows=table.read.skip_lines
            ),
            parse_options=pa.csv.ParseOptions(
                delimiter=table.read.separator,
                newlines_in_values=True,
                ignore_empty_lines=False,
                invalid_row_handler=lines.skip,
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys([*expected, first], pa.string()),
                include_columns=read,
                strings_can_be_null=False,
            ),
        )
        for batch in reader:
            numbered = batch.append_column("line", pa.array(lines.numbers(batch), pa.int64()))
            yield without_totals(numbered, first, totals).select([*expected, "line"])
    except (pa.ArrowInvalid, csv.Error) as error:
        if "Empty CSV" in str(error):  # a header without a row, which the caller reports
            return
        rule = f"a file is CSV ({error})"
        if "straddling" in str(error) or isinstance(error, csv.Error):
            rule = f"a row is shorter than {CHUNK_BYTES // 2**20} MB"
        report(Violation(path.name, None, None, None, rule))
    finally:
        lines.report_skipped()


def without_totals(batch: pa.RecordBatch, first: str, totals: Sequence[str]) -> pa.RecordBatch:
    """The batch without the rows whose value in the column `first` is one of `totals`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not totals:
        return batch
    text = pc.utf8_trim_whitespace(batch.column(first))
    return batch.filter(pc.invert(pc.is_in(text, value_set=pa.array(totals, pa.string()))))


class _Lines:
    """Counts the lines on which rows begin, with skipped rows and quoted line breaks."""

    def __init__(self, file: str, report: Report, read: Csv) -> None:
        self._file = file
        self._report = report
        self._read = read
        self._row = 2 + read.skip_lines  # as Arrow counts rows: the header is row 1
        self._breaks = 0
        # Arrow reads ahead: a skipped row is here until the rows before it have been counted.
        self._skipped: deque[InvalidRow] = deque()

    def start_after(self, header_lines: int) -> None:
        """The header takes this many lines."""
        self._breaks = header_lines - 1

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
            self._breaks += row.text.count("\n")
            if self._is_total(row.text):
                continue
            shown = row.text[:SHOWN_CHARACTERS]
            rule = f"a row has {row.expected_columns} values, not {row.actual_columns}"
            line = row.number + self._breaks - row.text.count("\n")
            self._report(Violation(self._file, line, None, shown, rule))

    def _is_total(self, text: str) -> bool:
        first = text.partition(self._read.separator)[0]
        return first.strip(' "') in self._read.total_rows

"""Writes a list as CSV, Parquet or an Excel workbook: the same columns, the same bytes each time.

The facts that hold for the whole list are columns too, so that no copy of a part loses them.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TextIO

from streamflow.errors import DataRefused
from streamflow.scores.campaigns.spreadsheet_text import as_plain_text

Kind = Literal["text", "whole", "number", "date"]
Format = Literal["csv", "parquet", "xlsx"]
FORMATS: tuple[Format, ...] = ("csv", "parquet", "xlsx")

ASSIGNMENT, LIST, CONTACTED_ON = "assignment", "list", "contacted_on"
CONTACT, HOLD_OUT = "contact", "hold-out"

_EXCEL_ROWS = 1_048_575
# A workbook says when it was made: always the same, so that the same list has the same bytes.
_NO_TIME = datetime(1980, 1, 1)  # noqa: DTZ001  # the format has no zone


class TooLongForExcel(DataRefused):
    """A workbook's sheet has fewer rows than the list."""


@dataclass(frozen=True)
class Column:
    """A column of the file; values are None where there is none."""

    name: str
    kind: Kind
    values: Sequence[object]


def write_csv(output: TextIO, columns: Sequence[Column]) -> None:
    """Write CSV in UTF-8, numbers in full, safe to be opened in a spreadsheet."""
    lines = csv.writer(output, lineterminator="\n")
    lines.writerow([as_plain_text(one.name) for one in columns])
    for row in zip(*(one.values for one in columns), strict=True):
        lines.writerow([as_plain_text(cell) if isinstance(cell, str) else cell for cell in row])


def write(file: Path, kind: Format, columns: Sequence[Column]) -> None:
    """Write the file. Raises TooLongForExcel."""
    if kind == "parquet":
        _write_parquet(file, columns)
    elif kind == "xlsx":
        _write_workbook(file, columns)
    else:
        with file.open("w", encoding="utf-8", newline="") as output:
            write_csv(output, columns)


def _write_parquet(file: Path, columns: Sequence[Column]) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    types = {
        "text": pa.string(),
        "whole": pa.int64(),
        "number": pa.float64(),
        "date": pa.date32(),
    }
    arrays = {one.name: pa.array(one.values, types[one.kind]) for one in columns}
    pa.parquet.write_table(pa.table(arrays), file)


def _write_workbook(file: Path, columns: Sequence[Column]) -> None:
    import xlsxwriter

    entities = len(columns[0].values)
    if entities > _EXCEL_ROWS:
        raise TooLongForExcel(
            f"A sheet of Excel has {_EXCEL_ROWS:,} rows below its header, the list {entities:,}.",
            "Write it as CSV or Parquet: `--format csv`.",
        )
    # Text is written as text: no formula, no link.
    with xlsxwriter.Workbook(file, {"in_memory": True}) as book:
        book.set_properties({"created": _NO_TIME})
        sheet = book.add_worksheet("list")
        sheet.freeze_panes(1, 1)
        header, grey = book.add_format({"bold": True}), book.add_format({"font_color": "#888888"})
        left_alone = next(one.values for one in columns if one.name == ASSIGNMENT)
        for row, assignment in enumerate(left_alone, 1):
            if assignment == HOLD_OUT:
                sheet.set_row(row, None, grey)
        for place, column in enumerate(columns):
            sheet.write_string(0, place, column.name, header)
            for row, value in enumerate(column.values, 1):
                if value is None:
                    continue
                style = grey if left_alone[row - 1] == HOLD_OUT else None
                if column.kind in ("whole", "number"):
                    sheet.write_number(row, place, value, style)
                else:
                    sheet.write_string(row, place, str(value), style)
        sheet.autofit()
        if entities:
            sheet.autofilter(0, 0, entities, len(columns) - 1)

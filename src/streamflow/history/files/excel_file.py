"""Reads a sheet of an Excel workbook, each row with its line, its cells as CSV would have them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamflow.history.files.header import columns_fit
from streamflow.history.violations import Report, Violation
from streamflow.use_case import Csv, Table

if TYPE_CHECKING:
    import pyarrow as pa
    from python_calamine import CalamineSheet

CHUNK_ROWS = 100_000
FIRST_ROWS = 300
# Excel holds numbers as floats, which hold each whole number up to here.
_LARGEST_WHOLE = 2**53


def batches(path: Path, table: Table, report: Report) -> Iterator[pa.RecordBatch]:
    """The contract's columns as text, null for an empty cell, and `line`."""
    import pyarrow as pa

    try:
        sheet = open_sheet(path, table.sheet)
    except ValueError as error:
        report(Violation(path.name, None, None, None, str(error)))
        return
    header, rows = read_rows(sheet, table.read)
    if not columns_fit(header, table, path.name, report):
        return
    expected = list(table.contract.columns)
    places = [header.index(name) for name in expected]
    line = 2 + table.read.skip_lines + (sheet.start[0] if sheet.start else 0)
    while chunk := list(islice(rows, CHUNK_ROWS)):
        columns = [
            pa.array([as_text(row[place], table.read_of(name)) for row in chunk], pa.string())
            for name, place in zip(expected, places, strict=True)
        ]
        lines = pa.array(range(line, line + len(chunk)), pa.int64())
        line += len(chunk)
        batch = pa.record_batch([*columns, lines], names=[*expected, "line"])
        if totals := table.read.total_rows:
            data = [(as_text(row[0], table.read) or "").strip() not in totals for row in chunk]
            batch = batch.filter(pa.array(data))
        yield batch


def column_names(path: Path, sheet: str, read: Csv) -> list[str]:
    """The names in the sheet's header. Raises ValueError if there is no such sheet."""
    return read_rows(open_sheet(path, sheet), read)[0]


def first_rows(path: Path, sheet: str) -> list[list[str]]:
    """The first rows of the sheet as text. Raises ValueError if there is no such sheet."""
    rows = islice(open_sheet(path, sheet).iter_rows(), FIRST_ROWS)
    return [[(as_text(cell, Csv()) or "").strip() for cell in row] for row in rows]


def sheet_names(path: Path) -> list[str]:
    """The names of the workbook's sheets. Raises ValueError if it isn't one."""
    from python_calamine import CalamineError, load_workbook

    try:
        return list(load_workbook(path).sheet_names)
    except (CalamineError, OSError) as error:
        raise ValueError(f"a file is an Excel workbook ({error})") from error


def open_sheet(path: Path, name: str) -> CalamineSheet:
    """The sheet of that name, or the only one. Raises ValueError with the rule that is broken."""
    from python_calamine import CalamineError, load_workbook

    names = sheet_names(path)
    there = ", ".join(map(repr, names))
    if name and name not in names:
        raise ValueError(f"the workbook has a sheet {name!r}; it has {there}")
    if not name and len(names) != 1:
        raise ValueError(
            f"the workbook has one sheet, or the table names one of {there}: "
            f'write in the use case Table(…, sheet="{names[0] if names else "…"}")'
        )
    try:
        return load_workbook(path).get_sheet_by_name(name or names[0])
    except CalamineError as error:
        raise ValueError(f"a file is an Excel workbook ({error})") from error


def read_rows(sheet: CalamineSheet, read: Csv) -> tuple[list[str], Iterator[Sequence[Any]]]:
    """The names in the header, and the rows below it."""
    rows = islice(sheet.iter_rows(), read.skip_lines, None)
    header = [as_text(cell, Csv()) or "" for cell in next(rows, [])]
    return header, rows


def as_text(cell: Any, read: Csv) -> str | None:
    """A cell as the text that would mean the same in the table's CSV file."""
    if isinstance(cell, str):
        return cell or None
    if isinstance(cell, bool):
        return (read.true if cell else read.false)[0]
    if isinstance(cell, float) and cell.is_integer() and abs(cell) <= _LARGEST_WHOLE:
        return str(int(cell))
    if isinstance(cell, float):
        return repr(cell).replace(".", read.decimal)
    if isinstance(cell, datetime):
        midnight = (cell.hour, cell.minute, cell.second, cell.microsecond) == (0, 0, 0, 0)
        return _date(cell.date(), read) if midnight else cell.isoformat(" ")
    if isinstance(cell, date):
        return _date(cell, read)
    return None if cell is None else str(cell)


def _date(day: date, read: Csv) -> str:
    year, month, of_month = day.isoformat().split("-")
    return read.date.replace("YYYY", year).replace("MM", month).replace("DD", of_month)

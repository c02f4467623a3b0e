"""A file of those who were contacted: an exported list that comes back, or ids alone.

It is CSV (with commas, semicolons or tabs, as spreadsheets write it), Parquet, or the first sheet
of an Excel workbook. Each row is somebody who was contacted; if there is a column `contacted_on`,
each row with a day in it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from streamflow.entity_id import RULE, is_id
from streamflow.errors import DataRefused, MissingFiles, UnreadableFile
from streamflow.scores.campaigns.list_file import CONTACTED_ON, LIST
from streamflow.scores.campaigns.spreadsheet_text import as_it_was

SHOWN = 20
_SEPARATORS = ",;\t"

# A line's number and its values by column, all as text.
Row = tuple[int, Mapping[str, str]]


class ContactsRefused(DataRefused):
    """Values of the file break a rule; nothing was recorded."""


@dataclass(frozen=True)
class Contacts:
    """Who was contacted, by id, with the day (None: not said); `list_id` is None if no row says it.

    `lines` has the line of each id. `left_out` counts the rows without a day, where there is a
    column for it.
    """

    days: Mapping[str, date | None]
    lines: Mapping[str, int]
    list_id: int | None
    left_out: int


@dataclass(frozen=True)
class _Violation:
    line: int
    column: str
    value: str
    rule: str


def read_contacts(file: Path, key: str, today: date) -> Contacts:
    """The contacts in the file, whose ids are in the column `key`.

    Raises MissingFiles, UnreadableFile, and ContactsRefused with file, line, column, value and rule
    of each that is wrong.
    """
    try:
        header, rows = _read(file)
    except FileNotFoundError as error:
        raise MissingFiles(f"There is no file {file}.", "Name the file of contacts.") from error
    except OSError as error:
        raise _unreadable(
            file, str(error.strerror or error), "Name a file that can be read."
        ) from error
    if header.count(key) != 1:
        shown = ", ".join(repr(name[:64]) for name in header[:20]) or "none"
        raise _unreadable(
            file,
            f"it has {header.count(key)} columns {key!r}; its columns are {shown}",
            f"Name the column of ids {key!r}.",
        )
    return _checked(file, key, CONTACTED_ON in header, rows, today)


def _checked(file: Path, key: str, has_days: bool, rows: Iterator[Row], today: date) -> Contacts:
    days: dict[str, date | None] = {}
    lines: dict[str, int] = {}
    wrong: list[_Violation] = []
    list_id: int | None = None
    left_out = 0
    for line, row in rows:
        entity, text = row[key], row.get(CONTACTED_ON, "").strip()
        if not is_id(entity):
            wrong.append(_Violation(line, key, row[key], f"an id is {RULE}"))
        if number := row.get(LIST, "").strip():
            if not number.isascii() or not number.isdigit():
                wrong.append(_Violation(line, LIST, number, "a list is a whole number"))
            elif list_id not in (None, int(number)):
                rule = f"a file is of one list, and line {line} is of another than those before"
                wrong.append(_Violation(line, LIST, number, rule))
            else:
                list_id = int(number)
        if has_days and not text:
            left_out += 1
            continue
        day = _day(text)
        if text and day is None:
            wrong.append(_Violation(line, CONTACTED_ON, text, "a day is written as 2024-03-31"))
        elif day is not None and day > today:
            wrong.append(_Violation(line, CONTACTED_ON, text, "a contact isn't in the future"))
        if entity in days and days[entity] != day:
            rule = "who is there twice was contacted on the same day"
            wrong.append(_Violation(line, CONTACTED_ON, text, rule))
        days[entity], lines[entity] = day, line
    if wrong:
        raise _refused(file, wrong)
    if not days:
        said = f"no row has a day in {CONTACTED_ON!r}" if left_out else "it has no row"
        raise ContactsRefused(
            f"{file} says of nobody that they were contacted: {said}.",
            f"Write a day such as 2024-03-31 into {CONTACTED_ON!r} for each who was contacted, or "
            "leave out that column and all others' rows.",
        )
    return Contacts(days, lines, list_id, left_out)


def require_not_before(file: Path, contacts: Contacts, as_of: date) -> None:
    """Raise ContactsRefused if somebody was contacted before `as_of`, the month of the list."""
    wrong = [
        _Violation(
            contacts.lines[entity],
            CONTACTED_ON,
            day.isoformat(),
            f"a contact isn't before the list's AS_OF {as_of}",
        )
        for entity, day in contacts.days.items()
        if day is not None and day < as_of
    ]
    if wrong:
        raise _refused(file, wrong)


def _day(text: str) -> date | None:
    """The day; a time of that day counts as well, as spreadsheets write it."""
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        return None


def _refused(file: Path, wrong: Sequence[_Violation]) -> ContactsRefused:
    lines = [f"{len(wrong):,} value(s) in {file} break a rule; nothing was recorded."]
    lines += [
        f"  {file.name}, line {one.line}, column {one.column!r}: {one.value[:80]!r} breaks the "
        f"rule: {one.rule}"
        for one in wrong[:SHOWN]
    ]
    if len(wrong) > SHOWN:
        lines.append(f"  … and {len(wrong) - SHOWN:,} more")
    return ContactsRefused(
        "\n".join(lines), f"Correct the file, then run `streamflow campaign record {file}` again."
    )


def _read(file: Path) -> tuple[list[str], Iterator[Row]]:
    kind = file.suffix.casefold()
    if kind == ".parquet":
        header, cells = _parquet(file)
    elif kind == ".xlsx":
        header, cells = _workbook(file)
    else:
        header, cells = _csv(file)
    rows = (
        (line, dict(zip(header, values, strict=False))) for line, values in cells if any(values)
    )
    return header, ((line, {name: row.get(name, "") for name in header}) for line, row in rows)


def _csv(file: Path) -> tuple[list[str], Iterator[tuple[int, Sequence[str]]]]:
    content = file.read_bytes()
    for start, kind in ((b"PAR1", "Parquet"), (b"PK", "a workbook or an archive")):
        if content.startswith(start):
            raise _unreadable(
                file, f"it is {kind} by its content", "Name it .parquet or .xlsx, as it is."
            )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise _unreadable(
            file, f"line {line} isn't UTF-8", "Save it as CSV in UTF-8, or as .xlsx."
        ) from error
    first = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=first.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        rows = [(lines.line_num, [*map(as_it_was, row)]) for row in lines]
    except csv.Error as error:
        raise _unreadable(
            file, f"line {lines.line_num}: {error}", "Save it again as CSV in UTF-8."
        ) from error
    header = rows[0][1] if rows else []
    for line, row in rows[1:]:
        if row and len(row) != len(header):
            raise _unreadable(
                file,
                f"line {line} has {len(row)} value(s), and the header {len(header)}",
                "Give each line as many values as the header; quote a value that has a comma.",
            )
    return header, iter(rows[1:])


def _parquet(file: Path) -> tuple[list[str], Iterator[tuple[int, Sequence[str]]]]:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        table = pa.parquet.read_table(file)
    except pa.ArrowException as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise _unreadable(file, f"it isn't sound Parquet ({reason})", "Write it again.") from error
    columns = [[_text(cell) for cell in table[name].to_pylist()] for name in table.column_names]
    return table.column_names, iter(list(enumerate(zip(*columns, strict=True), 2)))


def _workbook(file: Path) -> tuple[list[str], Iterator[tuple[int, Sequence[str]]]]:
    from python_calamine import CalamineError, load_workbook

    try:
        sheet = load_workbook(file).get_sheet_by_index(0)
    except CalamineError as error:
        raise _unreadable(
            file, f"it isn't a workbook ({error})", "Save it again as .xlsx."
        ) from error
    first = 1 + (sheet.start[0] if sheet.start else 0)
    rows = [[_text(cell) for cell in row] for row in sheet.iter_rows()]
    return (rows[0] if rows else []), iter(list(enumerate(rows[1:], first + 1)))


def _text(cell: Any) -> str:
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, date):
        return cell.isoformat()
    return "" if cell is None else str(cell)


def _unreadable(file: Path, reason: str, next: str) -> UnreadableFile:
    return UnreadableFile(f"{file} can't be read as a file of contacts: {reason}.", next)

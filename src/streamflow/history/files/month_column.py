"""The rows of one month in a file of several: by a column that says which month they are of."""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

from streamflow.errors import MissingFiles
from streamflow.history.files.month_file import as_in_file, column_names
from streamflow.history.files.month_rows import MonthRows, StagedFile, stage_file
from streamflow.history.violations import SHOWN_CHARACTERS, Report, Violation
from streamflow.use_case import Table
from streamflow.use_case.module import nearest

RULE = (
    "a month is written as 2024-01, 202401, 01/2024, Jan 2024, or as a day such as 2024-01-31; a "
    "week as 2024-W05, a quarter as 2024-Q1"
)
_NAMES = {name.casefold(): number for number, name in enumerate(calendar.month_abbr) if name}
_PATTERNS = (
    r"(?P<year>\d{4})[-/. ]?[Mm]?(?P<month>0[1-9]|1[0-2])",
    r"(?P<year>\d{4})[-/. ]?([Ww]|[KC]W) ?(?P<week>\d{1,2})",
    r"([Ww]|[KC]W) ?(?P<week>\d{1,2})[-/. ](?P<year>\d{4})",
    r"(?P<year>\d{4})[-/. ]?[Qq](?P<quarter>[1-4])",
    r"[Qq](?P<quarter>[1-4])[-/. ]?(?P<year>\d{4})",
    r"(?P<year>\d{4})-(?P<month>\d{1,2})",
    r"(?P<month>\d{1,2})[-/. ](?P<year>\d{4})",
    r"(?P<name>[A-Za-z]{3})[a-z]*[-/. ]?(?P<year>\d{4})",
    r"(?P<year>\d{4})[-/. ](?P<name>[A-Za-z]{3})[a-z]*",
    r"(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})([ T]00:00(:00(\.0+)?)?)?Z?",
    r"(?P<year>\d{4})(?P<month>0[1-9]|1[0-2])(?P<day>[0-3]\d)",
    r"(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4})",
)


def month_of(text: str) -> tuple[date, bool] | None:
    """The as_of that the text means, and whether it names a day; None if it means none.

    Of a month or a quarter it is the last day, of a week of ISO 8601 its Sunday.
    """
    for pattern in _PATTERNS:
        found = re.fullmatch(pattern, text.strip())
        if found is None:
            continue
        parts = found.groupdict()
        year, day = int(parts["year"]), parts.get("day")
        month = int(parts.get("month") or _NAMES.get((parts.get("name") or "").casefold(), 0))
        month = month or 3 * int(parts.get("quarter") or 0)
        try:
            if week := parts.get("week"):
                return date.fromisocalendar(year, int(week), 7), False
            last = calendar.monthrange(year, month)[1]
            return date(year, month, int(day) if day else last), day is not None
        except (ValueError, calendar.IllegalMonthError):
            continue
    return None


def months_of_texts(texts: set[str]) -> dict[str, date]:
    """By text, the as_of that it means; texts that mean none are left out.

    Days that are all the first of their month stand for the month, and so mean its last day.
    """
    found = {text: meant for text in texts if (meant := month_of(text)) is not None}
    days = [as_of for as_of, is_day in found.values() if is_day]
    if days and all(one.day == 1 for one in days):
        return {text: _last_day(as_of) for text, (as_of, _) in found.items()}
    return {text: as_of for text, (as_of, _) in found.items()}


def months_in(
    files: Mapping[str, Path],
    tables: tuple[Table, ...],
    column: str,
    scratch: Path,
    report: Report,
) -> dict[date, MonthRows]:
    """By as_of, oldest first, the rows of each month in the files, which are by table.

    Each file is read once, and its rows are staged in `scratch`. What can't be read is given to
    `report`, as is a text that means no month. Raises MissingFiles if no file has the column.
    """
    texts: dict[str, dict[str, date]] = {}
    staged: dict[str, StagedFile] = {}
    others: set[str] = set()
    for table in tables:
        if table.name not in files or table.events is not None:  # which `ingest` refuses
            continue
        path = files[table.name]
        names = column_names(path, table)
        if column not in names:
            others |= {*names}
            continue
        wider, name = _with_column(as_in_file(table, path), column)
        staged[table.name] = stage_file(path, wider, name, scratch, report)
        texts[table.name] = _months(staged[table.name], path, column, report)
    if not texts:
        raise MissingFiles(
            f"No file has a column {column!r} that says which month a row is of.",
            f"Say one that is there: `--as-of-from-column {nearest(column, sorted(others))}`.",
        )
    months = sorted({as_of for of_table in texts.values() for as_of in of_table.values()})
    return {
        as_of: MonthRows(
            as_of,
            column,
            {
                name: frozenset(text for text, meant in of_table.items() if meant == as_of)
                for name, of_table in texts.items()
            },
            staged,
        )
        for as_of in months
    }


def _months(staged: StagedFile, path: Path, column: str, report: Report) -> dict[str, date]:
    """By text of the column, its as_of."""
    meant = months_of_texts({*staged.lines})
    for text, line in staged.lines.items():
        if text not in meant:
            report(Violation(path.name, line, column, text[:SHOWN_CHARACTERS], RULE))
    return meant


def _with_column(table: Table, column: str) -> tuple[Table, str]:
    """The table with the column as text, if its contract hasn't it itself, and its name there."""
    from pandera.pandas import Column

    there = {table.in_file.get(name, name): name for name in table.contract.columns}
    if column in there:
        return table, there[column]
    contract = table.contract.add_columns({column: Column("string")})
    return replace(table, contract=contract), column


def _last_day(day: date) -> date:
    return day.replace(day=calendar.monthrange(day.year, day.month)[1])

"""The rows of one month in a file of several: by a column that says which month they are of."""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from shlex import quote

from streamflow.errors import MissingFiles
from streamflow.history.files.month_file import as_in_file, column_names
from streamflow.history.files.month_rows import MonthRows, StagedFile, stage_file
from streamflow.history.violations import SHOWN_CHARACTERS, Report, Violation
from streamflow.use_case import Table
from streamflow.use_case.module import nearest

RULE = (
    "a month is written as 2024-01, 202401, 01/2024, Jan 2024, or as a day such as 2024-01-31; a "
    "week as 2024-W05, a quarter as 2024-Q1; in two columns, a year of four digits is in one"
)
_NAMES = {name.casefold(): number for number, name in enumerate(calendar.month_abbr) if name}
_NAMES |= {"mär": 3, "mrz": 3, "mai": 5, "okt": 10, "dez": 12}
_PATTERNS = (
    r"(?P<year>\d{4})[-/. ]?[Mm]?(?P<month>0[1-9]|1[0-2])",
    r"(?P<year>\d{4})[-/. ]?([Ww]|[KC]W) ?(?P<week>\d{1,2})",
    r"([Ww]|[KC]W) ?(?P<week>\d{1,2})[-/. ](?P<year>\d{4})",
    r"(?P<year>\d{4})[-/. ]?[Qq](?P<quarter>[1-4])",
    r"[Qq](?P<quarter>[1-4])[-/. ]?(?P<year>\d{4})",
    r"(?P<year>\d{4})-(?P<month>\d{1,2})",
    r"(?P<month>\d{1,2})[-/. ](?P<year>\d{4})",
    r"(?P<name>[A-Za-zä]{3})[a-z]*[-/. ]?(?P<year>\d{4})",
    r"(?P<year>\d{4})[-/. ](?P<name>[A-Za-zä]{3})[a-z]*",
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

    `tables` have the columns of their files, also those of events. `column` may be two with a comma
    between them, of the year and of the month. Each file is read
    once, and its rows are staged in `scratch`. What can't be read is given to `report`, as is a
    text that means no month. Raises MissingFiles if no file has the column, or both.
    """
    texts: dict[str, dict[str, date]] = {}
    staged: dict[str, StagedFile] = {}
    others: set[str] = set()
    for table in tables:
        if table.name not in files:
            continue
        path = files[table.name]
        names = column_names(path, table)
        columns = [column] if column in names else _parts(column)
        if not {*columns} <= {*names}:
            others |= {*names}
            continue
        wider, ours = as_in_file(table, path), {}
        for one in columns:
            wider, name = _with_column(wider, one)
            ours[name] = one
        staged[table.name] = stage_file(path, wider, ours, scratch, report)
        texts[table.name] = _months(staged[table.name], path, column, report)
    if not texts:
        raise _no_column(column, others)
    months = sorted({as_of for of_table in texts.values() for as_of in of_table.values()})
    return {
        as_of: MonthRows(
            as_of,
            months[-1],
            column,
            {
                name: frozenset(text for text, meant in of_table.items() if meant == as_of)
                for name, of_table in texts.items()
            },
            staged,
        )
        for as_of in months
    }


def _parts(column: str) -> list[str]:
    return [one.strip() for one in column.split(",")] if column.count(",") == 1 else [column]


def _no_column(column: str, others: set[str]) -> MissingFiles:
    parts = _parts(column)
    near = ",".join(nearest(one, sorted(others)) for one in parts)
    said = (
        f"a column {column!r} that says"
        if len(parts) == 1
        else (f"both columns {parts[0]!r} and {parts[1]!r}, which say together")
    )
    return MissingFiles(
        f"No file has {said} which month a row is of.",
        f"Say what is there: `--as-of-from-column {quote(near)}`.",
    )


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
